"""What a store keeps beside events: the catalogue as loaded, and which capture files it holds."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from collector.store import Store, StoreError

_TEXTS = ("id", "name", "vendor", "vendor_name", "country", "category", "description", "facts", "catalogue")
_SERVICES = pa.schema([*((name, pa.string()) for name in _TEXTS), ("score", pa.float32())])


@dataclass(frozen=True, slots=True)
class Input:
    """A capture file in the store: the rows of its sensor; `complete` is false until the last is there."""

    sha256: str
    path: str
    sensor: str
    rows: int
    complete: bool


def inputs(store: Store, sha256: str) -> list[Input]:
    """What the store has of a file, under whichever sensor."""
    rows = store.rows(
        "SELECT sha256, path, sensor, rows, complete FROM inputs FINAL WHERE sha256 = {sha256:String}",
        {"sha256": sha256},
    )
    return [Input(**row) for row in rows]


def record_input(store: Store, entry: Input) -> None:
    """Say that a file's rows are coming, or that they are complete. The later word counts."""
    row = {
        "sha256": entry.sha256,
        "path": entry.path,
        "sensor": entry.sensor,
        "rows": entry.rows,
        "complete": entry.complete,
        "version": time.time_ns(),
    }
    store.insert_arrow("inputs", pa.Table.from_pylist([row]), token=uuid.uuid4().hex)


def forget_sensor(store: Store, sensor: str, sha256: str) -> None:
    """Take the rows of a file's sensor out of all tables and rollups.

    Raises StoreError when the sensor has rows of other files: rollups cannot tell them apart.
    """
    others = store.rows(
        "SELECT path FROM inputs FINAL WHERE sensor = {sensor:String} AND sha256 != {sha256:String}",
        {"sensor": sensor, "sha256": sha256},
    )
    if others:
        raise StoreError(
            f"sensor {sensor} also holds {len(others)} other files ({others[0]['path']}): "
            "their rows cannot be told apart"
        )
    tables = store.rows(
        "SELECT c.table AS name FROM system.columns AS c JOIN system.tables AS t "
        "ON t.database = c.database AND t.name = c.table "
        "WHERE c.database = 'aiscope' AND c.name = 'sensor' AND t.engine LIKE '%MergeTree' ORDER BY name"
    )
    if any(table["name"].endswith("_local") for table in tables):
        raise StoreError("rows cannot be taken out of a cluster from here: delete by sensor on each shard")
    for table in tables:
        store.delete(table["name"], "sensor", sensor)


def record_services(store: Store, catalogue: str, services: Iterable[Mapping[str, Any]]) -> None:
    """Write the catalogue as loaded, once. A service has the columns of `services`, `facts` as an object."""
    known = "SELECT count() AS rows FROM services WHERE catalogue = {catalogue:String}"
    if store.rows(known, {"catalogue": catalogue})[0]["rows"]:
        return  # all came in one block
    rows = [
        {**service, "facts": json.dumps(service["facts"]), "catalogue": catalogue} for service in services
    ]
    store.insert_arrow("services", pa.Table.from_pylist(rows, _SERVICES), token=uuid.uuid4().hex)
