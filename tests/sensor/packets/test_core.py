"""What only the native engine has: it reads files itself.

That it is an engine is shown by every test that takes `engine`.
"""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from sensor.packets.capture import Damaged, NotACapture, frames
from sensor.packets.engine import FileEngine, create
from sensor.packets.facts import Fact, Frame, Limits, Totals, Watch
from tests.sensor.packets.build import EVERYTHING, LIMITS
from tests.sensor.packets.conftest import installed
from tests.sensor.packets.same import told
from tests.sensor.packets.scenarios import http, lookups, quics, tls
from tests.sensor.packets.test_capture import block, enhanced, interface, pcap, section

ROOT = Path(__file__).parents[3]
NS = 1_000_000_000
pytestmark = pytest.mark.skipif("native" not in installed(), reason="the native engine is not installed")


def native(watch: Watch = EVERYTHING, limits: Limits = LIMITS) -> FileEngine:
    engine = create("native", watch, limits)
    assert isinstance(engine, FileEngine)
    return engine


def capture(taken: list[Frame], **how: str) -> bytes:
    return pcap(
        kind="ns",
        records=tuple((one.time // NS, one.time % NS, one.data, one.length) for one in taken),
        **how,
    )


def read(path: Path, workers: int = 1) -> tuple[list[Fact], str, int]:
    """Facts, what was wrong, and the position at the end."""
    engine, said, broken = native(), [], ""
    batches = engine.read(path, workers)  # type: ignore[call-arg]
    try:
        for batch in batches:
            said += batch
    except Damaged as damaged:
        broken = str(damaged)
    return said + engine.finish(), broken, batches.position


def expected(path: Path) -> tuple[list[Fact], str]:
    engine, said, broken = create("portable", EVERYTHING, LIMITS), [], ""
    try:
        for batch in frames(path):
            said += engine.feed(batch)
    except Damaged as damaged:
        broken = str(damaged)
    return said + engine.finish(), broken


TAKEN = tls() + http() + lookups() + quics()
PLAIN = capture(TAKEN)
STORED: dict[str, Callable[[], bytes]] = {
    "pcap": lambda: PLAIN,
    "other byte order": lambda: capture(TAKEN, order=">"),
    "gzip": lambda: gzip.compress(PLAIN[:9_000]) + gzip.compress(PLAIN[9_000:]) + bytes(600),
    "zstd": lambda: zstandard.compress(PLAIN[:9_000]) + zstandard.compress(PLAIN[9_000:]),
    "latest times": lambda: (
        section("<")
        + interface("<", 1, tsresol=b"\0")
        + b"".join(enhanced("<", 0, (1 << 64) - 1, one.data, one.length) for one in TAKEN)
    ),
    "pcapng": lambda: (
        section("<")
        + interface("<", 1, tsresol=b"\x09")
        + block("<", 0x0BAD, b"else")
        + b"".join(enhanced("<", 0, one.time, one.data, one.length) for one in TAKEN)
    ),
}


@pytest.mark.parametrize("what", STORED)
def test_a_file_gives_what_its_frames_give(tmp_path: Path, what: str) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(STORED[what]())
    said, broken, position = read(path)
    assert broken == ""
    assert told(said) == told(expected(path)[0])
    assert position == path.stat().st_size
    for workers in (2, 3):
        assert read(path, workers) == (said, broken, position)


@pytest.mark.parametrize("what", ["pcap", "gzip", "zstd", "pcapng"])
def test_a_file_that_ends_early(tmp_path: Path, what: str) -> None:
    path, whole = tmp_path / "some.pcap", STORED[what]()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    said, broken, _ = read(path)
    for workers in (2, 3):
        assert read(path, workers)[:2] == (said, broken)
    facts, reason = expected(path)
    assert (told(said), broken) == (told(facts), reason)


@pytest.mark.parametrize(
    "raw",
    [
        capture(TAKEN[:3]) + b"\xff" * 40,
        section(">") + interface(">", 1) + enhanced(">", 7, 0, b"no such interface"),
        section("<") + interface("<", 1)[:-4] + b"\0\0\0\0",
        section("<") + block("<", 1, struct.pack("<HH", 1, 0)) + enhanced("<", 0, 1, b"a"),
    ],
    ids=["length", "interface", "two lengths", "short interface"],
)
def test_what_makes_no_sense(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(raw)
    _, broken, _ = read(path)
    assert broken != ""
    assert expected(path)[1].startswith(broken)  # the same place; of a block, portable says more


@pytest.mark.parametrize("raw", [b"", b"\xa1\xb2", b"MZ" + bytes(99), b"\x1f\x8b" + bytes(40)])
def test_no_capture(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(raw)
    with pytest.raises(NotACapture, match=r"some\.pcap"):
        native().read(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        native().read(tmp_path / "none.pcap")


def test_records_across_the_windows_of_a_long_file(tmp_path: Path) -> None:
    """Some 40 MB: several windows, with records of every length over their edges."""
    path, sizes = tmp_path / "long.pcap", [(number * 7_919) % 65_000 for number in range(1_200)]
    heads = (struct.pack("<IIII", number, 0, size, size) for number, size in enumerate(sizes))
    path.write_bytes(pcap() + b"".join(head + bytes(size) for head, size in zip(heads, sizes, strict=True)))
    said, broken, position = read(path)
    assert broken == ""
    assert position == path.stat().st_size
    for workers in (2, 3):
        assert read(path, workers)[0] == said
    assert sum(fact.counters["frames"] for fact in said if isinstance(fact, Totals)) == len(sizes)
    assert sum(fact.counters["bytes"] for fact in said if isinstance(fact, Totals)) == sum(sizes)


def test_a_record_longer_than_a_part(tmp_path: Path) -> None:
    """Its end is read in several steps; a file that ends within it is damaged there."""
    path, big = tmp_path / "big.pcap", bytes(3_000_000)
    whole = pcap(records=((1, 0, big, len(big)), (2, 0, b"x", 1), (3, 0, big, len(big))))
    for raw in (whole, whole[:-1], whole[:1_000_000]):
        path.write_bytes(raw)
        said, broken, _ = read(path)
        facts, reason = expected(path)
        assert (told(said), broken) == (told(facts), reason)
        for workers in (2, 3):
            assert read(path, workers)[:2] == (said, broken)


@pytest.mark.parametrize("workers", [2, 3])
def test_threads_end_with_who_takes_the_facts(tmp_path: Path, workers: int) -> None:
    """Long before the end of the file, too."""
    path, size = tmp_path / "long.pcap", 60_000
    records = struct.pack("<IIII", 1, 0, size, size) + bytes(size)
    path.write_bytes(pcap() + records * 2_000)
    before = threads()
    facts = native().read(path, workers)
    next(iter(facts))
    assert len(threads() - before) == workers - 1
    del facts
    deadline = time.monotonic() + 10
    while threads() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() - before == set()


def threads() -> set[Path]:
    return set(Path("/proc/self/task").iterdir())


def test_a_pipe(tmp_path: Path) -> None:
    path, stored = tmp_path / "pipe", tmp_path / "some.pcap"
    os.mkfifo(path)
    stored.write_bytes(PLAIN)
    writer = threading.Thread(target=path.write_bytes, args=(PLAIN,))
    writer.start()
    said, broken, _ = read(path)
    writer.join()
    assert (told(said), broken) == (told(expected(stored)[0]), "")


def test_engines_work_beside_each_other() -> None:
    """Python goes on while an engine works; what one says does not depend on the others."""
    said: list[list[Fact]] = []
    threads = [
        threading.Thread(target=lambda: said.append((engine := native()).feed(TAKEN * 20) + engine.finish()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 4
    assert all(told(each) == told(said[0]) for each in said)


@pytest.mark.parametrize(
    "watch",
    [
        Watch(networks=("192.0.2.0/33",)),
        Watch(networks=("192.0.2/24",)),
        Watch(networks=("::/x",)),
        Watch(resolver_ips=frozenset({"resolver"})),
    ],
)
def test_an_address_that_is_none(watch: Watch) -> None:
    with pytest.raises(ValueError, match="not a"):
        native(watch)


def test_the_stub_says_what_there_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "--mypy-config-file", "pyproject.toml", "sensor._core"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
