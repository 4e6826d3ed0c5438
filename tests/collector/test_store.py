from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.store import QUERIES, Store, StoreError, as_url, directory, existing, open_store, shown
from sensor.config import store_url
from sensor.delivery.event import Finding

from .conftest import START, connection, exchange, lookup, stats

HOUR = 3600 * 10**9
WHEN = dt.datetime.fromtimestamp(START // 10**9, dt.UTC)


def count(store: Store, table: str, column: str = "count()") -> int:
    return int(store.rows(f"SELECT {column} AS n FROM aiscope.{table}")[0]["n"])


def test_rows_come_back_as_they_went_in(store: Store):
    rows = [connection(), lookup(), exchange(stream=True, tokens_in=5), stats(packets=7)]
    assert store.insert(rows, sensor="s1", batch=3, token="t") == 4
    (row,) = store.rows("SELECT * FROM connections")
    assert row["time"] == row["start_time"] == WHEN
    assert (row["sensor"], row["batch"], row["groups"]) == ("s1", 3, ["staff", "finance"])
    assert (row["first"], row["upload_bytes"], row["vlan"]) == (True, None, None)
    assert abs(row["ingested"] - dt.datetime.now(dt.UTC).timestamp()) < 60
    (row,) = store.rows(
        "SELECT toString(client_ip) AS ip, toString(resolver_ip) AS via, answers, ttl FROM lookups"
    )
    assert row == {"ip": "::ffff:10.0.0.5", "via": "::ffff:10.0.0.1", "answers": ["192.0.2.1"], "ttl": 60}
    assert store.rows("SELECT stream, tokens_in, tokens_out FROM exchanges") == [
        {"stream": True, "tokens_in": 5, "tokens_out": None}
    ]
    assert count(store, "sensor_stats", "sum(packets)") == 7


def test_a_batch_that_comes_again_is_written_once_and_counted_once(store: Store):
    months = [START, START + 40 * 24 * HOUR]
    rows = [connection(time=t, client_port=p) for t in months for p in range(10)] + [lookup(), exchange()]
    for _ in range(3):
        store.insert(rows, sensor="s1", batch=1, token="s1:1")
        store.insert(rows[:7], sensor="s1", batch=2, token="s1:2")
    assert count(store, "connections") == 27
    assert count(store, "usage_hourly", "sum(connections)") == 27
    assert count(store, "usage_daily", "sum(bytes_up)") == 27_000
    assert count(store, "lookups_hourly", "sum(lookups)") == 1
    assert count(store, "exchanges_hourly", "sum(exchanges)") == 1


def test_equal_batches_of_different_tokens_both_count(store: Store):
    for token in ("a", "b"):
        store.insert([connection()], sensor="s1", batch=1, token=token)
    assert count(store, "connections") == count(store, "usage_hourly", "sum(connections)") == 2


def test_more_months_than_one_insert_may_touch(store: Store):
    rows = [lookup(time=START + k * 31 * 24 * HOUR, service="") for k in range(105)]
    assert store.insert(rows, sensor="s", batch=0, token="t") == 105
    assert count(store, "lookups") == 105


def test_rollups_count_connections_clients_and_what_cannot_be_told(store: Store):
    rows = [
        connection(),
        connection(first=False, time=START + HOUR, bytes_up=500, upload_bytes=40),
        connection(client_ip="10.0.0.6", user="", role="relay"),
        connection(service="", client_ip="10.0.0.7"),
    ]
    store.insert(rows, sensor="s", batch=0, token="t")
    hourly = store.rows(
        "SELECT toString(client_ip) AS ip, role, sum(connections) AS n, sum(bytes_up) AS up, "
        "sum(upload_bytes) AS upload FROM usage_hourly GROUP BY ip, role ORDER BY ip"
    )
    assert hourly == [
        {"ip": "::ffff:10.0.0.5", "role": "api", "n": 1, "up": 1500, "upload": 40},
        {"ip": "::ffff:10.0.0.6", "role": "relay", "n": 1, "up": 1000, "upload": None},
    ]
    daily = store.rows("SELECT uniqMerge(clients) AS c, uniqIfMerge(users) AS u FROM usage_daily")
    assert daily == [{"c": 2, "u": 1}]


@pytest.mark.parametrize("time", [0, 2**31 * 10**9, 2**32 * 10**9, 2**63 - 1])
def test_a_time_is_in_the_rollups_where_it_is_in_the_rows(store: Store, time: int):
    """Hours are DateTime, which ends in 2106: what was said to be of 2150 was in an hour of 2014."""
    store.insert([connection(time=time, end_time=time)], sensor="s1", batch=1, token="t")
    (row,) = store.rows(
        "SELECT toString(toStartOfHour(time)) AS hour, toString(toDate(time)) AS day FROM connections"
    )
    for table, column in (("usage_hourly", "hour"), ("usage_daily", "day")):
        assert store.rows(f"SELECT toString({column}) AS it FROM {table}") == [{"it": row[column]}]


def test_rollup_quantiles(store: Store):
    rows = [exchange(id=str(k), ttfb_ms=float(k)) for k in range(101)]
    store.insert(rows, sensor="s", batch=0, token="t")
    (row,) = store.rows("SELECT quantilesTDigestMerge(0.5, 0.9, 0.99)(ttfb_ms) AS q FROM exchanges_hourly")
    assert row["q"] == pytest.approx([50, 90, 99], abs=1.5)


@pytest.mark.parametrize("name", sorted(path.stem for path in QUERIES.glob("[!_]*.sql")))
def test_every_query_runs_with_and_without_filters(store: Store, name: str):
    store.insert([connection(), lookup(), exchange(), stats(bytes_named=5)], sensor="s", batch=0, token="t")
    store.fetch(name)
    store.fetch(
        name,
        start=WHEN,
        end=WHEN + dt.timedelta(days=1),
        services=["openai-api", "it's"],
        categories=["llm-api"],
        clients=["alice"],
        service="openai-api",
        client="alice",
    )


def test_overview_says_who_uses_what(store: Store):
    rows = [
        connection(),
        connection(user="", client_host="", bytes_up=5, evidence="sni"),
        connection(role="relay", client_ip="10.0.0.9", user="proxy"),
    ]
    store.insert(rows, sensor="s", batch=0, token="t")
    found = store.fetch("overview").to_pylist()
    assert [(row["client"], row["service"], row["bytes_up"]) for row in found] == [
        ("alice", "openai-api", 1000),
        ("10.0.0.5", "openai-api", 5),
    ]
    assert store.fetch("overview", clients=["nobody"]).num_rows == 0
    assert store.fetch("overview", end=WHEN).num_rows == 0


def test_totals_count_what_a_table_has_no_room_for(store: Store):
    clients = [f"10.1.{number >> 8}.{number & 255}" for number in range(10_001)]
    rows = [connection(user="", client_host="", client_ip=ip, bytes_up=2) for ip in clients]
    store.insert([*rows, connection(bytes_up=1)], sensor="s", batch=0, token="t")
    assert store.fetch("overview").num_rows == 10_000
    (found,) = store.fetch("totals").to_pylist()
    assert (found["clients"], found["connections"], found["bytes_up"]) == (10_002, 10_002, 20_003)
    (lightest,) = store.fetch("overview", client="alice").to_pylist()
    assert lightest["bytes_up"] == 1


def test_a_lookup_before_its_client_had_a_name_is_of_the_connection_after_it(store: Store):
    unnamed = {"service": "openai-api", "user": "", "client_host": ""}
    rows = [lookup(**unnamed), lookup(**unnamed, client_ip="10.0.0.9"), connection(user="anna")]
    store.insert(rows, sensor="s", batch=0, token="t")
    assert store.fetch("lookups_only")["client"].to_pylist() == ["10.0.0.9"]


def test_choices_are_what_any_page_may_show(store: Store):
    rows = [
        connection(service="chatgpt", category="chat", user="anna"),
        lookup(service="claude", category="", user="ben"),
        lookup(service="", category="", user="nobody"),
        exchange(service="ollama", category="self-hosted", user="chloe"),
    ]
    store.insert(rows, sensor="s", batch=0, token="t")
    found = [(row["kind"], row["value"]) for row in store.fetch("choices").to_pylist()]
    assert found == [
        ("category", "chat"),
        ("category", "self-hosted"),
        *(("client", name) for name in ("anna", "ben", "chloe")),
        *(("service", name) for name in ("chatgpt", "claude", "ollama")),
    ]


def finding(number: int, **values: Any) -> Finding:
    of_alice = {"client_ip": "10.0.0.5", "user": "alice", "service": "openai-api", "severity": "high"}
    rest = {"id": str(number), "time": START + number, "rule": "r", "title": "t", "evidence_query": ""}
    return Finding(**{"tags": (), **rest, **of_alice, **values})


def test_findings_are_of_their_services_category(store: Store):
    store.insert([connection(), finding(0), finding(1, service="")], sensor="s", batch=0, token="t")
    assert store.fetch("findings", categories=["llm-api"]).num_rows == 1
    assert store.fetch("findings", categories=["chat"]).num_rows == 0


def test_a_finding_about_a_sensor_has_no_client(store: Store):
    store.insert([finding(0, client_ip="", user="", service="")], sensor="s", batch=0, token="t")
    assert store.fetch("findings")["client"].to_pylist() == [""]


def test_severities_count_findings_a_table_has_no_room_for(store: Store):
    rows = [finding(number) for number in range(1_001)]
    store.insert([*rows, rows[0], finding(1_001, severity="low")], sensor="s", batch=0, token="t")
    assert set(store.fetch("findings")["severity"].to_pylist()) == {"high"}
    found = store.fetch("severities").to_pylist()
    assert {row["severity"]: row["rows"] for row in found} == {"high": 1_001, "low": 1}


def test_sql_gives_any_format(store: Store):
    assert store.sql("SELECT 1 AS a, 'x' AS b", "CSVWithNames").read() == b'"a","b"\n1,"x"\n'
    with pytest.raises(StoreError, match="UNKNOWN_IDENTIFIER"):
        store.sql("SELECT nonsense").read()


def test_the_engine_has_bounds(store: Store):
    with pytest.raises(StoreError, match="MEMORY_LIMIT"):
        store.rows("SELECT length(groupArray(repeat('x', 100000))) AS n FROM numbers(100000)")
    (row,) = store.rows("SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'")
    assert int(row["value"]) == 2 << 30


def test_nothing_is_left_in_temporary_files(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Rows hold names and, where that is switched on, excerpts: no copy outside the store's directory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile.NamedTemporaryFile", None)
    store.insert([connection()], sensor="s", batch=0, token="t")
    assert list(tmp_path.iterdir()) == []


def test_delete_quotes_its_value(store: Store):
    store.insert([connection()], sensor="it's\\", batch=0, token="t")
    store.insert([connection()], sensor="other", batch=0, token="u")
    store.delete("connections", "sensor", "it's\\")
    assert store.rows("SELECT sensor FROM connections") == [{"sensor": "other"}]


OPEN = """
import sys
from collector.store import open_store
with open_store(sys.argv[1]) as store:
    print(store.rows("SELECT count() AS n FROM connections"))
"""


def test_a_directory_in_use_names_its_owner(store: Store, python):
    done = python(f"{OPEN!s}", store.url)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert f"in use by process {os.getpid()} (" in message
    assert "aiscope collect" in message


def test_a_directory_of_this_user_alone_is_made(tmp_path: Path, python):
    url = f"chdb://{tmp_path}/deep/store"
    assert python(OPEN, url).stdout == "[{'n': 0}]\n"
    assert (tmp_path / "deep/store").stat().st_mode & 0o077 == 0


def test_reading_makes_no_store(tmp_path: Path):
    with pytest.raises(StoreError, match="aiscope read"):
        open_store(f"chdb://{tmp_path}/none", readonly=True)
    assert not (tmp_path / "none").exists()


READONLY = """
import sys
from collector.store import StoreError, open_store
open_store(sys.argv[1]).close()
with open_store(sys.argv[1], readonly=True) as store:
    print(store.fetch("overview").num_rows)
    try:
        store.command("DROP TABLE aiscope.connections")
    except StoreError as error:
        print(error)
"""


def test_readonly_is_enforced(tmp_path: Path, python):
    done = python(READONLY, f"chdb://{tmp_path}/store")
    assert done.stdout.startswith("0\n"), done.stderr
    assert "READONLY" in done.stdout


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://x", "a store is chdb:///DIRECTORY or http"),
        ("", "^store.url: a store is chdb:///DIRECTORY or http"),
        ("chdb://relative/dir", "absolute"),
        ("chdb:///", "absolute"),
        ("http://", "no host"),
    ],
)
def test_urls_that_name_no_store(url: str, reason: str):
    with pytest.raises(StoreError, match=reason):
        Store(url)


def test_a_server_that_is_not_there_is_one_line_without_the_password():
    with pytest.raises(StoreError) as caught:
        Store("http://sensor:secret@127.0.0.1:9/")
    assert "\n" not in str(caught.value)
    assert "sensor:***@127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_names_of_stores():
    assert as_url("http://h:1/") == "http://h:1/"
    assert as_url("/var/lib/x") == "chdb:///var/lib/x"
    assert as_url("here") == f"chdb://{Path.cwd()}/here"
    assert shown("https://u:p%40w@h:8443/x") == "https://u:***@h:8443/x"
    assert shown("http://h/") == "http://h/"


NAMES = ["%41", "a#b;c=d", "50%", "a\nb+ \tc", "<ü>'\"\\", "~"]
FILL = """
import sys
from collector.backup import backup
from collector.store import as_url, open_store
from tests.collector.conftest import connection
with open_store(as_url(sys.argv[1])) as store:
    store.insert([connection()], sensor="s", batch=0, token="t")
    backup(store, "b")
    print(store.rows("SELECT count() AS n FROM connections")[0]["n"])
"""


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_backups_are_in_the_directory_that_was_named(
    python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, name: str
):
    done = python(FILL, tmp_path / name)
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert {"metadata", "store", "backups"} <= {p.name for p in (tmp_path / name).iterdir()}
    assert [p.name for p in (tmp_path / name / "backups").iterdir()] == ["b"]


@pytest.mark.parametrize("name", ["?", "a?b", "a&b", "a ", b"\xff".decode(errors="surrogateescape")])
def test_a_directory_whose_name_the_engine_cannot_take_is_refused(tmp_path: Path, name: str):
    with pytest.raises(StoreError, match="the engine takes no"):
        Store(as_url(str(tmp_path / name)))
    assert list(tmp_path.iterdir()) == []


@given(st.text(st.characters(exclude_characters="?&\0/", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_a_directory_is_quoted_and_unquoted_once(name: str):  # no file system's name is longer than 255 bytes
    assert directory(store_url(Path("/x") / f"{name}.")) == Path("/x") / f"{name}."


def test_home_is_expanded_and_other_relative_names_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert directory("chdb://~/.local/store") == tmp_path / ".local/store"
    assert directory(as_url("~/x")) == tmp_path / "x"
    with pytest.raises(StoreError, match="is absolute"):
        directory("chdb://data/x")
    with pytest.raises(StoreError, match="are written %3F and %23"):
        directory("chdb:///data/x?y")


def test_what_is_no_store_is_said(tmp_path: Path):
    (tmp_path / "office.pcap").touch()
    with pytest.raises(StoreError, match=r"office.pcap is a file; a store is a directory"):
        Store(as_url(str(tmp_path / "office.pcap")))
    with pytest.raises(StoreError, match="the store has no name"):
        as_url("")
    with pytest.raises(StoreError, match="no store there yet"):
        existing(as_url(str(tmp_path)))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (None, "is not installed: pip install 'aiscope\\[collector\\]'"),
        (object(), "cannot be loaded: libx.so"),
    ],
)
def test_an_engine_that_cannot_be_loaded_is_not_called_absent(
    spec: object, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def broken(**_: object) -> None:
        raise ImportError("libx.so: cannot open shared object file")

    monkeypatch.setattr("clickhouse_connect.get_client", broken)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    with pytest.raises(StoreError, match=f"the embedded store {said}"):
        Store(f"chdb://{tmp_path}/store")
