"""The two engines say the same of the same frames, whatever happens to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.packets.capture import Damaged, NotACapture, frames
from sensor.packets.engine import create
from sensor.packets.facts import Fact, Frame, Limits, Opened, Totals, Watch
from tests.sensor.packets.conftest import installed
from tests.sensor.packets.same import told
from tests.sensor.packets.scenarios import SCENARIOS, WRAPS

SHARED = Path(__file__).parents[4] / "shared" / "captures"
pytestmark = pytest.mark.skipif("native" not in installed(), reason="the native engine is not installed")

SECOND = 1_000_000_000
NARROW = Watch(
    names=frozenset({"openai.com", "local"}),
    patterns=frozenset({"*.exam*.net"}),
    networks=("192.0.2.0/30", "2001:db8::/64"),
    paths=frozenset({"/api/"}),
    ports=frozenset({11_434, 8_000}),
    fronts=frozenset({"cloudflare-ech.com"}),
    resolver_ips=frozenset({"192.0.2.9"}),
)
NAMES = Watch(
    names=frozenset({"api.openai.com"}), paths=frozenset({"/v1/"}), resolvers=frozenset({"example.net"})
)
WATCHES = (Watch(all=True), NARROW, NAMES, Watch(), dataclasses.replace(NARROW, all=True))
SMALL = Limits(
    flows=3,
    held=2,
    first_flight=700,
    server_bytes=100,
    segments=2,
    waiting=200,
    datagrams=2,
    fragments=1,
    fragment_ns=SECOND,
    tunnels=1,
    names=1,
    clear_bytes=90,
    http_peeks=1,
    slice_ns=2 * SECOND,
    totals_ns=3 * SECOND,
    tcp_idle_ns=40 * SECOND,
    udp_idle_ns=20 * SECOND,
    closed_ns=SECOND,
    bursts=2,
)
LIMITS = (Limits(), SMALL, dataclasses.replace(SMALL, flows=1_000, held=1_000, sweep_ns=7 * SECOND))


def facts(name: str, batches: Sequence[Sequence[Frame]], watch: Watch, limits: Limits) -> list[Fact]:
    engine = create(name, watch, limits)
    return [fact for batch in batches for fact in engine.feed(batch)] + engine.finish()


def agree(taken: Sequence[Frame], watch: Watch, limits: Limits, chunk: int = 5) -> list[Fact]:
    expected = facts("portable", [taken], watch, limits)
    assert told(facts("native", [taken], watch, limits)) == told(expected)
    batches = [taken[at : at + chunk] for at in range(0, len(taken), chunk)]
    assert told(facts("native", batches, watch, limits)) == told(expected)
    return expected


@pytest.mark.parametrize("limits", LIMITS, ids=["default", "small", "tight"])
@pytest.mark.parametrize("watch", WATCHES, ids=["all", "narrow", "names", "nothing", "all-narrow"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_as_it_is(name: str, watch: Watch, limits: Limits) -> None:
    taken = SCENARIOS[name]()
    said = agree(taken, watch, limits, 1)
    counted = sum(fact.counters.get("frames", 0) for fact in said if isinstance(fact, Totals))
    copies = sum(fact.counters.get("duplicates", 0) for fact in said if isinstance(fact, Totals))
    assert counted + copies == len(taken)


@pytest.mark.parametrize("name", WRAPS)
def test_every_wrapping_is_looked_into(name: str) -> None:
    said = agree(SCENARIOS[name](), Watch(all=True), Limits())
    assert next(fact.name for fact in said if isinstance(fact, Opened)) == "api.openai.com"


CHANGES = ("flip", "flip", "flip", "cut", "snap", "drop", "copy", "move", "time", "link")
Change = tuple[str, int, int, int]
numbers = st.integers(0, 5_000)
changes = st.lists(st.tuples(st.sampled_from(CHANGES), numbers, numbers, st.integers(0, 255)), max_size=6)


def change(taken: list[Frame], what: str, where: int, number: int, value: int) -> None:
    """One thing that may happen to the frames on their way."""
    at = where % len(taken)
    one = taken[at]
    if what == "flip" and one.data:
        raw = bytearray(one.data)
        near = (14, 40, 80, len(raw))[number % 4]
        raw[number % min(near, len(raw))] = value
        taken[at] = dataclasses.replace(one, data=bytes(raw))
    elif what == "cut":
        taken[at] = dataclasses.replace(one, data=one.data[: number % (len(one.data) + 1)])
    elif what == "snap":
        size = 40 + value
        taken[at:] = [dataclasses.replace(each, data=each.data[:size]) for each in taken[at:]]
    elif what == "drop" and len(taken) > 1:
        del taken[at]
    elif what == "copy":
        later = dataclasses.replace(one, time=one.time + (0, 1_000, 3_000_000)[value % 3])
        taken.insert(at + number % 9, later)
    elif what == "move":
        taken.insert(number % len(taken), taken.pop(at))
    elif what == "time":
        by = (-5, -1, 1, 6, 59, 61, 130, 400)[value % 8] * SECOND
        taken[at:] = [dataclasses.replace(each, time=each.time + by) for each in taken[at:]]
    elif what == "link":
        taken[at] = dataclasses.replace(
            one, link=(0, 1, 9, 10, 101, 105, 113, 127, 129, 239, 258, 276, 999)[value % 13]
        )


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(sorted(SCENARIOS)), min_size=1, max_size=2),
    st.booleans(),
    changes,
    st.sampled_from(range(len(WATCHES))),
    st.sampled_from(range(len(LIMITS))),
    st.integers(1, 40),
)
def test_damaged(
    names: list[str], in_order: bool, damage: list[Change], watch: int, limits: int, chunk: int
) -> None:
    taken = [one for name in names for one in SCENARIOS[name]()]
    if in_order:
        taken.sort(key=lambda one: one.time)
    for each in damage:
        change(taken, *each)
    agree(taken, WATCHES[watch], LIMITS[limits], chunk)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.binary(max_size=120)), max_size=8),
    st.sampled_from((1, 101, 105, 127, 258)),
)
def test_any_bytes(raws: list[tuple[int, bytes]], link: int) -> None:
    agree([Frame(time, link, raw, len(raw)) for time, raw in raws], Watch(all=True), SMALL)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not here")
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("watch", [Watch(all=True), NARROW], ids=["all", "narrow"])
def test_captures(part: int, watch: Watch) -> None:
    """Files: the native engine reads them itself, and stops where the portable one stops."""
    files = sorted(
        path for path in SHARED.rglob("*") if path.suffix in {".pcap", ".pcapng", ".cap", ".gz", ".zst"}
    )
    assert len(files) > 1_000
    for path in files[part::8]:
        assert read("native", path, watch) == read("portable", path, watch), path


def read(name: str, path: Path, watch: Watch) -> object:
    engine, said, broken = create(name, watch, Limits()), [], ""
    try:
        if name == "native":
            for batch in engine.read(path):  # type: ignore[attr-defined]
                said += batch
        else:
            for taken in frames(path):
                said += engine.feed(taken)
    except (Damaged, NotACapture) as error:
        broken = str(error)
    return told(said + engine.finish()), broken
