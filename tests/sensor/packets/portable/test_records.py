from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sensor.packets.portable.flows import Flow, Side
from sensor.packets.portable.headers import Around
from sensor.packets.portable.records import follow, plausible


def sides() -> tuple[Side, Side]:
    client, server = Side(bytes(12)), Side(bytes(12))
    client.flow = server.flow = Flow(0, True, client, server, 0, Around())
    return client, server


def record(size: int, kind: int = 23) -> bytes:
    return struct.pack(">BHH", kind, 0x303, size) + bytes(size)


STREAM = record(3, 22) + record(0) + record(40) + record(1, 21) + record(300) + record(7)


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20), st.integers(0, 1 << 32))
def test_segments_do_not_matter(cuts: list[int], start: int) -> None:
    # The first segment holds one whole header: without it there is no place to begin.
    bounds = [0, *sorted({cut for cut in cuts if cut >= 5}), len(STREAM)]
    client, _ = sides()
    got = [
        follow(client, (start + at) % (1 << 32), b"head" + STREAM[at:end], 4, 4 + end - at, end - at)
        for at, end in pairwise(bounds)
    ]
    assert (sum(size for size, _ in got), sum(begun for _, begun in got)) == (347, 4)


def test_what_is_not_application_payload() -> None:
    client, server = sides()
    assert follow(server, 0, record(900), 0, 905, 905) == (0, 0)
    assert client.flow.tls13
    assert follow(client, 0, record(90), 0, 95, 95) == (0, 0)
    assert follow(server, 905, record(10), 0, 15, 15) == (0, 0)
    assert follow(client, 95, record(90), 0, 95, 95) == (90, 1)
    assert follow(server, 920, record(20), 0, 25, 25) == (20, 1)
    assert follow(server, 945, record(19), 0, 24, 24) == (0, 0)


def test_an_alert_is_no_application_payload() -> None:
    client, server = sides()
    follow(server, 0, record(900), 0, 905, 905)
    follow(client, 0, record(53), 0, 58, 58)
    assert follow(client, 58, record(19), 0, 24, 24) == (0, 0)  # close_notify of a pre-connect
    assert follow(server, 905, record(250) + record(19), 0, 279, 279) == (0, 0)
    assert follow(client, 82, record(20), 0, 25, 25) == (20, 1)


def test_a_segment_cut_by_the_capture_is_a_gap_unless_a_record_covers_it() -> None:
    client, _ = sides()
    big = record(3_000)
    assert follow(client, 0, big, 0, 100, 1_000) == (995, 1)
    assert follow(client, 1_000, b"", 0, 0, 2_005) == (2_005, 0)
    assert follow(client, 3_005, record(10) + b"\x17", 0, 16, 900) == (10, 1)
    assert client.next == -1
    assert follow(client, 3_905, b"xxxxxxxx", 0, 8, 8) == (0, 0)
    assert follow(client, 3_913, record(4), 0, 9, 9) == (4, 1)


def test_copies_and_overlap() -> None:
    client, _ = sides()
    both = record(20) + record(30)
    assert follow(client, 0, both, 0, 25, 25) == (20, 1)
    assert follow(client, 0, both, 0, 25, 25) == (0, 0)
    assert follow(client, 0, both, 0, len(both), len(both)) == (30, 1)
    assert follow(client, 60, b"\0" * 9, 0, 9, 9) == (0, 0)  # no record begins here


def test_plausible_headers() -> None:
    assert plausible(b"\x17\x03\x03\x41\x00")
    assert not plausible(b"\x17\x03\x03\x41\x01")
    assert not plausible(b"\x13\x03\x03\x00\x01")
    assert not plausible(b"\x19\x03\x03\x00\x01")
    assert not plausible(b"\x17\x02\x03\x00\x01")
    assert not plausible(b"\x17\x03\x03\x00")
