"""How a connection is known to belong to a service, and how sure that is.

The rung is DESIGN's ladder, read strictly: `flow` is the name itself on the wire *and* application data
both ways. A name learnt from DNS stays `ip` however much was sent: another site at that address looks the
same. A pre-connect that carries nothing stays `sni`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from sensor.packets.facts import Limits

ON_THE_WIRE = frozenset({"sni", "quic_sni", "http_host", "connect", "socks"})

# Confidence is how sure it is that somebody used *this* service, not how much is known about the use.
CONFIDENCE = {
    "ip": 0.6,  # addresses are shared and change hands
    "sni": 0.8,  # the client named it, then nothing was said: a pre-connect, a probe, half a capture
    "flow": 0.95,  # named, and both sides spoke
    "inferred": 0.95,
    "decrypted": 0.99,  # read
}
OWNED_NETWORK = 0.8  # times, no name at all: the vendor's other products are there too
AUXILIARY = 0.5  # times, only a CDN, login or telemetry host: other sites and programs embed it
FRONT = 0.5  # times, the outer name of an encrypted hello: the real one is behind it
PARTIAL = 0.9  # times, the hello was not read whole, so the name may be of another layer
AUXILIARY_ROLES = frozenset({"cdn", "auth", "telemetry"})

HOSTED_MCP = "-mcp"  # the end of the catalogue's ids for the MCP servers of vendors
PROGRAMS = {"cli": "cli", "editor": "ide"}  # classes that a user agent alone can tell, to their channel

NAMES = 8  # watched names remembered per client and address
ADDRESSES = 65_536  # client and address pairs


def rung(name_source: str, app_up: int, app_down: int, content: bool) -> str:
    """The rung of a connection so far. `content`: a request to the service was read in clear."""
    if content:
        return "decrypted"
    if name_source not in ON_THE_WIRE:
        return "ip"
    return "flow" if app_up and app_down else "sni"


def confidence(
    evidence: str,
    name_source: str,
    role: str,
    *,
    candidates: int = 1,
    front: bool = False,
    partial: bool = False,
) -> float:
    """0..1, from the tables above. `candidates`: watched names that led this client to the address."""
    value = CONFIDENCE[evidence]
    if evidence == "ip":
        value = value / max(candidates, 1) if name_source == "dns" else value * OWNED_NETWORK
    if role in AUXILIARY_ROLES:
        value *= AUXILIARY
    if front and name_source in ON_THE_WIRE:
        value *= FRONT
    if partial:
        value *= PARTIAL
    return round(value, 2)


def channel(service: str, role: str, client_class: str) -> str:
    """How a service is used, where that can be told: by the host, the program, or a browser on a web host."""
    if service == "mcp-server" or (service.endswith(HOSTED_MCP) and role == "api"):
        return "mcp"
    if role in ("api", "app") and client_class in PROGRAMS:
        return PROGRAMS[client_class]
    if role == "api":
        return "api"
    return "web" if role == "app" and client_class == "browser" else ""


class Learnt:
    """Which services' names led a client to an address: one of many is a weaker word than the only one."""

    def __init__(self, limits: Limits | None = None, pairs: int = ADDRESSES) -> None:
        self._limits = limits or Limits()
        self._pairs = pairs
        self._names: OrderedDict[tuple[str, str], dict[str, int]] = OrderedDict()

    def learn(self, client: str, hosts: Iterable[tuple[str, str, int]], service: str, time: int) -> None:
        """A name of `service` was answered with (name, address, TTL in s); good as long as in the engine."""
        for _, address, ttl in hosts:
            pair = client, address
            names = self._names.setdefault(pair, {})
            names.pop(service, None)
            keep = min(max(ttl * 1_000_000_000, self._limits.name_min_ns), self._limits.name_max_ns)
            names[service] = time + keep
            if len(names) > NAMES:
                del names[next(iter(names))]
            self._names.move_to_end(pair)
            if len(self._names) > self._pairs:
                self._names.popitem(last=False)

    def candidates(self, client: str, address: str, time: int) -> int:
        """Services the address may stand for, at least one."""
        names = self._names.get((client, address))
        return max(1, sum([time < until for until in names.values()])) if names else 1
