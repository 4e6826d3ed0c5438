"""The first packets of watched connections: what a look at one connection later on is made of.

Until it is known whether a flow is watched its first packets wait in memory, within bounds. Those of flows that
the catalogue is about go into `EvidenceRing`. `core/src/evidence.rs` does the waiting for the native engine.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensor.packets.errors import Damaged
from sensor.packets.facts import Fact, Flow, Frame, Limits, Opened, Progress
from sensor.packets.portable.decap import Decap
from sensor.packets.portable.engine import ACK, SYN
from sensor.packets.portable.flows import Side, reverse, text
from sensor.packets.portable.headers import Packet
from sensor.packets.portable.watch import pack
from sensor.wire.community import community_id

UNDECIDED = 64 << 20  # bytes of packets whose flow is not decided; the oldest flow's go first
FLOWS = 262_144  # remembered, those that are not watched included
FILES = 8  # of a ring that is full: an eighth of its packets goes at a time
MOST = 1_000  # files, where many runs kept little
_AROUND = 160  # bytes around a packet, with what begins a file


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


class EvidenceRing:
    """Packets in pcapng files of a folder, within `limit` bytes; a comment has the connection's Community ID.

    The folder is its owner's alone; files are `first-NNNNNNNN.pcapng`, the lowest number the oldest.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._limit, self._size = folder, limit, limit // FILES
        self._links: dict[int, int] = {}
        self._path, self._file = folder, -1
        self._written = 0
        self.lost = 0  # packets that could not be written

    def write(self, packets: Sequence[Kept]) -> None:
        """Append; the oldest files go, of a full disk too. Raises OSError when it takes no more packets."""
        for at, kept in enumerate(packets):
            try:
                self._keep(kept)
            except OSError:
                self.lost += len(packets) - at
                raise

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if not self._written:
                self._path.unlink()

    def _keep(self, kept: Kept) -> None:
        while True:
            try:
                self._append(kept)
                return
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._drop_oldest():
                    raise

    def _append(self, kept: Kept) -> None:
        if self._written + len(kept.frame.data) + _AROUND > self._size:
            self.close()
        if self._file < 0:
            self._next()
        link, data = kept.frame.link, b"" if self._written else _SECTION
        if link not in self._links:
            data += _interface(link)
        self._put(data + _packet(self._links.get(link, len(self._links)), kept))
        self._links.setdefault(link, len(self._links))

    def _next(self) -> None:
        files = ring_files(self._folder)
        self._path = self._folder / f"first-{_number(files[-1]) + 1 if files else 1:08}.pcapng"
        size = sum(path.stat().st_size for path in files)
        for at, oldest in enumerate(files):
            if size <= self._limit - self._size and len(files) - at < MOST:
                break
            size -= oldest.stat().st_size
            oldest.unlink()
        self._links, self._written = {}, 0
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)

    def _put(self, data: bytes) -> None:
        """All of it or nothing: the file ends with a whole block."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            self._cut()
            raise
        self._written += len(data)

    def _cut(self) -> None:
        """Back to the last whole block. What cannot be cut is left, and another file begun."""
        try:
            os.ftruncate(self._file, self._written)
            whole = self._written > 0
        except OSError:
            whole = False
        if not whole:
            self.close()

    def _drop_oldest(self) -> bool:
        """False: there is no file but the one that is written."""
        files = [path for path in ring_files(self._folder) if path != self._path]
        for oldest in files[:1]:
            oldest.unlink()
        return bool(files)


def ring_files(folder: Path) -> list[Path]:
    """A ring's files, the oldest first."""
    return sorted(folder.glob("first-[0-9]*.pcapng"), key=_number)


def packets_of(file: Path, community_id: str) -> Iterator[bytes]:
    """Blocks of a ring's file: the packets of one connection, before them what describes them.

    Raises Damaged, after what comes before the damage.
    """
    data, at, wanted, about = file.read_bytes(), 0, _comment(community_id), bytearray()
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        block = data[at : at + size]
        if not 12 <= size <= len(data) - at or block[-4:] != block[4:8]:
            raise Damaged(str(file), at, "no whole block of packets")
        if block[0] != 6:
            about += block
        elif block.endswith(wanted, 0, -4):
            yield bytes(about + block)
            about.clear()
        at += size


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("first-")
    return int(digits) if digits.isdecimal() else 0


def _block(kind: int, body: bytes) -> bytes:
    """draft-ietf-opsawg-pcapng 3.1."""
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


_SECTION = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))  # 4.1


def _interface(link: int) -> bytes:
    """An interface description block (4.2), times in nanoseconds (if_tsresol)."""
    return _block(1, struct.pack("<HHIHHBxxxHH", link, 0, 0, 9, 1, 9, 0, 0))


def _packet(interface: int, kept: Kept) -> bytes:
    """An enhanced packet block (4.3)."""
    frame = kept.frame
    head = struct.pack(
        "<IIIII", interface, frame.time >> 32, frame.time & 0xFFFF_FFFF, len(frame.data), frame.length
    )
    return _block(6, head + _padded(frame.data) + _comment(kept.community_id))


def _comment(text: str) -> bytes:
    """Options: a comment (1), and no more (0)."""
    return struct.pack("<HH", 1, len(text)) + _padded(text.encode()) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
