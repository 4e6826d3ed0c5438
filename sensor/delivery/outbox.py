"""The shipping end of a spool: segments become batches, batches go and are struck off.

A batch is frozen before it is first sent: bytes, columns and a token that belong together for ever, whatever
crashes. One batch is under way at a time, so a retry comes before anything newer of this sensor.
The token holds a digest of the bytes: a spool that was rolled back (a restored machine) makes new tokens
for new rows under old numbers.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sensor.delivery.spool import (
    SpoolError,
    connect,
    meta,
    packed,
    reported,
    rows_waiting,
    transaction,
    unpacked,
)

_BATCH = "number, kind, month, rows, token, columns, tries, error, data"


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table and month. `data` is a zstd-compressed Arrow stream with these `columns`."""

    number: int
    table: str
    month: int
    rows: int
    token: str
    columns: tuple[str, ...]
    tries: int
    error: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """What a spool holds. Times are seconds since the epoch; `skew` is the store's clock minus ours."""

    rows: int
    oldest: float | None
    aside: int
    aside_rows: int
    lost: int
    bytes: int
    delivered: float | None
    skew: float | None
    problem: str


class Outbox:
    """Takes batches out of a spool, one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._base = connect(path)
        self._inode = path.stat().st_ino
        self._lock = os.open(path.with_name(path.name + "-ship"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise SpoolError(f"{path}: another process ships this spool") from None

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close; the next process may ship."""
        self._base.close()
        os.close(self._lock)

    def replaced(self) -> bool:
        """Whether the path names another file by now: the writer found this one damaged."""
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def batch(self, *, rows: int, age: float) -> Batch | None:
        """The batch under way, else a new one of a table and month with `rows` rows or `age` seconds old."""
        while (row := self._under_way()) is None:
            bucket = self._ready(rows, age)
            if bucket is None:
                return None
            self._freeze(*bucket, rows)
        return _batch(row)

    def _under_way(self) -> Any:
        with reported(self.path):
            return self._base.execute(
                f"SELECT {_BATCH} FROM batches WHERE NOT aside ORDER BY number LIMIT 1"
            ).fetchone()

    def _ready(self, rows: int, age: float) -> tuple[str, int] | None:
        """The bucket whose oldest row came first. A clock that was set back makes nothing wait."""
        now = time.time()
        with reported(self.path):
            buckets = self._base.execute(
                "SELECT kind, month, sum(rows), min(written) FROM segments GROUP BY kind, month ORDER BY min(id)"
            ).fetchall()
        for kind, month, waiting, written in buckets:
            if waiting >= rows or not 0 <= now - written < age:
                return kind, month
        return None

    def _freeze(self, kind: str, month: int, limit: int) -> None:
        """Join a bucket's oldest segments, at least one, into a batch."""
        with reported(self.path), transaction(self._base) as base:
            taken: list[tuple[int]] = []
            tables: list[pa.Table] = []
            rows, first = 0, 0.0
            for key, count, written, data in base.execute(
                "SELECT id, rows, written, data FROM segments WHERE kind = ? AND month = ? ORDER BY id",
                (kind, month),
            ):
                if taken and rows + count > limit:
                    break
                taken.append((key,))
                first = first or written
                try:
                    tables.append(unpacked(data))
                except ValueError as error:
                    _insert(base, kind, month, count, written, data, error=str(error))
                else:
                    rows += count
            base.executemany("DELETE FROM segments WHERE id = ?", taken)
            if tables:
                self._join(base, tables, (kind, month, rows, first))

    def _join(
        self, base: sqlite3.Connection, tables: list[pa.Table], about: tuple[str, int, int, float]
    ) -> None:
        kind, month, rows, written = about
        number = _insert(base, kind, month, rows, written, b"")
        joined = pa.concat_tables(tables, promote_options="default")  # columns that a new version added
        place = joined.schema.get_field_index("batch")
        joined = joined.set_column(place, "batch", pa.repeat(pa.scalar(number, pa.uint64()), joined.num_rows))
        data = packed(joined.combine_chunks())
        token = f"{meta(base, 'id')}:{number}:{hashlib.blake2b(data, digest_size=12).hexdigest()}"
        base.execute(
            "UPDATE batches SET token = ?, columns = ?, data = ? WHERE number = ?",
            (token, json.dumps(joined.schema.names), data, number),
        )

    def done(self, batch: Batch, skew: float | None) -> None:
        """The store has it."""
        with reported(self.path), transaction(self._base) as base:
            base.execute("DELETE FROM batches WHERE number = ?", (batch.number,))
            _set(base, delivered=time.time(), problem="", **({} if skew is None else {"skew": skew}))

    def refused(self, batch: Batch, error: str, *, tries: int) -> bool:
        """The store will not have it. After so many tries it is set aside, out of the way of others: True."""
        aside = batch.tries + 1 >= tries
        with reported(self.path), transaction(self._base) as base:
            base.execute(
                "UPDATE batches SET tries = tries + 1, aside = ?, error = ? WHERE number = ?",
                (aside, error, batch.number),
            )
        return aside

    def problem(self, text: str) -> None:
        """Why nothing is delivered, for `aiscope spool status`."""
        with suppress(SpoolError), reported(self.path), transaction(self._base) as base:
            _set(base, problem=text)

    def again(self) -> int:
        """Put batches that were set aside back in line; how many."""
        with reported(self.path), transaction(self._base) as base:
            return base.execute(
                "UPDATE batches SET aside = 0, tries = 0 WHERE aside AND token IS NOT NULL"
            ).rowcount


def status(path: Path) -> Status:
    """What a spool holds, whoever ships it."""
    with closing(connect(path)) as base, reported(path):
        aside = base.execute("SELECT count(*), coalesce(sum(rows), 0) FROM batches WHERE aside").fetchone()
        oldest = base.execute(
            "SELECT min(written) FROM (SELECT written FROM segments UNION ALL "
            "SELECT written FROM batches WHERE NOT aside)"
        ).fetchone()
        names = {"lost": 0, "delivered": None, "skew": None, "problem": ""}
        return Status(
            rows=rows_waiting(base),
            oldest=oldest[0],
            aside=aside[0],
            aside_rows=aside[1],
            bytes=sum(f.stat().st_size for f in (path, path.with_name(f"{path.name}-wal")) if f.exists()),
            **{name: meta(base, name, default) for name, default in names.items()},
        )


def waiting(path: Path) -> list[Batch]:
    """Batches, those set aside and the one under way, and segments as batches without a token."""
    with closing(connect(path)) as base, reported(path):
        rows = base.execute(f"SELECT {_BATCH} FROM batches ORDER BY number").fetchall()
        rows += base.execute(
            "SELECT 0, kind, month, rows, NULL, NULL, 0, '', data FROM segments ORDER BY id"
        ).fetchall()
    return [_batch(row) for row in rows]


def _batch(row: tuple[Any, ...]) -> Batch:
    number, kind, month, rows, token, columns, tries, error, data = row
    return Batch(
        number, kind, month, rows, token or "", tuple(json.loads(columns or "[]")), tries, error, data
    )


def _insert(
    base: sqlite3.Connection, kind: str, month: int, rows: int, written: float, data: bytes, error: str = ""
) -> int:
    found = base.execute(
        "INSERT INTO batches (kind, month, rows, written, data, aside, error) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (kind, month, rows, written, data, bool(error), error),
    ).lastrowid
    return int(found or 0)


def _set(base: sqlite3.Connection, **values: Any) -> None:
    base.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())
