"""What is decrypted: known before any decryption, from names only.

What is no AI service passes through untouched. So does, for a while, a client that does not accept our
certificates: it is a blind spot that a person should know of, not an outage.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from sensor.knowledge.catalogue import Catalogue, Match
from sensor.knowledge.catalogue_match import Names
from sensor.knowledge.catalogue_model import USE

HOPS = frozenset({"cdn", "telemetry"})  # no content of people; never decrypted
REMEMBERED = 20_000
QUICK = 2.0  # seconds: who pins leaves at once; browsers keep an unused connection for 10 s


class Targets:
    """The names that are decrypted."""

    def __init__(self, catalogue: Catalogue, also: Iterable[str] = (), tenants: Iterable[str] = ()) -> None:
        """`also`: host patterns, as the catalogue writes them, of own gateways and MCP servers; `tenants`:
        login hosts."""
        self._catalogue = catalogue
        self._also = Names((name, Match("", "", "", "api", name)) for name in also)
        self._logins = Names((name, Match("", "", "", "auth", name)) for name in tenants)

    def match(self, *names: str) -> Match | None:
        """What any of these names belongs to, if it is decrypted: the server name and the one the proxy was
        asked for."""
        for name in filter(None, names):
            found = self._catalogue.match(name)
            if found and found.role not in HOPS:
                return found
            if extra := self._also.match(name) or self._logins.match(name):
                return extra
        return None


def is_use(match: Match) -> bool:
    """Whether a policy speaks of it; the rest (logins) is only decrypted for tenant headers."""
    return match.role in USE or not match.role


Key = tuple[
    str, str, str
]  # client, name, its TLS fingerprint: one machine runs programs that trust and others that do not


class Gaps:
    """Clients that do not accept our certificates. Times in seconds of any clock."""

    def __init__(self, lasting: float) -> None:
        self._lasting = lasting
        self._failed: OrderedDict[Key, float] = OrderedDict()
        self._trusting: OrderedDict[Key, float] = OrderedDict()

    def passes(self, key: Key, now: float) -> bool:
        """Whether this client passes through for now."""
        return now - self._failed.get(key, -self._lasting) < self._lasting

    def trusted(self, key: Key, now: float) -> None:
        """A request came: it does accept them."""
        _keep(self._trusting, key, now)

    def failed(self, key: Key, now: float) -> None:
        """The handshake failed."""
        _keep(self._failed, key, now)

    def left(self, key: Key, now: float, after: float) -> bool:
        """It closed `after` seconds without a request. True if that tells of a pin: TLS 1.3 lets the client
        finish first.

        Browsers open connections that they never use; one that has sent requests elsewhere on this name is
        none.
        """
        if after > QUICK or key in self._trusting:
            return False
        _keep(self._failed, key, now)
        return True


def _keep(table: OrderedDict[Key, float], key: Key, now: float) -> None:
    table[key] = now
    table.move_to_end(key)
    if len(table) > REMEMBERED:
        table.popitem(last=False)
