"""A filled store, and one process of the dashboard on it for the browser tests."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.dashboard.office import ROOT, python
from tests.ports import free_port


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dashboard") / "store"
    done = python("-m", "tests.dashboard.office", directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def served(filled: Path) -> Iterator[str]:
    """The URL of `aiscope dashboard` on the filled store."""
    port = free_port()
    command = ["-m", "sensor.cli", "dashboard", "--store", f"chdb://{filled}"]
    with serving(port, *command, "--listen", f"127.0.0.1:{port}") as url:
        yield url


@contextmanager
def serving(port: int, *arguments: str) -> Iterator[str]:
    """Python with these arguments, which serves a Streamlit script at this port, and its URL."""
    server = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(20)
