"""Nobody gets in: statements against a real `aiscope collect`, each layer off in turn, and hostile HTTP."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import brotli
import lz4.frame
import pytest
from backports import zstd

from .attack_cases import ATTACKS, SEALED, SECRET, Attack
from .served import ROLES, Served, start, with_users

# What hangs on one layer alone, and why it must (docs/collect.md, "What hangs on one layer").
ONE_LAYER: dict[str, set[str]] = {
    "canonical": set(),
    "tree": {
        "EXPLAIN SYNTAX",
        "KILL QUERY",
        "USE",
        "connections by a reader",
        "getServerSetting",
        "hostName",
        "information_schema",
        "limits inside",
        "sealed described",
        "sealed shown",
        "sleep",
        "sleepEachRow",
    },
    "latch": set(),
    "grants": set(),
    "landlock": set(),
}


def filled(attack: Attack, folder: Path) -> Attack:
    places = {
        "file": folder / "secret.txt",
        "out": folder / "out" / "file",
        "users": folder / "users.json",
        "seal": SEALED,
    }

    def put(text: str) -> str:
        for name, path in places.items():
            text = text.replace("{" + name + "}", str(path))
        return text

    return replace(attack, sql=put(attack.sql), parameters={k: put(v) for k, v in attack.parameters.items()})


def prepare(folder: Path) -> None:
    """A store with something to steal, and a file outside of it."""
    (folder / "secret.txt").write_text(SECRET + "\n")
    (folder / "out").mkdir()
    code = """
import sys
from collector.store import open_store
with open_store("chdb://" + sys.argv[1]) as store:
    for into in ("sealed (ciphertext, id)", "identities (user, sensor)", "exchanges (excerpt, service)",
                 "connections (server_name, service)"):
        store.command(f"INSERT INTO aiscope.{into} VALUES ('{sys.argv[2]}', 'x')")
"""
    subprocess.run([sys.executable, "-c", code, folder / "store", SEALED], check=True, timeout=120)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("attacked")
    prepare(folder)
    tokens = with_users(folder)
    running = start(folder, hurried=True)
    running.tokens = tokens
    yield running
    assert running.stop() == 0


def attempted(served: Served, attack: Attack) -> tuple[int, int, str]:
    attack = filled(attack, served.directory.parent)
    fields = {**attack.settings, **{f"param_{name}": value for name, value in attack.parameters.items()}}
    if attack.database:
        fields["database"] = attack.database
    reply = served.request(attack.user, attack.sql, **fields)
    return reply.status, reply.code, reply.text


def test_there_are_enough_and_their_names_differ():
    assert len(ATTACKS) >= 80
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_denied_with_a_code(served: Served, attack: Attack):
    status, code, text = attempted(served, attack)
    assert (status >= 400, code > 0) == (True, True), text
    assert status != 500 or code not in {0, 1001, 1002}, text
    assert text.startswith(f"Code: {code}. DB::Exception: ")
    assert SECRET not in text
    assert SEALED not in text
    assert not (served.directory.parent / "out" / "file").exists()


@pytest.fixture(scope="module")
def stolen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    prepare(folder)
    return folder


@pytest.mark.parametrize("layer", ONE_LAYER)
def test_without_one_layer_the_others_hold(stolen: Path, layer: str):
    assert worked(stolen, layer) == ONE_LAYER[layer]


def worked(folder: Path, layer: str) -> set[str]:
    wanted = []
    for attack in (filled(attack, folder) for attack in ATTACKS):
        known = {
            "secret": SECRET,
            "sealed": SEALED,
            "out": str(folder / "out" / "file"),
            "role": ROLES[attack.user],
        }
        wanted.append({**asdict(attack), **known})
    done = subprocess.run(
        [sys.executable, "-m", "tests.collector.layers", folder / "store", layer],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(ATTACKS), done.stderr[-3000:]
    return {result["name"] for result in results if result["worked"]}


def alive(served: Served) -> None:
    assert served.request("ann", "SELECT 1").body == b"1\n"
    deadline = time.monotonic() + 20
    while served.resident() >= 2400 << 20:  # the engine's limit of 2 GiB, and Python
        assert time.monotonic() < deadline, "memory that was freed is given back within seconds"
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [
        ("gzip", lambda: gzip.compress(bytes(64 << 20))),
        ("deflate", lambda: zlib.compress(bytes(64 << 20))),
        ("lz4", lambda: lz4.frame.compress(bytes(64 << 20))),
        ("zstd", lambda: zstd.compress(bytes(64 << 20))),
        ("br", lambda: brotli.compress(bytes(64 << 20), quality=1)),
    ],
)
def test_a_bomb_as_a_statement(served: Served, coding: str, bomb: Callable[[], bytes]):
    reply = served.request("ann", bomb(), headers={"Content-Encoding": coding})
    assert (reply.status, reply.code) == (413, 168)
    alive(served)


def test_a_bomb_as_rows(served: Served):
    rows = b"INSERT INTO lookups (question) FORMAT TSV\n" + b"a" * (2 << 30 >> 3)
    reply = served.request(
        "tap-1", lz4.frame.compress(rows), headers={"Content-Encoding": "lz4"}, timeout=120
    )
    assert reply.status >= 400
    assert reply.code
    alive(served)
    assert served.rows("ann", "SELECT count() FROM lookups") == [[0]]


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"\x04\x22\x4d\x18garbage", "lz4"),
        (b"no gzip", "gzip"),
        (b"no zstd", "zstd"),
        (b"\xff\xff\xff", "br"),
        (gzip.compress(b"SELECT 1")[:-4], "gzip"),
        (b"SELECT 1", "rot13"),
    ],
)
def test_a_body_that_is_not_what_it_says(served: Served, body: bytes, coding: str):
    reply = served.request("ann", body, headers={"Content-Encoding": coding})
    assert reply.status == 400 or reply.code == 33
    assert reply.code in {33, 89, 354}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT groupArray(number) FROM numbers(10000000000)",
        "SELECT repeat('x', 1000000) FROM numbers(100000) FORMAT Parquet",
        "SELECT a.number, b.number FROM numbers(1000000) AS a, numbers(1000000) AS b ORDER BY 1, 2",
        "SELECT arrayMap(x -> repeat('x', 1000), range(10000000))",
    ],
)
def test_a_statement_that_would_take_the_machine(served: Served, sql: str):
    reply = served.request("ann", sql, max_execution_time="2", wait_end_of_query="1", timeout=60)
    assert reply.code in {241, 159, 128, 12, 131}, (reply.code, reply.text[:300])
    alive(served)


def test_a_statement_that_would_run_for_ever(served: Served):
    reply = served.request("ann", "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1",
                           max_execution_time="1")  # fmt: skip
    assert (reply.status, reply.code) == (408, 159)


@pytest.mark.parametrize(
    "text", ["(" * 5000, "SELECT " + "(" * 3000, "SELECT 1" + " + 1" * 60_000, "\0", "SELECT '", "`"]
)
def test_text_that_is_hard_to_parse(served: Served, text: str):
    assert served.request("ann", text).code > 0
    alive(served)


def raw(served: Served, sent: bytes, seconds: float = 5) -> bytes:
    """Bytes on a connection of their own; what came back until it was closed, or the time was over."""
    got = b""
    with socket.create_connection(("127.0.0.1", served.port), seconds) as connection:
        connection.sendall(sent)
        try:
            while part := connection.recv(65536):
                got += part
        except (TimeoutError, ConnectionResetError):
            pass
    return got


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /?query=" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\naaaaaa",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_http_that_is_none(served: Served, sent: bytes):
    answer = raw(served, sent, 1)
    assert b" 200 " not in answer.split(b"\r\n")[0]
    alive(served)


def test_paths_lead_nowhere(served: Served):
    for path in (
        "/../../etc/passwd",
        "/%2e%2e/etc/passwd",
        "//",
        "/play",
        "/dashboard",
        "/?query=SELECT+1",
        "/files/x",
    ):
        reply = served.request(None, path=path, method="GET")
        assert reply.status in {200, 404, 401}
        assert b"root:" not in reply.body
        assert reply.status != 200 or reply.body == b"Ok.\n"


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({}, {}),
        ({"Authorization": "Bearer ais_" + "A" * 43}, {}),
        ({"Authorization": "Bearer "}, {}),
        ({"Authorization": "Basic !!!"}, {}),
        ({"Authorization": "Digest x"}, {}),
        ({"X-ClickHouse-User": "ann"}, {}),
        ({"X-ClickHouse-User": "ann", "X-ClickHouse-Key": "ais_" + "B" * 43}, {}),
        ({}, {"user": "default"}),
        ({}, {"user": "default", "password": ""}),
        ({"Authorization": "Basic ZGVmYXVsdDo="}, {"user": "ann"}),
        ({"X-Forwarded-For": "127.0.0.1", "X-ClickHouse-User": "default"}, {}),
        ({"X-ClickHouse-SSL-Certificate-Auth": "on", "X-ClickHouse-User": "ann"}, {}),
    ],
)
def test_nobody_without_a_login(served: Served, headers: dict[str, str], fields: dict[str, str]):
    reply = served.request(None, "SELECT 1", headers=headers, **fields)
    assert reply.status in {401, 403}
    assert reply.code in {194, 516}


def test_slow_headers_are_cut_off(served: Served):
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", served.port), 30) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n")
        got = b"?"
        while got and time.monotonic() - begun < 25:
            try:
                connection.sendall(b"X-A: b\r\n")
                connection.settimeout(1)
                got = connection.recv(100)
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
    assert 2 < time.monotonic() - begun < 15
    alive(served)


def test_many_at_once_are_refused_not_queued_for_ever(served: Served):
    def ask(_: int) -> int:
        return served.request(
            "rita", "SELECT sum(sipHash64(number)) FROM numbers(4000000)", max_threads="1"
        ).code

    with ThreadPoolExecutor(48) as threads:
        codes = set(threads.map(ask, range(48)))
    assert codes <= {0, 202, 201}
    assert 202 in codes
    alive(served)


def test_statements_that_were_denied_are_in_the_audit(served: Served):
    assert served.request("rita", "SELECT * FROM sealed").code == 497
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = served.rows(
            "ann", "SELECT object, detail FROM audit WHERE actor = 'rita' AND action = 'statement'"
        )
        if any("sealed" in str(row[1]) for row in found):
            return
        time.sleep(0.3)
    raise AssertionError(found)


def test_memory_comes_back(served: Served):
    """After all of this, within seconds: little more than at rest. The allocator gives back when it is used."""
    deadline = time.monotonic() + 30
    while served.resident() >= 800 << 20:
        assert time.monotonic() < deadline, served.resident()
        assert served.rows("ann", "SELECT count() FROM numbers(1000000)") == [[1_000_000]]
        time.sleep(0.5)
