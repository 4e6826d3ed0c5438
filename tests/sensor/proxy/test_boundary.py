"""The boundary around our hooks: counted, logged, and silent about content."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sensor.proxy.boundary import Boundary, guarded

SECRET = "sk-" + "s" * 40


class Addon(Boundary):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    @guarded
    def request(self, flow: Any) -> None:
        self.seen.append(flow)
        raise ValueError(SECRET)

    @guarded
    async def response(self, flow: Any) -> None:
        await asyncio.sleep(0)
        raise KeyError(SECRET)

    @guarded
    def fine(self, flow: Any) -> None:
        self.seen.append(flow)


def test_what_goes_wrong_ends_here_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    addon = Addon()
    addon.request("flow")
    asyncio.run(addon.response("flow"))
    addon.fine("other")
    assert addon.errors == 2
    assert addon.seen == ["flow", "other"]
    assert [record.message.partition(" at ")[0] for record in caplog.records] == [
        "request failed: ValueError",
        "response failed: KeyError",
    ]
    assert all("test_boundary.py:" in record.message for record in caplog.records)
    assert SECRET not in caplog.text


def test_an_end_of_the_process_is_not_held_up() -> None:
    class Ending(Boundary):
        @guarded
        def request(self, flow: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Ending().request("flow")


def test_a_hook_keeps_its_name() -> None:
    assert Addon.request.__name__ == "request"  # mitmproxy finds hooks by it
    assert asyncio.iscoroutinefunction(Addon.response)
