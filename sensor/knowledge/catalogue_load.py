"""Files to vendors: every error with file, line and key, and a cache of what was found right.

The cache is JSON that goes through the same types again. It begins with the hash of what it was made from,
and is only read when it is ours and nobody else may write it. A lost or old cache costs time and nothing
else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from sensor.knowledge import catalogue_yaml
from sensor.knowledge.catalogue_model import Vendor

PACKAGED = Path(__file__).resolve().parents[2] / "signatures"
MAX_FILES = 10_000
MAX_CACHE = 64 * 1_048_576

M = TypeVar("M", bound=BaseModel)
Files = list[tuple[Path, bytes]]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, and where. `line` counts from 1; 0 when the whole file is meant."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key + ': ' if self.key else ''}{self.text}"


class CatalogueError(ValueError):
    """A catalogue that cannot be used. `problems` has all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")


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
    for path, data in found:
        vendor, lines, wrong = parse(data, path.name, Vendor)
        problems += wrong
        if vendor is None:
            continue
        if vendor.vendor != path.stem:
            text = f"vendor is {vendor.vendor!r}, the file's name says {path.stem!r}"
            problems.append(Problem(path.name, lines[("vendor",)], "vendor", text))
        sources.append(Source(path.name, vendor, lines))
    return sources, problems + _duplicates(sources)


def files(folder: Path) -> Files:
    """The YAML files of a folder by name and their bytes, at most one more byte of each than is allowed."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name.endswith(".yaml") and entry.is_file())
    if len(names) > MAX_FILES:
        raise CatalogueError([Problem(str(folder), 0, "", f"more than {MAX_FILES} files")])
    found = []
    for name in names:
        path = folder / name
        with path.open("rb", buffering=0) as file:
            found.append((path, file.read(catalogue_yaml.MAX_BYTES + 1)))
    return found


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


def vendors(found: Files, cache: bool = True) -> tuple[Vendor, ...]:
    """The vendors of a folder's files, from the cache if it was made from these. Raises `CatalogueError`."""
    key = content_hash(found)
    store = _cache_file(found[0][0].parent) if cache and found else None
    if store and (cached := _from_cache(store, key)) is not None:
        return cached
    sources, problems = read_vendors(found)
    if problems:
        raise CatalogueError(sorted(problems))
    result = tuple(source.vendor for source in sources)
    if store:
        _to_cache(store, key, result)
    return result


def content_hash(found: Files) -> str:
    """SHA-256 in hexadecimal over names and contents."""
    digest = hashlib.sha256()
    for path, data in found:
        digest.update(f"{path.name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _cache_file(folder: Path) -> Path | None:
    """Where a folder's cache is; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return root / "aiscope" / f"catalogue-{name}.json"


def _from_cache(store: Path, key: str) -> tuple[Vendor, ...] | None:
    try:
        handle = os.open(store, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        ours = state.st_uid == os.geteuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not (ours and stat.S_ISREG(state.st_mode) and state.st_size <= MAX_CACHE):
            return None
        if file.readline(80).decode("latin-1").strip() != key:
            return None
        try:
            return _VENDORS.validate_json(file.read())
        except ValidationError:
            return None


def _to_cache(store: Path, key: str, found: tuple[Vendor, ...]) -> None:
    """Best effort: a cache that cannot be written is not missed."""
    with contextlib.suppress(OSError):
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=store.parent, prefix=".new-") as scratch:  # mode 0700
            fresh = Path(scratch) / "cache"
            fresh.write_bytes(key.encode() + b"\n" + _VENDORS.dump_json(found, exclude_defaults=True))
            fresh.chmod(0o600)
            fresh.replace(store)


_VENDORS = TypeAdapter(tuple[Vendor, ...])
