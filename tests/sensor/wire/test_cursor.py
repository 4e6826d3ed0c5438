from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.wire.cursor import Cursor, Malformed, Truncated


def test_reads_integers_vectors_and_pairs() -> None:
    cursor = Cursor(bytes.fromhex("01 0203 040506 0708090a 02aabb 0001cc 0005 0002 ddee 0006 0000"))
    assert (cursor.u8(), cursor.u16(), cursor.u24(), cursor.u32()) == (1, 0x203, 0x40506, 0x708090A)
    assert (cursor.vec8(), cursor.vec16()) == (b"\xaa\xbb", b"\xcc")
    assert cursor.pairs(cursor.left) == ((5, b"\xdd\xee"), (6, b""))
    assert cursor.left == 0
    assert cursor.whole


@pytest.mark.parametrize(
    ("raw", "value"),  # RFC 9000 A.1
    [
        ("c2197c5eff14e88c", 151_288_809_941_952_652),
        ("9d7f3e7d", 494_878_333),
        ("7bbd", 15_293),
        ("25", 37),
        ("4025", 37),
    ],
)
def test_varint(raw: str, value: int) -> None:
    cursor = Cursor(bytes.fromhex(raw))
    assert cursor.varint() == value
    assert cursor.left == 0


READS = {
    "u8": Cursor.u8,
    "u16": Cursor.u16,
    "u24": Cursor.u24,
    "u32": Cursor.u32,
    "varint": Cursor.varint,
    "vec8": Cursor.vec8,
    "vec16": Cursor.vec16,
    "take": lambda cursor: cursor.take(5),
    "pairs": lambda cursor: cursor.pairs(9),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_beyond_the_end_is_malformed_beyond_the_bytes_truncated(read: object) -> None:
    data = b"\xff\xff\xff\xff\xff"[: 0 if read is READS["u8"] else 1]
    with pytest.raises(Malformed) as closed:
        read(Cursor(data))  # type: ignore[operator]
    assert not isinstance(closed.value, Truncated)
    with pytest.raises(Truncated):
        read(Cursor(data, 0, 1_000_000))  # type: ignore[operator]


def test_pairs_tell_a_broken_pair_from_one_that_has_not_come() -> None:
    with pytest.raises(Malformed) as broken:
        Cursor(b"\0\1\0\5ab", 0, 100).pairs(6)
    assert not isinstance(broken.value, Truncated)
    with pytest.raises(Truncated):
        Cursor(b"\0\1\0\2a", 0, 100).pairs(6)
    with pytest.raises(Malformed):
        Cursor(b"\0\1\0", 0, 100).pairs(3)


def test_end_hides_what_lies_behind() -> None:
    cursor = Cursor(b"abcdef", 1, 3)
    assert cursor.take(2) == b"bc"
    with pytest.raises(Malformed):
        cursor.u8()


@given(st.binary(max_size=40), st.lists(st.sampled_from(sorted(READS))), st.integers(0, 60))
def test_never_leaves_its_bounds(data: bytes, reads: list[str], end: int) -> None:
    cursor = Cursor(data, 0, end)
    for name in reads:
        with suppress(Malformed):
            READS[name](cursor)  # type: ignore[operator]
        assert 0 <= cursor.pos <= min(len(data), end)
