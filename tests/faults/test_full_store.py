"""The store's disk runs full under a real `aiscope collect`: it says so, is read on, and gets everything once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sensor.delivery import ship
from sensor.delivery.outbox import Outbox, status
from sensor.delivery.spool import Spool
from tests.collector.conftest import connection, lookup
from tests.collector.served import Served, start, with_users

from .processes import MONTHS

HERE = Path(__file__).parent
DISK = 128 << 20  # `/readyz` wants 64 MB free
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Served]:
    """A collector whose store is on a small disk of its own."""
    store = tmp_path / "store"
    store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", store]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        tokens = with_users(tmp_path)
        served = start(tmp_path)
        served.tokens = tokens
        yield served
        served.stop()
    finally:
        subprocess.run(["umount", "--lazy", store], check=True)


def fill(disk: Path) -> None:
    """To the last byte, below what a reserve may hide."""
    with suppress(OSError), (disk / "full").open("ab") as file:
        for size in (65_536, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
                    file.flush()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to rest"
        time.sleep(0.05)


def test_a_full_disk_of_the_store(small: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ship, "LONGEST_WAIT", 0.2)
    path, sent = tmp_path / "tap.spool", []
    url = f"http://tap-1:{small.tokens['tap-1']}@127.0.0.1:{small.port}/"

    def put(spool: Spool, count: int) -> None:
        """Rows of several months, each with a number of its own."""
        first = len(sent)
        numbers = range(first, first + count)
        spool.put(connection(time=MONTHS[n % 5], bytes_up=n, flow_id=f"1:{n:x}") for n in numbers)
        spool.put(lookup(time=MONTHS[n % 5], question=f"{n}.example") for n in numbers)
        sent.extend(numbers)
        spool.commit()

    def stored() -> int:
        return int(str(small.rows("ann", "SELECT count() FROM connections")[0][0]))

    stop = threading.Event()
    with Spool(path, "tap-1") as spool, closing(
        ship.Shipper(Outbox(path), [url], ship.Options(rows=100, age=0.1))
    ) as shipper:  # fmt: skip
        thread = threading.Thread(target=shipper.run, args=(stop,))
        thread.start()
        try:
            put(spool, 300)
            until(lambda: not status(path).rows)
            fill(small.directory)
            put(spool, 700)
            until(lambda: "243" in (status(path).problem or ""))
            refused = small.request("tap-1", "INSERT INTO lookups (question) FORMAT TSV\n" + "x\n" * 50_000)
            assert (refused.code, refused.status) == (243, 507)
            assert "disk is full" in refused.text
            assert small.request(None, path="/readyz", method="GET").status == 503
            before = stored()
            assert 300 <= before < 1000
            fill(small.directory)
            assert small.rows("ann", "SELECT sum(bytes_up) FROM connections WHERE bytes_up < 300") == [
                [44850]
            ]
            assert status(path).rows
            assert status(path).aside == 0
            (small.directory / "full").unlink()
            until(lambda: not status(path).rows)
        finally:
            stop.set()
            thread.join()
    assert small.request(None, path="/readyz", method="GET").status == 200
    assert small.stop() == 0
    found = json.loads(
        subprocess.check_output([sys.executable, HERE / "stored.py", small.directory], env=ENVIRONMENT)
    )
    assert found["numbers"]["tap-1"] == {"connections": sent, "lookups": sent}
    assert found["raw"] == found["hourly"] == found["daily"]
    assert [[row["lookups"] for row in rows] for rows in found["others"]] == [[1000], [1000]]
