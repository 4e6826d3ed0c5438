"""Events to Arrow columns: what an insert sends, from dataclasses without a row in between."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_type_hints

import pyarrow as pa

from sensor.delivery.event import ADDRESSES, TABLES, TIMES, Event

# The last second of the rollups' DateTime, 7 February 2106: a time beyond it would be in an hour of another century.
_NS_LAST = (2**32 - 1) * 1_000_000_000
_HOUR = 3_600_000_000_000
_MICROS = pa.timestamp("us", "UTC")
_TYPES: dict[Any, pa.DataType] = {
    int: pa.uint64(),
    float: pa.float64(),
    bool: pa.bool_(),
    str: pa.string(),
    tuple[str, ...]: pa.list_(pa.string()),
}


def _arrow_type(hint: Any) -> pa.DataType:
    """Of a field's annotation. `X | None` is X: Arrow's columns are nullable anyway."""
    return _TYPES[hint if hint in _TYPES else next(t for t in hint.__args__ if t is not type(None))]


_FIELDS = {kind: {name: _arrow_type(hint) for name, hint in get_type_hints(kind).items()} for kind in TABLES}


def month(ns: int) -> int:
    """Partition of a time: YYYYMM in UTC, as `toYYYYMM` says it."""
    day = dt.datetime.fromtimestamp(min(ns, _NS_LAST) // 1_000_000_000, dt.UTC)
    return day.year * 100 + day.month


def pieces(events: Iterable[Event]) -> Iterator[tuple[str, int, Sequence[Event]]]:
    """Events by (table, partition): the server refuses an insert over more than 100 partitions."""
    found: dict[tuple[type[Any], int], list[Event]] = defaultdict(list)
    hour, of_hour = -1, 0
    for event in events:
        if event.time // _HOUR != hour:  # months begin with an hour, and most neighbours share one
            hour, of_hour = event.time // _HOUR, month(event.time)
        found[type(event), of_hour].append(event)
    for (kind, of), rows in found.items():
        yield TABLES[kind], of, rows


def arrow(rows: Sequence[Event], sensor: str, batch: int) -> pa.Table:
    """Rows of one kind with the store's column names. Times become microseconds, addresses IPv6 text."""
    table = {
        "sensor": pa.repeat(sensor, len(rows)),
        "batch": pa.repeat(pa.scalar(batch, pa.uint64()), len(rows)),
    }
    for name, arrow_type in _FIELDS[type(rows[0])].items():
        table[name] = _column(name, arrow_type, [getattr(row, name) for row in rows])
    return pa.table(table)


def _column(name: str, arrow_type: pa.DataType, values: list[Any]) -> pa.Array:
    if name in TIMES:
        micros = [None if ns is None else min(ns, _NS_LAST) // 1000 for ns in values]
        return pa.array(micros, pa.int64()).cast(_MICROS)
    if name in ADDRESSES:
        values = [ip or "::" for ip in values]
    try:
        return pa.array(values, arrow_type)
    except UnicodeEncodeError:  # a lone surrogate: bytes that were no UTF-8 when they were read
        return pa.array([_encodable(value) for value in values], arrow_type)


def _encodable(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(value, tuple):
        return tuple(item.encode("utf-8", "backslashreplace").decode() for item in value)
    return value.encode("utf-8", "backslashreplace").decode()
