"""First packets: which are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sensor.packets import evidence
from sensor.packets.evidence import Evidence, Kept
from sensor.packets.facts import Frame, Limits, Watch
from sensor.packets.portable.engine import PortableEngine
from sensor.wire.community import community_id
from tests.sensor.packets.build import CLIENT, SERVER, Talk, ethernet, frame, ipv4
from tests.sensor.wire.samples import openssl_hello

OPENAI = Watch(names=frozenset({"openai.com"}))


def conversation(name: str, sport: int = 40_000) -> list[Frame]:
    return Talk(sport=sport).hands().up(openssl_hello(name)).down(b"!" * 9).up(b"?" * 9).bye().frames


def kept(frames: list[Frame], packets: int, watch: Watch = OPENAI, batch: int = 1) -> list[Kept]:
    first, engine, found = Evidence(packets, Limits()), PortableEngine(watch, Limits()), []
    for at in range(0, len(frames), batch):
        first.frames(frames[at : at + batch])
        first.facts(engine.feed(frames[at : at + batch]))
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


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_each_use_of_the_same_ends(batch: int) -> None:
    uses, frames, names = [], list[Frame](), ("example.org", "api.openai.com", "api.openai.com", "a.example")
    for number, name in enumerate((*names, *names[1:])):
        talk = Talk(isn=1_000 * number).hands().up(openssl_hello(name)).down(b"!" * 9).up(b"?" * 9)
        talk = talk.bye() if number % 3 else talk  # a new SYN ends the others
        uses.append([replace(one, time=one.time + number * 10**9) for one in talk.frames])
        frames += uses[-1]
    found = [one.frame for one in kept(frames, 5, batch=batch)]
    assert sorted(found, key=lambda one: one.time) == [one for at in (1, 2, 4, 5) for one in uses[at][:5]]


def test_silence_ends_a_use() -> None:
    late = [replace(one, time=one.time + 400 * 10**9) for one in conversation("api.openai.com")]
    middle = [one for one in late if one.time > late[2].time]  # its beginning was missed
    assert [one.frame for one in kept(conversation("example.org")[:-3] + middle, 3)] == middle[:3]


def test_of_everything_only_what_the_catalogue_is_about() -> None:
    watched, others = conversation("api.openai.com"), conversation("example.org", 40_001)
    assert [one.frame for one in kept(watched + others, 9, replace(OPENAI, all=True))] == watched[:9]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = conversation("api.openai.com")
    monkeypatch.setattr(evidence, "UNDECIDED", sum(len(one.data) for one in watched))
    flood = [one for port in range(41_000, 41_020) for one in conversation("example.org", port)[:4]]
    assert [one.frame for one in kept(watched[:4] + flood + watched[4:], 4)] == watched[4:8]
    monkeypatch.setattr(evidence, "UNDECIDED", 1 << 30)
    assert [one.frame for one in kept(watched[:4] + flood + watched[4:], 4)] == watched[:4]
    monkeypatch.setattr(evidence, "FLOWS", 3)
    assert [one.frame for one in kept(watched[:4] + flood + watched[4:], 4)] == watched[4:8]
