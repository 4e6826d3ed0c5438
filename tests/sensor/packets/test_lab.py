"""Bytes per connection, held against tshark's TCP and UDP payload per stream."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from sensor.packets.capture import frames
from sensor.packets.facts import Limits, Progress, Watch
from tests.sensor.packets.conftest import Make

LAB = Path(__file__).parents[4] / "shared" / "captures" / "lab"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not LAB.is_dir(), reason="../shared/captures/lab is not here"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]
FIELDS = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "tcp.len", "udp.srcport",
          "udp.dstport", "udp.length")  # fmt: skip

Way = tuple[str, str, int, str, int]


def tshark(path: Path) -> Counter[Way]:
    """Payload bytes per direction, of the innermost addresses."""
    command = ["tshark", "-r", str(path), "-o", "ip.defragment:TRUE", "-T", "fields", "-E", "occurrence=l"]
    for field in FIELDS:
        command += ["-e", field]
    out: Counter[Way] = Counter()
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        src4, dst4, src6, dst6, sport, dport, size, usport, udport, length = line.split("\t")
        src, dst = src4 or src6, dst4 or dst6
        if size:
            out["tcp", src, int(sport), dst, int(dport)] += int(size)
        elif length:
            out["udp", src, int(usport), dst, int(udport)] += int(length) - 8
    return +out


@pytest.mark.parametrize("path", sorted(LAB.glob("*.pcap")), ids=lambda path: path.stem)
def test_bytes_equal_tshark(engine: Make, path: Path) -> None:
    reader = engine(Watch(all=True), Limits())
    facts = [fact for batch in frames(path) for fact in reader.feed(batch)] + reader.finish()
    ours: Counter[Way] = Counter()
    for fact in facts:
        if isinstance(fact, Progress):
            flow = fact.flow
            client, server = (flow.client_ip, flow.client_port), (flow.server_ip, flow.server_port)
            ours[(flow.transport, *client, *server)] += fact.bytes_up
            ours[(flow.transport, *server, *client)] += fact.bytes_down
    assert +ours == tshark(path)
