"""An insert: rows are gathered in a temporary table, then written in one block with the sensor's name put in.

The temporary table makes it all or nothing: a body that breaks off or has a bad row leaves no trace. One block, because
a deduplication token counts blocks, and a retry whose body is cut otherwise must give the same ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from collector.engine import Engine, identifier, literal, send
from collector.errors import Refused, from_engine
from collector.gate import DATABASE, Insert

# Kept from the client's settings for the final statement; reading the rows has the others.
_ONCE = ("insert_deduplication_token", "deduplicate_blocks_in_dependent_materialized_views")
_ONE_BLOCK = {
    "max_threads": "1",
    "max_insert_threads": "1",
    "parallel_view_processing": "1",
    "min_insert_block_size_rows": "1000000000",
    "min_insert_block_size_bytes": "0",
    "deduplicate_insert_select": "force_enable",
    # Rollups come grouped already, and every table is merged later anyway: a quarter of an insert's time.
    "optimize_on_insert": "0",
}


def run(
    engine: Engine, wanted: Insert, data: Iterable[bytes], settings: Mapping[str, str], sensor: str | None
) -> dict[str, int]:
    """Insert what `data` gives; counts as in ClickHouse's summary. `sensor` overrides what the rows say."""
    # Without a token two equal batches would be taken for one.
    ours = {
        "insert_deduplication_token": uuid.uuid4().hex,
        **{n: v for n, v in settings.items() if n in _ONCE},
    }
    handle = engine.handle({name: value for name, value in settings.items() if name not in _ONCE}, DATABASE)
    try:
        types = _types(engine, wanted.table)
        columns = wanted.columns or tuple(types)
        if unknown := [name for name in columns if name not in types]:
            raise Refused("NO_SUCH_COLUMN_IN_TABLE", f"No such column {unknown[0]} in table {wanted.table}")
        defined = ", ".join(f"{identifier(name)} {types[name]}" for name in columns)
        handle.query(f"CREATE TEMPORARY TABLE batch ({defined}) ENGINE = Memory")
        names = ", ".join(map(identifier, columns))
        source = f"{identifier(DATABASE)}.{identifier(wanted.table)}"
        done = send(handle, f"INSERT INTO batch ({names})", wanted.form, data)
        if done["written_rows"]:
            _write(handle, source, columns, {**ours, **_ONE_BLOCK}, sensor)
        return done
    except RuntimeError as error:
        raise from_engine(error) from None
    finally:
        handle.close()


def _write(
    handle: Any, source: str, columns: tuple[str, ...], settings: Mapping[str, str], sensor: str | None
) -> None:
    kept = [name for name in columns if sensor is None or name not in {"sensor", "ingested"}]
    names = ", ".join(map(identifier, kept))
    into, values = (names, names) if sensor is None else (f"sensor, {names}", f"{literal(sensor)}, {names}")
    clause = ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())
    handle.query(f"INSERT INTO {source} ({into}) SELECT {values} FROM batch SETTINGS {clause}")


@lru_cache(64)
def _types(engine: Engine, table: str) -> dict[str, str]:
    """Types of the columns that can be written, by name. The schema does not change while it is served."""
    lines = engine.value(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} "
        "AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') ORDER BY position",
        {"database": DATABASE, "table": table},
    )
    return dict(line.split("\t", 1) for line in lines.splitlines())
