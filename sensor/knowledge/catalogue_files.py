"""The files of a catalogue, and a cache of what was made from them.

What a cache holds begins with a key: the hash of what it was made from, or of what `stat` says of it. It is
only read when it is ours and nobody else may write it, and nothing in it is executed. A lost, damaged or old
cache costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGED = Path(__file__).resolve().parents[2] / "signatures"
MAX_FILES = 10_000
MAX_BYTES = 1_048_576  # the largest vendor file is a few dozen kilobytes
MAX_CACHE = 64 * 1_048_576
SETTLED_NS = 2_000_000_000  # the coarsest clock of a file system is FAT's
_PIECE = 65_536  # bytes that nearly every file fits in

Files = list[tuple[str, bytes]]  # name, content


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


def files(folder: Path) -> Files:
    """The YAML files of a folder by name, at most one more byte of each than is allowed."""
    return [(entry.name, _content(entry.path)) for entry in _entries(folder)]


def unused(overrides: Path | None) -> str:
    """Why a folder of overrides adds less than it seems to, "" when it does not."""
    if overrides is None:
        return ""
    if (overrides / "services").is_dir():
        return f"{overrides}: files in its folder services are not read: name that folder"
    return "" if _entries(overrides) else f"{overrides}: no service files (*.yaml) in this folder"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name.endswith(".yaml") and entry.is_file()]
    if len(found) > MAX_FILES:
        raise CatalogueError([Problem(str(folder), 0, "", f"more than {MAX_FILES} files")])
    return sorted(found, key=lambda entry: entry.name)


def stamp(*folders: Path) -> tuple[str, bool]:
    """A hash of what `stat` says of the YAML files, which changes when one does, and whether that is sure.

    As in git's index: a file that was written a moment ago may be written again within the same tick of its
    file system's clock. What is read of it after this call must not be kept under the stamp.
    """
    began = time.time_ns()
    found = [[(entry.name, entry.stat()) for entry in _entries(folder)] for folder in folders]
    told = [
        [(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev) for name, s in part]
        for part in found
    ]
    changes = (max(s.st_mtime_ns, s.st_ctime_ns) for part in found for _, s in part)
    return hashlib.sha256(ascii(told).encode()).hexdigest(), max(changes, default=0) < began - SETTLED_NS


def _content(path: str) -> bytes:
    """There are a thousand of them: the plain calls take a fifth of a file object's time."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = piece = os.read(handle, _PIECE)
        while piece and len(data) <= MAX_BYTES:
            piece = os.read(handle, MAX_BYTES + 1 - len(data))
            data += piece
        return data
    finally:
        os.close(handle)


def content_hash(found: Files) -> str:
    """SHA-256 in hexadecimal over names and contents."""
    digest = hashlib.sha256()
    for name, data in found:
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def version(root: Path) -> int:
    """The number that grows with every published state: the date and a count of the day."""
    text = (root / "version.yaml").read_text("ascii").strip()
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise CatalogueError([Problem("version.yaml", 1, "", "not a number")])
    return int(text)


def newest(home: Path) -> Path:
    """The folder of the catalogue in use: the one installed under `home`, or the package's own if newer."""
    installed = home / "current"
    return installed.resolve() if installed.exists() and version(installed) > version(PACKAGED) else PACKAGED


def cache_file(kind: str, *folders: Path) -> Path | None:
    """Where what is made from folders is kept; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    name = hashlib.sha256(b"\0".join(os.fsencode(folder.resolve()) for folder in folders)).hexdigest()[:16]
    return root / "aiscope" / f"{kind}-{name}.json"


def from_cache(store: Path, key: str) -> bytes | None:
    """What was kept under a key."""
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
        return file.read()


def to_cache(store: Path, key: str, data: bytes) -> None:
    """Best effort: a cache that cannot be written is not missed."""
    import tempfile  # with shutil and random a good part of a start, most of which only read

    with contextlib.suppress(OSError):
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=store.parent, prefix=".new-") as scratch:  # mode 0700
            fresh = Path(scratch) / "cache"
            fresh.write_bytes(key.encode() + b"\n" + data)
            fresh.chmod(0o600)
            fresh.replace(store)
