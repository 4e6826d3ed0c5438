"""The flow table: two sides per flow, timers, the least recently seen flow. docs/engine.md 2."""

from __future__ import annotations

import heapq
import socket
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache

from sensor.packets import facts
from sensor.packets.facts import Limits
from sensor.packets.portable.assembly import Stream
from sensor.packets.portable.dns_stream import DnsStream
from sensor.packets.portable.headers import Around
from sensor.wire.quic import ClientCrypto

NEVER = 1 << 63


class State(IntEnum):
    UNDECIDED = 0  # what it is and whether it is watched is not known yet
    OPENING = 1  # watched; the server's first bytes are waited for
    OPEN = 2  # reported
    QUIET = 3  # not watched: only counted
    GONE = 4


class Side:
    """One direction of a flow: who sends, what it sent in this slice, and how far its bytes were read."""

    __slots__ = (
        "app",
        "bytes",
        "clear",
        "datagram",
        "fin",
        "flow",
        "key",
        "left",
        "messages",
        "next",
        "origin",
        "other",
        "packets",
        "partial",
        "probe",
        "spoke",
        "stream",
        "taken",
    )

    flow: Flow
    other: Side

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.bytes = self.packets = self.app = 0
        self.spoke = False  # sent payload
        self.fin = False
        self.origin = -1  # sequence number of its first byte; -1: no SYN was seen
        self.stream: Stream | None = None
        self.clear = 0  # bytes passed on in clear
        self.messages: DnsStream | None = None
        self.probe: ClientCrypto | None = None
        self.datagram = b""  # the first one with payload (UDP)
        # TLS records: sequence number expected (-1: not known), bytes left of one, whether those count.
        self.next = -1
        self.left = 0
        self.taken = False
        self.partial = b""  # of a record header

    @property
    def address(self) -> bytes:
        return self.key[: (len(self.key) - 4) // 2]

    @property
    def port(self) -> int:
        return self.key[-4] << 8 | self.key[-3]


class Burst:
    """`facts.Burst` while it grows."""

    __slots__ = ("bytes", "end", "records", "side", "start")

    def __init__(self, side: Side, time: int, size: int) -> None:
        self.side = side
        self.start = self.end = time
        self.bytes = size
        self.records = 0


class Flow:
    __slots__ = (
        "around",
        "bucket",
        "burst",
        "bursts",
        "capped",
        "cell",
        "clear",
        "client",
        "closed",
        "closed_due",
        "counted",
        "ech",
        "epoch",
        "fact",
        "flipped",
        "held",
        "hello",
        "id",
        "idle",
        "last",
        "learnt",
        "listed",
        "message",
        "name",
        "peeks",
        "protocol",
        "quic",
        "seen",
        "server",
        "slice_due",
        "slice_start",
        "source",
        "start",
        "state",
        "syn",
        "tcp",
        "tls13",
        "up_counted",
        "up_seen",
    )

    def __init__(self, number: int, tcp: bool, client: Side, server: Side, time: int, around: Around) -> None:
        self.id = number
        self.tcp = tcp
        self.client, self.server = client, server
        self.around = around
        self.flipped = False  # the first frame came from the server
        self.start = self.last = self.slice_start = time
        self.seen = 0  # number of the last frame
        self.slice_due = 0
        self.idle = 0
        self.bucket = -1
        self.state = State.UNDECIDED
        self.cell = [0]  # of its visibility class in the tally
        self.counted = 0  # bytes counted as unnamed that move when the flow is decided
        self.epoch = 0
        self.syn: tuple[Side, int] | None = None
        self.closed = ""
        self.closed_due = NEVER
        self.message = ""  # kind of message on its port
        self.learnt = ""
        self.held = False
        self.protocol = "other"
        self.name = ""
        self.source = "none"
        self.ech = "none"
        self.listed = True  # not only because everything is wanted
        self.quic = 0
        self.hello = b""  # the ClientHello out of QUIC, until the flow is opened
        self.capped = False  # reached `clear_bytes`
        self.clear = False  # HTTP whose bytes are passed on
        self.peeks = 0  # requests still looked at on a connection that is not watched
        self.tls13 = self.up_seen = self.up_counted = False
        self.bursts: list[Burst] = []
        self.burst: Burst | None = None  # the last of them, or one beyond the limit
        self.fact: facts.Flow | None = None

    def swap(self) -> None:
        self.client, self.server = self.server, self.client
        self.flipped = not self.flipped

    def restart(self) -> None:
        """Counters of a new slice."""
        for side in (self.client, self.server):
            side.bytes = side.packets = side.app = 0
        self.bursts, self.burst = [], None

    @property
    def due(self) -> int:
        """When time alone changes something: at the latest then a sweep must look."""
        idle = min(self.last + self.idle, self.closed_due)
        waiting = self.state != State.QUIET and self.slice_due >= 0
        return min(idle, self.slice_due) if waiting else idle

    def describe(self) -> facts.Flow:
        """The flow as facts name it. Called when nothing about it changes any more."""
        if self.fact is None:
            macs, client, server = self.around.macs, self.client, self.server
            mac = macs[:6] if self.flipped else macs[6:]
            self.fact = facts.Flow(
                self.id,
                "tcp" if self.tcp else "udp",
                text(client.address),
                client.port,
                text(server.address),
                server.port,
                mac.hex(":"),
                self.around.vlan,
                self.around.tunnel,
            )
        return self.fact


@lru_cache(65_536)  # a network's addresses repeat
def text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def reverse(key: bytes) -> bytes:
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]


class Table:
    """Flows by key and direction. Each is in the timer wheel once for a slice, whatever it does in between."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.tcp: dict[bytes, Side] = {}
        self.udp: dict[bytes, Side] = {}
        self._size = 0
        self._wheel: dict[int, list[Flow]] = {}
        self._heap: list[tuple[int, int, Flow]] | None = None  # only once the table was full

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Flow]:
        """In the order of their ids."""
        flows = {side.flow.id: side.flow for sides in (self.tcp, self.udp) for side in sides.values()}
        return iter([flows[number] for number in sorted(flows)])

    @property
    def full(self) -> bool:
        return len(self) >= self._limits.flows

    def add(self, flow: Flow, sender: Side) -> None:
        """`sender` of the first frame: where both ends are one (a land attack), it sends all of them."""
        sides = self.tcp if flow.tcp else self.udp
        for side in (sender.other, sender):
            sides[side.key] = side
        self._size += 1
        if self._heap is not None:
            heapq.heappush(self._heap, (flow.seen, flow.id, flow))
        self.wait(flow, flow.due)

    def remove(self, flow: Flow) -> None:
        sides = self.tcp if flow.tcp else self.udp
        for side in (flow.client, flow.server):
            sides.pop(side.key, None)
        self._size -= 1
        flow.state = State.GONE
        for side in (flow.client, flow.server):  # no cycle is left: memory comes back at once
            del side.flow, side.other

    def least_recent(self) -> Flow:
        if self._heap is None:
            self._heap = [(flow.seen, flow.id, flow) for flow in self]
            heapq.heapify(self._heap)
        while True:
            seen, _, flow = heapq.heappop(self._heap)
            if flow.state == State.GONE:
                continue
            if flow.seen == seen:
                return flow
            heapq.heappush(self._heap, (flow.seen, flow.id, flow))

    def wait(self, flow: Flow, due: int) -> None:
        """Looks at the flow again at the first sweep after `due` at the latest."""
        bucket = due // self._limits.sweep_ns
        if bucket != flow.bucket:
            flow.bucket = bucket
            self._wheel.setdefault(bucket, []).append(flow)

    def due(self, time: int) -> Iterator[Flow]:
        """Flows whose time may have come; each is to be given back to `wait` or removed."""
        now = time // self._limits.sweep_ns
        for bucket in sorted(bucket for bucket in self._wheel if bucket <= now):
            for flow in self._wheel.pop(bucket):
                if flow.bucket == bucket and flow.state != State.GONE:
                    flow.bucket = -1
                    yield flow
