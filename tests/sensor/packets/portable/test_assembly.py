from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sensor.packets.portable.assembly import SPAN, Stream

TEXT = bytes(range(256)) * 2


def segments(start: int) -> st.SearchStrategy[list[tuple[int, bytes]]]:
    piece = st.tuples(st.integers(0, len(TEXT) - 1), st.integers(1, 90))
    return st.lists(piece, max_size=40).map(
        lambda cuts: [((start + at) % SPAN, TEXT[at : at + size]) for at, size in cuts]
    )


@given(st.data(), st.sampled_from([0, 5, SPAN - 1, SPAN - 200, 1 << 31]))
def test_any_order_gives_the_text(data: st.DataObject, start: int) -> None:
    stream = Stream(1 << 20, 1_000, start)
    have = set()
    got = b""
    for seq, piece in data.draw(segments(start)):
        got += stream.push(seq, piece)
        at = (seq - start) % SPAN
        have |= set(range(at, at + len(piece)))
    whole = next(at for at in range(len(TEXT) + 1) if at not in have)
    assert got == stream.kept == TEXT[:whole]
    assert stream.held_bytes == sum(len(piece) for _, piece in stream.held) == len(have) - whole
    assert stream.close() == len(have) - whole


@given(segments(1_000))
def test_without_a_start_the_lowest_segment_is_it(pieces: list[tuple[int, bytes]]) -> None:
    stream = Stream(1 << 20, 1_000)
    for seq, piece in pieces:
        stream.push(seq, piece)
    if pieces:
        low = min(seq for seq, _ in pieces) - 1_000
        assert stream.kept == TEXT[low : low + len(stream.kept)]
        assert len(stream.kept) >= 1


def test_first_come_wins_in_every_overlap() -> None:
    stream = Stream(1 << 20, 10, 0)
    assert stream.push(4, b"BBBB") == b""
    assert stream.push(2, b"cccccccc") == b""
    assert stream.push(0, b"aaaaaaaaaaaa") == b"aaccBBBBccaa"


def test_pieces_and_bytes_are_bounded() -> None:
    stream = Stream(20, 2, 0)
    for at in (2, 4, 6):
        stream.push(at, b"x")
    assert (len(stream.held), stream.lost, stream.full) == (2, 1, False)
    stream.push(10, bytes(50))
    assert (stream.lost, stream.full) == (51, True)
    assert stream.push(0, bytes(30)) == bytes(2) + b"x" + bytes(1) + b"x" + bytes(25)  # in order: all of it
    assert stream.close() == 51


def test_what_is_kept_is_bounded() -> None:
    stream = Stream(20, 2)
    assert stream.push(100, bytes(30)) == bytes(30)
    for seq in (130, 140, 90):
        assert stream.push(seq, bytes(10)) == b""
    assert (stream.kept, stream.full, stream.close()) == (bytes(30), True, 0)


def test_a_gap_is_given_up() -> None:
    stream = Stream(0, 64, 0)
    stream.keep = False
    assert stream.push(10, b"xy") == b""
    assert stream.push(12, b"z") == b""
    assert stream.skip() == (10, b"xyz")
    assert stream.push(13, b"!") == b"!"
    assert stream.push(0, b"too late") == b""
