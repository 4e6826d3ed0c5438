"""Compressed captures that are whole, cut off or damaged, for each engine that is installed."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from pathlib import Path

import pytest
import zstandard

from sensor.packets.capture import Damaged, NotACapture, frames
from sensor.packets.engine import FileEngine, create
from sensor.packets.facts import Totals
from tests.sensor.packets.build import EVERYTHING, LIMITS
from tests.sensor.packets.conftest import installed
from tests.sensor.packets.test_capture import pcap

RAW = pcap(records=tuple((n, 0, random.Random(n).randbytes(900), 900) for n in range(1_000)))
SHORT = RAW[: 24 + 9 * 916]
NOTE = struct.pack("<II", 0x184D2A5E, 9) + b"seektable"  # a skippable frame


@pytest.fixture(params=installed())
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(engine: str, tmp_path: Path, data: bytes) -> tuple[int, str]:
    """How many frames the file gave, and what was said to be wrong."""
    path, counter, broken = tmp_path / "some.pcap", create(engine, EVERYTHING, LIMITS), ""
    path.write_bytes(data)
    said = []
    try:
        if isinstance(counter, FileEngine):
            for facts in counter.read(path):
                said += facts
        else:
            for batch in frames(path):
                said += counter.feed(batch)
    except (Damaged, NotACapture) as error:
        broken = str(error).removeprefix(f"{path}: ")
    said += counter.finish()
    return sum(fact.counters.get("frames", 0) for fact in said if isinstance(fact, Totals)), broken


def squeezed(data: bytes, **how: bool | int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(**how)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize("window_log", [10, 21, 27])
@pytest.mark.parametrize("checksum", [False, True])
def test_zstd_gives_every_block_that_is_whole(
    engine: str, tmp_path: Path, window_log: int, checksum: bool
) -> None:
    """Blocks of 128 KiB (RFC 8878 3.1.1.2.4), stored as they are: what is random is not compressed."""
    data = squeezed(RAW, window_log=window_log, write_checksum=checksum)
    most = 1 << min(window_log, 17)
    for cut in (data[:-5], data[: len(data) // 2], data[: len(data) // 2] + bytes(60), data[:600]):
        count, broken = read(engine, tmp_path, cut)
        blocks = len(cut) // (most + 3)
        assert count == max(blocks * most - 24, 0) // 916
        assert "the compressed stream ends early" in broken or "a zstd block cannot be decoded" in broken


def test_a_zstd_end_that_is_missing(engine: str, tmp_path: Path) -> None:
    data = zstandard.ZstdCompressor(write_checksum=True).compress(SHORT)
    for cut in (1, 4):
        count, broken = read(engine, tmp_path, data[:-cut])
        assert (count, broken) == (9, "byte 8268: decompression failed: the compressed stream ends early")
    assert read(engine, tmp_path, data + data[:2])[1].endswith("the compressed stream ends early")
    assert read(engine, tmp_path, data[:9]) == (0, "cannot be decompressed: the compressed stream ends early")


def test_a_zstd_checksum(engine: str, tmp_path: Path) -> None:
    data = zstandard.ZstdCompressor(write_checksum=True).compress(SHORT)
    assert read(engine, tmp_path, data) == (9, "")
    count, broken = read(engine, tmp_path, data[:-1] + bytes([data[-1] ^ 1]))
    assert (count, broken) == (9, "byte 8268: decompression failed: a zstd frame's checksum is another")


def test_zstd_frames_that_are_to_be_skipped(engine: str, tmp_path: Path) -> None:
    first, second = zstandard.compress(SHORT[:100]), zstandard.compress(SHORT[100:])
    for data in (
        NOTE + first + second,
        first + NOTE + second,
        first + second + NOTE,
        NOTE * 2 + first + second,
    ):
        assert read(engine, tmp_path, data) == (9, "")
    assert read(engine, tmp_path, first + second + NOTE[:-1])[1].endswith("the compressed stream ends early")


def test_what_is_behind_a_zstd_frame(engine: str, tmp_path: Path) -> None:
    count, broken = read(engine, tmp_path, zstandard.compress(SHORT) + b"garbage!")
    assert (count, broken) == (9, "byte 8268: decompression failed: what follows a zstd frame is none")


@pytest.mark.parametrize("descriptor", [(17 << 3) + 1, 18 << 3, 0xFF])
def test_a_zstd_window_that_is_too_large(engine: str, tmp_path: Path, descriptor: int) -> None:
    """Behind a small one: the limit is for each frame."""
    stored = (len(SHORT) << 3 | 1).to_bytes(3, "little") + SHORT
    frame = b"\x28\xb5\x2f\xfd\0"
    assert read(engine, tmp_path, frame + bytes([17 << 3]) + stored) == (9, "")
    count, broken = read(engine, tmp_path, zstandard.compress(SHORT) + frame + bytes([descriptor]) + stored)
    assert count == 9
    assert "a zstd frame that needs a window of" in broken
    assert broken.endswith("bytes, more than 134217728")


def test_a_zstd_content_as_large_as_a_window_may_be(engine: str, tmp_path: Path) -> None:
    """A single segment needs its whole content: RFC 8878 3.1.1.1.2."""
    head = b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + ((1 << 27) + 1).to_bytes(8, "little")
    broken = read(engine, tmp_path, head + b"\1\0\0")[1]
    assert broken.startswith("cannot be decompressed: a zstd frame that needs a window of 134217729 bytes")


def test_a_zstd_block_that_becomes_too_long(engine: str, tmp_path: Path) -> None:
    """Sequences that each repeat one byte 131,074 times: 200 bytes would be eight megabytes."""
    matches = b"\x08a" + b"\x3c\x54" + bytes([1, 0, 52]) + b"\xff" * 120 + b"\1"
    blocks = (len(SHORT) << 3).to_bytes(3, "little") + SHORT
    blocks += (len(matches) << 3 | 5).to_bytes(3, "little") + matches
    count, broken = read(engine, tmp_path, b"\x28\xb5\x2f\xfd\0\x50" + blocks)
    assert (count, broken) == (9, "byte 8268: decompression failed: a zstd block cannot be decoded")


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"\x08\x50", "a zstd frame of a form that is not known"),
        (b"\x01\x50\x07", "a zstd frame that needs dictionary 7"),
        (b"\x00\x50\x06\0\0", "a zstd block cannot be decoded"),  # a type that is reserved
        (b"\x00\x00\x01\x40\0" + bytes(2_048), "a zstd block cannot be decoded"),  # larger than its window
        (b"\x60\x01\0\x09\0\0a", "a zstd block cannot be decoded"),  # one byte, not 257
    ],
)
def test_a_zstd_frame_that_cannot_be(engine: str, tmp_path: Path, head: bytes, why: str) -> None:
    assert read(engine, tmp_path, b"\x28\xb5\x2f\xfd" + head) == (0, f"cannot be decompressed: {why}")


def member(data: bytes, note: bytes = b"") -> bytes:
    """A gzip member (RFC 1952 2.3) with an extra field of some length."""
    pack = zlib.compressobj(wbits=-15)
    head = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + struct.pack("<H", len(note)) + note
    return head + pack.compress(data) + pack.flush() + struct.pack("<II", zlib.crc32(data), len(data))


@pytest.mark.parametrize("buffer", [1 << 16, 1 << 20])
def test_a_gzip_member_whose_magic_is_in_two_buffers(engine: str, tmp_path: Path, buffer: int) -> None:
    data = member(SHORT[:100])
    while (left := buffer - 1 - len(data)) > 0:
        data += member(b"", bytes(min(left - len(member(b"")), 60_000 - len(member(b"")))))
    assert len(data) == buffer - 1
    assert read(engine, tmp_path, data + member(SHORT[100:])) == (9, "")
    assert read(engine, tmp_path, data + member(SHORT[100:]) + b"\x1f") == (9, "")


def test_a_gzip_checksum(engine: str, tmp_path: Path) -> None:
    data = gzip.compress(SHORT)
    count, broken = read(engine, tmp_path, data[:-6] + bytes([data[-6] ^ 1]) + data[-5:])
    assert count == 9
    assert broken.startswith("byte 8268: decompression failed: ")
    assert read(engine, tmp_path, data[:-3]) == (
        9,
        "byte 8268: decompression failed: the compressed stream ends early",
    )


def test_gzip_gives_all_that_precedes_damage(engine: str, tmp_path: Path) -> None:
    """A block of a type that is none (RFC 1951 3.2.3), behind other ones."""
    pack = zlib.compressobj(wbits=31)
    data = pack.compress(SHORT) + pack.flush(zlib.Z_SYNC_FLUSH) + b"\x07" + bytes(100)
    count, broken = read(engine, tmp_path, data)
    assert count == 9
    assert broken.startswith("byte 8268: decompression failed: ")


@pytest.mark.parametrize("flags", range(32))
def test_gzip_headers(engine: str, tmp_path: Path, flags: int) -> None:
    """Text, checksum, extra field, name and comment: RFC 1952 2.3.1."""
    head = bytes((0x1F, 0x8B, 8, flags)) + bytes(6)
    head += (
        (b"\3\0abc" if flags & 4 else b"")
        + (b"name\0" if flags & 8 else b"")
        + (b"\0" if flags & 16 else b"")
    )
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF) if flags & 2 else b""
    body = gzip.compress(SHORT)[10:]
    assert read(engine, tmp_path, head + body) == (9, "")
    assert read(engine, tmp_path, head[:-1])[1] != ""
    if flags & 2:
        assert "cannot be decompressed" in read(engine, tmp_path, head[:-1] + bytes([head[-1] ^ 1]) + body)[1]
    for wrong in (b"\x1f\x8b\x07" + head[3:], head[:3] + bytes([flags | 0x80]) + head[4:]):
        assert "cannot be decompressed" in read(engine, tmp_path, wrong + body)[1]
