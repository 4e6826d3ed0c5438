from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pyarrow as pa
import pytest

from sensor.delivery import spool as module
from sensor.delivery.outbox import Outbox, status, waiting
from sensor.delivery.spool import Damaged, Spool, SpoolError, packed, unpacked
from tests.collector.conftest import START, connection, lookup, stats

MONTH = 31 * 86_400 * 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "s.spool"


def rows(path: Path, table: str = "connections") -> list[dict]:
    return [
        row for batch in waiting(path) if batch.table == table for row in unpacked(batch.data).to_pylist()
    ]


def test_what_was_put_is_there_after_a_commit(path: Path):
    with Spool(path, "s1") as spool:
        spool.put([connection(bytes_up=k) for k in range(3)] + [lookup(time=START + MONTH)])
        assert rows(path) == []  # not yet an interval old
        assert spool.commit()
        assert [row["bytes_up"] for row in rows(path)] == [0, 1, 2]
    assert {row["sensor"] for row in rows(path)} == {"s1"}
    assert [(batch.table, batch.month, batch.rows) for batch in waiting(path)] == [
        ("connections", 202311, 3),
        ("lookups", 202312, 1),
    ]
    assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0


def test_rows_are_committed_at_the_interval_and_when_idle(path: Path):
    with Spool(path, "s1", interval=0) as spool:
        spool.put([connection()])
        assert len(rows(path)) == 1
    with Spool(path, "s1", interval=60) as spool:
        spool.put([connection()])
        spool.put([])
        assert len(rows(path)) == 1
        spool._interval = 0
        spool.put([])
        assert len(rows(path)) == 2


def test_many_rows_do_not_wait_for_the_interval(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "ROWS", 5)
    with Spool(path, "s1", interval=60) as spool:
        spool.put([lookup()] * 5)
        assert len(rows(path, "lookups")) == 5


def test_names_are_sealed_and_statistics_are_not_touched(path: Path):
    with Spool(path, "s1", seal=lambda name: f"~{name[::-1]}") as spool:
        spool.put([connection(), lookup(user="bob"), stats()])
    (row,) = rows(path)
    assert (row["user"], row["client_host"], row["client_mac"]) == ("~ecila", "~potpal", "~50:00:00:00:00:20")
    assert rows(path, "lookups")[0]["user"] == "~bob"
    assert b"alice" not in unpacked(waiting(path)[0].data)["user"].to_string().encode()


def fill(spool: Spool, commits: int, each: int = 100) -> None:
    for k in range(commits):
        spool.put([connection(bytes_up=1000 * k + j, ja3=f"{k}{j}" * 8) for j in range(each)])
        spool.commit()


def test_a_full_spool_drops_the_oldest_counts_and_says_so(path: Path):
    with Spool(path, "s1", limit=200_000) as spool:
        assert spool.room()
        fill(spool, 50)
        assert not spool.room()
        spool.put([stats()])
        spool.commit()
        kept = [row["bytes_up"] for row in rows(path)]
        lost = 50 * 100 - len(kept)
        assert kept[-1] == 49_099
        assert kept == sorted(kept)
        assert 0 < len(kept) < 5000
        (first,) = rows(path, "sensor_stats")
        assert (first["spool_lost"], first["spool_rows"]) == (lost, len(kept))
        spool.put([stats()])
        spool.commit()
        assert [row["spool_lost"] for row in rows(path, "sensor_stats")] == [lost, 0]
        fill(spool, 30)
        assert len(rows(path, "sensor_stats")) == 2  # what says that rows are missing stays
    assert status(path).lost > lost
    assert path.stat().st_size < 400_000


def test_little_room_on_the_disk_is_a_limit_too(path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(40_000))
    with Spool(path, "s1") as spool:
        fill(spool, 50)
    found = status(path)
    assert found.lost > 0
    assert found.lost + found.rows == 5000


def test_a_batch_under_way_is_never_dropped(path: Path):
    with Spool(path, "s1", limit=200_000) as spool:
        fill(spool, 2)
        with Outbox(path) as outbox:
            batch = outbox.batch(rows=100, age=0)
            fill(spool, 50)
            assert outbox.batch(rows=100, age=0) == batch
    assert status(path).lost


class Full:
    """A connection whose disk takes nothing."""

    def __init__(self, base: sqlite3.Connection, code: int) -> None:
        self.base, self.code, self.stuck = base, code, True

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if self.stuck and sql == "COMMIT":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = self.code
            raise error
        return self.base.execute(sql, *arguments)

    def __getattr__(self, name: str) -> object:
        return getattr(self.base, name)


def test_a_disk_that_takes_nothing_stops_no_sensor(path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(module, "HELD", 10)
    spool = Spool(path, "s1", interval=60)
    disk = spool._base = Full(spool._base, sqlite3.SQLITE_FULL)
    for k in range(25):
        spool.put([connection(bytes_up=k)])
        assert not spool.commit()
    assert [record.levelname for record in caplog.records] == ["ERROR"]  # once
    disk.stuck = False
    spool.put([stats()])
    spool.close()
    assert [row["bytes_up"] for row in rows(path)] == list(range(15, 25))
    assert rows(path, "sensor_stats")[0]["spool_lost"] == status(path).lost == 15


def test_a_row_that_no_column_takes_is_counted_and_the_rest_stays(path: Path, caplog):
    events = [connection(bytes_up=k) for k in range(7)]
    events[4] = connection(bytes_up=-1)
    with Spool(path, "s1") as spool:
        spool.put([*events, lookup()])
    assert [row["bytes_up"] for row in rows(path)] == [0, 1, 2, 3, 5, 6]
    assert (status(path).lost, len(rows(path, "lookups"))) == (1, 1)
    assert "cannot be kept" in caplog.text


def test_rows_that_no_disk_takes_at_the_end_are_said(path: Path, caplog):
    spool = Spool(path, "s1", interval=60)
    spool._base = Full(spool._base, sqlite3.SQLITE_FULL)
    spool.put([connection()])
    spool.close()
    assert "1 rows could not be written" in caplog.text


def test_damage_while_running_ends_with_the_file_s_name(path: Path):
    spool = Spool(path, "s1")
    spool._base = Full(spool._base, sqlite3.SQLITE_CORRUPT)
    spool.put([connection()])
    with pytest.raises(Damaged, match=str(path)):
        spool.commit()


@pytest.mark.parametrize("where", [0, 4096])
def test_a_damaged_file_is_kept_aside_and_a_new_one_begun(path: Path, where: int, caplog):
    with Spool(path, "s1") as spool:
        fill(spool, 30)
    with path.open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * 3000)
    with pytest.raises(SpoolError):
        status(path)
    with Spool(path, "s1") as spool:
        spool.put([connection()])
    (aside,) = path.parent.glob("*.damaged-*.spool")
    assert str(aside) in caplog.text
    assert len(rows(path)) == 1


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path):
    with pytest.raises(SpoolError, match=r"ends in \.spool"):
        Spool(tmp_path / "passwd", "s1")
    foreign = tmp_path / "other.spool"
    base = sqlite3.connect(foreign)
    base.execute("PRAGMA application_id = 7")
    base.close()
    before = foreign.read_bytes()
    with pytest.raises(SpoolError, match="not a spool"):
        Spool(foreign, "s1")
    assert foreign.read_bytes() == before
    with pytest.raises(SpoolError, match="no spool there"):
        status(tmp_path / "none.spool")


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"^\S+/s\.spool: (File exists|Not a directory)$"):
        Spool(tmp_path / "file" / "s.spool", "s1")


def test_a_full_disk_is_called_one(path: Path, monkeypatch: pytest.MonkeyPatch):
    """SQLite cannot make its second file there, and says "disk I/O error"."""

    def refused(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", refused)
    with pytest.raises(SpoolError, match=r"\.spool: disk I/O error$"):
        Spool(path, "s1")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(0))
    with pytest.raises(SpoolError, match=r"\.spool: disk I/O error; its disk is full$"):
        Spool(path, "s1")


def test_two_writers_share_a_spool(path: Path):
    with Spool(path, "s1") as one, Spool(path, "s2") as two:
        for spool in (one, two, one):
            spool.put([connection()])
            spool.commit()
    assert [row["sensor"] for row in rows(path)] == ["s1", "s2", "s1"]


WRITE = """
import sys
from pathlib import Path
from sensor.delivery.spool import Spool
from tests.collector.conftest import connection
spool = Spool(Path(sys.argv[1]), "s1")
for k in range(10_000):
    spool.put([connection(bytes_up=k)])
    spool.commit()
    print(k, flush=True)
"""


def test_what_was_committed_outlives_kill_9(path: Path):
    with subprocess.Popen([sys.executable, "-c", WRITE, path], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == 40:
                process.kill()
                break
        last = int((process.stdout.read().split() or [40])[-1])
    found = [row["bytes_up"] for row in rows(path)]
    assert found[: last + 1] == list(range(last + 1))
    assert len(found) <= last + 2  # the commit that was under way


def test_damaged_rows_are_an_error():
    data = packed(pa.table({"a": [1] * 1000}))
    for broken in (data[:-4], b"", b"x" * 40, data[:20] + b"\0\0" + data[22:]):
        with pytest.raises(ValueError):
            unpacked(broken)
