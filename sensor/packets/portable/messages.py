"""Whole messages worth parsing: DNS over UDP and TCP, mDNS, DHCP. docs/engine.md 4."""

from __future__ import annotations

from sensor.packets.facts import Fact, Limits, Message
from sensor.packets.portable.dns_stream import DnsStream
from sensor.packets.portable.flight import Flights
from sensor.packets.portable.flows import Flow, Side, State, text
from sensor.packets.portable.headers import Around, Header
from sensor.packets.portable.names import Names
from sensor.packets.portable.totals import Tally
from sensor.packets.portable.watch import Watch
from sensor.wire.cursor import Malformed
from sensor.wire.dns import peek_question

_UDP = {53: "dns", 5353: "mdns", 67: "dhcp", 68: "dhcp"}  # the first that fits


def kind_of(tcp: bool, ports: tuple[int, int]) -> str:
    """What a flow on these ports carries; "" if nothing of that kind."""
    if tcp:
        return "dns" if 53 in ports else ""
    return next((kind for port, kind in _UDP.items() if port in ports), "")


class Messages:
    """Emits `Message`, and lets names be learnt from answers on the way."""

    def __init__(
        self,
        watch: Watch,
        names: Names,
        flights: Flights,
        limits: Limits,
        tally: Tally,
        out: list[Fact],
    ) -> None:
        self._watch, self._names, self._flights, self._limits, self._out = watch, names, flights, limits, out
        self._tally = tally
        self._waiting = flights.clear.waiting

    def take(
        self, flow: Flow, side: Side, time: int, header: Header, around: Around | None, seq: int
    ) -> None:
        tcp, _, _, _, data, start, end, size, _ = header
        payload = data[start:end]
        if tcp:
            whole = self._stream(side, seq, payload)
        elif len(payload) == size:
            whole = [payload]
        else:
            return
        for message in whole:
            if self._is_wanted(flow, side, time, message):
                self._emit(flow, side, time, around or Around(data[:12]), message)

    def _stream(self, side: Side, seq: int, payload: bytes) -> list[bytes]:
        """The messages that a segment made whole. While too much waits, a stream that waits ends."""
        if side.messages is None:
            side.messages = DnsStream(self._limits, side.origin)
        stream = side.messages
        before = stream.weight
        whole = stream.feed(seq, payload)
        self._waiting.bytes += stream.weight - before
        if self._waiting.full:
            self._tally.reorder_lost += self._end(stream)
        return whole

    def finish(self, flow: Flow) -> None:
        """Lets go of what its messages lack the rest of."""
        for side in (flow.client, flow.server):
            if side.messages is not None:
                self._end(side.messages)

    def _end(self, stream: DnsStream) -> int:
        self._waiting.bytes -= stream.weight
        return stream.end()

    def _emit(self, flow: Flow, side: Side, time: int, around: Around, message: bytes) -> None:
        other = side.other
        self._out.append(
            Message(
                flow.message,
                time,
                "tcp" if flow.tcp else "udp",
                text(side.address),
                side.port,
                text(other.address),
                other.port,
                around.macs[6:].hex(":"),
                around.vlan,
                message,
            )
        )

    def _is_wanted(self, flow: Flow, side: Side, time: int, message: bytes) -> bool:
        if flow.message == "dhcp":
            return True
        if flow.message == "mdns":
            return len(message) > 2 and message[2] & 0x80 > 0
        try:
            question = peek_question(message)
        except Malformed:
            question = None
        if question is None:
            return self._watch.all
        name, _, response = question
        if response and side.port == 53:
            return self._names.learn(side.other.address, name, message, time) or self._watch.all
        if not response and side is flow.server and flow.state is State.UNDECIDED:
            self._flights.swap(flow)
        return self._watch.all or self._watch.name(name)
