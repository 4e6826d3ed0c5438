from __future__ import annotations

import gzip
import struct
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sensor.packets import capture
from sensor.packets.capture import Capture, Damaged, NotACapture, frames
from sensor.packets.facts import Frame

NS = 1_000_000_000
MAGICS = {"us": 0xA1B2C3D4, "ns": 0xA1B23C4D, "modified": 0xA1B2CD34}


def pcap(
    order: str = "<", kind: str = "us", link: int = 1, records: tuple[tuple[int, int, bytes, int], ...] = ()
) -> bytes:
    out = struct.pack(order + "IHHiIII", MAGICS[kind], 2, 4, 0, 0, 65_535, link)
    for seconds, fraction, data, length in records:
        out += struct.pack(order + "IIII", seconds, fraction, len(data), length)
        out += bytes(8) if kind == "modified" else b""
        out += data
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link: int, snap: int = 0, **options: bytes) -> bytes:
    codes = {"comment": 1, "tsresol": 9, "tsoffset": 14}
    body = struct.pack(order + "HHI", link, 0, snap)
    for name, value in options.items():
        body += struct.pack(order + "HH", codes[name], len(value)) + value + bytes(-len(value) % 4)
    return block(order, 1, body + (bytes(4) if options else b""))


def enhanced(order: str, number: int, stamp: int, data: bytes, length: int | None = None) -> bytes:
    head = struct.pack(
        order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(data), length or len(data)
    )
    return block(order, 6, head + data)


def read(path: Path) -> list[Frame]:
    return [frame for batch in frames(path) for frame in batch]


def put(tmp_path: Path, data: bytes, name: str = "capture") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["us", "ns", "modified"])
def test_pcap_variants(tmp_path: Path, order: str, kind: str) -> None:
    records = ((5, 7, b"abc", 3), (6, 8, b"de", 90))
    unit = 1 if kind == "ns" else 1000
    assert read(put(tmp_path, pcap(order, kind, 113, records))) == [
        Frame(5 * NS + 7 * unit, 113, b"abc", 3),
        Frame(6 * NS + 8 * unit, 113, b"de", 90),
    ]


def test_upper_bits_of_the_link_type_tell_the_check_sequence(tmp_path: Path) -> None:
    assert read(put(tmp_path, pcap(link=1 | 0x54 << 24, records=((1, 0, b"x", 1),))))[0].link == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_interfaces_have_their_own_links_and_clocks(tmp_path: Path, order: str) -> None:
    data = section(order)
    data += interface(order, 1)
    data += interface(order, 113, tsresol=b"\x09", tsoffset=struct.pack(order + "q", 100))
    data += interface(order, 101, comment=b"caf\xe9", tsresol=b"\x8a")  # 2^-10 s
    data += enhanced(order, 0, 3_000_001, b"a")
    data += enhanced(order, 1, 3 * NS + 1, b"bb", 70)
    data += enhanced(order, 2, 3 << 10 | 512, b"ccc")
    assert read(put(tmp_path, data)) == [
        Frame(3 * NS + 1000, 1, b"a", 1),
        Frame(103 * NS + 1, 113, b"bb", 70),
        Frame(3 * NS + NS // 2, 101, b"ccc", 3),
    ]


def test_pcapng_sections_start_over_in_their_own_byte_order(tmp_path: Path) -> None:
    data = section("<") + interface("<", 1) + enhanced("<", 0, 1, b"a")
    data += section(">") + interface(">", 12) + enhanced(">", 0, 2, b"b")
    assert [(frame.link, frame.time) for frame in read(put(tmp_path, data))] == [(1, 1000), (12, 2000)]


def test_times_leave_room_for_what_is_added_to_them(tmp_path: Path) -> None:
    data = section("<") + interface("<", 1, tsresol=b"\0") + enhanced("<", 0, (1 << 64) - 1, b"a")
    assert read(put(tmp_path, data)) == [Frame(1 << 62, 1, b"a", 1)]


def test_pcapng_simple_and_obsolete_blocks(tmp_path: Path) -> None:
    data = section("<") + interface("<", 1, snap=4) + enhanced("<", 0, 9, b"a")
    data += block("<", 3, struct.pack("<I", 6) + b"abcd")
    data += block("<", 2, struct.pack("<HHIIII", 0, 0xFFFF, 0, 10, 2, 3) + b"xy")
    data += block("<", 0xBAD, b"whatever")
    assert read(put(tmp_path, data)) == [
        Frame(9000, 1, b"a", 1),
        Frame(9000, 1, b"abcd", 6),  # no time of its own
        Frame(10_000, 1, b"xy", 3),
    ]


@pytest.mark.parametrize(
    "squeeze",
    [
        gzip.compress,
        lambda data: gzip.compress(data[:30]) + gzip.compress(data[30:]) + bytes(8),
        lambda data: zstandard.compress(data),
        lambda data: zstandard.compress(data[:30]) + zstandard.compress(data[30:]),
    ],
)
def test_compressed_files_by_their_magic(tmp_path: Path, squeeze: object) -> None:
    data = pcap(records=tuple((n, 0, bytes(100), 100) for n in range(500)))
    path = put(tmp_path, squeeze(data))  # type: ignore[operator]
    with Capture(path) as opened:
        assert sum(len(batch) for batch in opened) == 500
        assert opened.position == opened.size == path.stat().st_size


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(gzip.compress(pcap(records=((1, 0, b"x", 1),))))))
    with Capture("-") as opened:
        assert [len(batch) for batch in opened] == [1]
        assert (opened.size, opened.position) == (0, 0)


@pytest.mark.parametrize("data", [b"", b"\xd4", b"\xd4\xc3\xb2\xa1", b"<html>" * 9, b"\x1f\x8b" + bytes(50)])
def test_what_is_no_capture_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path, data)
    with pytest.raises(NotACapture, match=str(path)):
        Capture(path)


def damaged(path: Path) -> tuple[int, Damaged]:
    count = 0
    try:
        for batch in frames(path):
            count += len(batch)
    except Damaged as error:
        return count, error
    raise AssertionError(f"{path} was read to its end")


RECORDS = tuple((n, 0, bytes(100), 100) for n in range(20))
WHOLE = pcap(records=RECORDS)
NG = section("<") + interface("<", 1) + b"".join(enhanced("<", 0, n, bytes(100)) for n in range(20))


@pytest.mark.parametrize(
    ("data", "count", "offset", "reason"),
    [
        (WHOLE[:-1], 19, 24 + 19 * 116, "ends inside a record of at least 116 bytes"),
        (WHOLE + b"xyz", 20, 24 + 20 * 116, "ends inside"),
        (WHOLE + struct.pack("<IIII", 1, 0, 1 << 30, 9), 20, 24 + 20 * 116, "claims 1073741824 bytes"),
        (NG[:-1], 19, len(NG) - 132, "ends inside a record of at least 132 bytes"),
        (NG + struct.pack("<II", 6, 2**31), 20, len(NG), "ends inside"),
        (NG + struct.pack("<III", 6, 2**31, 0), 20, len(NG), "claims"),
        (NG + struct.pack("<III", 6, 13, 13), 20, len(NG), "claims 13 bytes"),
        (NG + struct.pack("<III", 5, 12, 16), 20, len(NG), "two lengths"),
        (NG + enhanced("<", 7, 0, b"x"), 20, len(NG), "interface 7 was not described"),
        (
            NG + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 50, 50) + b"x"),
            20,
            len(NG),
            "50 bytes in a block",
        ),
        (NG + block("<", 6, b"short"), 20, len(NG), "cannot be read"),
        (NG + block("<", 1, struct.pack("<HH", 1, 0)), 20, len(NG), "cannot be read"),
        (NG + block("<", 0x0A0D0D0A, b"nonsense"), 20, len(NG), "byte-order magic"),
    ],
)
def test_damage_comes_after_everything_before_it(
    tmp_path: Path, data: bytes, count: int, offset: int, reason: str
) -> None:
    path = put(tmp_path, data)
    found, error = damaged(path)
    assert (found, error.offset, error.file) == (count, offset, str(path))
    assert reason in error.reason
    assert str(error) == f"{path}: byte {offset}: {error.reason}"


@pytest.mark.parametrize("squeeze", [gzip.compress, zstandard.compress])
def test_a_compressed_file_that_breaks_off(tmp_path: Path, squeeze: object) -> None:
    noise = pcap(records=tuple((n, 0, bytes([n & 255, n >> 8]) * 5_000, 10_000) for n in range(600)))
    data: bytes = squeeze(noise)  # type: ignore[operator]
    count, _ = damaged(put(tmp_path, data[: len(data) * 2 // 3]))
    assert 100 < count < 600


def test_broken_gzip_data_is_named(tmp_path: Path) -> None:
    noise = bytearray(
        gzip.compress(pcap(records=tuple((n, 0, bytes([n & 255]) * 90, 90) for n in range(9_000))))
    )
    noise[-4] ^= 0xFF
    assert "decompression failed" in damaged(put(tmp_path, bytes(noise)))[1].reason


def test_a_record_larger_than_a_chunk(tmp_path: Path) -> None:
    big = bytes(range(256)) * 12_288
    assert read(put(tmp_path, pcap(records=((1, 0, big, len(big)), (2, 0, b"x", 1)))))[0].data == big


def test_too_many_interfaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_INTERFACES", 2)
    assert "too many" in damaged(put(tmp_path, section("<") + interface("<", 1) * 3 + NG))[1].reason


@given(st.sampled_from([WHOLE, NG, gzip.compress(WHOLE), zstandard.compress(NG)]), st.data())
def test_no_bytes_crash_it(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    changed = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        changed[at] = data.draw(st.integers(0, 255))
    path = put(tmp_path_factory.getbasetemp(), bytes(changed[: data.draw(st.integers(0, len(changed)))]))
    try:
        for frame in read(path):
            assert frame.length >= len(frame.data)
            assert 0 <= frame.time < 1 << 63
    except (NotACapture, Damaged):
        pass
