"""A folder with the first packets of watched connections: pcapng files, the oldest of which go.

draft-ietf-opsawg-pcapng, its sections in brackets. `sensor.packets.evidence` says which packets these are.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from sensor.packets.errors import Damaged
from sensor.packets.evidence import Kept

FILES = 8  # of a ring that is full: an eighth of its packets goes at a time
MOST = 1_000  # files, where many runs kept little
_AROUND = 160  # bytes around a packet, with what begins a file


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
    """Any block (3.1)."""
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


_SECTION = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))  # a section (4.1)


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
