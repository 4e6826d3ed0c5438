"""A ring of files: within its bounds, and whole whatever the disk does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensor.packets import evidence_ring
from sensor.packets.capture import frames
from sensor.packets.errors import Damaged
from sensor.packets.evidence import Kept
from sensor.packets.evidence_ring import EvidenceRing, packets_of, ring_files
from sensor.packets.facts import Frame
from tests.sensor.packets.build import CLIENT, SERVER, START


def test_a_ring_within_its_bounds(tmp_path: Path) -> None:
    folder, limit = tmp_path / "ring", 1 << 20
    ring = EvidenceRing(folder, limit)
    packets = [
        Kept(
            "tcp", CLIENT, 40_000, SERVER, 443, Frame(START + n, (1, 101)[n % 2], bytes([n % 251]) * 501, 900)
        )
        for n in range(4_000)
    ]
    ring.write(packets[:1_000])
    ring.close()
    ring = EvidenceRing(folder, limit)  # a sensor that starts again goes on
    for at in range(1_000, 4_000, 100):
        ring.write(packets[at : at + 100])
    ring.close()
    sizes = [path.stat().st_size for path in ring_files(folder)]
    assert limit * 0.7 < sum(sizes) <= limit
    back = [one for path in ring_files(folder) for batch in frames(path) for one in batch]
    assert back == [one.frame for one in packets[-len(back) :]]
    assert {path.stat().st_mode & 0o777 for path in ring_files(folder)} == {0o600}


def some(count: int, link: int = 1) -> list[Kept]:
    frames = (Frame(START + n, link, bytes([n % 251]) * 501, 900) for n in range(count))
    return [Kept("tcp", CLIENT, 40_000, SERVER, 443, one) for one in frames]


def read(folder: Path) -> list[Frame]:
    return [one for path in ring_files(folder) for batch in frames(path) for one in batch]


def test_runs_that_keep_little_leave_the_ring_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        ring = EvidenceRing(tmp_path, 1 << 20)
        ring.write(some(3))
        ring.close()
        EvidenceRing(tmp_path, 1 << 20).close()  # nothing to keep: no file
    assert len(read(tmp_path)) == 60
    monkeypatch.setattr(evidence_ring, "MOST", 5)
    ring.write(some(3))
    ring.close()
    assert len(ring_files(tmp_path)) == 5


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True
    ).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_costs_packets_and_no_file(small: Path) -> None:
    ring, room = EvidenceRing(small / "ring", 8 << 20), small / "room"
    room.write_bytes(bytes(490_000))
    with pytest.raises(OSError, match="No space"):
        ring.write(some(200))
    first = read(small / "ring")
    assert 0 < len(first) == 200 - ring.lost
    with pytest.raises(OSError, match="No space"):
        ring.write(some(1, link=101))  # a link that is new
    room.unlink()
    ring.write(some(5, link=101))
    ring.close()
    assert read(small / "ring") == first + [one.frame for one in some(5, link=101)]
    assert ring.lost == 201 - len(first)


def test_a_full_disk_costs_the_oldest_first(small: Path) -> None:
    for _ in range(3):
        ring = EvidenceRing(small, 8 << 20)
        ring.write(some(250))
        ring.close()
    assert len(ring_files(small)) == 3
    ring = EvidenceRing(small, 8 << 20)
    ring.write(some(400))
    ring.close()
    assert (ring.lost, read(small)[-400:]) == (0, [one.frame for one in some(400)])
    (small / "room").write_bytes(bytes(100_000))
    ring = EvidenceRing(small, 8 << 20)
    with pytest.raises(OSError, match="No space"):
        ring.write(some(2_000))
    ring.close()
    assert [path.stat().st_size > 0 for path in ring_files(small)] == [True]


def test_a_disk_that_takes_nothing_is_left_without_a_file(small: Path) -> None:
    (small / "room").write_bytes(bytes(512 << 10))
    ring = EvidenceRing(small, 8 << 20)
    with pytest.raises(OSError, match="No space"):
        ring.write(some(1))
    assert not ring_files(small)


def test_packets_of_one_connection_before_the_damage(tmp_path: Path) -> None:
    ring = EvidenceRing(tmp_path, 1 << 20)
    ring.write(some(5))
    ring.close()
    (path,), flow = ring_files(tmp_path), some(1)[0].community_id
    whole = path.read_bytes()
    assert b"".join(packets_of(path, flow)) == whole
    assert not list(packets_of(path, flow[:-2] + "A="))
    for damaged in (whole[:-1], whole[:-600], whole + b"\0" * 9, whole + whole[60:90] + whole):
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match=r"first-00000001.pcapng: byte \d+: no whole block"):
            list(packets_of(path, flow))
        assert whole.startswith(next(packets_of(path, flow)))


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "first-1-copy.pcapng").write_text("mine")
    (tmp_path / "first.pcapng").write_text("mine")
    ring = EvidenceRing(tmp_path, 1 << 20)
    ring.write([Kept("udp", CLIENT, 1, SERVER, 2, Frame(START, 1, bytes(60), 60))])
    ring.close()
    assert (tmp_path / "first-1-copy.pcapng").read_text() == "mine"
