from __future__ import annotations

import time
from pathlib import Path

import pytest

from collector import figures, health
from collector.health import checks
from collector.store import Store

from .conftest import RETENTION, connection, stats
from .served import start, with_users


def found(store: Store, retention: dict[str, int] = RETENTION) -> dict[str, health.Check]:
    return {check.name: check for check in checks(store, retention)}


def test_a_sound_store(store: Store):
    now = time.time_ns()
    store.insert([connection(time=now), stats(time=now)], sensor="s", batch=0, token="t")
    result = found(store)
    assert {name for name, check in result.items() if not check.good} <= {"disk"}, result
    assert "raw 1,000, hourly 1,000, daily 1,000" in result["rollups"].state
    assert len(result) == 11


def test_what_is_lost_late_or_off_is_said(store: Store):
    store.insert(
        [stats(clock_skew=-7.25, spool_lost=5), stats(spool_lost=2)], sensor="s1", batch=0, token="t"
    )
    store.command(
        "INSERT INTO aiscope.sensor_stats (sensor, ingested, time) "
        "VALUES ('s2', now() - INTERVAL 5 HOUR, now())"
    )
    result = found(store, {**RETENTION, "events": 5})
    assert result["clocks"].state.endswith("s1 -7.2 s")
    assert result["losses"].state.endswith("s1 7 rows")
    assert result["sensors"].state == "silent: s2 for 5 h"
    assert "differ" in result["retention"].state
    for name in ("clocks", "losses", "sensors", "retention"):
        assert not result[name].good


def test_rollups_that_are_not_the_raw_sums_are_said(store: Store):
    store.insert([connection(time=time.time_ns())], sensor="s", batch=0, token="t")
    store.command(
        "INSERT INTO aiscope.usage_daily (day, service, bytes_up, ingested) VALUES (today(), 'x', 5, now())"
    )
    assert not found(store)["rollups"].good


@pytest.mark.parametrize(("kept", "taken"), [("events", "connections"), ("rollups", "usage_hourly")])
def test_what_retention_took_is_not_missing(store: Store, kept: str, taken: str):
    """Of yesterday one has nothing any more, of today both have all. (On the first of a month nobody looks back.)"""
    now = time.time_ns()
    store.insert([connection(time=now - 86_400_000_000_000)], sensor="s", batch=0, token="t")
    store.command(f"TRUNCATE TABLE aiscope.{taken}")
    store.insert([connection(time=now)], sensor="s", batch=1, token="u")
    assert found(store, {**RETENTION, kept: 1})["rollups"].good


def test_a_table_without_a_window_and_many_parts_are_said(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "MANY_PARTS", 1)
    store.insert([connection()], sensor="s", batch=0, token="t")
    store.command("CREATE TABLE aiscope.bare (a Int8) ENGINE = MergeTree ORDER BY a")
    try:
        result = found(store)
    finally:
        store.command("DROP TABLE aiscope.bare SYNC")
    assert result["window"].state == "none for bare"
    assert not result["parts"].good


def test_an_admin_may_ask_through_a_running_collector(tmp_path: Path):
    tokens = with_users(tmp_path)
    served = start(tmp_path)
    served.tokens = tokens
    try:
        for user, told in (("adam", set()), ("ann", {"size", "disk", "parts", "mutations"})):
            with Store(f"http://{user}:{tokens[user]}@127.0.0.1:{served.port}/") as store:
                store.rows("SELECT 1")
                states = {check.name: check.state for check in checks(store, RETENTION)}
            assert {name for name, state in states.items() if "cannot tell" in state} == told
        assert served.request("adam", figures.SIZE + " FORMAT TSV").body.count(b"\t") == 2
        for sql in (
            "SELECT path FROM system.parts",
            figures.SIZE + " OR 1 FORMAT TSV",
            figures.DISK + " FORMAT TSV -- x",
        ):
            assert served.request("adam", sql).code == 497
        assert served.request("ann", figures.SIZE + " FORMAT TSV").code == 497
    finally:
        assert served.stop() == 0


def test_without_a_schema_nothing_else_is_looked_at(tmp_path: Path, python):
    code = (
        "import sys\nfrom collector.health import checks\nfrom collector.store import Store\n"
        "with Store(sys.argv[1]) as store:\n    print([c.name for c in checks(store, {}) if not c.good])"
    )
    assert python(code, f"chdb://{tmp_path}/new").stdout == "['schema']\n"
