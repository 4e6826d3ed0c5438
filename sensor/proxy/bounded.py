"""Requests within bounds, where mitmproxy has none: what is held of one, and QUIC."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import http as layers
from mitmproxy.proxy.layers.http._events import RequestData

from sensor.proxy.passing import MINE, Passing


class BoundedStream(layers.HttpStream):
    """A request without a stated length is held up to the limit only: then it goes on as a stream, or is
    refused and what still comes is forgotten."""

    def check_body_size(self, request: bool) -> Generator[commands.Command, Any, bool]:
        """Called for headers and for every portion that is held."""
        held = len(self.request_body_buf) if request else 0
        mine = self.flow.metadata.get(MINE) if held else None
        if held and self.flow.response:
            self.request_body_buf.clear()
        elif isinstance(mine, Passing) and held > mine.hold:
            data = bytes(self.request_body_buf)
            self.request_body_buf.clear()
            if mine.too_large():
                yield from self.start_request_stream()
                yield from self.handle_event(RequestData(self.stream_id, data))
        return False


class Dropping(layer.Layer):
    """Closes what comes: QUIC, so that clients fall back to TCP."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)
