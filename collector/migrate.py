"""The schema, forward only: numbered SQL files, each applied once and remembered with its checksum.

The same files serve the embedded engine, one server and a cluster: engine names, `ON CLUSTER` and the
split into local and `Distributed` tables are parameters. Statements are idempotent: an interrupted migration
is run again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from collector.store import Store, StoreError
from sensor.delivery.event import TABLES

MIGRATIONS = Path(__file__).parent / "migrations"
# Blocks remembered per table. A batch that comes again after that many others would be written twice; a spool
# retries for days, and a sensor sends a batch every few seconds at most.
WINDOW = 100_000
_ONLY_CLUSTER = re.compile(r"^-- only: cluster$", re.MULTILINE)
_JOURNAL = """CREATE DATABASE IF NOT EXISTS aiscope ${on_cluster};
CREATE TABLE IF NOT EXISTS aiscope.migrations ${on_cluster}
(number UInt32, name String, checksum String, applied DateTime('UTC') DEFAULT now('UTC'))
ENGINE = ${MergeTree} ORDER BY number;
"""

# Which setting of `retention` bounds which tables.
RETENTION = {
    "events": (*(table for table in TABLES.values() if table != "sealed"), "finding_states"),
    "rollups": ("usage_hourly", "usage_daily", "lookups_hourly", "exchanges_hourly"),
    "sealed": ("sealed",),
    "audit": ("audit",),
}


class SchemaError(StoreError):
    """The store's schema is not one that this version can work with."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `checksum` is of its text, before parameters are put in."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All migrations in order."""
    files = sorted(MIGRATIONS.glob("[0-9]*.sql"))
    return [Migration(int(file.stem[:4]), file.stem[5:], file.read_text("utf-8")) for file in files]


def render(text: str, cluster: str = "") -> list[str]:
    """A file's statements for the embedded engine and one server, or for a cluster of this name."""
    statements = [part.strip() for part in re.split(r";\s*$", text, flags=re.MULTILINE)]
    wanted = [part for part in statements if part and (cluster or not _ONLY_CLUSTER.search(part))]
    return [Template(part).substitute(_parameters(cluster)) for part in wanted]


def _parameters(cluster: str) -> dict[str, str]:
    """Replicated engines take their path from the server's `default_replica_path`."""
    kinds = ("MergeTree", "ReplacingMergeTree", "AggregatingMergeTree")
    prefix, window = ("Replicated", "replicated") if cluster else ("", "non_replicated")
    name = "'" + cluster.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return {
        **{kind: prefix + kind for kind in kinds},
        "local": "_local" if cluster else "",
        "cluster": name,
        "on_cluster": f"ON CLUSTER {name}" if cluster else "",
        "window": f"{window}_deduplication_window = {WINDOW}",
    }


def pending(store: Store) -> list[Migration]:
    """Migrations the store does not have yet. SchemaError when what it has is not what this version knows."""
    known = migrations()
    if not store.rows("SELECT 1 FROM system.tables WHERE database = 'aiscope' AND name = 'migrations'"):
        return known
    journal = store.rows("SELECT number, checksum FROM aiscope.migrations")
    applied = {row["number"]: row["checksum"] for row in journal}
    if unknown := sorted(applied.keys() - {migration.number for migration in known}):
        raise SchemaError(
            f"the store has migration {unknown[-1]}, of a newer version than this: install that"
        )
    for migration in known:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise SchemaError(
                f"migration {migration.number} ({migration.name}) is not what the store was made with"
            )
    return [migration for migration in known if migration.number not in applied]


def migrate(store: Store, retention: Mapping[str, int] | None = None, cluster: str = "") -> list[Migration]:
    """Bring the store to this version's schema, and retention (days by name, 0: for ever) to what is given.

    Returns what was applied.
    """
    missing = pending(store)
    if missing:
        for statement in render(_JOURNAL, cluster):
            store.command(statement)
        store.use()
    for migration in missing:
        for statement in render(migration.text, cluster):
            store.command(statement)
        store.command(
            "INSERT INTO aiscope.migrations (number, name, checksum) "
            f"VALUES ({migration.number}, '{migration.name}', '{migration.checksum}')"
        )
    if retention is not None:
        for statement in retention_changes(store, retention, cluster):
            store.command(statement)
    return missing


def retention_changes(store: Store, retention: Mapping[str, int], cluster: str = "") -> list[str]:
    """The ALTERs that bring TTLs to the settings. They touch no data: rows go when parts are merged."""
    engines = {
        row["name"]: row["engine_full"]
        for row in store.rows("SELECT name, engine_full FROM system.tables WHERE database = 'aiscope'")
    }
    parameters = _parameters(cluster)
    changes = []
    for setting, tables in RETENTION.items():
        for table in tables:
            name = table + parameters["local"]
            change = _ttl_change(engines.get(name, ""), retention[setting])
            if change:
                changes.append(f"ALTER TABLE aiscope.{name} {parameters['on_cluster']} {change}")
    return changes


def _ttl_change(engine: str, days: int) -> str:
    present = re.search(r" TTL ingested \+ toIntervalDay\((\d+)\)", engine)
    if (int(present[1]) if present else 0) == days:
        return ""
    if not days:
        return "REMOVE TTL"
    return f"MODIFY TTL ingested + toIntervalDay({days}) SETTINGS materialize_ttl_after_modify = 0"
