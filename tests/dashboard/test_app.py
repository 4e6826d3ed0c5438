"""The pages' scripts on a real store, without a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from dashboard import app
from dashboard.cli import PAGES
from dashboard.data import EARLIEST, LATEST
from tests.dashboard.office import ROOT, python
from tests.ports import free_port


def test_every_page_draws_and_has_rows(filled: Path) -> None:
    done = python("-m", "sensor.cli", "dashboard", "--check", "--store", f"chdb://{filled}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(PAGES)
    assert "Traceback" not in done.stderr


def test_an_empty_store_is_said_and_fails_the_check(tmp_path: Path) -> None:
    done = python("-m", "sensor.cli", "dashboard", "--check", "--store", f"chdb://{tmp_path / 'empty'}")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_a_sensor_that_sees_nothing_is_not_one_that_misses_nothing(tmp_path: Path) -> None:
    store = f"chdb://{tmp_path / 'quiet'}"
    quiet = "open_store(sys.argv[1]).insert([row(SensorStats, time=START)], sensor='s', batch=1, token='t')"
    done = python("-c", f"from tests.dashboard.office import *; {quiet}", store)
    assert done.returncode == 0, done.stderr
    done = python("-m", "sensor.cli", "dashboard", "--check", "--store", store)
    assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["visibility", "0 numbers, 1 rows"]


def test_what_the_proxy_alone_has_read_is_shown(tmp_path: Path) -> None:
    store = f"chdb://{tmp_path / 'proxy'}"
    read = "row(Exchange, id='1', time=START, client_ip='10.0.0.1', user='anna', service='claude')"
    proxy = f"open_store(sys.argv[1]).insert([{read}], sensor='proxy', batch=1, token='t')"
    done = python("-c", f"from tests.dashboard.office import *; {proxy}", store)
    assert done.returncode == 0, done.stderr
    done = python("-m", "sensor.cli", "dashboard", "--check", "--store", store)
    assert done.returncode == 0, done.stdout
    rows = {line.split()[0]: line.split(", ")[1] for line in done.stdout.splitlines()}
    assert (rows["overview"], rows["content"]) == ("0 rows", "1 rows")
    assert (rows["service"], rows["client"]) == ("1 rows", "1 rows")


def test_a_store_that_cannot_be_reached_is_one_sentence() -> None:
    done = python("-m", "sensor.cli", "dashboard", "--check", "--store", "http://127.0.0.1:9/")
    assert done.returncode == 1
    assert "cannot be read" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_what_cannot_be_opened_is_one_sentence_without_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = ("-m", "sensor.cli", "dashboard", "--check")
    done = python(*check, "--store", tmp_path / ("my_store-1" * 30))  # longer than a name can be
    assert done.returncode == 1
    assert done.stderr == ""
    shown = "The store cannot be read. "
    assert [line[14:].startswith(shown) for line in done.stdout.splitlines()] == [True] * len(PAGES)
    assert "my_store-1" in done.stdout
    assert "\\" not in done.stdout
    monkeypatch.setenv("AISCOPE_CONFIG", "nosuch.toml")
    done = python(*check)
    assert done.returncode == 1
    assert done.stderr == ""
    reason = f"{shown}nosuch.toml: No such file or directory"
    assert [line[14:] for line in done.stdout.splitlines()] == [reason] * len(PAGES)


@pytest.mark.parametrize("name", [name for name, length in app.RANGES.items() if length])
def test_relative_ranges_end_now_and_can_be_cached(name: str) -> None:
    start, end = app.span(name)
    assert end - start == app.RANGES[name]
    assert end.second == end.microsecond == 0


def test_everything_is_everything() -> None:
    assert app.span("Everything") == (EARLIEST, LATEST)


def listens(port: int) -> bool:
    with socket.socket() as one:
        return not one.connect_ex(("127.0.0.1", port))


def test_a_signal_ends_it(filled: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "sensor.cli", "dashboard", "--store", f"chdb://{filled}"]
    server = subprocess.Popen(
        [*command, "--listen", f"127.0.0.1:{port}"], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not listens(port):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    server.terminate()
    server.wait(20)
    assert not listens(port)


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("nowhere", "HOST:PORT is wanted"),
        ("127.0.0.1:99999", "HOST:PORT is wanted"),
        ("192.0.2.1:8501", "cannot listen on 192.0.2.1:8501: Cannot assign requested address"),
    ],
)
def test_where_it_cannot_listen_is_one_line(listen: str, why: str) -> None:
    done = python("-m", "sensor.cli", "dashboard", "--listen", listen)
    assert done.returncode == 1
    assert done.stderr.endswith(f"{why}\n")
    assert len(done.stderr.splitlines()) == 1


def served_at(filled: Path, host: str, *flags: str, **environment: str) -> None:
    """Start it, wait until it answers at `host`, and end it."""
    command = [sys.executable, "-m", "sensor.cli", "dashboard", "--store", f"chdb://{filled}", *flags]
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None
            try:
                with urllib.request.urlopen(f"http://{host}/_stcore/health", timeout=5):
                    return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        server.terminate()
        server.wait(20)


def test_it_listens_where_the_settings_say_and_the_flag_wins(filled: Path) -> None:
    here, there = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    served_at(filled, here, AISCOPE_DASHBOARD_LISTEN=here)
    served_at(filled, there, "--listen", there, AISCOPE_DASHBOARD_LISTEN=here)


def test_it_listens_on_ipv6(filled: Path) -> None:
    host = f"[::1]:{free_port()}"
    served_at(filled, host, "--listen", host)
