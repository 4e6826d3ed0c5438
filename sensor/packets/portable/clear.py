"""HTTP in clear of watched flows, passed on in order: docs/engine.md 4."""

from __future__ import annotations

from sensor.packets.facts import Clear, Fact, Limits
from sensor.packets.portable.assembly import Stream
from sensor.packets.portable.flows import Flow, Side
from sensor.packets.portable.totals import Tally


class ClearText:
    def __init__(self, limits: Limits, tally: Tally, out: list[Fact]) -> None:
        self._limits, self._tally, self._out = limits, tally, out

    def begin(self, flow: Flow) -> None:
        """Passes on what the first flights hold; from here on streams keep nothing."""
        for side in (flow.client, flow.server):
            stream = side.stream
            if stream is not None:
                kept, stream.kept, stream.keep = bytes(stream.kept), bytearray(), False
                self._emit(flow, side, 0, kept)

    def take(self, flow: Flow, side: Side, seq: int, payload: bytes) -> None:
        if side.stream is None:
            side.stream = Stream(0, self._limits.segments, side.origin if side.origin >= 0 else None)
            side.stream.keep = False
        stream = side.stream
        self._emit(flow, side, 0, stream.push(seq, payload))
        while len(stream.held) > self._limits.segments:
            self._emit(flow, side, *stream.skip())

    def finish(self, flow: Flow) -> None:
        """Whatever is ahead of gaps that nothing will close any more."""
        for side in (flow.client, flow.server):
            while side.stream is not None and side.stream.held:
                self._emit(flow, side, *side.stream.skip())

    def _emit(self, flow: Flow, side: Side, gap: int, data: bytes) -> None:
        if not data:
            return
        room = self._limits.clear_bytes - side.clear
        if len(data) > room and not flow.capped:
            flow.capped = True
            self._tally.clear_capped += 1
        side.clear += len(data)
        if room > 0:
            self._out.append(Clear(flow.describe(), side is flow.client, flow.last, gap, data[:room]))
