"""ClickHouse's HTTP interface, with a real process: curl's way and clickhouse-connect's."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import brotli
import clickhouse_connect
import lz4.frame
import pandas as pd
import pyarrow as pa
import pytest
from backports import zstd
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from collector import users
from collector.limits import Bounds, permitted
from collector.store import Store, StoreError, open_store
from sensor.delivery.columns import arrow
from sensor.knowledge.catalogue import load as load_catalogue
from tests.sensor.office import capture

from .conftest import START, connection
from .served import Served, parted, start, with_users


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    tokens = with_users(folder)
    running = start(folder)
    running.tokens = tokens
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = start(tmp_path_factory.mktemp("owned"), owner=True)
    yield running
    assert running.stop() == 0


def client(served: Served, user: str = "", **settings: Any) -> Client:
    login = {"username": user, "password": served.tokens[user]} if user else {}
    return clickhouse_connect.get_client(host="127.0.0.1", port=served.port, **login, **settings)


def stream(rows: pa.Table, step: int = 1000) -> bytes:
    data = io.BytesIO()
    with pa.ipc.new_stream(data, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=step)
    return data.getvalue()


def batch(count: int, name: str, first: int = 0) -> pa.Table:
    rows = [
        connection(flow_id=f"{name}-{i}", bytes_up=i, time=START + i) for i in range(first, first + count)
    ]
    return arrow(rows, "somebody", 1)


def insert(served: Served, rows: pa.Table, data: bytes, token: str, **more: Any) -> Any:
    statement = f"INSERT INTO connections ({', '.join(rows.schema.names)}) FORMAT ArrowStream"
    once = {"insert_deduplication_token": token, "deduplicate_blocks_in_dependent_materialized_views": "1"}
    return served.request("tap-1", data, query=statement, **once, **more)


def test_hello(served: Served):
    assert served.request(None, method="GET").body == b"Ok.\n"
    for path in ("/ping", "/replicas_status", "/healthz", "/readyz"):
        assert served.request(None, path=path, method="GET").body == b"Ok.\n"
    assert served.request(None, path="/ping", method="HEAD").body == b""


def test_headers_of_an_answer(served: Served):
    reply = served.request(
        "ann", "SELECT number FROM numbers(3)", query_id="q-1", default_format="JSONEachRow"
    )
    assert reply.body == b'{"number":0}\n{"number":1}\n{"number":2}\n'
    assert reply.headers["x-clickhouse-query-id"] == "q-1"
    assert reply.headers["x-clickhouse-format"] == "JSONEachRow"
    assert reply.headers["x-clickhouse-timezone"] == "UTC"
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    summary = json.loads(reply.headers["x-clickhouse-summary"])
    assert summary["read_rows"] == "3"
    assert int(summary["elapsed_ns"]) > 0


def test_every_way_to_log_in(served: Served):
    token = served.tokens["ann"]
    ways: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"Authorization": f"Bearer {token}"}, {}),
        ({"X-ClickHouse-User": "ann", "X-ClickHouse-Key": token}, {}),
        ({}, {"user": "ann", "password": token}),
    ]
    for headers, fields in ways:
        assert served.request(None, "SELECT 1", headers=headers, **fields).body == b"1\n"
    assert served.request(None, "SELECT 1", user="rita", password=token).code == 516


def test_get_reads_and_does_not_write(served: Served):
    assert served.request("ann", method="GET", query="SELECT 1").body == b"1\n"
    assert (
        served.request("tap-1", method="GET", query="INSERT INTO lookups (question) FORMAT TSV").code == 164
    )


def test_a_statement_in_two_parts(served: Served):
    assert served.request("ann", "1 + 1", query="SELECT").body == b"2\n"


def test_parameters(served: Served):
    sql = "SELECT {a:String}, {b:Array(UInt8)}, {c:DateTime64(6, 'UTC')}, {n:Identifier} FROM system.{t:Identifier}"
    given = {"param_a": "x\\ty'; DROP", "param_b": "[1,2]", "param_c": "2023-11-14 22:13:20.5"}
    reply = served.request("ann", sql, param_t="one", param_n="dummy", **given)
    assert reply.body == b"x\\ty\\'; DROP\t[1,2]\t2023-11-14 22:13:20.500000\t0\n"
    assert served.request("ann", "SELECT {a:UInt8}", param_a="x").code in {27, 457}
    assert served.request("ann", "SELECT {a:UInt8}").code == 456


@pytest.mark.parametrize(
    "form",
    """TSV TSVWithNames TSVWithNamesAndTypes CSV CSVWithNames CSVWithNamesAndTypes JSON JSONCompact JSONEachRow
    JSONCompactEachRow JSONCompactEachRowWithNames JSONCompactEachRowWithNamesAndTypes JSONColumns Values Vertical
    XML Markdown Pretty PrettyCompact Native RowBinary RowBinaryWithNamesAndTypes Arrow ArrowStream Parquet ORC Avro
    MsgPack SQLInsert Null""".split(),  # noqa: SIM905
)
def test_a_format_is_one_answer_however_long(owned: Served, form: str):
    """What goes out in the engine's blocks reads as what it makes in one piece."""
    name = 'a "b' if form.startswith("CSV") else "a_b"
    sql = f"SELECT number AS n, toString(number) AS `{name}` FROM numbers({{}})"
    long = owned.request(
        None, f"{sql.format(150_000)} SETTINGS output_format_pretty_max_rows = 5 FORMAT {form}"
    )
    assert long.status == 200, long.text[:500]
    assert long.headers["x-clickhouse-format"] == form
    if form.startswith("Arrow"):
        read = pa.ipc.open_stream if form == "ArrowStream" else pa.ipc.open_file
        assert read(long.body).read_all()["n"].to_pylist()[-1] == 149_999
    elif form in {"CSVWithNamesAndTypes", "TSVWithNames", "JSONCompactEachRowWithNamesAndTypes"}:
        assert long.body.count(b"\n") == 150_000 + (2 if "Types" in form else 1)
    elif form in {"JSON", "JSONCompact"}:
        assert json.loads(long.body)["rows"] == 150_000
    none = owned.request(None, f"{sql.format(0)} FORMAT {form}")
    assert none.status == 200
    if form == "CSVWithNames":
        assert none.body == b'"n","a ""b"\n'


@pytest.mark.parametrize(
    ("coding", "decoded"),
    [
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("lz4", lz4.frame.decompress),
        ("zstd", zstd.decompress),
        ("br", brotli.decompress),
    ],
)
def test_compression_of_answers(served: Served, coding: str, decoded: Callable[[bytes], bytes]):
    asked = {"Accept-Encoding": f"x;q=1, {coding}, identity;q=0.1"}
    reply = served.request(
        "ann", "SELECT number FROM numbers(200000)", headers=asked, enable_http_compression="1"
    )
    assert reply.headers["content-encoding"] == coding
    assert decoded(reply.body).splitlines()[-1] == b"199999"
    plain = served.request("ann", "SELECT 1", headers=asked)
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    ("coding", "encoded"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstd.compress),
        ("br", brotli.compress),
        ("zstd", lambda data: zstd.compress(data[:5]) + zstd.compress(data[5:])),
        ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
    ],
)
def test_compression_of_requests(served: Served, coding: str, encoded: Callable[[bytes], bytes]):
    sql = b"SELECT length('" + b"ab" * 50_000 + b"')"
    assert served.request("ann", encoded(sql), headers={"Content-Encoding": coding}).body == b"100000\n"


def test_an_error_in_the_middle(served: Served):
    sql = "SELECT throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 1000"
    reply = served.request("ann", sql)
    tag = reply.headers["x-clickhouse-exception-tag"].encode()
    assert reply.status == 200
    assert reply.body.endswith(tag + b"\r\n__exception__\r\n")
    assert b"Code: 395" in reply.body[-2000:]
    waited = served.request("ann", sql, wait_end_of_query="1")
    assert (waited.status, waited.code) == (500, 395)


def test_what_is_not_supported_says_so(served: Served):
    assert served.request("ann", "SELECT 1 FORMAT Nonsense").code == 73
    assert served.request("ann", "SELECT 1", compress="1").code == 48
    assert served.request("ann", "SELEC 1").code == 62
    assert served.request("ann", "SELECT nothing FROM usage").code == 47
    assert served.request("ann", "SELECT 1", no_such_setting="1").code == 115
    assert served.request("ann", "SELECT 1", path="/nowhere").status == 404
    kind, table = parted({"query": b"SELECT 1", "t_structure": b"a Int8"}, {"t": b"1\n"})
    assert served.request("ann", table, headers=kind).code == 48


def test_an_error_is_said_once_and_without_a_version(served: Served):
    said = "Code: 73. DB::Exception: Unknown format nix. (UNKNOWN_FORMAT)\n"
    assert served.request("ann", "SELECT 1 FORMAT nix").text == said
    assert "version" not in served.request("ann", "SELECT 1 FORMAT Prometheus").text


def test_limits_can_be_lowered_not_lifted(served: Served):
    sql = "SELECT value FROM system.settings WHERE name = 'max_execution_time'"
    assert served.request("ann", sql).body == b"60\n"
    assert served.request("ann", sql, max_execution_time="5").body == b"5\n"
    assert served.request("ann", sql, max_execution_time="0.5").body == b"0.5\n"
    assert served.request("ann", sql, max_execution_time="0").body == b"60\n"
    assert served.request("ann", sql + " SETTINGS max_execution_time = 9999").body == b"60\n"


def test_no_lowered_limit_is_cut_to_none():
    given = {"max_execution_time": "1e-9", "max_memory_usage": "1e6", "max_threads": "nan"}
    lowered = {"max_execution_time": "0.001", "max_memory_usage": "1000000", "max_threads": "64"}
    assert permitted(given, Bounds(), frozenset()) == lowered


def test_sessions_are_accepted_and_keep_nothing(served: Served):
    assert served.request("ann", "SELECT 1", session_id="s", session_timeout="60").body == b"1\n"


def test_names_are_shown_by_role(served: Served):
    assert served.request("ann", "SHOW DATABASES").body == b"aiscope\nsystem\n"
    shown = served.request("rita", "SHOW TABLES FROM aiscope LIKE 'usage%'").body.split()
    assert shown == [b"usage", b"usage_daily", b"usage_hourly"]
    assert b"sealed" not in served.request("ann", "SHOW TABLES").body.split()
    assert b"sealed" in served.request("ivy", "SHOW TABLES").body.split()
    assert served.request("ann", "EXISTS TABLE usage").body == b"1\n"
    assert b"bytes_up" in served.request("ann", "DESCRIBE usage").body
    assert b"Aggregating" in served.request("ann", "EXPLAIN SELECT count() FROM usage").body
    assert served.request("ann", "DESCRIBE (SELECT 1 AS x)").body.startswith(b"x\tUInt8")
    assert b"CREATE VIEW" in served.request("ann", "SHOW CREATE TABLE usage").body


def test_a_sensor_is_who_it_logged_in_as(served: Served):
    rows = batch(50, "forged")
    assert insert(served, rows, stream(rows), "forged").status == 200
    for form, data in {
        "JSONEachRow": b'{"sensor": "other", "question": "j", "ingested": "2001-01-01 00:00:00"}',
        "CSV": b'"other","c"\n',
        "TSV": b"other\tc\n",
        "RowBinary": b"\x05other\x01b",
        "Values": b"",
    }.items():
        statement = f"INSERT INTO lookups (sensor, question) FORMAT {form}\n"
        reply = served.request("tap-1", statement.encode() + data)
        assert (reply.status == 200) == (form != "Values"), reply.text
    assert served.rows("ann", "SELECT DISTINCT sensor FROM connections WHERE flow_id LIKE 'forged%'") == [
        ["tap-1"]
    ]
    assert served.rows("ann", "SELECT DISTINCT sensor FROM lookups") == [["tap-1"]]
    assert served.rows("ann", "SELECT count() FROM lookups WHERE ingested < '2020-01-01 00:00:00'") == [[0]]


def test_a_batch_is_stored_once(served: Served):
    rows = batch(30_000, "once")
    for step in (30_000, 999, 7_000):  # another cut of the same rows is the same batch
        assert insert(served, rows, stream(rows, step), "once").status == 200
    counted = "SELECT count(), sum(bytes_up) FROM connections WHERE flow_id LIKE 'once%'"
    assert served.rows("ann", counted) == [[30000, sum(range(30_000))]]
    other = batch(30_000, "two", 30_000)
    ((before,),) = served.rows("ann", "SELECT sum(bytes_up) FROM usage_hourly")
    for _ in range(2):
        assert insert(served, other, stream(other), "two").status == 200
    ((after,),) = served.rows("ann", "SELECT sum(bytes_up) FROM usage_hourly")
    assert after - before == sum(range(30_000, 60_000))


def test_a_batch_with_a_bad_end_leaves_nothing(served: Served):
    rows = batch(20_000, "cut")
    data = stream(rows, 500)
    assert insert(served, rows, data[: len(data) // 2], "cut").code > 0
    broken = lz4.frame.compress(data)[:-100]
    statement = f"INSERT INTO connections ({', '.join(rows.schema.names)}) FORMAT ArrowStream"
    assert served.request("tap-1", broken, query=statement, headers={"Content-Encoding": "lz4"}).code == 33
    lines = b'{"question": "bad"}\n' * 70_000 + b'{"question": 1'
    assert served.request("tap-1", b"INSERT INTO lookups (question) FORMAT JSONEachRow\n" + lines).code > 0
    assert served.rows("ann", "SELECT count() FROM connections WHERE flow_id LIKE 'cut%'") == [[0]]
    assert served.rows("ann", "SELECT count() FROM lookups WHERE question = 'bad'") == [[0]]


def test_the_store_of_the_dashboard_works_over_http(served: Served):
    rows = [connection(flow_id=f"store-{i}") for i in range(10)]
    with Store(f"http://tap-1:{served.tokens['tap-1']}@127.0.0.1:{served.port}/") as store:
        for _ in range(2):
            store.insert(rows, sensor="x", batch=1, token="store")
    url = f"http://ann:{served.tokens['ann']}@127.0.0.1:{served.port}/"
    with open_store(url, readonly=True) as store:
        for query in Path("collector/queries").glob("[a-z]*.sql"):
            store.fetch(query.stem)
        assert store.rows("SELECT count() AS n FROM connections WHERE flow_id LIKE 'store-%'") == [{"n": 10}]
        risks = store.rows("SELECT count() AS n, countIf(score > 0) > 0 AS known FROM services")
        assert risks == [{"n": len(load_catalogue().services), "known": 1}]  # sensors ship events only


def test_a_collector_that_goes_away_is_said_in_one_sentence(tmp_path: Path):
    tokens, served = with_users(tmp_path), start(tmp_path)
    with open_store(f"http://ann:{tokens['ann']}@127.0.0.1:{served.port}/", readonly=True) as store:
        served.stop()
        with pytest.raises(StoreError) as said:
            store.fetch("totals")
    away = f"http://ann:***@127.0.0.1:{served.port}/: cannot be reached: Connection refused"
    assert str(said.value) == away


def test_what_a_collector_refuses_is_said_in_its_words(served: Served):
    url = f"http://ann:{served.tokens['ann']}@127.0.0.1:{served.port}/"
    with open_store(url) as store, pytest.raises(StoreError) as refused:
        store.rows("SELECT 1 FROM sealed")
    said = "Code: 497. sealed: not a table that this user may use for this (ACCESS_DENIED)"
    assert str(refused.value) == f"http://ann:***@127.0.0.1:{served.port}/: {said}"


def test_read_into_a_collector_and_into_one_that_is_away(tmp_path: Path):
    tokens, file = with_users(tmp_path), capture(tmp_path / "office.pcap")
    served = start(tmp_path)
    url = f"http://adam:{tokens['adam']}@127.0.0.1:{served.port}/"
    command = [sys.executable, "-m", "sensor.cli", "read", file, "--store", url]
    stored = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert f"rows stored in http://adam:***@127.0.0.1:{served.port}/" in stored.stderr
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "already stored as" in again.stderr
    assert served.stop() == 0
    away = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert away.returncode == 1
    assert (
        away.stderr
        == f"aiscope: http://adam:***@127.0.0.1:{served.port}/: cannot be reached: Connection refused\n"
    )
    assert tokens["adam"] not in stored.stdout + stored.stderr + again.stderr + away.stderr


def test_clickhouse_connect(served: Served):
    with client(served, "ann") as ann:
        assert ann.query("SELECT {a:UInt8} + 1 AS x", parameters={"a": 4}).first_item == {"x": 5}
        assert ann.command("SELECT count() FROM numbers(7)") == 7
        frame = ann.query_df("SELECT number AS n, toString(number) AS s FROM numbers(5)")
        assert list(frame["s"]) == ["0", "1", "2", "3", "4"]
        assert ann.query_arrow("SELECT number AS n FROM numbers(70000)").num_rows == 70_000
        assert ann.query_np("SELECT number FROM numbers(4)").shape == (4, 1)
        with ann.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
            assert sum(len(block) for block in blocks) == 300_000
        with ann.query_df_stream("SELECT number FROM numbers(200000)") as frames:
            assert sum(len(frame) for frame in frames) == 200_000
        with (
            pytest.raises(DatabaseError, match=r"[Cc]ode: 395"),
            ann.query_rows_stream(
                "SELECT throwIf(number = 900000) FROM numbers(1000000)", settings={"max_block_size": 5000}
            ) as stream_,
        ):
            for _ in stream_:
                pass
        assert ann.raw_query("SELECT 1 AS a", fmt="CSVWithNames") == b'"a"\n1\n'
        assert ann.ping()


def test_clickhouse_connect_inserts(served: Served):
    columns = ["question", "qtype", "answers", "ttl"]
    with client(served, "tap-1") as tap:
        tap.insert("lookups", [["cc", "A", ["192.0.2.1"], None]], column_names=columns)
        tap.insert_df("lookups", pd.DataFrame({"question": ["cc"], "qtype": ["AAAA"]}))
        tap.insert_arrow("lookups", pa.table({"question": ["cc"], "qtype": ["TXT"]}))
        tap.raw_insert("lookups", ["question", "qtype"], "cc,MX\n", fmt="CSV")
        for compress in ("zstd", "gzip", "br", "lz4"):
            with client(served, "tap-1", compress=compress) as packed:
                packed.insert("lookups", [["cc", compress]], column_names=["question", "qtype"])
    found = served.rows(
        "ann", "SELECT groupArray(qtype) FROM (SELECT qtype FROM lookups WHERE question = 'cc' ORDER BY 1)"
    )
    assert found == [[["A", "AAAA", "MX", "TXT", "br", "gzip", "lz4", "zstd"]]]


def test_clickhouse_connect_async(served: Served):
    async def ask() -> list[Any]:
        asked = {
            "host": "127.0.0.1",
            "port": served.port,
            "username": "ann",
            "password": served.tokens["ann"],
        }
        ann = await clickhouse_connect.get_async_client(**asked)
        async with ann:
            answers = await asyncio.gather(*(ann.query(f"SELECT {n}") for n in range(10)))
            return [answer.first_row[0] for answer in answers]

    assert asyncio.run(ask()) == list(range(10))


def aiscope(served: Served, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command with this user's login."""
    url = f"http://{user}:{served.tokens[user]}@127.0.0.1:{served.port}/"
    command = [sys.executable, "-m", "sensor.cli", *arguments, "--store", url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_reader_asks_by_our_own_command(served: Served):
    done = aiscope(served, "rita", "sql", "SELECT count() AS n FROM usage WHERE service = 'nosuch'")
    assert (done.returncode, done.stdout) == (0, "n\n0\n"), done.stderr


def test_who_may_not_see_the_pages_is_told_who_may(served: Served):
    for user in ("rita", "tap-1"):
        done = aiscope(served, user, "dashboard", "--check")
        assert done.returncode == 1
        said = "This login may not read what the pages show. They need one with the role analyst."
        assert {line[14:] for line in done.stdout.splitlines()} == {said}


def test_users_change_without_a_restart(served: Served):
    assert served.users
    token = users.add(served.users, "late", "reader")
    deadline = time.monotonic() + 10
    while served.request(None, "SELECT 1", user="late", password=token).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    new = users.rotate(served.users, "late", overlap=3600)
    time.sleep(1.2)
    for secret in (token, new):
        assert served.request(None, "SELECT 1", user="late", password=secret).status == 200
    users.remove(served.users, "late")
    time.sleep(1.2)
    assert served.request(None, "SELECT 1", user="late", password=new).code == 516
    time.sleep(1.5)
    found = served.rows("ann", "SELECT action FROM audit WHERE object = 'late' ORDER BY time")
    assert [row[0] for row in found] == ["user.add", "user.rotate", "user.remove"]
    assert served.rows(
        "ann", "SELECT count() > 0 FROM audit WHERE action = 'login' AND outcome = 'denied'"
    ) == [[1]]


def test_forms_that_come_slowly_hold_nobody_up(served: Served):
    """A form is read before the login, which may be in it: 60 of strangers that never end took every thread."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    head += b"Content-Length: 900000\r\n\r\n"
    with ExitStack() as held:
        for _ in range(60):
            slow = held.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            slow.sendall(head + b"x" * 300_000)
        time.sleep(1)
        assert served.request("ann", "SELECT 1", timeout=10).body == b"1\n"


def test_metrics(served: Served):
    assert served.request(None, path="/metrics", method="GET").status == 401
    assert served.request("tap-1", path="/metrics", method="GET").status == 403
    text = served.request("rita", path="/metrics", method="GET").text
    assert 'aiscope_collect_requests_total{code="0",kind="insert"}' in text
    assert 'aiscope_collect_rows_written_total{table="connections"}' in text
    assert float(text.partition("\naiscope_collect_resident_bytes ")[2].split("\n")[0]) > 1e8


def test_log_lines_are_json_and_hold_no_secret(served: Served):
    served.request("ann", "SELECT 1", query_id='x"\\n')
    lines = served.log.read_text().splitlines()
    assert all(json.loads(line)["time"] for line in lines if line.startswith("{"))
    assert not any(token in line for line in lines for token in served.tokens.values())


def test_a_stop_lets_requests_end(tmp_path: Path):
    tokens = with_users(tmp_path)
    running = start(tmp_path)
    running.tokens = tokens
    rows = batch(1000, "stop")
    assert insert(running, rows, stream(rows), "stop").status == 200
    slow = subprocess.Popen(
        ["curl", "-sS", f"http://127.0.0.1:{running.port}/", "-H", f"Authorization: Bearer {tokens['ann']}",
         "-d", "SELECT count() FROM numbers(30000000) WHERE sipHash64(number) = 1"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(0.7)
    assert running.stop() == 0
    assert slow.communicate(timeout=30)[0] == b"0\n"
    again = start(tmp_path)
    again.tokens = tokens
    try:
        assert again.rows("ann", "SELECT count() FROM connections") == [[1000]]
    finally:
        again.stop()


def authority(folder: Path) -> None:
    """A certificate authority, a server's and a client's certificate."""
    for name, more in (("ca", []), ("server", ["ca"]), ("client", ["ca"])):
        signed = ["-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"] if more else []
        names = ["-addext", "subjectAltName=IP:127.0.0.1"] if name == "server" else []
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
             *signed, *names],
            check=True, capture_output=True,
        )  # fmt: skip


def test_tls_and_client_certificates(tmp_path: Path):
    authority(tmp_path)
    tokens = with_users(tmp_path)
    keys = [str(tmp_path / name) for name in ("server.pem", "server.key", "ca.pem")]
    running = start(tmp_path, "--certificate", keys[0], "--key", keys[1], "--client-ca", keys[2])
    url = f"https://127.0.0.1:{running.port}/?query=SELECT+1"
    call = ["curl", "-sS", "--cacert", keys[2], "-H", f"Authorization: Bearer {tokens['ann']}", url]
    mine = ["--cert", str(tmp_path / "client.pem"), "--key", str(tmp_path / "client.key")]
    try:
        assert subprocess.run([*call, *mine], capture_output=True).stdout == b"1\n"
        assert subprocess.run(call, capture_output=True).returncode != 0
        assert b"REQUIRED_PASSWORD" in subprocess.run([*call[:4], *mine, url], capture_output=True).stdout
    finally:
        running.stop()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "0.0.0.0:0"],
        ["--owner", "x", "--listen", "192.0.2.1:8123"],
        ["--owner", "x", "--listen", "0.0.0.0:8123", "--insecure-listen"],
        ["--listen", "nonsense"],
        ["--client-ca", __file__],
    ],
)
def test_it_does_not_start_in_the_open(arguments: list[str], tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "sensor.cli", "collect", "--store", str(tmp_path / "s"), *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert not (tmp_path / "s").exists()


def test_where_it_listens_is_an_url(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "sensor.cli",
        "collect",
        "--owner",
        str(tmp_path / "s"),
        "--listen",
        "[::1]:0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = next(line for line in process.stderr if '"listening"' in line)
        process.terminate()
        assert process.wait(30) == 0  # a signal that comes as soon as it listens is not lost
    assert json.loads(said)["url"].startswith("http://[::1]:")


def test_answers_go_to_those_who_asked(served: Served):
    """Many at once, by several paths through the engine: every one gets its own."""

    def right(number: int) -> bool:
        if number % 4 == 0:
            return served.request("ann", f"SELECT {number}").body == b"%d\n" % number
        if number % 4 == 1:
            return served.request("ann", "SELECT {a:UInt32}", param_a=str(number)).body == b"%d\n" % number
        if number % 4 == 2:
            return served.request("ann", f"SELECT {number} FORMAT JSONCompactEachRowWithNames").text.endswith(
                f"[{number}]\n"
            )
        return f"nothing{number}" in served.request("ann", f"SELECT nothing{number}").text

    with ThreadPoolExecutor(24) as threads:
        assert all(threads.map(right, range(400)))
