"""First packets: which are kept, and a ring that stays within its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensor.packets import evidence
from sensor.packets.capture import frames
from sensor.packets.evidence import Evidence, EvidenceRing, Kept, ring_files
from sensor.packets.facts import Frame, Limits, Watch
from sensor.packets.portable.engine import PortableEngine
from sensor.wire.community import community_id
from tests.sensor.packets.build import CLIENT, SERVER, START, Talk, ethernet, frame, ipv4
from tests.sensor.wire.samples import openssl_hello

OPENAI = Watch(names=frozenset({"openai.com"}))


def conversation(name: str, sport: int = 40_000) -> list[Frame]:
    return Talk(sport=sport).hands().up(openssl_hello(name)).down(b"!" * 9).up(b"?" * 9).bye().frames


def kept(frames: list[Frame], packets: int) -> list[Kept]:
    first, engine, found = Evidence(packets, 8), PortableEngine(OPENAI, Limits()), []
    for one in frames:
        first.frames([one])
        first.facts(engine.feed([one]))
        found += first.take()
    return found


def test_the_first_packets_of_watched_flows_in_their_order() -> None:
    watched = conversation("api.openai.com")
    others = conversation("example.org", 40_001)
    mixed = [one for pair in zip(watched, others, strict=True) for one in pair]
    noise = [frame(b""), frame(ethernet(ipv4(b"", 1)))]
    assert [one.frame for one in kept([*noise, *mixed], 7)] == watched[:7]
    assert [one.frame for one in kept(mixed, 100)] == watched
    assert {one.community_id for one in kept(mixed, 3)} == {community_id("tcp", CLIENT, 40_000, SERVER, 443)}


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = conversation("api.openai.com")
    monkeypatch.setattr(evidence, "UNDECIDED", sum(len(one.data) for one in watched))
    flood = [one for port in range(41_000, 41_020) for one in conversation("example.org", port)[:4]]
    assert [one.frame for one in kept(watched[:4] + flood + watched[4:], 4)] == watched[4:8]
    monkeypatch.setattr(evidence, "UNDECIDED", 1 << 30)
    assert [one.frame for one in kept(watched[:4] + flood + watched[4:], 4)] == watched[:4]
    monkeypatch.setattr(evidence, "FLOWS", 3)
    assert [one.frame for one in kept(watched[:4] + flood + watched[4:], 4)] == watched[4:8]


def test_a_ring_within_its_bounds(tmp_path: Path) -> None:
    folder, limit = tmp_path / "ring", 1 << 20
    ring = EvidenceRing(folder, limit)
    packets = [
        Kept(
            "tcp", CLIENT, 40_000, SERVER, 443, Frame(START + n, (1, 101)[n % 2], bytes([n % 251]) * 501, 900)
        )
        for n in range(4_000)
    ]
    ring.write(packets[:1_000])
    ring.close()
    ring = EvidenceRing(folder, limit)  # a sensor that starts again goes on
    for at in range(1_000, 4_000, 100):
        ring.write(packets[at : at + 100])
    ring.close()
    sizes = [path.stat().st_size for path in ring_files(folder)]
    assert limit * 0.7 < sum(sizes) < limit + 8 * 600
    back = [one for path in ring_files(folder) for batch in frames(path) for one in batch]
    assert back == [one.frame for one in packets[-len(back) :]]
    assert {path.stat().st_mode & 0o777 for path in ring_files(folder)} == {0o600}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "first-1-copy.pcapng").write_text("mine")
    (tmp_path / "first.pcapng").write_text("mine")
    ring = EvidenceRing(tmp_path, 1 << 20)
    ring.write([Kept("udp", CLIENT, 1, SERVER, 2, Frame(START, 1, bytes(60), 60))])
    ring.close()
    assert (tmp_path / "first-1-copy.pcapng").read_text() == "mine"
