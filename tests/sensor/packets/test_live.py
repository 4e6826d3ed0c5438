"""What needs no interface; `tests/sensor/test_watch_cli.py` has a wire."""

from __future__ import annotations

import time
from collections import deque

import pytest

from sensor.packets import live
from sensor.packets.facts import Limits, Watch
from sensor.packets.live import Options, PortableLive, open_live
from tests.sensor.packets.conftest import installed


def test_the_portable_engine_has_one_worker() -> None:
    with pytest.raises(ValueError, match="one worker"):
        open_live("portable", ["lo"], Watch(), Limits(), Options(workers=2))


@pytest.mark.parametrize("engine", installed())
def test_no_such_interface(engine: str) -> None:
    with pytest.raises(OSError, match=r"No such device|not permitted") as error:
        open_live(engine, ["nosuch0"], Watch(), Limits(), Options())
    assert error.value.filename == "nosuch0"


@pytest.mark.skipif("native" not in installed(), reason="the native engine is not installed")
def test_a_filter_that_is_none() -> None:
    with pytest.raises(ValueError, match="filter: "):
        open_live("native", ["nosuch0"], Watch(), Limits(), Options(filter="port port"))


def test_a_packet_may_take_a_moment_into_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel took its time before that; one of another interface that is later waits for it."""
    sockets: list[list[tuple[bytes, int]]] = [[], []]
    monkeypatch.setattr(live, "_receive", lambda opened: opened.pop() if opened else None)
    portable = PortableLive.__new__(PortableLive)
    portable._sockets, portable._links, portable._ahead = sockets, [1, 1], [deque(), deque()]  # type: ignore[assignment]
    now = time.time_ns()
    clock = [now]
    monkeypatch.setattr(time, "time_ns", lambda: clock[0])
    sockets[1].append((b"answer", now))
    assert portable._frames() == []
    sockets[0].append((b"question", now - 1_000_000))
    clock[0] += 70_000_000
    assert [frame.data for frame in portable._frames()] == [b"question", b"answer"]
