"""Files to vendors: every error with file, line and key. Their cache goes through the same types again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from sensor.knowledge import catalogue_yaml
from sensor.knowledge.catalogue_files import (
    CatalogueError,
    Files,
    Problem,
    cache_file,
    content_hash,
    from_cache,
    to_cache,
)
from sensor.knowledge.catalogue_model import Vendor

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Source:
    """One vendor file: where it is, what it says, and the lines of its values."""

    file: str
    vendor: Vendor
    lines: catalogue_yaml.Lines

    def line(self, *path: str | int) -> int:
        """Line of the value at `path`, or of the nearest one above it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 0


def parse(data: bytes, file: str, model: type[M]) -> tuple[M | None, catalogue_yaml.Lines, list[Problem]]:
    """One YAML file as `model`, or everything that is wrong with it."""
    try:
        value, lines = catalogue_yaml.parse(data)
        return model.model_validate(value), lines, []
    except catalogue_yaml.UnreadableError as error:
        return None, {}, [Problem(file, error.line, "", str(error))]
    except ValidationError as error:
        return None, {}, [_problem(file, lines, found) for found in _best(error)]


def _best(error: ValidationError) -> list[dict[str, Any]]:
    """The errors, one for each place: a value that fits no member of a union has one for each member."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in error.errors(include_url=False, include_input=False):
        path = tuple(part for part in item["loc"] if not (isinstance(part, str) and _is_type(part)))
        found.setdefault(path, {**item, "loc": path})
    # What is wrong inside of a value makes the value wrong as well; that is said once.
    return [
        item
        for path, item in found.items()
        if not any(path == other[: len(path)] != other for other in found)
    ]


def _is_type(part: str) -> bool:
    """pydantic puts the member of a union into the path: a class, or `constrained-str`."""
    return part[:1].isupper() or part.startswith(("constrained-", "function-"))


def _problem(file: str, lines: catalogue_yaml.Lines, item: dict[str, Any]) -> Problem:
    path: tuple[str | int, ...] = item["loc"]
    line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 0)
    text = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "model_type":  # pydantic's message names our class
        text = "should be a mapping"
    return Problem(file, line, _dotted(path), text[:1].lower() + text[1:])


def _dotted(path: Iterable[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text.encode("unicode_escape").decode()  # a key is the file's, and goes to terminals


def read_vendors(found: Files) -> tuple[list[Source], list[Problem]]:
    """The vendor files that have the right form, and all problems."""
    sources: list[Source] = []
    problems: list[Problem] = []
    for name, data in found:
        vendor, lines, wrong = parse(data, name, Vendor)
        problems += wrong
        if vendor is None:
            continue
        if vendor.vendor != (stem := PurePath(name).stem):
            text = f"vendor is {vendor.vendor!r}, the file's name says {stem!r}"
            problems.append(Problem(name, lines[("vendor",)], "vendor", text))
        sources.append(Source(name, vendor, lines))
    return sources, problems + _duplicates(sources)


def _duplicates(sources: Sequence[Source]) -> list[Problem]:
    """Ids and evidence that two places claim."""
    first: dict[tuple[str, str], str] = {}
    problems = []
    for source in sources:
        for what, text, path in _claims(source.vendor):
            place = f"{source.file}: {_dotted(path)}"
            owner = first.setdefault((what, text), place)
            if owner != place:
                line = source.line(*path)
                said = f"{what} {text!r} is in {owner} already"
                problems.append(Problem(source.file, line, _dotted(path), said))
    return problems


def _claims(vendor: Vendor) -> Iterator[tuple[str, str, tuple[str | int, ...]]]:
    """What only one place may hold: kind, text, path in the file."""
    for number, service in enumerate(vendor.services):
        at = ("services", number)
        yield "service id", service.id, (*at, "id")
        for role, hosts in service.hosts.items():
            for i, host in enumerate(hosts):
                yield "host", host, (*at, "hosts", role, i)
        for i, cidr in enumerate(service.addresses):
            yield "address", cidr, (*at, "addresses", i)
        for i, request in enumerate(service.requests):
            yield "request", f"{request.host or ''} {request.path}", (*at, "requests", i)


def vendors(found: Files, folder: Path | None = None) -> tuple[Vendor, ...]:
    """The vendors of a folder's files, from its cache if that was made from these. Raises `CatalogueError`."""
    key = content_hash(found)
    store = cache_file("catalogue", folder) if folder else None
    if store and (data := from_cache(store, key)) is not None:
        with contextlib.suppress(ValidationError):
            return _VENDORS.validate_json(data)
    sources, problems = read_vendors(found)
    if problems:
        raise CatalogueError(sorted(problems))
    result = tuple(source.vendor for source in sources)
    if store:
        to_cache(store, key, _VENDORS.dump_json(result, exclude_defaults=True))
    return result


_VENDORS = TypeAdapter(tuple[Vendor, ...])
