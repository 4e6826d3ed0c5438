"""Frames of zstd one after the other (RFC 8878 3.1), block by block: what precedes damage is not lost.

zstandard decodes blocks. It drops all of a call that fails, and its readers do not say that an end is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from sensor.frozen import dataclass

FRAME = 0xFD2FB528
SKIPPABLE = 0x184D2A50  # the first of sixteen magic numbers (RFC 8878 3.1.2)
WINDOW = 1 << 27  # `zstd` takes no more either unless it is told to
BLOCK = 128 << 10


def begins(data: bytes) -> bool:
    """Whether a file that begins so is zstd."""
    magic = int.from_bytes(data[:4], "little")
    return magic == FRAME or magic & ~15 == SKIPPABLE


def decompress(source: Iterator[bytes]) -> Iterator[bytes]:
    """What is in the frames, at most a block at a time. Raises EOFError and zstandard.ZstdError."""
    file = _Input(source)
    while not file.at_end():
        magic = file.number(4)
        if magic & ~15 == SKIPPABLE:
            for _ in file.take(file.number(4)):
                pass
        elif magic == FRAME:
            yield from _blocks(file)
        else:
            raise zstandard.ZstdError("what follows a zstd frame is none")


class _Input:
    def __init__(self, source: Iterator[bytes]) -> None:
        self._source, self._data, self._at = source, b"", 0

    def at_end(self) -> bool:
        if self._at == len(self._data):
            self._data, self._at = next(self._source, b""), 0
        return not self._data

    def take(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes in pieces."""
        while size:
            if self.at_end():
                raise EOFError("the compressed stream ends early")
            piece = self._data[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def bytes(self, size: int) -> bytes:
        return b"".join(self.take(size))

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes(size), "little")


@dataclass(frozen=True, slots=True)
class _Header:
    raw: bytes
    window: int
    checksum: bool


def _header(file: _Input) -> _Header:
    """3.1.1.1"""
    raw = file.bytes(1)
    descriptor = raw[0]
    single = descriptor & 0x20 > 0
    window = b"" if single else file.bytes(1)
    dictionary = file.bytes((0, 1, 2, 4)[descriptor & 3])
    content = file.bytes((int(single), 2, 4, 8)[descriptor >> 6])
    needs = int.from_bytes(content, "little") + (256 if len(content) == 2 else 0)
    if window:
        base = 1024 << (window[0] >> 3)
        needs = base + (base >> 3) * (window[0] & 7)
    if descriptor & 8:
        raise zstandard.ZstdError("a zstd frame of a form that is not known")
    if number := int.from_bytes(dictionary, "little"):
        raise zstandard.ZstdError(f"a zstd frame that needs dictionary {number}")
    if needs > WINDOW:
        raise zstandard.ZstdError(f"a zstd frame that needs a window of {needs} bytes, more than {WINDOW}")
    return _Header(raw + window + dictionary + content, needs, descriptor & 4 > 0)


def _blocks(file: _Input) -> Iterator[bytes]:
    """3.1.1.2"""
    header = _header(file)
    frame = zstandard.ZstdDecompressor().decompressobj()
    frame.decompress(FRAME.to_bytes(4, "little") + header.raw)
    last = 0
    while not last:
        head = file.bytes(3)
        bits = int.from_bytes(head, "little")
        last, kind, size = bits & 1, bits >> 1 & 3, bits >> 3
        if kind == 3 or size > min(BLOCK, header.window):
            raise zstandard.ZstdError("a zstd block cannot be decoded")
        body = file.bytes(1 if kind == 1 else size)
        try:
            yield frame.decompress(head + body)
        except zstandard.ZstdError as error:
            raise zstandard.ZstdError("a zstd block cannot be decoded") from error
    if header.checksum:
        checksum = file.bytes(4)
        try:
            frame.decompress(checksum)
        except zstandard.ZstdError as error:
            raise zstandard.ZstdError("a zstd frame's checksum is another") from error
