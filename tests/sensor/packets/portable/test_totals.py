from __future__ import annotations

from sensor.packets.facts import COUNTERS, Totals
from sensor.packets.portable.totals import Tally


def test_what_was_counted_is_said_once() -> None:
    tally = Tally()
    tally.frames, tally.flows = 3, 1
    tally.classes["named"][0] += 100
    tally.classes["dns"][0] += 20
    assert tally.take(5, 9) == Totals(
        5, 9, {"named": 100, "dns": 20}, {"frames": 3, "bytes": 120, "flows": 1}
    )
    assert tally.take(9, 10) == Totals(9, 10)
    assert tally.epoch == 2


def test_a_flow_keeps_its_cell_over_intervals() -> None:
    tally = Tally()
    cell = tally.classes["unnamed"]
    tally.take(0, 1)
    cell[0] += 7
    assert tally.take(1, 2).bytes == {"unnamed": 7}


def test_frames_without_a_transport_header() -> None:
    tally = Tally()
    for kind in ("undecodable", "other", "tunnelled"):
        tally.lose(kind, 10)
    said = tally.take(0, 1)
    assert said.bytes == {"other": 10, "tunnelled": 10, "undecodable": 10}
    assert said.counters == {"frames": 3, "bytes": 30, "undecodable": 1}


def test_every_counter_is_said() -> None:
    tally = Tally()
    for name in COUNTERS:
        if name != "bytes":
            setattr(tally, name, 1)
    assert set(tally.take(0, 1).counters) == set(COUNTERS) - {"bytes"}
