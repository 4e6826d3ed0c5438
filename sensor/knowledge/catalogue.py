"""The catalogue: which service a name, an address or a request in clear belongs to.

    catalogue = load()
    catalogue.match("api.openai.com")     # Match(service="openai-api", ...)
    catalogue.watch()                     # what an engine should report

Most specific wins; the rules are in `signatures/README.md`. A catalogue never changes: a new one is loaded
beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sensor.knowledge.catalogue_load import (
    PACKAGED,
    CatalogueError,
    Files,
    Problem,
    content_hash,
    files,
    vendors,
)
from sensor.knowledge.catalogue_match import (
    Match,
    Names,
    Networks,
    Requests,
    Seen,
    ServerRule,
    is_common,
    path_prefix,
    path_regex,
)
from sensor.knowledge.catalogue_model import Request, Server, Service, Vendor
from sensor.knowledge.catalogue_score import Rubric, Score, score
from sensor.knowledge.catalogue_side import Clients, Resolvers, read_side
from sensor.packets.facts import Watch

__all__ = ["Catalogue", "Match", "load"]

# Ports that any web server may have: watched by path, never as a whole.
WEB_PORTS = frozenset({80, 443, 3000, 3001, 5000, 8000, 8001, 8080, 8081, 8443, 8888, 9000, 9090})
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Entry:
    """A service and who runs it."""

    service: Service
    vendor: Vendor

    def rules(self) -> Iterator[tuple[str, str, str]]:
        """Kind, role and text of everything that identifies the service."""
        for role, hosts in self.service.hosts.items():
            for host in hosts:
                kind = "exact" if host.startswith("=") else "glob" if "*" in host else "suffix"
                yield kind, role, host.removeprefix("=")
        for cidr in self.service.addresses:
            yield "address", "", cidr
        for request in self.service.requests:
            yield "request", request.role, request.text
        for server in self.service.servers:
            yield "server", server.role, server.text


class Catalogue:
    """All services, compiled."""

    def __init__(
        self,
        vendors: Sequence[Vendor],
        *,
        id: str = "",
        overrides: Sequence[Vendor] = (),
        resolvers: Resolvers = Resolvers(),  # noqa: B008 - frozen
        clients: Clients = Clients(),  # noqa: B008
        rubric: Rubric = Rubric(),  # noqa: B008
    ) -> None:
        self.id = id
        self.resolvers = resolvers
        self.clients = clients
        self.rubric = rubric
        self.services: dict[str, Entry] = {}
        for vendor in (*vendors, *overrides):
            for service in vendor.services:
                self.services.pop(service.id, None)  # what comes last wins, also over equal patterns
                self.services[service.id] = Entry(service, vendor)
        self._names = Names(self._hosts())
        self._networks = Networks(self._addresses())
        self._requests = Requests(
            [(rule.host, rule.path, self._says(at, rule.role, rule.text)) for at, rule in self._shared()],
            [self._server_rule(entry, server) for entry, server in self._servers()],
        )

    def match(self, name: str) -> Match | None:
        """The service a host name belongs to. Any text is allowed; what is no host name matches nothing."""
        return self._names.match(name)

    def match_address(self, address: str) -> Match | None:
        """The service whose vendor owns the address (text, IPv4 or IPv6)."""
        return self._networks.match(address)

    def match_request(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        headers: Mapping[str, str] = _NONE,
        response_headers: Mapping[str, str] = _NONE,
        body: bytes = b"",
    ) -> Match | None:
        """The service of a request in clear or decrypted: path on a shared host, name, path, software.

        Header names in lower case; `host` without port; `path` with its query; `body`: first bytes of the
        response's. Without a response the answer may be less exact, never different in kind.
        """
        seen = Seen(method, port, path, headers, response_headers, body)
        return self._requests.shared(host, seen) or self._names.match(host) or self._requests.anywhere(seen)

    def client_class(self, ja4: str, user_agent: str = "") -> str:
        """The class of a client by what can be seen of it, "" when that is not known."""
        return self.clients.client_class(ja4, user_agent)

    def score(self, service: str) -> Score:
        """A service's risk by the catalogue's rubric. Raises `KeyError`."""
        entry = self.services[service]
        return score(entry.service, entry.vendor, self.rubric)

    def watch(self) -> Watch:
        """What an engine is to report, without what it means.

        Paths that any web server may have are left out: they only decide about flows that are watched for
        another reason.
        """
        hosts = [pattern for pattern, _ in self._hosts()]
        paths = {path_prefix(rule.path) for _, rule in self._shared()}
        ports: set[int] = set()
        for _, server in self._servers():
            if server.ports and not WEB_PORTS.intersection(server.ports):
                ports.update(server.ports)
            else:
                paths.update(path_prefix(path) for path in server.paths)
        return Watch(
            names=frozenset(host.removeprefix("=") for host in hosts if "*" not in host),
            patterns=frozenset(host for host in hosts if "*" in host),
            networks=tuple(cidr for cidr, _ in self._addresses()),
            paths=frozenset(path for path in paths if not is_common(path)),
            ports=frozenset(ports),
            fronts=self.resolvers.front_names,
            resolvers=self.resolvers.names,
            resolver_ips=self.resolvers.ips,
        )

    def _hosts(self) -> Iterator[tuple[str, Match]]:
        for entry in self.services.values():
            for role, hosts in entry.service.hosts.items():
                for host in hosts:
                    yield host, self._says(entry, role, host)

    def _addresses(self) -> Iterator[tuple[str, Match]]:
        for entry in self.services.values():
            for cidr in entry.service.addresses:
                yield cidr, self._says(entry, "", cidr)

    def _shared(self) -> Iterator[tuple[Entry, Request]]:
        return ((entry, rule) for entry in self.services.values() for rule in entry.service.requests)

    def _servers(self) -> Iterator[tuple[Entry, Server]]:
        return ((entry, server) for entry in self.services.values() for server in entry.service.servers)

    def _server_rule(self, entry: Entry, server: Server) -> ServerRule:
        match = self._says(entry, server.role, server.text)
        return ServerRule(server, tuple(path_regex(path) for path in server.paths), match)

    @staticmethod
    def _says(entry: Entry, role: str, rule: str) -> Match:
        return Match(entry.service.id, entry.vendor.vendor, entry.service.category, role, rule)


def load(root: Path = PACKAGED, overrides: Path | None = None, cache: bool = True) -> Catalogue:
    """The catalogue of a folder like `signatures/`, the user's own files over it.

    Raises `CatalogueError` with everything that is wrong, `OSError` for a folder that cannot be read.
    """
    services, mine = files(root / "services"), files(overrides) if overrides else []
    if not services:
        raise CatalogueError([Problem(str(root), 0, "", "no vendor files in services/")])
    return Catalogue(
        vendors(services, cache),
        id=_identity(root, services, mine),
        overrides=vendors(mine, cache),
        resolvers=read_side(root, "resolvers.yaml", Resolvers),
        clients=read_side(root, "clients.yaml", Clients),
        rubric=read_side(root, "rubric.yaml", Rubric),
    )


def catalogue_id(root: Path, overrides: Path | None = None) -> str:
    """Version and content of a catalogue, cheap enough to ask now and then: `2026112201-3fa9c1d2e4b5`."""
    return _identity(root, files(root / "services"), files(overrides) if overrides else [])


def _identity(root: Path, services: Files, mine: Files) -> str:
    return f"{version(root)}-{content_hash([*files(root), *services, *mine])[:12]}"


def version(root: Path) -> int:
    """The number that grows with every published state: the date and a count of the day."""
    text = (root / "version.yaml").read_text("ascii").strip()
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise CatalogueError([Problem("version.yaml", 1, "", "not a number")])
    return int(text)
