"""Vendors to the rules of a catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sensor.knowledge.catalogue import Catalogue, Contents, Entry
from sensor.knowledge.catalogue_files import Files
from sensor.knowledge.catalogue_load import vendors
from sensor.knowledge.catalogue_model import Vendor
from sensor.knowledge.catalogue_rules import Rules, ServerRow
from sensor.knowledge.catalogue_score import Rubric
from sensor.knowledge.catalogue_side import Clients, Resolvers, read_side


def compiled(
    vendors: Sequence[Vendor],
    *,
    overrides: Sequence[Vendor] = (),
    id: str = "",
    resolvers: Resolvers = Resolvers(),  # noqa: B008 - frozen
    clients: Clients = Clients(),  # noqa: B008
    rubric: Rubric = Rubric(),  # noqa: B008
) -> Catalogue:
    """A catalogue of what is at hand; `overrides` win over `vendors`."""
    contents = Contents(_services([*vendors, *overrides]), resolvers, clients, rubric)
    return Catalogue(rules(contents, id), lambda: contents)


def read(root: Path, services: Files, overrides: Path | None, mine: Files, cache: bool) -> Contents:
    """What the files of a catalogue's folders say, all of it validated. Raises `CatalogueError`."""
    return Contents(
        _services(
            [
                *vendors(services, root / "services" if cache else None),
                *vendors(mine, overrides if cache else None),
            ]
        ),
        read_side(root, "resolvers.yaml", Resolvers),
        read_side(root, "clients.yaml", Clients),
        read_side(root, "rubric.yaml", Rubric),
    )


def _services(vendors: Sequence[Vendor]) -> dict[str, Entry]:
    services: dict[str, Entry] = {}
    for vendor in vendors:
        for service in vendor.services:
            services.pop(service.id, None)  # what comes last wins, also over equal patterns
            services[service.id] = Entry(service, vendor)
    return services


def rules(contents: Contents, id: str) -> Rules:
    """The rules of everything that the files say."""
    services = [entry.service for entry in contents.services.values()]
    return Rules(
        id=id,
        services={
            id: (entry.vendor.vendor, entry.service.category) for id, entry in contents.services.items()
        },
        hosts=[(host, s.id, role) for s in services for role, hosts in s.hosts.items() for host in hosts],
        addresses=[(cidr, s.id) for s in services for cidr in s.addresses],
        requests=[(r.host, r.path, s.id, r.role, r.text) for s in services for r in s.requests],
        servers=list(_servers(contents)),
        resolvers=sorted(contents.resolvers.names),
        resolver_ips=sorted(contents.resolvers.ips),
        fronts=sorted(contents.resolvers.front_names),
        ja4=contents.clients.by_ja4,
        agents=contents.clients.by_length,
    )


def _servers(contents: Contents) -> Iterator[ServerRow]:
    for id, entry in contents.services.items():
        for s in entry.service.servers:
            yield ServerRow(
                id, s.role, s.text, s.ports, s.paths, s.request_headers, s.response_headers, s.body
            )
