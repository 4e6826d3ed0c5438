"""No loss, no double: sensors, shippers and a store that are killed, cut off, out of disk and out of time.

`FAULTS=300` is how `make test-faults` asks for that many; in `make test` there are fewer. In the
end the store must have exactly what the spools committed. What that was the spools write down themselves, in
the transactions of their commits: triggers in the SQLite files keep a ledger.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collector.users import add
from sensor.delivery.outbox import status
from sensor.delivery.spool import Spool, unpacked
from tests.ports import free_port

from .proxy import Proxy

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "AISCOPE_SHIP_AGE": "0.1", "AISCOPE_SHIP_ROWS": "300"}
FAULTS = int(os.environ.get("FAULTS", "30"))
SEED = int(os.environ.get("FAULTS_SEED", "0")) or time.time_ns()
LIMITED = 2 << 20  # of the spool on the small disk
DISK = 8 << 20
LEDGER = """
CREATE TABLE was_committed (kind TEXT, rows INTEGER, data BLOB);
CREATE TABLE was_frozen (number INTEGER, kind TEXT, rows INTEGER);
CREATE TRIGGER commits AFTER INSERT ON segments BEGIN
    INSERT INTO was_committed VALUES (new.kind, new.rows, {data}); END;
CREATE TRIGGER freezes AFTER UPDATE OF data ON batches BEGIN
    INSERT INTO was_frozen VALUES (new.number, new.kind, new.rows); END;
"""


@dataclass
class Site:
    """Two sensors with a spool, shipper and proxy each, and one store."""

    folder: Path
    draw: random.Random
    spools: dict[str, Path]
    mounted: bool  # the small spool has a small disk of its own, which only root can give it
    port: int = 0
    proxies: dict[str, Proxy] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen] = field(default_factory=dict)
    faults: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.users = self.folder / "users.json"
        self.port = free_port()
        for name, path in self.spools.items():
            with Spool(path, name) as spool:
                spool._base.executescript(LEDGER.format(data="NULL" if name == "small" else "new.data"))
            self.proxies[name] = Proxy(self.port, self.draw.getrandbits(32))
            self.tokens[name] = add(self.users, name, "sensor")

    def start(self, name: str) -> None:
        kind, _, sensor = name.partition(" ")
        jump = self.draw.choice(["0", "0", "-86400", "86400", "-200000000"])
        if kind == "store":
            place = f"127.0.0.1:{self.port}"
            command = ["-m", "sensor.cli", "collect", "--store", self.folder / "store", "--listen", place]
            command += ["--users", self.users]
        elif kind == "ship":
            url = f"http://{sensor}:{self.tokens[sensor]}@127.0.0.1:{self.proxies[sensor].port}/"
            command = [HERE / "processes.py", kind, jump, self.spools[sensor], url]
        else:
            limit = LIMITED if sensor == "small" else 1 << 30
            command = [
                HERE / "processes.py",
                kind,
                jump,
                self.spools[sensor],
                sensor,
                limit,
                len(self.faults),
            ]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, *map(str, command)], env=ENVIRONMENT, stderr=log, stdout=log, cwd=self.folder
            )

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.running.pop(name)
        assert process.poll() is None, (
            f"{name} ended by itself: {(self.folder / f'{name}.log').read_text()[-2000:]}"
        )
        process.send_signal(number)
        process.wait(30)

    def fault(self) -> None:
        others = [name for name in self.running if name != "store"] + ["disk"] * self.mounted
        store = self.draw.random() < 0.25 and self.serving()
        name = self.draw.choice(["store", "away"] if store else others)
        if name == "disk":
            full = self.spools["small"].parent / "full"
            with suppress(OSError), full.open("wb") as file:
                while True:
                    file.write(b"x" * 65_536)
            time.sleep(self.draw.uniform(0.1, 0.5))
            full.unlink()
        elif store:
            self.kill("store")
            if name == "away":
                time.sleep(self.draw.uniform(0.5, 2))  # several times the age of a batch
            self.start("store")
            if self.draw.random() < 0.8:  # or the other faults would hardly ever meet a store
                until(self.serving, 60, self.report)
        else:
            self.kill(name)
            self.start(name)
        self.faults[name] += 1
        time.sleep(self.draw.uniform(0, 0.5))

    def serving(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def report(self) -> str:
        """What every process said last, whether it runs, and what the spools wait for."""
        lines = [f"{path.name}: {status(path)}" for path in self.spools.values()]
        for name, process in self.running.items():
            log = (self.folder / f"{name}.log").read_text(errors="replace")
            lines.append(f"{name} (exit code {process.poll()}): {log[-2000:]}")
        return "\n".join(lines)

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait(30)
        for proxy in self.proxies.values():
            proxy.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", disk], check=False).returncode
        == 0
    )
    try:
        spools = {"large": tmp_path / "large.spool", "small": disk / "small.spool"}
        with closing(Site(tmp_path, random.Random(SEED), spools, mounted)) as site:
            yield site
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", disk], check=True)


def until(condition: Callable[[], bool], seconds: float, seen: Callable[[], object]) -> None:
    """Wait; when it takes too long, say what there is to be `seen`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, seen()
        time.sleep(0.1)


def drained(spools: Collection[Path]) -> None:
    """Wait while something arrives: how long it takes is a matter of the machine's disk."""
    before = -1
    while waiting := sum(status(path).rows for path in spools):
        assert waiting != before, [(status(path).rows, status(path).problem) for path in spools]
        before, deadline = waiting, time.monotonic() + 30
        while time.monotonic() < deadline and sum(status(path).rows for path in spools) == before:
            time.sleep(0.1)


@pytest.mark.timeout(300 + 4 * FAULTS)
def test_the_store_has_what_the_spools_committed(site: Site):
    print(f"FAULTS_SEED={SEED}")
    for name in ("store", "sensor large", "sensor small", "ship large", "ship small"):
        site.start(name)
    until(lambda: status(site.spools["large"]).delivered is not None, 120, site.report)
    deadline = time.monotonic() + FAULTS * 0.8  # a slow machine has fewer
    while (site.faults.total() + cuts(site) < FAULTS or kills(site) < FAULTS // 10) and (
        time.monotonic() < deadline
    ):
        site.fault()
    assert site.faults.total() + cuts(site) > FAULTS // 3
    assert kills(site) >= FAULTS // 25
    for name in ("sensor large", "sensor small"):
        site.kill(name)
    for proxy in site.proxies.values():
        proxy.cutting = False
    drained(site.spools.values())
    for name in list(site.running):
        site.kill(name, signal.SIGTERM)
    print(dict(site.faults), {name: proxy.counted for name, proxy in site.proxies.items()})
    compare(site)


def kills(site: Site) -> int:
    return site.faults["store"] + site.faults["away"]


def cuts(site: Site) -> int:
    return sum(sum(proxy.counted.values()) for proxy in site.proxies.values())


def compare(site: Site) -> None:
    with sqlite3.connect(site.spools["large"]) as base:
        committed = base.execute("SELECT kind, data FROM was_committed").fetchall()
    numbers: dict[str, list[int]] = {}
    for kind, data in committed:
        column = {"connections": "bytes_up", "exchanges": "bytes_up", "sensor_stats": "packets"}.get(kind)
        rows = unpacked(data)
        found = (
            rows[column].to_pylist()
            if column
            else [int(q.split(".")[0]) for q in rows["question"].to_pylist()]
        )
        numbers.setdefault(kind, []).extend(found)
    stored = json.loads(
        subprocess.check_output([sys.executable, HERE / "stored.py", site.folder / "store"], env=ENVIRONMENT)
    )
    assert numbers["connections"]
    for kind, found in numbers.items():
        assert stored["numbers"]["large"][kind] == sorted(found), kind
    assert status(site.spools["large"]).lost == 0
    with sqlite3.connect(site.spools["small"]) as base:
        (rows,) = base.execute("SELECT sum(rows) FROM was_committed").fetchone()
        frozen = base.execute("SELECT number, kind, rows FROM was_frozen ORDER BY number").fetchall()
    lost = status(site.spools["small"]).lost
    print(f"{rows} rows committed on the small disk, {lost} dropped")
    assert stored["batches"]["small"] == [list(batch) for batch in frozen]
    assert all(len(set(found)) == len(found) for found in stored["numbers"]["small"].values())
    assert sum(batch[2] for batch in frozen) + lost == rows
    assert stored["raw"] == stored["hourly"]
    assert stored["raw"] == stored["daily"]
    assert stored["others"][0] == stored["others"][1]
