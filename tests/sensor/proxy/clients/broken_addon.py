"""The addon when our own code fails, with mitmproxy's own flows. Run where mitmproxy is: python broken_addon.py CLOSED

Prints what became of a request, of a client's WebSocket message, and of a server's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

from mitmproxy.test import tflow

from sensor.knowledge.policy import Decision
from sensor.proxy.actions import Outcome
from sensor.proxy.addon import Inspection
from sensor.proxy.passing import MINE, Passing
from sensor.proxy.people import Client
from sensor.proxy.providers import Request, recognise
from sensor.proxy.rows import Findings, Match, Seen


class Broken:
    """Every look at content fails; the policy would have to know it."""

    def __init__(self, closed: bool) -> None:
        self.may_forbid = closed

    async def judge(self, *arguments: Any) -> Outcome:
        raise ZeroDivisionError("a secret of the prompt")

    def unread(self, seen: Seen) -> Outcome:
        seen.decision = Decision("block", "no-keys")
        return Outcome("block") if self.may_forbid else Outcome()


def passing() -> Passing:
    request = Request("POST", "https", "api.openai.com", 443, "/v1/realtime")
    match = Match("openai-api", "openai", "llm-api", "api", "")
    provider = recognise(request, "openai-api")
    assert provider
    return Passing(Seen("1", 1, Client("10.0.0.1"), match, "api.openai.com"), request, provider)


async def main(closed: bool) -> dict[str, Any]:
    parts: Any = SimpleNamespace(actions=Broken(closed), key=lambda: b"k", findings=Findings(), hold=1 << 20)
    addon = Inspection(parts, SimpleNamespace())  # type: ignore[arg-type]
    asked = tflow.tflow()
    asked.metadata[MINE] = passing()
    await addon.request(asked)
    found: dict[str, Any] = {"request": asked.response.status_code if asked.response else None}
    for who, from_client in (("client", True), ("server", False)):
        flow = tflow.twebsocketflow()
        mine = flow.metadata[MINE] = passing()
        message = flow.websocket.messages[-1]
        message.from_client = from_client
        if not from_client:
            mine.next_answer = None  # type: ignore[method-assign,assignment]
        await addon.websocket_message(flow)
        found[who] = {"dropped": message.dropped, "problems": mine.seen.problems}
    return {**found, "errors": addon.errors}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1] == "closed"))))
