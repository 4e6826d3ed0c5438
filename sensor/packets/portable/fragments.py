"""Reassembly of IP fragments (RFC 791 3.2, RFC 8200 4.5). First-come bytes win over hostile overlap."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from sensor.packets.facts import Limits
from sensor.packets.portable.headers import Fragment
from sensor.packets.portable.totals import Tally

MAX = 65_535
PIECES = 256  # held of a datagram: the largest comes in 119 over links of 576 bytes (RFC 791 3.1)

Key = tuple[bytes, int, int]


@dataclass(slots=True)
class Pending:
    """A datagram whose fragments are coming."""

    start: int  # time of its first fragment
    epoch: int
    frames: int = 0
    counted: int = 0  # wire bytes in class unnamed, of the running Totals interval
    protocol: int = -1  # known from the first fragment
    size: int = -1  # known from the last one
    have: int = 0  # bytes of the pieces
    pieces: list[tuple[int, int, bytes]] = field(
        default_factory=list
    )  # (start, end, captured), disjoint, sorted

    def add(self, start: int, end: int, data: bytes) -> None:
        """Takes the parts of [start, end) that no earlier piece has."""
        at = bisect_left(self.pieces, (start, 0, b""))
        if at and self.pieces[at - 1][1] > start:
            at -= 1
        fresh = []
        position = start
        while position < end:
            known = self.pieces[at] if at < len(self.pieces) else (end, end, b"")
            if position < known[0]:
                stop = min(known[0], end)
                fresh.append((position, stop, data[position - start : stop - start]))
            position = max(position, known[1])
            at += 1
        for piece in fresh:
            self.pieces.insert(bisect_left(self.pieces, piece), piece)
            self.have += piece[1] - piece[0]

    def cut(self) -> None:
        """Drops what lies beyond the datagram's end."""
        kept = [(start, min(end, self.size), data) for start, end, data in self.pieces if start < self.size]
        self.pieces = [(start, end, data[: end - start]) for start, end, data in kept]
        self.have = sum(end - start for start, end, _ in self.pieces)

    def payload(self) -> bytes:
        """The datagram, as far as it was captured without a hole."""
        out = []
        for start, end, data in self.pieces:
            out.append(data)
            if len(data) < end - start:
                break
        return b"".join(out)


class Fragments:
    def __init__(self, limits: Limits, tally: Tally) -> None:
        self._limits, self._tally = limits, tally
        self._table: dict[Key, Pending] = {}  # in the order of their first fragments

    def add(self, fragment: Fragment, time: int, length: int) -> Pending | None:
        """Takes a fragment; its datagram once whole. The frame's `length` bytes are in class unnamed."""
        pending = self._table.get(fragment.key)
        if pending is not None and time - pending.start >= self._limits.fragment_ns:
            self._lose(fragment.key)
            pending = None
        if pending is None:
            pending = self._begin(fragment.key, time)
        if pending.epoch != self._tally.epoch:
            pending.epoch, pending.counted = self._tally.epoch, 0
        pending.frames += 1
        pending.counted += length
        if fragment.offset == 0 and pending.protocol < 0:
            pending.protocol = fragment.protocol
        end = fragment.offset + fragment.size
        if pending.size < 0 and not fragment.more:
            pending.size = end
            pending.cut()
        if pending.size >= 0:
            end = min(end, pending.size)
        if fragment.offset < end:
            pending.add(fragment.offset, end, fragment.data)
        if len(pending.pieces) > PIECES:
            self._lose(fragment.key)
            return None
        if pending.have != pending.size or pending.protocol < 0:
            return None
        return self._table.pop(fragment.key)

    def _begin(self, key: Key, time: int) -> Pending:
        if len(self._table) >= self._limits.fragments:
            self._lose(next(iter(self._table)))
        self._table[key] = pending = Pending(time, self._tally.epoch)
        return pending

    def _lose(self, key: Key) -> None:
        self._tally.fragments_lost += self._table.pop(key).frames

    def sweep(self, time: int) -> None:
        for key, pending in list(self._table.items()):
            if time - pending.start >= self._limits.fragment_ns:
                self._lose(key)

    def finish(self) -> None:
        for key in list(self._table):
            self._lose(key)
