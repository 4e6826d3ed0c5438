"""Capture files to frames: pcap and pcapng, plain, gzip or zstd, from a path or from standard input.

The formats are draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. dpkt knows their headers and is used for
those; its readers allocate what a record claims and know one clock and one link type per file, so records are
read here. A file is hostile input: no length is believed before the bytes are there.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import dpkt

from sensor.frozen import dataclass
from sensor.packets.compressed import BROKEN, CHUNK, chunks
from sensor.packets.errors import Damaged, NotACapture
from sensor.packets.facts import Frame

__all__ = ["Capture", "Damaged", "NotACapture", "frames"]

MAX_RECORD = 256 << 20  # no link layer has frames near this size; larger claims are damage
MAX_INTERFACES = 65_536  # per pcapng section
MAX_TIME = 1 << 62  # in the year 2116; leaves room for what an engine adds in 64 bits
NS = 1_000_000_000


class _Bad(Exception):  # noqa: N818
    """Where in the current buffer reading must stop, and why."""

    def __init__(self, at: int, reason: str) -> None:
        self.at, self.reason = at, reason


class _Format(Protocol):
    """A record parser. `parse` appends the whole records of `data` to `out`. It returns how many bytes it
    used, and how many from there on the next record needs."""

    def parse(self, data: bytes, out: list[Frame]) -> tuple[int, int]: ...


class Pcap:
    """Both byte orders, microseconds and nanoseconds, and Kuznetzov's variant with a longer record header."""

    HEADER = 24

    def __init__(self, head: bytes) -> None:
        order, kind = _PCAP_MAGIC[head[:4]]
        header = (dpkt.pcap.LEFileHdr if order == "<" else dpkt.pcap.FileHdr)(head)
        self.link = header.linktype & 0x03FF_FFFF  # the upper bits tell the length of a frame check sequence
        self.unit = 1 if kind == dpkt.pcap.TCPDUMP_MAGIC_NANO else 1000
        self.record = struct.Struct(order + ("IIII8x" if kind == dpkt.pcap.MODPCAP_MAGIC else "IIII"))

    def parse(self, data: bytes, out: list[Frame]) -> tuple[int, int]:
        unpack, size, link, unit = self.record.unpack_from, self.record.size, self.link, self.unit
        at, end, append = 0, len(data), out.append
        while end - at >= size:
            seconds, fraction, captured, length = unpack(data, at)
            if captured > MAX_RECORD:
                raise _Bad(at, f"a record claims {captured} bytes")
            start = at + size
            if start + captured > end:
                return at, size + captured
            at = start + captured
            append(
                Frame(
                    seconds * NS + fraction * unit,
                    link,
                    data[start:at],
                    length if length > captured else captured,
                )
            )
        return at, size


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int
    snap: int
    multiply: int  # time stamp * multiply // divide + offset = ns
    divide: int
    offset: int

    def time(self, high: int, low: int) -> int:
        ns = (high << 32 | low) * self.multiply // self.divide + self.offset
        return min(max(ns, 0), MAX_TIME)


class Pcapng:
    """Any number of sections, each with its byte order and its interfaces with their links and clocks."""

    HEADER = 12

    def __init__(self) -> None:
        self.order = "<"
        self.interfaces: list[_Interface] = []
        self.last = 0  # a simple packet block has no time of its own

    def parse(self, data: bytes, out: list[Frame]) -> tuple[int, int]:
        at, end = 0, len(data)
        while end - at >= self.HEADER:
            if data[at : at + 4] == _SECTION:
                self._section(data, at)
            kind, size = struct.unpack_from(self.order + "II", data, at)
            if size < 12 or size % 4 or size > MAX_RECORD:
                raise _Bad(at, f"a block of type {kind} claims {size} bytes")
            if at + size > end:
                return at, size
            if struct.unpack_from(self.order + "I", data, at + size - 4)[0] != size:
                raise _Bad(at, "the two lengths of a block differ")
            try:
                self._block(kind, data[at : at + size], out)
            except (struct.error, dpkt.Error, IndexError) as error:
                raise _Bad(at, f"a block of type {kind} cannot be read: {error}") from error
            at += size
        return at, self.HEADER

    def _section(self, data: bytes, at: int) -> None:
        orders = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
        order = orders.get(data[at + 8 : at + 12])
        if order is None:
            raise _Bad(at, "a section header without its byte-order magic")
        self.order = order

    def _block(self, kind: int, block: bytes, out: list[Frame]) -> None:
        if kind == dpkt.pcapng.PCAPNG_BT_EPB:
            number, high, low, captured, length = struct.unpack_from(self.order + "IIIII", block, 8)
            self._packet(number, (high, low), block[28:-4], captured, length, out)
        elif kind == dpkt.pcapng.PCAPNG_BT_PB:
            number, high, low, captured, length = struct.unpack_from(self.order + "HxxIIII", block, 8)
            self._packet(number, (high, low), block[28:-4], captured, length, out)
        elif kind == dpkt.pcapng.PCAPNG_BT_SPB:
            (length,) = struct.unpack_from(self.order + "I", block, 8)
            snap = self.interfaces[0].snap or length if self.interfaces else length
            self._packet(0, None, block[12:-4], min(length, snap, len(block) - 16), length, out)
        elif kind == dpkt.pcapng.PCAPNG_BT_IDB:
            if len(self.interfaces) >= MAX_INTERFACES:
                raise IndexError("too many interfaces")
            self.interfaces.append(_interface(self.order, block))
        elif kind == dpkt.pcapng.PCAPNG_BT_SHB:
            self.interfaces = []

    def _packet(
        self,
        number: int,
        stamp: tuple[int, int] | None,
        data: bytes,
        captured: int,
        length: int,
        out: list[Frame],
    ) -> None:
        if number >= len(self.interfaces):
            raise IndexError(f"interface {number} was not described")
        if captured > len(data):
            raise IndexError(f"a packet of {captured} bytes in a block that holds {len(data)}")
        interface = self.interfaces[number]
        if stamp is not None:
            self.last = interface.time(*stamp)
        out.append(Frame(self.last, interface.link, data[:captured], max(length, captured)))


def _interface(order: str, block: bytes) -> _Interface:
    """An interface description block: link type, snap length, options if_tsresol (9) and if_tsoffset (14)."""
    if len(block) < 20:
        raise IndexError(f"{len(block)} bytes")
    link, snap = struct.unpack_from(order + "HxxI", block, 8)
    multiply, divide, offset = 1000, 1, 0
    for code, data in _options(order, block[16:-4]):
        if code == dpkt.pcapng.PCAPNG_OPT_IF_TSRESOL and data:
            exponent = data[0] & 0x7F
            multiply, divide = NS, (1 << exponent if data[0] & 0x80 else 10**exponent)
        elif code == 14 and len(data) >= 8:
            offset = struct.unpack_from(order + "q", data)[0] * NS
    return _Interface(link, snap, multiply, divide, offset)


def _options(order: str, rest: bytes) -> Iterator[tuple[int, bytes]]:
    """(code, data) of a block's options. dpkt's reader refuses a comment that is no UTF-8."""
    code = -1
    while rest and code != dpkt.pcapng.PCAPNG_OPT_ENDOFOPT:
        code, size = struct.unpack_from(order + "HH", rest)
        yield code, rest[4 : 4 + size]
        rest = rest[4 + size + -size % 4 :]


_PCAP_MAGIC = {
    struct.pack(order + "I", kind): (order, kind)
    for order in "<>"
    for kind in (
        dpkt.pcap.TCPDUMP_MAGIC,
        dpkt.pcap.TCPDUMP_MAGIC_NANO,
        dpkt.pcap.MODPCAP_MAGIC,
    )
}
_SECTION = b"\x0a\x0d\x0d\x0a"


class Capture:
    """An open capture. Iterating yields batches of frames, then ends or raises `Damaged` after the last good.

    `source` is a path, or "-" for standard input. Raises `NotACapture`, and OSError when it cannot be opened.
    """

    def __init__(self, source: str | Path) -> None:
        self.name = str(source)
        self.size = 0 if self.name == "-" else Path(source).stat().st_size  # on disk; 0 when not known
        self._file = sys.stdin.buffer if self.name == "-" else Path(source).open("rb", CHUNK)  # noqa: SIM115 (see close)
        self._base = 0  # offset in the decompressed file of the first byte of `_data`
        self._data = b""
        self._broken = ""  # why there is no more of it
        try:
            self._chunks = chunks(self._file)
            self._format = self._sniff()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self.name != "-":
            self._file.close()

    @property
    def position(self) -> int:
        """Bytes of the file on disk consumed so far, for a progress bar; 0 for standard input."""
        return self._file.tell() if self.size and not self._file.closed else 0

    def __iter__(self) -> Iterator[list[Frame]]:
        """Batches of frames, each from about a MiB of the file."""
        need, more = 0, True
        while more:
            more = self._fill(need)
            broken = f"decompression failed: {self._broken}" if self._broken else ""
            batch: list[Frame] = []
            try:
                used, need = self._format.parse(self._data, batch)
            except _Bad as bad:
                used, more, broken = bad.at, False, bad.reason
            if batch:
                yield batch
            self._base, self._data = self._base + used, self._data[used:]
        if self._data and not broken:
            broken = f"the file ends inside a record of at least {need} bytes"
        if broken:
            raise Damaged(self.name, self._base, broken)

    def _fill(self, need: int) -> bool:
        """Reads on until there is a chunk more and `need` bytes altogether. False at the end: see `_broken`."""
        pieces, held, more = [self._data], len(self._data), False
        try:
            for chunk in self._chunks:
                pieces.append(chunk)
                held += len(chunk)
                if more := held >= need:
                    break
        except BROKEN as error:
            more, self._broken = False, str(error)
        self._data = b"".join(pieces)
        return more

    def _sniff(self) -> _Format:
        self._fill(Pcap.HEADER)
        if self._broken and not self._data:
            raise NotACapture(f"{self.name}: cannot be decompressed: {self._broken}")
        head = self._data[: Pcap.HEADER]
        if head[:4] == _SECTION:
            return Pcapng()
        if head[:4] not in _PCAP_MAGIC or len(head) < Pcap.HEADER:
            raise NotACapture(
                f"{self.name}: neither pcap nor pcapng (it begins with {head[:4].hex() or 'nothing'})"
            )
        self._base, self._data = Pcap.HEADER, self._data[Pcap.HEADER :]
        return Pcap(head)


def frames(source: str | Path) -> Iterator[list[Frame]]:
    """The frames of a capture in batches. Raises as `Capture` does."""
    with Capture(source) as capture:
        yield from capture
