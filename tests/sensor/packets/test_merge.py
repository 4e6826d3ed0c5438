"""Packets of two interfaces are of one time: both sides of a tap, and the same packet on both."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator

import pytest

from tests.sensor.packets.conftest import installed
from tests.sensor.test_watch_cli import flat, use
from tests.sensor.wire_pair import Pair, Watch, reason_to_skip

pytestmark = [pytest.mark.timeout(60), pytest.mark.skipif(bool(why := reason_to_skip()), reason=why)]
ENGINES = pytest.mark.parametrize("engine", installed())
CLIENT = b"\x0a\0\0\1"
# Frames onto two interfaces: which one, length, frame.
SEND = """
import socket, struct, sys, time
wires = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in range(2)]
for number, wire in enumerate(wires):
    wire.bind((f"there{number}", 0))
data, at, due = sys.stdin.buffer.read(), 0, time.perf_counter()
while at < len(data):
    which, size = struct.unpack_from("<BI", data, at)
    at += 5 + size
    while time.perf_counter() < due:
        pass
    wires[which].send(data[at - size : at])
    due += 0.0005
"""


@pytest.fixture(scope="module")
def taps() -> Iterator[Pair]:
    made = Pair()
    made.ip("link", "add", "there1", "type", "veth", "peer", "name", "here1")
    for name in ("here1", "there1"):
        made.sh(f"echo 1 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6")
        made.ip("link", "set", name, "up")
    yield made
    made.close()


def send(taps: Pair, frames: Iterable[tuple[int, bytes]]) -> None:
    data = b"".join(struct.pack("<BI", which, len(frame)) + frame for which, frame in frames)
    command = ["ip", "netns", "exec", taps.namespace, sys.executable, "-c", SEND]
    subprocess.run(command, input=data, check=True, timeout=60)


def summed(watch: Watch) -> tuple[int, int, int]:
    """Connections to AI services, and their packets each way."""
    rows = watch.table("connections")
    first, up, down = (sum(row[name] for row in rows) for name in ("first", "packets_up", "packets_down"))
    return first, up, down


@ENGINES
@pytest.mark.parametrize("sides", ["01", "10"])
def test_both_sides_of_a_tap(taps: Pair, engine: str, sides: str) -> None:
    sent = [(int(sides[one[26:30] == CLIENT]), one) for one in flat([use(number) for number in range(40)])]
    with taps.watch("here1", "--json", "--engine", engine) as watch:
        send(taps, sent)
        assert watch.stop() == 0
    up = sum(one[26:30] == CLIENT for _, one in sent)
    assert summed(watch) == (40, up, len(sent) - up)
    assert watch.total("flows") == 40
    assert "one direction" not in watch.said


@pytest.mark.skipif("native" not in installed(), reason="the native engine is not installed")
def test_each_side_has_a_share_for_each_worker(taps: Pair) -> None:
    sent = [(int(one[26:30] == CLIENT), one) for one in flat([use(number) for number in range(40)])]
    with taps.watch("here1", "--json", "--engine", "native", "--workers", "2") as watch:
        send(taps, sent)
        assert watch.stop() == 0
    assert sum(summed(watch)[1:]) == len(sent)
    assert watch.total("flows") == 40


@ENGINES
def test_a_packet_on_both_counts_once(taps: Pair, engine: str) -> None:
    sent = flat([use(number) for number in range(40)])
    slow = {"AISCOPE_LIMITS_DUPLICATE_NS": "1000000000"}  # the sender may be held up between the two
    with taps.watch("here1", "--json", "--engine", engine, env=slow) as watch:
        send(taps, [(which, one) for one in sent for which in (0, 1)])
        assert watch.stop() == 0
    assert sum(summed(watch)[1:]) == len(sent)
    assert watch.total("duplicates") == len(sent)
