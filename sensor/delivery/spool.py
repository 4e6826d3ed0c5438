"""The spool: a sensor's rows on its disk until the store has them.

One SQLite file in write-ahead mode, synced at every commit. What `commit` wrote is delivered once; a crash
before it loses at most one interval. Rows are kept in segments, one per commit, table and month; whoever
ships (`sensor.delivery.outbox`, in this process or another) joins segments into batches.

Nothing here makes a sensor wait: when the file reaches its limit, or the disk has no room, the oldest rows
go, are counted, and the count is shipped in `sensor_stats`, whose own rows stay.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

from sensor.delivery.columns import arrow, pieces
from sensor.delivery.event import Event, SensorStats

INTERVAL = 1.0  # seconds between commits
ROWS = 20_000  # that are committed without waiting for the interval: they are some 2 kB each
HELD = 200_000  # rows kept in memory while the disk takes none
LIMIT = 1 << 30
SUFFIX = ".spool"  # a damaged file is moved aside: it had better be ours
SEALED = ("user", "client_host", "client_mac")

_APPLICATION = 0x61697363  # "aisc", in the file's header
_VERSION = 1
_LOCKED = 5.0  # seconds that a writer waits for a shipper's transaction
_ROOM = 64 << 10  # bytes on the disk without which SQLite cannot even open a file
_FRAME = 1 << 30  # bytes: a batch has some 40 MB; a damaged header may claim anything
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, month INTEGER,
    rows INTEGER, written REAL, data BLOB);
CREATE INDEX IF NOT EXISTS waiting ON segments (kind, month, rows, written);
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, month INTEGER,
    rows INTEGER, written REAL, token TEXT, columns TEXT, tries INTEGER DEFAULT 0, aside INTEGER DEFAULT 0,
    error TEXT DEFAULT '', data BLOB);
CREATE INDEX IF NOT EXISTS frozen ON batches (aside, rows);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_log = logging.getLogger("aiscope.spool")


class SpoolError(OSError):
    """A spool that cannot be used; the text says which file and what to do."""


class Damaged(SpoolError):  # noqa: N818  # the word says it
    """The file is no sound SQLite database."""


class Spool:
    """The writing end. `put` from one thread; other threads and processes open their own.

    `seal` replaces a name by its token: names of people and hosts leave the sensor through here.
    A damaged file is moved aside, with a warning, and a new one begun.
    """

    def __init__(
        self,
        path: Path,
        sensor: str,
        *,
        seal: Callable[[str], str] | None = None,
        limit: int = LIMIT,
        interval: float = INTERVAL,
    ) -> None:
        self.path, self._sensor, self._seal = path, sensor, seal
        self._limit, self._interval = limit, interval
        try:
            self._base = connect(path, create=True)
        except Damaged as error:
            _log.error("%s; kept as %s, a new one begins", error, set_aside(path))
            self._base = connect(path, create=True)
        self._waiting: list[Event] = []
        self._lost = 0  # not yet in the file
        self._committed = time.monotonic()
        self._stuck = False

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> bool:
        """Commit what waits and close. False: rows are lost, which was said."""
        whole = self.commit()
        if not whole:
            _log.error("%s: %d rows could not be written and are lost", self.path, len(self._waiting))
        self._base.close()
        return whole

    def put(self, events: Iterable[Event]) -> None:
        """Take rows; commit when an interval has passed. When idle call it with none, for the latter."""
        self._waiting.extend(self._sealed(event) for event in events)
        if len(self._waiting) >= ROWS or time.monotonic() - self._committed >= self._interval:
            self.commit()

    def commit(self) -> bool:
        """Write what waits; False when the disk takes nothing now: rows stay in memory, within bounds."""
        self._committed = time.monotonic()
        if not self._waiting:
            return True
        try:
            with reported(self.path):
                self._write()
        except Damaged:
            raise
        except SpoolError as error:
            self._hold(error)
            return False
        self._waiting.clear()
        self._lost, self._stuck = 0, False
        return True

    def room(self) -> bool:
        """Whether rows fit without others being dropped: for a producer that can wait."""
        with reported(self.path):
            return _used(self._base) < self._allowed() * 3 // 4

    def _write(self) -> None:
        now = time.time()
        rows = [event for event in self._waiting if not isinstance(event, SensorStats)]
        segments = list(self._segments(rows, now))
        lost = self._lost + len(rows) - sum(segment[2] for segment in segments)
        with transaction(self._base) as base:
            count(base, "lost", lost)
            count(base, "unreported", lost)
            _insert(base, segments)
            self._make_room(base)
            if len(rows) < len(self._waiting):
                _insert(base, self._segments(self._statistics(base), now))

    def _segments(self, rows: Sequence[Event], now: float) -> Iterator[tuple[Any, ...]]:
        for kind, month, piece in pieces(rows):
            for part in self._tables(piece):
                yield kind, month, part.num_rows, now, packed(part)

    def _tables(self, piece: Sequence[Event]) -> Iterator[pa.Table]:
        """A piece as one table. A row that no column takes is a fault of ours: it is dropped, and the rest stays."""
        try:
            yield arrow(piece, self._sensor, 0)
        except (ArithmeticError, TypeError, ValueError) as error:
            if len(piece) == 1:
                _log.error("a row cannot be kept: %s", error)
                return
            middle = len(piece) // 2
            yield from self._tables(piece[:middle])
            yield from self._tables(piece[middle:])

    def _statistics(self, base: sqlite3.Connection) -> list[Event]:
        """Statistics with what only the spool knows. What is said here as lost is not said again."""
        lost, skew = meta(base, "unreported", 0), meta(base, "skew")
        base.execute("UPDATE meta SET value = 0 WHERE name = 'unreported'")
        waiting = rows_waiting(base)
        stats: list[Event] = []
        for event in self._waiting:
            if isinstance(event, SensorStats):
                stats.append(replace(event, spool_rows=waiting, spool_lost=lost, clock_skew=skew))
                lost = 0
        return stats

    def _make_room(self, base: sqlite3.Connection) -> None:
        """Drop the oldest rows until the file is within its limit; never a batch that may be under way."""
        allowed = self._allowed()
        while _used(base) > allowed:
            oldest = base.execute(
                "SELECT number, rows FROM batches WHERE aside ORDER BY number LIMIT 1"
            ).fetchone()
            table, key = "batches", "number"
            if oldest is None:
                table, key = "segments", "id"
                oldest = base.execute(
                    "SELECT id, rows FROM segments WHERE kind != 'sensor_stats' ORDER BY id LIMIT 1"
                ).fetchone()
            if oldest is None:
                return
            base.execute(f"DELETE FROM {table} WHERE {key} = ?", oldest[:1])
            count(base, "lost", oldest[1])
            count(base, "unreported", oldest[1])

    def _allowed(self) -> int:
        """Bytes the file may have. A fifth of what the disk could give stays free: deleting takes some."""
        used = _used(self._base)
        return min(self._limit, (used + shutil.disk_usage(self.path.parent).free) * 4 // 5)

    def _hold(self, error: SpoolError) -> None:
        """The disk took nothing: keep rows in memory, the newest of them when they are too many."""
        if not self._stuck:
            _log.error("%s; rows wait in memory", error)
        self._stuck = True
        dropped = len(self._waiting) - HELD
        if dropped > 0:
            del self._waiting[:dropped]
            self._lost += dropped

    def _sealed(self, event: Event) -> Event:
        if self._seal is None:
            return event
        names: dict[str, Any] = {
            name: self._seal(getattr(event, name)) for name in SEALED if hasattr(event, name)
        }
        return replace(event, **names) if names else event


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open a spool's file and check it. Damaged and SpoolError say what is wrong."""
    if path.suffix != SUFFIX:
        raise SpoolError(f"{path}: a spool's name ends in {SUFFIX}")
    try:
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        elif not path.is_file():
            raise SpoolError(f"{path}: no spool there; `aiscope watch` makes one")
    except OSError as error:
        raise error if isinstance(error, SpoolError) else SpoolError(f"{path}: {error.strerror}") from None
    with reported(path):
        base = sqlite3.connect(path, isolation_level=None, timeout=_LOCKED, check_same_thread=False)
        try:
            _prepare(base, path)
        except BaseException:
            base.close()
            raise
    return base


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
            raise Damaged(f"{path}: damaged: {error}; its writer moves it aside when it starts") from error
        raise SpoolError(f"{path}: {error}{_no_room(path)}") from error


def _no_room(path: Path) -> str:
    """Why it may have gone wrong: SQLite says no more than that it cannot write."""
    with suppress(OSError):
        if shutil.disk_usage(path.parent).free < _ROOM:
            return "; its disk is full"
    return ""


def _prepare(base: sqlite3.Connection, path: Path) -> None:
    found = base.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise Damaged(f"{path}: damaged: {' '.join(found.split())}")
    application, version = (
        base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application not in (0, _APPLICATION) or version > _VERSION:
        raise SpoolError(f"{path}: not a spool of this version")
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = FULL")
    if application != _APPLICATION:
        base.executescript(_SCHEMA)
        base.execute("INSERT OR IGNORE INTO meta VALUES ('id', ?)", (uuid.uuid4().hex,))


def set_aside(path: Path) -> Path:
    """Move a damaged spool and its log out of the way; its new name."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}{SUFFIX}")
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return path.rename(aside)


@contextmanager
def transaction(base: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, and on the disk when it ends."""
    base.execute("BEGIN IMMEDIATE")
    try:
        yield base
        base.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk has rolled back already
            base.execute("ROLLBACK")
        raise


def packed(rows: pa.Table) -> bytes:
    """An Arrow stream, zstd-compressed with a checksum: what lies in the file and what goes to the store."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(memoryview(sink.getvalue()))


def unpacked(data: bytes) -> pa.Table:
    """The rows of `packed`. ValueError when it is none."""
    try:
        if zstandard.get_frame_parameters(data).content_size > _FRAME:
            raise ValueError("damaged rows: larger than any batch")
        return pa.ipc.open_stream(zstandard.ZstdDecompressor().decompress(data)).read_all()
    except (zstandard.ZstdError, pa.ArrowException, OSError) as error:
        raise ValueError(f"damaged rows: {error}") from None


def meta(base: sqlite3.Connection, name: str, default: Any = None) -> Any:
    """A value the spool keeps of itself: id, lost, unreported, skew, delivered, problem."""
    row = base.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return default if row is None else row[0]


def count(base: sqlite3.Connection, name: str, by: int) -> None:
    """Add to a counter."""
    base.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?", (name, by, by)
    )


def rows_waiting(base: sqlite3.Connection) -> int:
    """Rows that the store does not have yet."""
    found: int = base.execute(
        "SELECT (SELECT coalesce(sum(rows), 0) FROM segments)"
        " + (SELECT coalesce(sum(rows), 0) FROM batches WHERE NOT aside)"
    ).fetchone()[0]
    return found


def _insert(base: sqlite3.Connection, segments: Iterable[tuple[Any, ...]]) -> None:
    base.executemany(
        "INSERT INTO segments (kind, month, rows, written, data) VALUES (?, ?, ?, ?, ?)", segments
    )


def _used(base: sqlite3.Connection) -> int:
    """Bytes of the file that hold something: deleted pages are used again."""
    pages, free, size = (
        base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
