from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sensor.packets.facts import Limits
from sensor.packets.portable.fragments import Fragments
from sensor.packets.portable.headers import Fragment
from sensor.packets.portable.totals import Tally

TEXT = bytes(range(200))


def one(start: int, size: int, more: bool, data: bytes | None = None) -> Fragment:
    return Fragment(
        (b"ends", 1, 17), 17, start, more, TEXT[start : start + size] if data is None else data, size
    )


@given(
    st.permutations(range(0, 200, 8)), st.lists(st.tuples(st.integers(0, 24), st.integers(1, 80)), max_size=8)
)
def test_any_order_and_overlap(order: list[int], copies: list[tuple[int, int]]) -> None:
    fragments = Fragments(Limits(), Tally())
    for at, size in copies:
        size = min(size, 192 - at * 8)
        assert size <= 0 or fragments.add(one(at * 8, size, True), 0, 1) is None
    found = None
    for at in order:
        whole = fragments.add(one(at, min(8, 200 - at), at + 8 < 200), 0, 1)
        found = found or whole
    assert found is not None
    assert found.payload() == TEXT
    assert (found.size, found.protocol) == (200, 17)


def test_bytes_the_capture_cut_end_the_payload_not_the_length() -> None:
    fragments = Fragments(Limits(), Tally())
    assert fragments.add(one(0, 80, True, TEXT[:60]), 0, 1) is None
    whole = fragments.add(one(80, 40, False), 0, 1)
    assert whole is not None
    assert (whole.size, whole.payload()) == (120, TEXT[:60])


def test_bytes_beyond_the_end_do_not_count() -> None:
    fragments = Fragments(Limits(), Tally())
    assert fragments.add(one(80, 120, True), 0, 1) is None
    assert fragments.add(one(64, 32, False), 0, 1) is None
    assert fragments.add(one(100, 50, False), 0, 1) is None
    whole = fragments.add(one(0, 64, True), 0, 1)
    assert whole is not None
    assert (whole.size, whole.payload()) == (96, TEXT[:96])


def test_what_times_out_is_lost_whoever_notices() -> None:
    limits, tally = Limits(), Tally()
    fragments = Fragments(limits, tally)
    fragments.add(one(0, 8, True), 0, 1)
    fragments.sweep(limits.fragment_ns - 1)
    assert tally.fragments_lost == 0
    fragments.sweep(limits.fragment_ns)
    assert tally.fragments_lost == 1
    fragments.add(one(0, 8, True), 0, 1)
    fragments.add(one(8, 8, False), limits.fragment_ns, 1)
    assert tally.fragments_lost == 2
    fragments.finish()
    assert tally.fragments_lost == 3
