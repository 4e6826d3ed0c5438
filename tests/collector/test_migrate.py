from __future__ import annotations

import re

import pytest

from collector import migrate
from collector.store import Store
from sensor.delivery.event import TABLES, columns

from .conftest import RETENTION, connection


@pytest.mark.parametrize("kind", TABLES, ids=TABLES.values())
def test_tables_have_the_events_columns(store: Store, kind: type):
    found = store.rows(
        "SELECT name FROM system.columns WHERE database = 'aiscope' AND table = {table:String} "
        "ORDER BY position",
        {"table": TABLES[kind]},
    )
    assert [row["name"] for row in found] == ["sensor", "batch", "ingested", *columns(kind)]


def test_what_is_nullable_is_what_may_be_unknown(store: Store):
    rows = store.rows(
        "SELECT table, name FROM system.columns WHERE database = 'aiscope' AND type LIKE 'Nullable%'"
    )
    nullable = {(row["table"], row["name"]) for row in rows}
    for kind, table in TABLES.items():
        for name, field in kind.__dataclass_fields__.items():
            assert ((table, name) in nullable) == ("None" in str(field.type)), f"{table}.{name}"


def test_numbers_are_gapless_and_names_plain():
    files = sorted(path.name for path in migrate.MIGRATIONS.glob("*.sql"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    assert all(re.fullmatch(r"\d{4}_[a-z_]+\.sql", name) for name in files)


def test_a_new_store_is_migrated_once(fresh: Store):
    assert migrate.pending(fresh) == migrate.migrations()
    assert migrate.migrate(fresh, RETENTION) == migrate.migrations()
    assert migrate.migrate(fresh, RETENTION) == []
    assert fresh.rows("SELECT count() AS n FROM migrations") == [{"n": len(migrate.migrations())}]


def test_an_interrupted_migration_is_run_again(fresh: Store):
    for statement in [*migrate.render(migrate._JOURNAL), *migrate.render(migrate.migrations()[0].text)[:3]]:
        fresh.command(statement)
    assert len(migrate.migrate(fresh)) == len(migrate.migrations())


def test_data_stays_when_later_migrations_come(fresh: Store, monkeypatch: pytest.MonkeyPatch):
    every = migrate.migrations()
    monkeypatch.setattr(migrate, "migrations", lambda: every[:1])
    migrate.migrate(fresh, None)
    fresh.insert([connection()], sensor="s", batch=0, token="t")
    monkeypatch.setattr(migrate, "migrations", lambda: every)
    assert migrate.migrate(fresh, RETENTION) == every[1:]
    assert fresh.rows("SELECT count() AS n FROM connections") == [{"n": 1}]


def test_a_changed_file_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch):
    first, *rest = migrate.migrations()
    changed = migrate.Migration(first.number, first.name, first.text + "-- more\n")
    monkeypatch.setattr(migrate, "migrations", lambda: [changed, *rest])
    with pytest.raises(
        migrate.SchemaError, match=r"migration 1 \(events\) is not what the store was made with"
    ):
        migrate.pending(store)


def test_a_newer_store_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch):
    known = migrate.migrations()
    monkeypatch.setattr(migrate, "migrations", lambda: known[:-1])
    with pytest.raises(migrate.SchemaError, match="newer version"):
        migrate.pending(store)


def test_retention_follows_the_settings_without_a_rebuild(store: Store):
    assert migrate.retention_changes(store, RETENTION) == []
    changed = migrate.retention_changes(store, {**RETENTION, "events": 0, "audit": 7})
    assert "ALTER TABLE aiscope.connections  REMOVE TTL" in changed
    assert any(line.startswith("ALTER TABLE aiscope.audit  MODIFY TTL ingested") for line in changed)
    assert len(changed) == len(migrate.RETENTION["events"]) + 1
    migrate.migrate(store, {**RETENTION, "events": 1})
    assert "toIntervalDay(1)" in _engine(store, "connections")
    migrate.migrate(store, RETENTION)
    assert "toIntervalDay(180)" in _engine(store, "connections")


def _engine(store: Store, table: str) -> str:
    (row,) = store.rows(
        f"SELECT engine_full FROM system.tables WHERE database = 'aiscope' AND name = '{table}'"
    )
    return str(row["engine_full"])


def test_an_old_capture_outlives_its_time_but_not_its_stay(store: Store):
    """Retention counts from when rows came in: else an old capture would be deleted as it arrives."""
    old = 1_000_000_000 * 10**9
    store.insert([connection(time=old, end_time=old, start_time=old)], sensor="s", batch=0, token="t")
    for table in ("connections", "usage_hourly", "usage_daily"):
        store.command(f"OPTIMIZE TABLE aiscope.{table} FINAL")
        assert store.rows(f"SELECT count() AS n FROM aiscope.{table}") == [{"n": 1}]
    store.command("INSERT INTO aiscope.connections (time, ingested) VALUES (now(), now() - INTERVAL 181 DAY)")
    store.command("OPTIMIZE TABLE aiscope.connections FINAL")
    assert store.rows("SELECT count() AS n FROM aiscope.connections") == [{"n": 1}]


def test_cluster_statements_are_understood_by_the_engine(store: Store):
    """The engine's own parser; there is no cluster here to run them on."""
    for migration in migrate.migrations():
        for statement in migrate.render(migration.text, cluster="it's"):
            store.rows("SELECT formatQuerySingleLine({q:String}) AS q", {"q": statement})


def test_cluster_has_replicas_and_one_way_in_for_each_table():
    statements = [s for m in migrate.migrations() for s in migrate.render(m.text, cluster="c1")]
    text = "\n".join(statements)
    assert "${" not in text
    created = re.findall(r"CREATE TABLE IF NOT EXISTS aiscope\.(\w+) ON CLUSTER 'c1'", text)
    local = {name for name in created if name.endswith("_local")}
    assert {name.removesuffix("_local") for name in local} == set(created) - local
    assert not re.search(r"ENGINE = (?!Replicated|Distributed)", text)
    assert all("ON CLUSTER 'c1'" in statement for statement in statements)
    assert "non_replicated_deduplication_window" not in text


def test_one_server_has_neither():
    text = "\n".join(s for m in migrate.migrations() for s in migrate.render(m.text))
    assert not re.search(r"\$\{|Replicated|Distributed\(|ON CLUSTER|_local\b", text)
