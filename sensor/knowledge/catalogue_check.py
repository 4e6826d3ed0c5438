"""What a reviewer of the catalogue would ask, asked of every file: the lints of `aiscope catalogue check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sensor.knowledge.catalogue import Catalogue, Match
from sensor.knowledge.catalogue_compile import compiled
from sensor.knowledge.catalogue_files import CatalogueError, Problem, files
from sensor.knowledge.catalogue_load import Source, read_vendors
from sensor.knowledge.catalogue_match import is_common, path_prefix
from sensor.knowledge.catalogue_model import CATEGORIES, AddressCase, Case, RequestCase, Server
from sensor.knowledge.catalogue_score import Rubric
from sensor.knowledge.catalogue_side import Clients, Resolvers, read_side


def check_folder(folder: Path) -> list[Problem]:
    """Everything wrong with a catalogue's folder, or with a folder of vendor files."""
    if not (folder / "services").is_dir():
        return check(folder, whole=False)
    problems = check(folder / "services")
    for name, model in (("resolvers.yaml", Resolvers), ("clients.yaml", Clients), ("rubric.yaml", Rubric)):
        try:
            read_side(folder, name, model)
        except CatalogueError as error:
            problems += error.problems
    return problems


def check(services: Path, whole: bool = True) -> list[Problem]:
    """Everything wrong with a folder of vendor files. `whole`: it is a catalogue, not a user's overrides."""
    sources, problems = read_vendors(files(services))
    if not sources and not problems:
        problems.append(Problem(str(services), 0, "", "no vendor files"))
    catalogue = compiled([source.vendor for source in sources])
    for source in sources:
        problems += _cases(catalogue, source)
        problems += _rules(catalogue, source)
    problems += _alike(sources)
    if whole and not problems:
        problems += _dead_categories(catalogue, services)
    return sorted(problems)


def asked(catalogue: Catalogue, case: Case) -> Match | None:
    """What the catalogue says of a case."""
    if isinstance(case, RequestCase):
        method, path = case.request.split(" ", 1)
        body = case.body.encode()
        return catalogue.match_request(
            method, case.host, case.port, path, case.headers, case.response_headers, body
        )
    if isinstance(case, AddressCase):
        return catalogue.match_address(case.address)
    return catalogue.match(case)


def said(case: Case) -> str:
    """A case in a few words."""
    if isinstance(case, RequestCase):
        return f"{case.request} ({case.host + ', ' if case.host else ''}port {case.port})"
    return case.address if isinstance(case, AddressCase) else case


def _cases(catalogue: Catalogue, source: Source) -> Iterator[Problem]:
    """Every `fires` is on its service, every `silent` is not."""
    for number, service in enumerate(source.vendor.services):
        for kind, cases in (("fires", service.fires), ("silent", service.silent)):
            for i, case in enumerate(cases):
                found = asked(catalogue, case)
                if (found is not None and found.service == service.id) == (kind == "fires"):
                    continue
                result = f"is {found.service} by {found.rule!r}" if found else "matches nothing"
                line = source.line("services", number, kind, i)
                key = f"services[{number}].{kind}[{i}]"
                yield Problem(source.file, line, key, f"{service.id}: {said(case)!r} {result}")


def _rules(catalogue: Catalogue, source: Source) -> Iterator[Problem]:
    """Rules that never decide anything, and rules that would decide too much."""
    for number, service in enumerate(source.vendor.services):
        for role, hosts in service.hosts.items():
            for i, host in enumerate(hosts):
                if reason := _shadowed(catalogue, service.id, role, host):
                    line = source.line("services", number, "hosts", role, i)
                    yield Problem(source.file, line, f"services[{number}].hosts.{role}[{i}]", reason)
        for i, server in enumerate(service.servers):
            if reason := _loose(server):
                line = source.line("services", number, "servers", i)
                yield Problem(source.file, line, f"services[{number}].servers[{i}]", reason)


def _loose(server: Server) -> str:
    """Why an entry would be any web server's: one common word for a path, without a port or a marker."""
    if server.ports or server.markers:
        return ""
    common = [path for path in server.paths if is_common(path_prefix(path))]
    return f"path {common[0]!r} alone says nothing: add ports or a marker" if common else ""


def _alike(sources: Sequence[Source]) -> Iterator[Problem]:
    """Entries of two services that the same request meets, with nothing that says which it is."""
    first: dict[tuple[object, ...], str] = {}
    for source in sources:
        for number, service in enumerate(source.vendor.services):
            for i, server in enumerate(service.servers):
                for what in _meets(server):
                    owner = first.setdefault(what, service.id)
                    if owner != service.id:
                        line = source.line("services", number, "servers", i)
                        text = f"nothing tells it from {owner}: {server.text}"
                        yield Problem(source.file, line, f"services[{number}].servers[{i}]", text)
                        break


def _meets(server: Server) -> Iterator[tuple[object, ...]]:
    markers = (tuple(server.request_headers.items()), tuple(server.response_headers.items()), server.body)
    for port in server.ports or (None,):
        for path in server.paths or ("",):
            yield port, path, *markers


def _shadowed(catalogue: Catalogue, service: str, role: str, host: str) -> str:
    """Why a host pattern changes nothing, or nothing."""
    if host.startswith("=") or "*" in host:
        return ""
    above = catalogue.match(host.partition(".")[2])
    if above and (above.service, above.role) == (service, role) and not above.rule.startswith("="):
        return f"{host!r} is under {above.rule!r}, which says the same"
    return ""


def _dead_categories(catalogue: Catalogue, services: Path) -> Iterator[Problem]:
    used = {entry.service.category for entry in catalogue.services.values()}
    for category in CATEGORIES:
        if category not in used:
            yield Problem(str(services), 0, "", f"category {category!r} has no service")
