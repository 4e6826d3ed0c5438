from __future__ import annotations

import datetime as dt
import email.utils
import json
import re
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from sensor import ship_cli
from sensor.delivery import ship as module
from sensor.delivery.outbox import Outbox, status, waiting
from sensor.delivery.ship import Options, Shipper, Target
from sensor.delivery.spool import Spool, SpoolError, packed, unpacked
from tests.collector.conftest import START, connection, lookup, stats
from tests.ports import free_port

DAY = 86_400 * 10**9


class Server(ThreadingHTTPServer):
    """Answers like ClickHouse, or as told by `answers` (status, exception code, headers), one per request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[dict[str, str], bytes, dict[str, str]]] = []
        self.answers: list[tuple[int, str, dict[str, str]]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://s1:secret@127.0.0.1:{self.server_port}/"

    @property
    def rows(self) -> list[dict]:
        return [row for _, body, _ in self.requests for row in unpacked(body).to_pylist()]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        fields = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((fields, body, dict(self.headers)))
        told = self.server.answers.pop(0) if self.server.answers else (200, "", {})
        headers = {"X-ClickHouse-Query-Id": fields["query_id"], **told[2]}
        text = b"" if told[0] == 200 else b"Code: 1. DB::Exception: no good. (version 26.9)"
        self.send_response_only(told[0])
        headers.setdefault("Date", self.date_time_string())
        if told[1]:
            headers["X-ClickHouse-Exception-Code"] = told[1]
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
        server.shutdown()


@pytest.fixture
def other() -> Iterator[Server]:
    with Server() as server:
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.spool"


def put(path: Path, *commits: list) -> None:
    with Spool(path, "s1") as spool:
        for events in commits:
            spool.put(events)
            spool.commit()


def drain(path: Path, *urls: str, **options: object) -> Shipper:
    with Outbox(path) as outbox:
        shipper = Shipper(outbox, urls, Options(**options))
        shipper.drain(threading.Event())
        shipper.close()
        return shipper


def test_commits_become_batches_by_table_and_month(path: Path, server: Server):
    put(path, *([connection(bytes_up=k), lookup(), connection(time=START - 1500 * DAY)] for k in range(5)))
    assert drain(path, server.url).shipped == 15
    assert status(path).rows == 0
    sent = [(fields["query"].split()[2], unpacked(body).num_rows) for fields, body, _ in server.requests]
    assert sent == [("aiscope.connections", 5), ("aiscope.lookups", 5), ("aiscope.connections", 5)]
    assert [row["batch"] for row in server.rows] == [1] * 5 + [2] * 5 + [3] * 5
    fields, _, headers = server.requests[0]
    assert fields["deduplicate_blocks_in_dependent_materialized_views"] == "1"
    assert fields["distributed_foreground_insert"] == "1"
    assert headers["X-ClickHouse-User"] == "s1"
    assert headers["X-ClickHouse-Key"] == "secret"
    assert headers["Content-Encoding"] == "zstd"
    assert len({fields["insert_deduplication_token"] for fields, _, _ in server.requests}) == 3


def test_a_batch_waits_for_its_size_or_age(path: Path):
    put(path, [connection()] * 3)
    with Outbox(path) as outbox:
        assert outbox.batch(rows=4, age=60) is None
        assert outbox.batch(rows=3, age=60)
    put(path, [lookup()])
    with Outbox(path) as outbox:
        outbox.done(outbox.batch(rows=9, age=60), None)
        assert outbox.batch(rows=4, age=60) is None
        assert outbox.batch(rows=4, age=0)


def test_a_clock_set_back_makes_nothing_wait(path: Path, monkeypatch: pytest.MonkeyPatch):
    put(path, [connection()])
    now = time.time()
    monkeypatch.setattr("sensor.delivery.outbox.time.time", lambda: now - 86_400)
    with Outbox(path) as outbox:
        assert outbox.batch(rows=9, age=60)


def test_batches_are_no_larger_than_asked(path: Path, server: Server):
    put(path, *([connection()] * 4 for _ in range(5)))
    drain(path, server.url, rows=10)
    assert [unpacked(body).num_rows for _, body, _ in server.requests] == [8, 8, 4]


def test_a_retry_is_the_same_bytes_and_token_whatever_crashed_and_came_between(path: Path, server: Server):
    server.answers = [(500, "", {}), (200, "", {"X-ClickHouse-Query-Id": "another's"})]
    put(path, [connection()])
    for k in range(2):
        with Outbox(path) as outbox:
            Shipper(outbox, [server.url], Options(age=0)).step(0)
        put(path, [connection(bytes_up=k)])
    drain(path, server.url)
    assert len(server.requests) == 4
    first, second, third, last = ((f["insert_deduplication_token"], body) for f, body, _ in server.requests)
    assert first == second == third != last
    assert len({fields["query_id"] for fields, _, _ in server.requests}) == 4


def test_a_spool_that_was_rolled_back_makes_new_tokens(path: Path, server: Server, tmp_path: Path):
    put(path, [connection()])
    copy = tmp_path / "copy.spool"
    copy.write_bytes(path.read_bytes())
    put(path, [lookup()])
    put(copy, [lookup(user="another")])
    for spool in (path, copy):
        drain(spool, server.url)
    tokens = [fields["insert_deduplication_token"] for fields, _, _ in server.requests]
    assert tokens[0] == tokens[2]  # the same rows: the store drops the second
    assert tokens[1] != tokens[3]


def test_what_the_store_refuses_is_set_aside_after_n_tries_and_the_rest_goes_on(
    path: Path, server: Server, caplog
):
    put(path, [connection()], [lookup()])
    server.answers = [(400, "117", {})] * 3
    drain(path, server.url, tries=3)
    found = status(path)
    assert (found.rows, found.aside, found.aside_rows) == (0, 1, 1)
    (batch,) = waiting(path)
    assert (batch.tries, batch.error) == (3, "Code: 1. DB::Exception: no good.")
    assert "set aside" in caplog.text
    with Outbox(path) as outbox:
        assert outbox.again() == 1
    drain(path, server.url)
    assert status(path).aside == 0
    assert len(server.rows) == 3 + 1 + 1


@pytest.mark.parametrize(
    "answer",
    [
        (500, "241", {}),  # memory
        (404, "60", {}),  # no such table: not migrated yet
        (403, "516", {}),  # password
        (503, "", {}),
        (302, "", {"Location": "http://127.0.0.1:1/"}),
        (200, "", {"X-ClickHouse-Query-Id": ""}),  # a portal that says OK to everything
        (200, "999", {}),
    ],
)
def test_what_is_the_store_s_own_trouble_never_sets_a_batch_aside(path: Path, server: Server, answer: tuple):
    put(path, [connection()])
    server.answers = [answer] * 5
    drain(path, server.url, tries=2)
    assert len(server.requests) == 6
    found = status(path)
    assert (found.rows, found.aside, found.problem) == (0, 0, "")


def test_the_problem_is_kept_for_status(path: Path, server: Server):
    put(path, [connection()])
    server.answers = [(403, "516", {})]
    with Outbox(path) as outbox:
        Shipper(outbox, [server.url], Options()).step(0)
    assert (
        status(path).problem == f"http://127.0.0.1:{server.server_port}: 403 Code: 1. DB::Exception: no good."
    )


def test_failover_goes_to_the_next_and_stays(path: Path, server: Server, other: Server):
    put(path, *([connection(time=START + k * 31 * DAY)] for k in range(3)))
    server.answers = [(503, "", {})]
    drain(path, server.url, other.url)
    assert (len(server.requests), len(other.requests)) == (1, 3)
    tokens = [fields["insert_deduplication_token"] for fields, _, _ in server.requests + other.requests]
    assert tokens[0] == tokens[1]


def test_nobody_there_is_waited_for_longer_and_longer(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FIRST_WAIT", 1.0)
    put(path, [connection()])
    with Outbox(path) as outbox:
        shipper = Shipper(outbox, ["http://127.0.0.1:9/", "http://localhost:9/"], Options())
        waits = [shipper.step(0) for _ in range(12)]
    assert all(2**k / 2 <= wait <= 2**k for k, wait in enumerate(waits[:6]))
    assert all(30 <= wait <= 60 for wait in waits[6:])
    assert len(set(waits[6:])) > 1


def test_a_store_that_asks_for_time_gets_it(path: Path, server: Server):
    put(path, [connection()])
    server.answers = [(503, "", {"Retry-After": "7"}), (503, "", {"Retry-After": "-9e9"})]
    with Outbox(path) as outbox:
        shipper = Shipper(outbox, [server.url], Options())
        assert shipper.step(0) == 7
        assert shipper.step(0) < 1


def test_clock_skew_is_measured_stored_and_told(path: Path, server: Server, caplog):
    ahead = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90), usegmt=True)
    server.answers = [(200, "", {"Date": ahead})]
    put(path, [connection()])
    drain(path, server.url)
    assert status(path).skew == pytest.approx(90, abs=1.5)
    assert "clock" in caplog.text
    put(path, [stats()])
    assert unpacked(waiting(path)[0].data)["clock_skew"].to_pylist() == [pytest.approx(90, abs=1.5)]
    server.answers = [(200, "", {"Date": "yesterday"})]
    drain(path, server.url)
    assert status(path).skew == pytest.approx(90, abs=1.5)


def test_rows_damaged_on_the_disk_are_set_aside_and_the_rest_goes(path: Path, server: Server):
    put(path, [connection()], [connection(bytes_up=2)])
    with Spool(path, "s1") as spool:
        spool._base.execute("UPDATE segments SET data = x'00' WHERE id = 1")
    drain(path, server.url)
    assert [row["bytes_up"] for row in server.rows] == [2]
    found = status(path)
    assert (found.aside, found.aside_rows) == (1, 1)
    with Outbox(path) as outbox:
        assert outbox.again() == 0  # they cannot be sent


def test_rows_of_an_older_version_go_with_those_of_this_one(path: Path, server: Server):
    put(path, [stats()], [stats()])
    with Spool(path, "s1") as spool:
        (old,) = spool._base.execute("SELECT data FROM segments WHERE id = 1").fetchone()
        spool._base.execute(
            "UPDATE segments SET data = ? WHERE id = 1", (packed(unpacked(old).drop_columns("clock_skew")),)
        )
    drain(path, server.url)
    assert "clock_skew" in server.requests[0][0]["query"]
    assert len(server.rows) == 2


class Full:
    """A connection whose disk takes nothing for some commits."""

    def __init__(self, base: sqlite3.Connection, commits: int) -> None:
        self.base, self.commits = base, commits

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.commits:
            self.commits -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return self.base.execute(sql, *arguments)

    def __getattr__(self, name: str) -> object:
        return getattr(self.base, name)


def test_a_full_disk_is_waited_for_and_what_was_sent_is_sent_again(path: Path, server: Server, caplog):
    put(path, [connection()])
    with Outbox(path) as outbox:
        shipper = Shipper(outbox, [server.url], Options())
        assert outbox.batch(rows=9, age=0)  # frozen
        outbox._base = Full(outbox._base, 2)
        assert (shipper.step(0) or 0) > 0
        shipper.drain(threading.Event())
    tokens = [fields["insert_deduplication_token"] for fields, _, _ in server.requests]
    assert len(tokens) == 3
    assert len(set(tokens)) == 1
    assert caplog.text.count("disk is full") == 1
    assert status(path).rows == 0


def test_one_process_ships_at_a_time(path: Path):
    put(path, [connection()])
    with Outbox(path), pytest.raises(SpoolError, match="another process"):
        Outbox(path)


def test_a_replaced_file_is_noticed(path: Path, server: Server):
    put(path, [])
    with Outbox(path) as outbox:
        assert not outbox.replaced()
        path.rename(path.with_name("old.spool"))
        put(path, [connection()])
        assert outbox.replaced()
        Shipper(outbox, [server.url], Options()).run(threading.Event())  # ends


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("chdb:///var/lib/x", "ship goes to http"),
        ("http://u:secret@/", "ship goes to http"),
        ("http://u:secret@store.example:8123/", "plain http to another machine"),
    ],
)
def test_urls_that_cannot_be_shipped_to(url: str, reason: str):
    with pytest.raises(ValueError, match=reason) as caught:
        Target(url, Options())
    assert "secret" not in str(caught.value)


def test_plain_http_elsewhere_is_asked_for_by_name():
    assert Target("http://store.example/", Options(plain=True)).shown == "http://store.example:8123"


def certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return folder / "cert.pem", folder / "key.pem"


def test_tls_with_both_sides_certificates(path: Path, server: Server, tmp_path: Path):
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(cert))
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http://", "https://").replace("127.0.0.1", "localhost")
    put(path, [connection()])
    with Outbox(path) as outbox:
        unknown = Shipper(outbox, [url], Options())
        unknown.step(0)
        assert "CERTIFICATE_VERIFY_FAILED" in status(path).problem
        unknown.close()
    assert drain(path, url, ca=cert, certificate=cert, key=key).shipped == 1


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(ship_cli.spool, arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_spool_commands(path: Path, server: Server):
    put(path, [connection(user="\x1b[31m")], [lookup()])
    server.answers = [(400, "117", {})] * 8
    assert "2 rows" in run("status", "--spool", str(path))
    assert "1 rows delivered, 0 wait, 1 set aside" in run(
        "drain", "--spool", str(path), "--url", server.url, code=1
    )
    found = json.loads(run("status", "--json", "--spool", str(path), code=1))
    assert (found["aside_rows"], found["rows"], found["lost"]) == (1, 0, 0)
    assert "       1 connections    202311        1 rows 8 tries: Code: 1." in run(
        "inspect", "--spool", str(path)
    )
    (row,) = run("inspect", "1", "--spool", str(path)).splitlines()
    assert json.loads(row)["user"] == "\x1b[31m"
    assert "\x1b" not in row
    assert "0 set aside" in run("drain", "--aside", "--spool", str(path), "--url", server.url)
    run("inspect", "7", "--spool", str(path), code=1)


def test_ship_runs_until_it_is_told_to_stop(path: Path, server: Server):
    import signal
    import subprocess
    import sys

    command = [sys.executable, "-m", "sensor.cli", "ship", "--spool", str(path), "--url", server.url]
    environment = {"AISCOPE_SHIP_AGE": "0", "PATH": ""}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert "waiting" in process.stderr.readline()
        put(path, [connection()])
        deadline = time.monotonic() + 20
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert len(server.rows) == 1
    assert status(path).rows == 0


def test_what_ships_is_sealed_unless_plain_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sensor.config import load

    monkeypatch.setenv("AISCOPE_SENSOR_NAMES_KEY", str(tmp_path / "names.key"))
    for names, starts in ((None, "~"), ("sealed", "~"), ("plain", "alice")):
        flags = {"spool.path": tmp_path / f"{names}.spool", "sensor.names": names}
        with ship_cli.open_spool(load(flags=flags)) as spool:
            spool.put([connection()])
        (batch,) = waiting(tmp_path / f"{names}.spool")
        assert unpacked(batch.data)["user"].to_pylist()[0].startswith(starts)


def test_a_clock_is_said_in_whole_seconds_as_date_is(path: Path, server: Server, caplog):
    ahead = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90), usegmt=True)
    server.answers = [(200, "", {"Date": ahead})]
    put(path, [connection()])
    drain(path, server.url)
    assert re.search(r"differ by [+](89|90|91) s$", caplog.messages[-1])
    said = CliRunner().invoke(ship_cli.spool, ["status", "--spool", str(path)]).output
    assert re.search(r"the store's is [+](89|90|91) s against this one", said)


def test_clocks_that_agree_as_far_as_date_says_are_not_apart(path: Path, server: Server):
    behind = email.utils.format_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=0.4), usegmt=True)
    server.answers = [(200, "", {"Date": behind})]
    put(path, [connection()])
    drain(path, server.url)
    said = CliRunner().invoke(ship_cli.spool, ["status", "--spool", str(path)]).output
    assert "clock        as the store's\n" in said


def test_a_refused_connection_is_said_without_numbers(tmp_path: Path):
    with Spool(tmp_path / "s.spool", "s1") as spool:
        spool.put([connection()])
        spool.commit()
    (batch,) = waiting(tmp_path / "s.spool")
    target = Target(f"http://127.0.0.1:{free_port()}/", Options())
    with pytest.raises(
        module.Unavailable, match=r"^http://\S+: Failed to establish a new connection: Connection refused$"
    ):
        target.send(batch)
