"""Originals from the proxy to the investigator: sealed on the way and in the store, opened offline, reading them
audited. And what the proxy delivers itself with `--store`."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sensor.proxy import sealing
from tests.collector import served as collectors
from tests.sensor.proxy.dlp import corpus, values
from tests.sensor.proxy.lab import ROOT, Lab, Proxy
from tests.sensor.proxy.test_addon import CHAT, curl, prompt

SECRET = f"{'beyond the excerpt ' * 30}the merger with Umbra is on Friday"
POLICY = """
version: lab
default: allow
rules:
  - {id: ids, match: {data_class: national-id}, verdict: block}
  - {id: money, match: {data_class: [payment-card, iban]}, verdict: redact}
  - {id: keys, match: {data_class: credentials}, verdict: alert}
"""


def aiscope(*arguments: str, text: str = "", alone: bool = False) -> str:
    """A command's output; `alone`: without a network."""
    before = ["unshare", "--net"] if alone else []
    command = [*before, sys.executable, "-m", "sensor.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(served: collectors.Served, user: str, sql: str) -> list[list[Any]]:
    deadline = time.monotonic() + 20
    while not (found := served.rows(user, sql)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@dataclass
class Run:
    """A proxy that delivers to a collector; `at` is the store for each of its users."""

    proxy: Proxy
    served: collectors.Served
    at: dict[str, str]
    folder: Path
    private: Path


@pytest.fixture(scope="module")
def run(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("sealed")
    private, public = sealing.make(folder / "investigator")
    tokens = collectors.with_users(folder)
    served = collectors.start(folder)
    served.tokens = tokens
    at = {name: f"http://{name}:{token}@127.0.0.1:{served.port}/" for name, token in tokens.items()}
    settings = {"proxy.seal_to": str(public), "proxy.excerpt": 400, "ship.age": 0.2}
    try:
        with lab.proxy(POLICY, settings, "--enforce", "--store", at["tap-1"]) as proxy:
            yield Run(proxy, served, at, folder, private)
    finally:
        served.stop()


def test_from_the_prompt_to_the_investigator(run: Run) -> None:
    assert b"You said" in curl(run.proxy, CHAT, data=prompt(SECRET)).stdout
    ((id, service),) = wait_for(run.served, "ann", "SELECT id, service FROM exchanges")
    assert service == "openai-api"
    assert wait_for(run.served, "ivy", "SELECT id FROM sealed") == [[id]]
    rows = aiscope("sql", "SELECT * FROM sealed", "--store", run.at["ivy"], "--format", "JSONEachRow")
    (row,) = map(json.loads, rows.splitlines())
    assert (row["id"], row["key_id"]) == (id, sealing.Unsealer(run.private).key_id)
    assert json.loads(aiscope("unseal", str(run.private), text=rows, alone=True)) == {
        "id": id,
        "text": SECRET,
    }
    assert run.served.request("ann", "SELECT * FROM sealed").code == 497
    read = "SELECT DISTINCT actor, object FROM audit WHERE detail LIKE 'SELECT * FROM sealed%' AND outcome = 'done'"
    assert wait_for(run.served, "ann", read) == [["ivy", "sealed"]]
    assert run.private.read_bytes().splitlines()[1] not in kept(run)


def kept(run: Run) -> bytes:
    """All that is anywhere on disk: files as they are, and what is compressed in spool and store."""
    tables = run.served.request("ivy", "SHOW TABLES").text.split()
    rows = [run.served.request("ivy", f"SELECT * FROM {table} FORMAT TSVRaw").body for table in tables]
    files = [path for folder in (run.proxy.home, run.folder / "store") for path in folder.rglob("*")]
    logs = list(run.folder.glob("*.log"))
    return b"\n".join([*rows, *(path.read_bytes() for path in (*files, *logs) if path.is_file())])


def secrets() -> list[tuple[str, str]]:
    """A value of every kind that the corpus has, and a text with it as the corpus writes them."""
    rng = random.Random(5)
    pasted = [*values.TOKENS.items(), *values.IDS, ("card number", values.card), ("IBAN", values.iban)]
    made = [(value := maker(rng), corpus._setting(rng, value, name)) for name, maker in pasted]
    return [*made, *((value := maker(rng), f"export {name}='{value}'\n") for name, maker in values.NAMED)]


def test_no_secret_is_kept_anywhere(run: Run) -> None:
    """All paths: refused, redacted, passed, broken; in texts, addresses and headers; with excerpts and sealing."""
    made = secrets()
    assert len(made) > 80
    context = ssl.create_default_context(cafile=str(run.proxy.certificate))
    key = made[0][0]
    client = http.client.HTTPSConnection("127.0.0.1", run.proxy.port, context=context, timeout=20)
    client.set_tunnel("api.openai.com", 443)
    head = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    for number, (_, text) in enumerate(made):
        body = prompt(text) if number % 8 else prompt(text)[:-9]
        client.request("POST", f"/v1/chat/completions?api_key={key}", body, head)
        client.getresponse().read()
    client.close()
    for line in (
        f"POST /v1/{key}",
        f"{key} /v1 HTTP/1.1",
        f"POST /v1 HTTP/1.1\r\n{key}",
        f"POST http://[{key} HTTP/1.1",
    ):
        with socket.create_connection(("127.0.0.1", run.proxy.port)) as plain:
            plain.sendall(b"CONNECT api.openai.com:443 HTTP/1.1\r\n\r\n")
            plain.recv(4096)
            with context.wrap_socket(plain, server_hostname="api.openai.com") as tls:
                tls.sendall(f"{line}\r\n\r\n".encode())
                tls.recv(4096)
    count = f"SELECT count() AS found FROM exchanges HAVING found > {len(made)}"
    assert wait_for(run.served, "ann", count)
    everything = kept(run)
    assert b"<CREDENTIAL_1>" in everything, "there are excerpts"
    assert b"merger with Umbra" not in everything
    for value, text in made:
        for one in (value, json.dumps(value)[1:-1], urllib.parse.quote(value)):
            assert one.encode() not in everything, (value, text, _around(everything, one))


def _around(everything: bytes, value: str) -> bytes:
    at = everything.index(value.encode())
    return everything[max(0, at - 200) : at + 200]
