"""The README's queries, as printed: on a directory, through curl and through clickhouse-connect."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest

from tests.collector.served import Served, start, with_users

ROOT = Path(__file__).parents[2]
QUERIES = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    command = [sys.executable, "-m", "tests.dashboard.office", str(folder / "store")]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    tokens = with_users(folder)
    running = start(folder)
    running.tokens = tokens
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("query", QUERIES)
def test_as_printed(query: str, served: Served, tmp_path: Path) -> None:
    file = tmp_path / "file.sql"
    file.write_text(query)
    url, token = f"http://127.0.0.1:{served.port}/", served.tokens["ann"]
    command = ["curl", "-sSf", url, "-H", f"Authorization: Bearer {token}", "--data-binary", f"@{file}"]
    curled = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    with clickhouse_connect.get_client(
        host="127.0.0.1", port=served.port, username="ann", password=token
    ) as ann:
        asked = ann.query(query).result_rows
    environment = {**os.environ, "AISCOPE_STORE_URL": f"http://ann:{token}@127.0.0.1:{served.port}/"}
    command = [sys.executable, "-m", "sensor.cli", "sql", query]
    told = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert asked
    assert len(curled.splitlines()) == len(told.splitlines()) - 1 == len(asked)  # `aiscope sql` adds a header


def test_there_are_three() -> None:
    assert len(QUERIES) == 3
