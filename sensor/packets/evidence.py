"""The first packets of watched connections: what a look at one connection later on is made of.

Until it is known whether a flow is watched its first packets wait in memory, within bounds. Those of flows that
the catalogue is about go into a ring (`evidence_ring`). `core/src/evidence.rs` does the waiting for the native engine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sensor.packets.facts import Fact, Flow, Frame, Limits, Opened, Progress
from sensor.packets.portable.decap import Decap
from sensor.packets.portable.engine import ACK, SYN
from sensor.packets.portable.flows import Side, reverse, text
from sensor.packets.portable.headers import Packet
from sensor.packets.portable.watch import pack
from sensor.wire.community import community_id

UNDECIDED = 64 << 20  # bytes of packets whose flow is not decided; the oldest flow's go first
FLOWS = 262_144  # remembered, those that are not watched included


@dataclass(frozen=True, slots=True)
class Kept:
    """A packet of a watched connection, its sender first."""

    transport: str
    source_ip: str
    source_port: int
    target_ip: str
    target_port: int
    frame: Frame

    @property
    def community_id(self) -> str:
        return community_id(
            self.transport, self.source_ip, self.source_port, self.target_ip, self.target_port
        )


@dataclass(slots=True)
class _Use:
    """One connection between two ends, as far as it matters here."""

    start: int
    last: int
    again: bool  # there was another one between them
    id: int | None = None  # of the flow, if it is the catalogue's
    syn: tuple[bytes, int] | None = None
    spoke: bool = False
    over: bool = False
    seen: int = 0
    waiting: list[Kept] = field(default_factory=list)

    def ends(self, time: int, packet: Packet, idle: int) -> bool:
        """Whether the packet is of another connection (docs/engine.md 2)."""
        if self.over or time - self.last >= idle:
            return True
        begins = packet.flags & (SYN | ACK) == SYN
        return begins and (self.syn != (packet.key, packet.seq) if self.syn else self.spoke)

    def note(self, time: int, packet: Packet) -> None:
        self.last = time
        self.spoke |= packet.size > 0
        if self.syn is None and packet.flags & (SYN | ACK) == SYN:
            self.syn = packet.key, packet.seq


_Ends = tuple[bool, bytes]  # TCP, and the lower of a flow's two keys


class Evidence:
    """`packets` of each flow of the catalogue's. `frames` comes before the engine's `feed`, `facts` after it."""

    def __init__(self, packets: int, limits: Limits) -> None:
        self._packets, self._limits = packets, limits
        self._uses: dict[_Ends, _Use] = {}
        self._ended: dict[tuple[_Ends, int], _Use] = {}  # whose facts have not come yet, by their start
        self._bytes = 0
        self._out: list[Kept] = []

    def frames(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            found = Decap(self._limits.tunnels).frame(frame.link, frame.data, frame.length)
            if isinstance(found, Packet):
                self._add(frame, found, (found.tcp, min(found.key, reverse(found.key))))

    def _add(self, frame: Frame, packet: Packet, ends: _Ends) -> None:
        use = self._use(frame.time, packet, ends)
        use.note(frame.time, packet)
        if use.seen >= self._packets:
            return
        use.seen += 1
        if use.id is not None:
            self._out.append(_kept(packet, frame))
        else:
            self._bytes += len(frame.data)
            use.waiting.append(_kept(packet, frame))
        while self._bytes > UNDECIDED or len(self._uses) > FLOWS:
            table: dict[Any, _Use] = self._uses or self._ended
            self._taken(table.pop(next(iter(table))))

    def _use(self, time: int, packet: Packet, ends: _Ends) -> _Use:
        use, idle = self._uses.get(ends), self._limits.tcp_idle_ns if packet.tcp else self._limits.udp_idle_ns
        if use is None or use.ends(time, packet, idle):
            if use and use.waiting:
                self._ended[ends, use.start] = use
            use = self._uses[ends] = _Use(time, time, use is not None)
        return use

    def facts(self, facts: Iterable[Fact]) -> None:
        """Of all frames so far: what ended without them is not the catalogue's."""
        for fact in facts:
            if isinstance(fact, Opened) and fact.listed:
                self._out += self._opened(fact)
            elif isinstance(fact, Progress) and fact.closed:
                use = self._uses.get(_ends(fact.flow))
                if use and use.id == fact.flow.id:
                    use.over = True
        for use in self._ended.values():
            self._taken(use)
        self._ended.clear()

    def _opened(self, opened: Opened) -> list[Kept]:
        ends = _ends(opened.flow)
        if ended := self._ended.pop((ends, opened.time), None):
            return self._taken(ended)
        use = self._uses.get(ends)
        if use is None or (use.again and use.start > opened.time):
            return []
        use.id = opened.flow.id
        return self._taken(use)

    def _taken(self, use: _Use) -> list[Kept]:
        waiting, use.waiting = use.waiting, []
        self._bytes -= sum(len(one.frame.data) for one in waiting)
        return waiting

    def take(self) -> list[Kept]:
        """What was kept since the last call."""
        found, self._out = self._out, []
        return found


def _ends(flow: Flow) -> _Ends:
    ports = struct.pack(">HH", flow.client_port, flow.server_port)
    key = pack(flow.client_ip) + pack(flow.server_ip) + ports
    return flow.transport == "tcp", min(key, reverse(key))


def _kept(packet: Packet, frame: Frame) -> Kept:
    source, target = Side(packet.key), Side(reverse(packet.key))
    ends = text(source.address), source.port, text(target.address), target.port
    return Kept("tcp" if packet.tcp else "udp", *ends, frame)
