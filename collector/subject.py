"""One person's rows: what the store knows of them, and how it forgets them.

A person is the names and addresses given: rows match by `user`, `client_host`, `client_mac` or `client_ip`,
in events and rollups. What hangs on such a row by its id goes with it: sealed originals, states of findings.
`usage_daily` names nobody, but its distinct counts remember addresses: its days are made again from hours.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from collector.store import DATABASE, Store, StoreError

_NAMES, _ADDRESS = ("user", "client_host", "client_mac"), "client_ip"
_HANGS_ON = {"sealed": ("id", "exchanges", "id"), "finding_states": ("finding", "findings", "id")}

_KEYS = "day, sensor, service, vendor, category, role, evidence, verdict"
_SUMS = ("connections", "bytes_up", "bytes_down", "exchanges", "upload_bytes")
# The distribution of slice sizes stays as it was: hours do not have it, and it is numbers of bytes alone.
_REBUILD = f"""
INSERT INTO {DATABASE}.forgetting_days
    ({_KEYS}, {", ".join(_SUMS)}, clients, users, slice_up, ingested)
SELECT {", ".join(f"new.{key} AS {key}" for key in _KEYS.split(", "))},
    {", ".join(f"new.{name}_ AS {name}" for name in _SUMS)}, clients, users,
    old.slice_up_ AS slice_up, ingested
FROM (
    SELECT toDate(h.hour, 'UTC') AS day, sensor, service, vendor, category, role, evidence, verdict,
        {", ".join(f"sum(h.{name}) AS {name}_" for name in _SUMS)},
        uniqState(h.client_ip) AS clients, uniqIfState(toString(h.user), h.user != '') AS users,
        max(h.ingested) AS ingested
    FROM {DATABASE}.usage_hourly AS h
    WHERE (toDate(h.hour, 'UTC'), h.service) IN (SELECT day, service FROM {DATABASE}.forgetting)
    GROUP BY {_KEYS}
) AS new
LEFT JOIN (
    SELECT {_KEYS}, quantilesTDigestMergeState(0.5, 0.9, 0.99)(d.slice_up) AS slice_up_
    FROM {DATABASE}.usage_daily AS d
    WHERE (d.day, d.service) IN (SELECT day, service FROM {DATABASE}.forgetting)
    GROUP BY {_KEYS}
) AS old USING ({_KEYS})
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Names as they are in the store (sealed where names are) and addresses."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]


def person(words: Iterable[str]) -> Person:
    """What looks like an address is one, the rest are names."""
    names, addresses = [], []
    for word in words:
        if not word:
            raise StoreError("a name or address is needed: rows without a name are nobody's")
        try:
            addresses.append(str(ipaddress.ip_address(word)))
        except ValueError:
            names.append(word)
    return Person(tuple(names), tuple(addresses))


def export(store: Store, who: Person) -> Iterator[dict[str, Any]]:
    """Every row of this person, `table` first."""
    for table, condition in _places(store):
        text = f"SELECT {_columns(store, table)} FROM {DATABASE}.{table} AS t WHERE {condition}"
        for row in store.rows(text, _bound(who)):
            yield {"table": table, **row}


def forget(store: Store, who: Person) -> dict[str, int]:
    """Take this person's rows out, for good; how many there were by table. Run again after an interruption.

    Rows must not come in meanwhile: the store is stopped, spools keep what arrives.
    """
    if _exists(store, "connections_local"):
        raise StoreError("rows cannot be taken out of a cluster from here: run the deletes on each shard")
    _exchange_days(store)  # where an interrupted run stopped
    _remember_days(store, who)
    counted = {}
    for table, condition in _places(store):
        place, where = f"{DATABASE}.{table}", condition.replace("t.", "")
        if rows := store.rows(f"SELECT count() AS rows FROM {place} WHERE {where}", _bound(who))[0]["rows"]:
            store.command(
                f"ALTER TABLE {place} DELETE WHERE {where} SETTINGS mutations_sync = 2", _bound(who)
            )
            counted[table] = rows
    _make_days(store)
    _exchange_days(store)
    return counted


def _places(store: Store) -> list[tuple[str, str]]:
    """Tables and the condition of a person's rows, those first that hang on others."""
    found = store.rows(
        "SELECT c.table AS table, groupArray(c.name) AS names "
        "FROM system.columns AS c JOIN system.tables AS t "
        f"ON t.database = c.database AND t.name = c.table WHERE c.database = '{DATABASE}' "
        "AND t.engine LIKE '%MergeTree' AND (c.name IN {names:Array(String)} OR c.name = {address:String}) "
        "GROUP BY table ORDER BY table",
        {"names": list(_NAMES), "address": _ADDRESS},
    )
    places = {row["table"]: _condition(row["names"]) for row in found}
    hanging = [
        (table, f"t.{column} IN (SELECT {key} FROM {DATABASE}.{of} AS t WHERE {places[of]})")
        for table, (column, of, key) in _HANGS_ON.items()
    ]
    return hanging + sorted(places.items())


def _condition(columns: Iterable[str]) -> str:
    names = [f"t.{name} IN {{names:Array(String)}}" for name in _NAMES if name in columns]
    if _ADDRESS in columns:
        names.append(f"t.{_ADDRESS} IN (SELECT toIPv6(arrayJoin({{addresses:Array(String)}})))")
    return f"({' OR '.join(names)})"


def _bound(who: Person) -> dict[str, Any]:
    return {"names": list(who.names), "addresses": list(who.addresses)}


def _columns(store: Store, table: str) -> str:
    """What can be shown as text or numbers: aggregation states cannot."""
    rows = store.rows(
        f"SELECT name, type FROM system.columns WHERE database = '{DATABASE}' AND table = {{table:String}} "
        "AND type NOT LIKE 'AggregateFunction%' ORDER BY position",
        {"table": table},
    )
    return ", ".join(
        f"replaceOne(toString(t.{row['name']}), '::ffff:', '') AS {row['name']}"
        if "IPv6" in row["type"] or "Date" in row["type"]
        else f"t.{row['name']}"
        for row in rows
    )


def _exists(store: Store, table: str) -> bool:
    known = f"SELECT 1 AS one FROM system.tables WHERE database = '{DATABASE}' AND name = {{table:String}}"
    return bool(store.rows(known, {"table": table}))


def _remember_days(store: Store, who: Person) -> None:
    """Which days of which services are to be made again: known only while the person's hours are there."""
    store.command(
        f"CREATE TABLE IF NOT EXISTS {DATABASE}.forgetting (day Date, service String) "
        "ENGINE = MergeTree ORDER BY day"
    )
    store.command(
        f"INSERT INTO {DATABASE}.forgetting SELECT DISTINCT toDate(t.hour, 'UTC'), t.service "
        f"FROM {DATABASE}.usage_hourly AS t WHERE {_condition(('user', 'client_host', _ADDRESS))}",
        _bound(who),
    )


def _make_days(store: Store) -> None:
    """Make the days again, in a table beside that has its name when it is whole."""
    store.command(f"DROP TABLE IF EXISTS {DATABASE}.forgetting_days SYNC")
    store.command(f"CREATE TABLE {DATABASE}.forgetting_days AS {DATABASE}.usage_daily")
    store.command(_REBUILD)
    store.command(f"RENAME TABLE {DATABASE}.forgetting_days TO {DATABASE}.forgotten_days")


def _exchange_days(store: Store) -> None:
    """Put the days that were made in the place of those that are."""
    if not _exists(store, "forgotten_days"):
        return
    pairs = f"(day, service) IN (SELECT day, service FROM {DATABASE}.forgetting)"
    store.command(f"ALTER TABLE {DATABASE}.usage_daily DELETE WHERE {pairs} SETTINGS mutations_sync = 2")
    store.command(
        f"INSERT INTO {DATABASE}.usage_daily SELECT * FROM {DATABASE}.forgotten_days "
        f"SETTINGS insert_deduplication_token = '{uuid.uuid4().hex}'"
    )
    for table in ("forgotten_days", "forgetting"):
        store.command(f"DROP TABLE {DATABASE}.{table} SYNC")
