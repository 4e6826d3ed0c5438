from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from sensor.delivery.event import Finding
from sensor.delivery.outbox import Outbox
from sensor.delivery.spool import Spool, SpoolError
from sensor.proxy import deliver
from sensor.proxy.deliver import Delivery


def finding(number: int = 0) -> Finding:
    return Finding(f"{number:032x}", 1, "r", "low", "t", "10.0.0.1", "", "s", "", ())


def test_what_is_put_is_in_the_spool_at_the_end(tmp_path: Path) -> None:
    delivery = Delivery(lambda: Spool(tmp_path / "s.spool", "proxy"))
    threads = [
        threading.Thread(target=delivery.put, args=([finding(n) for n in range(9)],)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    delivery.close()
    assert delivery.lost == 0
    with Outbox(tmp_path / "s.spool") as outbox:
        batch = outbox.batch(rows=100, age=0)
        assert batch
        assert batch.rows == 27


def test_a_spool_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Delivery(lambda: Spool(tmp_path / "file" / "s.spool", "proxy"))
    (tmp_path / "broken").write_bytes(b"no database " * 100)
    with pytest.raises((OSError, sqlite3.DatabaseError)):
        Delivery(lambda: Spool(tmp_path / "broken", "proxy"))


class Stuck(Spool):
    """A disk that is slow, then full."""

    def __init__(self, path: Path, go: threading.Event) -> None:
        super().__init__(path, "proxy")
        self.go = go

    def put(self, events: object) -> None:
        self.go.wait(10)
        if events:
            raise SpoolError("the disk is full")


def test_what_the_disk_does_not_take_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliver, "WAITING", 3)
    go = threading.Event()
    delivery = Delivery(lambda: Stuck(tmp_path / "s.spool", go))
    delivery.put(finding(number) for number in range(10))
    assert 6 <= delivery.lost <= 7, "three wait, one may be under way"
    go.set()
    delivery.close()
    assert delivery.lost == 10
    assert "the disk is full" in caplog.text
    assert "10 events were lost" in caplog.text
