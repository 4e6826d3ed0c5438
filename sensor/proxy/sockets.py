"""WebSockets within bounds: a message that is not whole, and what waits while one is looked at, may take so much
and no more; then the connection is closed (RFC 6455 7.4.1)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import wsproto.events
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import websocket
from wsproto.connection import ConnectionState
from wsproto.frame_protocol import CloseReason

HELD = 16 << 20  # bytes, each way: the longest message, and what waits
TOO_BIG = "larger than may be inspected"


class Several(bytes):
    """Messages to send instead of one, in their order."""

    parts: tuple[bytes, ...]

    def __new__(cls, parts: list[bytes]) -> Several:
        made = super().__new__(cls, b"".join(parts))
        made.parts = tuple(parts)
        return made


class Fragments(websocket.Fragmentizer):
    """How mitmproxy cuts what it sends."""

    def __call__(self, content: bytes) -> Iterator[wsproto.events.Message[Any]]:
        for part in content.parts if isinstance(content, Several) else (content,):
            yield from super().__call__(part)


class BoundedSocket(websocket.WebsocketLayer):
    """What mitmproxy makes for each WebSocket. An injected message goes out as it is, at once."""

    _waiting = 0  # bytes that came while a message was looked at
    _begun = (0, 0)  # bytes since the last whole message, of the server and of the client

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Forget what comes when too much waits: the connection is about to be closed."""
        if self._paused and isinstance(event, events.DataReceived):
            self._waiting += len(event.data)
            if self._waiting > 2 * HELD:
                return
        yield from super().handle_event(event)

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """One portion of data, a close, or a message of our own."""
        if isinstance(event, websocket.WebSocketMessageInjected):
            message = event.message
            to = self.server_ws if message.from_client else self.client_ws
            for part in Fragments([], message.is_text)(message.content):
                yield to.send2(part)
            return
        if isinstance(event, events.DataReceived):
            flooded, self._waiting = self._waiting > HELD, max(0, self._waiting - len(event.data))
            if flooded or self._grown(event) > HELD:
                yield from self._close()
                yield from self._ignore(event)
                return
        yield from super().relay_messages(event)

    def _grown(self, event: events.DataReceived) -> int:
        """Bytes of a message that is not whole, with these."""
        from_client = event.connection == self.context.client
        source = self.client_ws if from_client else self.server_ws
        begun = [*self._begun]
        begun[from_client] = len(event.data) + (0 if source.frame_buf == [b""] else begun[from_client])
        self._begun = (begun[0], begun[1])
        return begun[from_client]

    def _close(self) -> layer.CommandGenerator[None]:
        said = self.flow.websocket
        if said:
            said.timestamp_end, said.closed_by_client = time.time(), None
            said.close_code, said.close_reason = CloseReason.MESSAGE_TOO_BIG, TOO_BIG
        for ws in (self.server_ws, self.client_ws):
            if ws.state is ConnectionState.OPEN:
                yield ws.send2(wsproto.events.CloseConnection(CloseReason.MESSAGE_TOO_BIG, TOO_BIG))
        yield commands.CloseConnection(self.context.server)
        yield websocket.WebsocketEndHook(self.flow)
        self.flow.live = False
        self._begun = (0, 0)
        self._handle_event = self._ignore

    def _ignore(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read on for a while, or the client would never read why: who is reset while sending, reads no more."""
        if not isinstance(event, events.ConnectionEvent) or event.connection != self.context.client:
            return
        self.client_ws.receive_data(event.data if isinstance(event, events.DataReceived) else None)
        self._begun = (0, self._begun[1] + len(getattr(event, "data", b"")))
        for _ in self.client_ws.events():
            pass
        if self.client_ws.state is ConnectionState.CLOSED or self._begun[1] > 4 * HELD:
            yield commands.CloseConnection(self.context.client)
            self._handle_event = self.done


def bound() -> None:
    """Make mitmproxy use these."""
    websocket.WebsocketLayer = BoundedSocket  # type: ignore[misc]
    websocket.Fragmentizer = Fragments  # type: ignore[misc]
