"""The catalogue: which service a name, an address or a request in clear belongs to.

    catalogue = load()
    catalogue.match("api.openai.com")     # Match(service="openai-api", ...)
    catalogue.watch()                     # what an engine should report

Most specific wins; the rules are in `signatures/README.md`. A catalogue never changes: a new one is loaded
beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sensor.frozen import dataclass
from sensor.knowledge import catalogue_rules
from sensor.knowledge.catalogue_files import (
    PACKAGED,
    CatalogueError,
    Files,
    Problem,
    cache_file,
    content_hash,
    files,
    from_cache,
    stamp,
    to_cache,
    version,
)
from sensor.knowledge.catalogue_match import (
    ClientClasses,
    Match,
    Names,
    Networks,
    Requests,
    Seen,
    ServerRule,
    is_everyday,
    path_prefix,
)
from sensor.knowledge.catalogue_rules import Rules
from sensor.packets.facts import Watch

if TYPE_CHECKING:  # the types of the files are imported when what only they have is asked for
    from sensor.knowledge.catalogue_model import Service, Vendor
    from sensor.knowledge.catalogue_score import Rubric, Score
    from sensor.knowledge.catalogue_side import Clients, Resolvers

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


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything the files say."""

    services: dict[str, Entry]
    resolvers: Resolvers
    clients: Clients
    rubric: Rubric


class Catalogue:
    """All services, compiled. What is not needed to match is read when it is asked for."""

    def __init__(self, rules: Rules, contents: Callable[[], Contents]) -> None:
        self.id = rules.id
        self._rules = rules
        self._contents = contents

    def __len__(self) -> int:
        """Services."""
        return len(self._rules.services)

    @cached_property
    def contents(self) -> Contents:
        """What the files say beyond rules."""
        return self._contents()

    # Tables are made when they are first asked: an engine can be at work before.

    @cached_property
    def _names(self) -> Names:
        says = self._says
        return Names((host, says(service, role, host)) for host, service, role in self._rules.hosts)

    @cached_property
    def _networks(self) -> Networks:
        says = self._says
        return Networks((cidr, says(service, "", cidr)) for cidr, service in self._rules.addresses)

    @cached_property
    def _requests(self) -> Requests:
        rules, says = self._rules, self._says
        return Requests(
            [(host, path, says(service, role, text)) for host, path, service, role, text in rules.requests],
            [ServerRule(row, says(row.service, row.role, row.text)) for row in rules.servers],
        )

    @cached_property
    def _clients(self) -> ClientClasses:
        return ClientClasses(self._rules.ja4, self._rules.agents)

    @property
    def services(self) -> dict[str, Entry]:
        """By id."""
        return self.contents.services

    def rows(self) -> Iterator[dict[str, Any]]:
        """Its services as rows of the store's `services`."""
        for entry in self.services.values():
            service, vendor = entry.service, entry.vendor
            yield {
                "id": service.id,
                "name": service.name,
                "vendor": vendor.vendor,
                "vendor_name": vendor.name,
                "country": vendor.country or "",
                "category": service.category,
                "description": service.description or "",
                "score": self.score(service.id).score,
                "facts": service.facts.model_dump(mode="json", exclude_none=True),
            }

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
        return self._clients.of(ja4, user_agent)

    def score(self, service: str) -> Score:
        """A service's risk by the catalogue's rubric. Raises `KeyError`."""
        from sensor.knowledge.catalogue_score import score

        entry = self.services[service]
        return score(entry.service, entry.vendor, self.contents.rubric)

    def watch(self) -> Watch:
        """What an engine is to report, without what it means.

        Paths that any web server may have are left out: they only decide about flows that are watched for
        another reason.
        """
        rules = self._rules
        hosts = [pattern for pattern, _, _ in rules.hosts]
        paths = {path_prefix(path) for _, path, *_ in rules.requests}
        ports: set[int] = set()
        for row in rules.servers:
            if row.ports and not WEB_PORTS.intersection(row.ports):
                ports.update(row.ports)
            else:
                paths.update(path_prefix(path) for path in row.paths)
        watched = {path.partition("?")[0] for path in paths}  # an engine sees no query
        return Watch(
            names=frozenset(host.removeprefix("=") for host in hosts if "*" not in host),
            patterns=frozenset(host for host in hosts if "*" in host),
            networks=tuple(cidr for cidr, _ in rules.addresses),
            paths=frozenset(path for path in watched if not is_everyday(path)),
            ports=frozenset(ports),
            fronts=frozenset(rules.fronts),
            resolvers=frozenset(rules.resolvers),
            resolver_ips=frozenset(rules.resolver_ips),
        )

    def _says(self, service: str, role: str, rule: str) -> Match:
        vendor, category = self._rules.services[service]
        return Match(service, vendor, category, role, rule)


def load(root: Path = PACKAGED, overrides: Path | None = None, cache: bool = True) -> Catalogue:
    """The catalogue of a folder like `signatures/`, the user's own files over it.

    Raises `CatalogueError` with everything that is wrong, `OSError` for a folder that cannot be read.
    """
    state, settled = stamp(*_folders(root, overrides))
    store = cache_file("rules", root, *([overrides] if overrides else [])) if cache else None
    key = hashlib.sha256(f"{catalogue_rules.FORM} {state}".encode()).hexdigest()
    if store and (data := from_cache(store, key)) and (rules := catalogue_rules.read(data)):
        return Catalogue(rules, lambda: _contents(root, overrides, _files(root, overrides), cache))
    found = _files(root, overrides)
    if not found[1]:
        raise CatalogueError([Problem(str(root), 0, "", "no vendor files in services/")])
    id, made = _id(root, found), _contents(root, overrides, found, cache)
    from sensor.knowledge import catalogue_compile

    rules = catalogue_compile.rules(made, id)
    if store and settled:
        to_cache(store, key, catalogue_rules.dump(rules))
    return Catalogue(rules, lambda: made)


def _contents(root: Path, overrides: Path | None, found: list[Files], cache: bool) -> Contents:
    from sensor.knowledge import catalogue_compile

    _, services, mine = found
    return catalogue_compile.read(root, services, overrides, mine, cache)


def catalogue_id(root: Path, overrides: Path | None = None) -> str:
    """Version and content of a catalogue, cheap enough to ask now and then: `2026112201-3fa9c1d2e4b5`."""
    return _id(root, _files(root, overrides))


def _folders(root: Path, overrides: Path | None) -> list[Path]:
    return [root, root / "services", *([overrides] if overrides else [])]


def _files(root: Path, overrides: Path | None) -> list[Files]:
    """Of the root, of its services, and the user's own."""
    return [*map(files, _folders(root, overrides)), *([] if overrides else [[]])]


def _id(root: Path, found: list[Files]) -> str:
    digest = content_hash([file for part in found for file in part])
    return f"{version(root)}-{digest[:12]}"
