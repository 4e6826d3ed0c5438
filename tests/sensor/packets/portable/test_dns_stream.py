from __future__ import annotations

import pytest

from sensor.packets.facts import Limits
from sensor.packets.portable.dns_stream import DnsStream
from tests.sensor.packets.scenarios import OTHER, dns
from tests.sensor.wire.samples import vec

MESSAGES = [dns(response=False), dns(OTHER, response=False)]
STREAM = b"".join(vec(2, message) for message in MESSAGES)


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_messages_over_segments(size: int) -> None:
    stream, out = DnsStream(Limits(), 1), []
    for at in range(0, len(STREAM), size):
        out += stream.feed(1 + at, STREAM[at : at + size])
    assert out == MESSAGES


def test_out_of_order_and_again() -> None:
    stream = DnsStream(Limits(), 1)
    assert stream.feed(11, STREAM[10:]) == []
    assert stream.feed(1, STREAM[:10]) == MESSAGES
    assert stream.feed(1, STREAM) == []


def test_what_is_no_dns_ends_it() -> None:
    stream = DnsStream(Limits(), 1)
    assert stream.feed(1, b"\0\3abc") == []
    assert stream.feed(6, STREAM) == []
