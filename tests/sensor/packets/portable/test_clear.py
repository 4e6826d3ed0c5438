from __future__ import annotations

from dataclasses import replace

from sensor.packets.facts import Clear, Fact, Limits
from sensor.packets.portable.clear import ClearText
from sensor.packets.portable.totals import Tally
from tests.sensor.packets.portable.test_flows import flow


def make(limits: Limits | None = None) -> tuple[ClearText, list[Fact], Tally]:
    out: list[Fact] = []
    tally = Tally()
    return ClearText(limits or Limits(), tally, out), out, tally


def said(out: list[Fact]) -> list[tuple[bool, int, bytes]]:
    return [(fact.up, fact.gap, fact.data) for fact in out if isinstance(fact, Clear)]


def test_bytes_in_order_both_ways() -> None:
    clear, out, _ = make()
    one = flow()
    one.client.origin, one.server.origin = 1, 100
    clear.take(one, one.client, 4, b"def")
    clear.take(one, one.client, 1, b"abc")
    clear.take(one, one.server, 100, b"xyz")
    assert said(out) == [(True, 0, b"abcdef"), (False, 0, b"xyz")]


def test_a_gap_is_said_at_the_end() -> None:
    clear, out, _ = make()
    one = flow()
    one.client.origin = 1
    clear.take(one, one.client, 1, b"abc")
    clear.take(one, one.client, 9, b"later")
    assert said(out) == [(True, 0, b"abc")]
    clear.finish(one)
    assert said(out)[1:] == [(True, 5, b"later")]


def test_a_gap_is_given_up_behind_many_segments() -> None:
    clear, out, _ = make(replace(Limits(), segments=2))
    one = flow()
    one.client.origin = 1
    for seq in (10, 20, 30):
        clear.take(one, one.client, seq, b"x")
    assert said(out) == [(True, 9, b"x")]


def test_bytes_are_bounded_per_direction() -> None:
    clear, out, tally = make(replace(Limits(), clear_bytes=4))
    one = flow()
    one.client.origin, one.server.origin = 1, 1
    clear.take(one, one.client, 1, b"abcdef")
    clear.take(one, one.client, 7, b"g")
    clear.take(one, one.server, 1, b"xyz")
    assert said(out) == [(True, 0, b"abcd"), (False, 0, b"xyz")]
    assert tally.clear_capped == 1
