"""HTTP in clear of watched flows, passed on in order: docs/engine.md 4."""

from __future__ import annotations

from sensor.packets.facts import Clear, Fact, Limits
from sensor.packets.portable.assembly import Stream, Waiting
from sensor.packets.portable.flows import Flow, Side
from sensor.packets.portable.totals import Tally


class ClearText:
    def __init__(self, limits: Limits, tally: Tally, out: list[Fact]) -> None:
        self._limits, self._tally, self._out = limits, tally, out
        self.waiting = Waiting(limits.waiting)

    def begin(self, flow: Flow) -> None:
        """Passes on what the first flights hold; from here on streams keep nothing."""
        for side in (flow.client, flow.server):
            stream = side.stream
            if stream is not None:
                kept, stream.kept, stream.keep = bytes(stream.kept), bytearray(), False
                self._emit(flow, side, 0, kept)
                self.waiting.bytes += stream.weight
                self._give_up(flow, side, stream, self._limits.segments)

    def take(self, flow: Flow, side: Side, seq: int, payload: bytes) -> None:
        if side.stream is None:
            side.stream = Stream(0, self._limits.segments, side.origin if side.origin >= 0 else None)
            side.stream.keep = False
        stream = side.stream
        before = stream.weight
        self._emit(flow, side, 0, stream.push(seq, payload))
        self.waiting.bytes += stream.weight - before
        self._give_up(flow, side, stream, self._limits.segments)

    def finish(self, flow: Flow) -> None:
        """Whatever is ahead of gaps that nothing will close any more."""
        for side in (flow.client, flow.server):
            if side.stream is not None:
                self._give_up(flow, side, side.stream, 0)

    def _give_up(self, flow: Flow, side: Side, stream: Stream, most: int) -> None:
        """Gaps that more than `most` pieces wait behind, or any while too much waits."""
        while len(stream.held) > most or (stream.held and self.waiting.full):
            before = stream.weight
            self._emit(flow, side, *stream.skip())
            self.waiting.bytes += stream.weight - before

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
