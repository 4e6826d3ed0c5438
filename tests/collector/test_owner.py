"""`aiscope collect --owner`: any statement in its directory, sessions, and tables that come with a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.external import ExternalData

from collector.errors import Refused
from collector.limits import Bounds
from collector.owner import SESSIONS, Sessions
from collector.request import parse

from .served import Reply, Served, parted, start


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = start(tmp_path_factory.mktemp("owned"), owner=True)
    yield running
    assert running.stop() == 0


def client(owned: Served) -> Client:
    return clickhouse_connect.get_client(host="127.0.0.1", port=owned.port)


def asked(owned: Served, sql: str | bytes, **fields: Any) -> Reply:
    return owned.request(None, sql, **fields)


def test_an_owner_may_do_anything_in_its_directory(owned: Served, tmp_path: Path):
    with client(owned) as owner:
        owner.command("CREATE DATABASE d")
        owner.command("CREATE TABLE d.t (a UInt32, s String, j Array(String)) ENGINE = MergeTree ORDER BY a")
        owner.insert("d.t", [[1, "x", ["y"]]], column_names=["a", "s", "j"])
        owner.command("INSERT INTO d.t VALUES (2, ';', [])")
        owner.command("INSERT INTO d.t SELECT number, 'n', [] FROM numbers(3, 5)")
        owner.command("WITH 7 AS n INSERT INTO d.t (a, s) SELECT n, 'INSERT INTO d.t' FROM numbers(1)")
        assert owner.command("SELECT sum(a) FROM d.t") == 35
        assert owner.command("WITH 1 AS n SELECT 'INSERT INTO x'") == "INSERT INTO x"
        owner.command("ALTER TABLE d.t DELETE WHERE a = 7 AND s != 'n' SETTINGS mutations_sync = 1")
        owner.command("ALTER TABLE d.t DELETE WHERE a = 2 SETTINGS mutations_sync = 1")
        assert owner.query("SELECT count() FROM d.t").first_row == (6,)
    (tmp_path / "secret").write_text("c4nary")
    for sql in (f"SELECT file('{tmp_path}/secret')", f"SELECT 1 INTO OUTFILE '{tmp_path}/out'",
                "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)"):  # fmt: skip
        reply = owned.request(None, sql, http_max_tries="1")
        assert reply.code > 0
        assert "c4nary" not in reply.text
    assert not (tmp_path / "out").exists()
    assert owned.request(None, "SELECT 1", user="ann", password="x").code == 516


def test_an_owner_is_not_asked_by_web_pages(owned: Served):
    assert owned.request(None, "SELECT 1", headers={"Origin": "http://evil.example"}).status == 403
    assert owned.request(None, "SELECT 1", headers={"Host": "evil.example"}).status == 403


def test_a_dictionary_of_the_owners_own_table(owned: Served):
    for sql in (
        "CREATE DATABASE words",
        "CREATE TABLE words.t (id UInt64, word String) ENGINE = MergeTree ORDER BY id",
        "INSERT INTO words.t VALUES (1, 'one')",
        "CREATE DICTIONARY words.d (id UInt64, word String) PRIMARY KEY id "
        "SOURCE(CLICKHOUSE(TABLE 't' DB 'words')) LAYOUT(FLAT()) LIFETIME(0)",
    ):
        assert asked(owned, sql).code == 0
    assert asked(owned, "SELECT dictGet('words.d', 'word', toUInt64(1))").body == b"one\n"


def test_a_session_keeps_tables_and_settings(owned: Served):
    assert asked(owned, "CREATE TEMPORARY TABLE kept (a Int8)", session_id="s1").code == 0
    assert asked(owned, "INSERT INTO kept FORMAT CSV\n1\n2\n", session_id="s1").code == 0
    assert asked(owned, "SELECT sum(a) FROM kept", session_id="s1").body == b"3\n"
    assert asked(owned, "SELECT sum(a) FROM kept", session_id="s2").code == 60
    assert asked(owned, "SELECT sum(a) FROM kept").code == 60
    assert asked(owned, "SELECT 1", session_id="s3", session_check="1").code == 372


def test_settings_of_a_request_are_not_the_sessions(owned: Served):
    def threads(**fields: Any) -> list[bytes]:
        sql = "SELECT getSetting('max_threads'), getSetting('max_block_size')"
        return asked(owned, sql, session_id="s4", **fields).body.split()

    assert asked(owned, "SET max_threads = 3", session_id="s4").code == 0
    usual = threads()
    assert usual[0] == b"3"
    assert threads(max_threads=5, max_block_size=77) == [b"5", b"77"]
    assert threads(max_block_size=78) == [b"3", b"78"]
    assert threads() == usual
    assert asked(owned, "SELECT 1", session_id="s4", max_threads="many").code > 0
    assert threads() == usual


def test_the_database_of_a_request_is_not_the_sessions(owned: Served):
    sql = "SELECT currentDatabase()"
    assert asked(owned, "CREATE DATABASE IF NOT EXISTS other").code == 0
    assert asked(owned, "USE other", session_id="s10").code == 0
    assert asked(owned, sql, session_id="s10").body == b"other\n"
    assert asked(owned, sql, session_id="s10", database="system").body == b"system\n"
    assert asked(owned, sql, session_id="s10", database="nowhere").code == 81
    assert asked(owned, sql, session_id="s10").body == b"other\n"


def test_a_session_serves_one_at_a_time(owned: Served):
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(asked, owned, "SELECT sleep(2)", session_id="s5")
        time.sleep(0.7)
        late = asked(owned, "SELECT 1", session_id="s5")
        assert (late.code, late.status) == (373, 423)
        assert slow.result().code == 0
    assert asked(owned, "SELECT 1", session_id="s5").body == b"1\n"
    long = "SELECT number, sleepEachRow(0.01) FROM numbers(300) SETTINGS max_block_size = 10"
    for sql in ("SELECT nothing", "SELEC", long):  # a streamed answer gives it back too
        asked(owned, sql, session_id="s5")
        assert asked(owned, "SELECT 1", session_id="s5").body == b"1\n"


def test_sessions_end(owned: Served):
    assert (
        asked(owned, "CREATE TEMPORARY TABLE soon (a Int8)", session_id="s6", session_timeout="1").code == 0
    )
    time.sleep(1.2)
    asked(owned, "SELECT 1", session_id="s7")
    assert asked(owned, "SELECT * FROM soon", session_id="s6").code == 60


class Handles:
    """Stands for the engine: counts what is open."""

    def __init__(self) -> None:
        self.open = 0

    def handle(self, settings: dict[str, str], database: str) -> Any:
        self.open += 1
        return SimpleNamespace(query=None, send_query=None, send_insert=None, close=self.close)

    def close(self) -> None:
        self.open -= 1


def test_there_are_so_many_sessions_the_idle_go_first():
    engine = Handles()
    sessions = Sessions(engine, Bounds())
    busy = sessions.lend(parse(b"session_id=busy", {}))
    for number in range(SESSIONS + 10):
        sessions.lend(parse(f"session_id={number}".encode(), {})).close()
    assert engine.open <= SESSIONS + 1
    with pytest.raises(Refused, match="locked"):
        sessions.lend(parse(b"session_id=busy", {}))
    busy.close()
    sessions.lend(parse(b"session_id=busy", {})).close()


@pytest.mark.parametrize("session", ["", "s9"])
def test_tables_that_come_with_a_request(owned: Served, session: str):
    fields = {
        "query": b"SELECT upper(name), n FROM people ORDER BY n",
        "people_structure": b"name String, n Int8",
    }
    kind, body = parted(fields, {"people": b"b\t2\na\t1\n"})
    more = {"session_id": session} if session else {}
    for _ in range(2):
        assert asked(owned, body, headers=kind, **more).body == b"A\t1\nB\t2\n"
    assert asked(owned, "SELECT * FROM people", **more).code == 60
    kind, body = parted({**fields, "people_structure": b"name Strin"}, {"people": b""})
    assert asked(owned, body, headers=kind, **more).code == 50


def test_external_data_of_clickhouse_connect(owned: Served):
    data = ExternalData(file_name="pairs", data=b"1,x\n2,y\n", fmt="CSV", types=["UInt8", "String"])
    with client(owned) as connected:
        rows = connected.query("SELECT _2 FROM pairs WHERE _1 = {n:UInt8}", {"n": 2}, external_data=data)
        assert rows.result_rows == [("y",)]


def test_a_literal_may_have_any_bytes(owned: Served):
    assert asked(owned, b"SELECT hex('\xff\x00\xfe'), 'ok'").body == b"FF00FE\tok\n"
    assert asked(owned, b"SELECT '\xff' FORMAT JSON").code == 0
