"""What a run of `aiscope watch` does between two lots of facts; the run itself is in `test_watch_cli`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sensor.config import Settings
from sensor.packets.evidence import Kept
from sensor.packets.evidence_ring import EvidenceRing, ring_files
from sensor.packets.facts import Frame
from sensor.watch_run import Watching, note
from tests.sensor.packets.build import CLIENT, SERVER, START

PACKET = Kept("tcp", CLIENT, 40_000, SERVER, 443, Frame(START, 1, bytes(60), 60))


class Engine:
    """Live capture as far as evidence needs it."""

    def __init__(self, missed: int) -> None:
        self.missed = missed

    def kept(self) -> tuple[list[Kept], int]:
        return [PACKET], self.missed


def watching(live: Engine, ring: EvidenceRing) -> Watching:
    parts: dict[str, Any] = {"live": live, "settings": Settings(), "catalogue": None, "changes": None}
    return Watching(**parts, engine="native", interfaces=("lo",), everything=False, signals=set(), ring=ring)


def test_first_packets_that_come_too_fast_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = EvidenceRing(tmp_path, 1 << 20)
    run = watching(Engine(missed=3), ring)
    run._keep()
    run._keep()
    assert ring.lost == 6
    said = capsys.readouterr().err
    assert said.count("first packets not kept") == 1  # not every second
    assert "3 first packets not kept so far: they come faster than they are written" in said
    run.live = Engine(missed=0)  # type: ignore[assignment]
    run._keep()
    ring.close()
    assert [path.read_bytes().count(PACKET.community_id.encode()) for path in ring_files(tmp_path)] == [3]


def test_a_signal_is_noted_and_ends_nothing() -> None:
    before, came = signal.getsignal(signal.SIGUSR1), set[int]()
    try:
        note(came, signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert came == {signal.SIGUSR1}
    finally:
        signal.signal(signal.SIGUSR1, before)
