"""The first packets of watched connections: what a look at one connection later on is made of.

Until it is known whether a flow is watched its first packets wait in memory, within bounds. Those of watched
flows go into `EvidenceRing`. `core/src/evidence.rs` does the waiting for the native engine.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensor.packets.facts import Fact, Frame, Opened
from sensor.packets.portable.decap import Decap
from sensor.packets.portable.flows import reverse
from sensor.packets.portable.headers import Packet
from sensor.packets.portable.watch import pack
from sensor.wire.community import community_id

UNDECIDED = 64 << 20  # bytes of packets whose flow is not decided; the oldest flow's go first
FLOWS = 262_144  # remembered, those that are not watched included
FILES = 8  # of a ring: an eighth of its packets goes at a time


@dataclass(frozen=True, slots=True)
class Kept:
    """A packet of a watched connection, and the packet's own ends."""

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
class _First:
    watched: Opened | None = None
    seen: int = 0
    waiting: list[Frame] = field(default_factory=list)


class Evidence:
    """`packets` of each watched flow. `frames` comes before the engine's `feed`, `facts` after it."""

    def __init__(self, packets: int, tunnels: int) -> None:
        self._packets, self._tunnels = packets, tunnels
        self._flows: dict[tuple[bool, bytes], _First] = {}
        self._bytes = 0
        self._out: list[Kept] = []

    def frames(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            found = Decap(self._tunnels).frame(frame.link, frame.data, frame.length)
            if isinstance(found, Packet):
                self._add(frame, (found.tcp, min(found.key, reverse(found.key))))

    def _add(self, frame: Frame, key: tuple[bool, bytes]) -> None:
        first = self._flows.get(key) or self._flows.setdefault(key, _First())
        if first.seen >= self._packets:
            return
        first.seen += 1
        if first.watched:
            self._out.append(_kept(first.watched, frame))
        else:
            self._bytes += len(frame.data)
            first.waiting.append(frame)
        while self._bytes > UNDECIDED or len(self._flows) > FLOWS:
            oldest = self._flows.pop(next(iter(self._flows)))
            self._bytes -= sum(len(one.data) for one in oldest.waiting)

    def facts(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            if not isinstance(fact, Opened):
                continue
            flow = fact.flow
            ports = struct.pack(">HH", flow.client_port, flow.server_port)
            key = pack(flow.client_ip) + pack(flow.server_ip) + ports
            first = self._flows.get((flow.transport == "tcp", min(key, reverse(key))))
            if first:
                first.watched = fact
                self._bytes -= sum(len(one.data) for one in first.waiting)
                self._out += [_kept(fact, frame) for frame in first.waiting]
                first.waiting = []

    def take(self) -> list[Kept]:
        """What was kept since the last call."""
        found, self._out = self._out, []
        return found


def _kept(opened: Opened, frame: Frame) -> Kept:
    flow = opened.flow
    return Kept(flow.transport, flow.client_ip, flow.client_port, flow.server_ip, flow.server_port, frame)


class EvidenceRing:
    """Packets in pcapng files of a folder, within `limit` bytes; a comment has the connection's Community ID.

    The folder is its owner's alone; files are `first-NNNNNNNN.pcapng`, the lowest number the oldest.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._size = folder, limit // FILES
        self._links: dict[int, int] = {}
        self._number = max((_number(path) for path in ring_files(folder)), default=0)
        self._file = -1
        self._written = 0

    def write(self, packets: Sequence[Kept]) -> None:
        """Append; the oldest file goes when there are too many."""
        for kept in packets:
            if self._file < 0 or self._written >= self._size:
                self._next()
            self._put(_packet(self._interface(kept.frame.link), kept))

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _next(self) -> None:
        self.close()
        self._number += 1
        path = self._folder / f"first-{self._number:08}.pcapng"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._links, self._written = {}, 0
        self._put(_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
        for old in ring_files(self._folder)[:-FILES]:
            old.unlink()

    def _interface(self, link: int) -> int:
        if link not in self._links:
            self._links[link] = len(self._links)
            nanoseconds = struct.pack("<HHBxxxHH", 9, 1, 9, 0, 0)  # if_tsresol
            self._put(_block(1, struct.pack("<HHI", link, 0, 0) + nanoseconds))
        return self._links[link]

    def _put(self, data: bytes) -> None:
        os.write(self._file, data)
        self._written += len(data)


def ring_files(folder: Path) -> list[Path]:
    """A ring's files, the oldest first."""
    return sorted(folder.glob("first-[0-9]*.pcapng"), key=_number)


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("first-")
    return int(digits) if digits.isdecimal() else 0


def _block(kind: int, body: bytes) -> bytes:
    """draft-ietf-opsawg-pcapng 3.1."""
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def _packet(interface: int, kept: Kept) -> bytes:
    """An enhanced packet block (4.3) with a comment (option 1)."""
    frame, comment = kept.frame, kept.community_id.encode()
    head = struct.pack(
        "<IIIII", interface, frame.time >> 32, frame.time & 0xFFFF_FFFF, len(frame.data), frame.length
    )
    options = struct.pack("<HH", 1, len(comment)) + _padded(comment) + bytes(4)
    return _block(6, head + _padded(frame.data) + options)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
