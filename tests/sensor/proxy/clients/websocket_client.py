"""A WebSocket client of its own library, through the proxy of the environment.

    python websocket_client.py URL < steps.json

A step is `{"send": TEXT, "pieces": N, "times": N, "bytes": N, "until": TEXT}`: send a text (in N fragments, N
times, or so many bytes of padding in it), then read until a message holds a text. Prints a list of the
messages read, and the close code at the end.

Not the library's client with threads: one reads and one writes, which Python's `ssl` takes now and then for an internal
error of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


async def step(client: ClientConnection, asked: dict[str, Any]) -> list[str]:
    text = asked.get("send", "").replace("PADDING", "x" * asked.get("bytes", 0))
    size = -(-len(text) // asked.get("pieces", 1)) or 1
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    for _ in range(asked.get("times", 1) if text else 0):
        await client.send(pieces if len(pieces) > 1 else text)
    found: list[str] = []
    while asked.get("until") and not any(asked["until"] in one for one in found):
        found.append(str(await asyncio.wait_for(client.recv(), 15)))
    return found


async def main() -> None:
    read: list[str] = []
    async with connect(sys.argv[1], max_size=None, compression="deflate", close_timeout=2) as client:
        begun = time.monotonic()
        try:
            for asked in json.load(sys.stdin):
                read += await step(client, asked)
        except ConnectionClosed:
            pass
        extensions = [type(one).__name__ for one in client.protocol.extensions]
        await client.close()
        seconds = time.monotonic() - begun
        closed = client.close_code
    print(json.dumps({"read": read, "closed": closed, "extensions": extensions, "seconds": seconds}))


if __name__ == "__main__":
    asyncio.run(main())
