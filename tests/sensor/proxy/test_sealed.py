"""Originals from the proxy to the investigator: sealed on the way and in the store, opened offline, reading them
audited. And what the proxy delivers itself with `--store`."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sensor.proxy import sealing
from tests.collector import served as collectors
from tests.sensor.proxy.lab import ROOT, Lab
from tests.sensor.proxy.test_addon import CHAT, curl, prompt

SECRET = "the merger with Umbra is on Friday"


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


def test_from_the_prompt_to_the_investigator(lab: Lab, tmp_path: Path) -> None:
    private, public = sealing.make(tmp_path / "investigator")
    tokens = collectors.with_users(tmp_path)
    served = collectors.start(tmp_path)
    served.tokens = tokens
    at = {name: f"http://{name}:{token}@127.0.0.1:{served.port}/" for name, token in tokens.items()}
    try:
        with lab.proxy("", {"proxy.seal_to": str(public), "ship.age": 0.2}, "--store", at["tap-1"]) as proxy:
            assert b"You said" in curl(proxy, CHAT, data=prompt(SECRET)).stdout
            ((id, service, excerpt),) = wait_for(served, "ann", "SELECT id, service, excerpt FROM exchanges")
            assert (service, excerpt) == ("openai-api", "")
            rows = aiscope("sql", "SELECT * FROM sealed", "--store", at["ivy"], "--format", "JSONEachRow")
        (row,) = map(json.loads, rows.splitlines())
        assert (row["id"], row["key_id"]) == (id, sealing.Unsealer(private).key_id)
        assert json.loads(aiscope("unseal", str(private), text=rows, alone=True)) == {
            "id": id,
            "text": SECRET,
        }
        assert served.request("ann", "SELECT * FROM sealed").code == 497
        ((actor, tables),) = wait_for(
            served, "ann", "SELECT actor, object FROM audit WHERE action = 'read' AND outcome = 'done'"
        )
        assert (actor, tables) == ("ivy", "sealed")
    finally:
        served.stop()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("store/**/*") if path.is_file())
    kept += b"".join(path.read_bytes() for path in proxy.home.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
    assert base64.b64decode(private.read_text().splitlines()[1]) not in kept
    assert private.read_bytes().splitlines()[1] not in kept
