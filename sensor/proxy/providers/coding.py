"""Content codings (RFC 9110 8.4) taken off as bytes pass, a little at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

PIECE = 65_536
DECODED = 256 << 20  # of one body that is coded: no answer is this long, a bomb is


class _Decompressor(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


class Decoder:
    """Plain bytes of a body. What cannot be decoded ends it, and sets `cut`."""

    def __init__(self, encoding: str) -> None:
        self.cut = False
        self._left = DECODED
        names = [name.strip().lower() for name in encoding.split(",")]
        self._names = [name for name in names if name and name != "identity"]
        self._known = len(self._names) <= 1 and all(name in _CODINGS for name in self._names)
        self._coding = _CODINGS[self._names[0]]() if self._known and self._names else None
        self.cut = not self._known

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Portions of at most `PIECE` bytes where the coding allows it."""
        if not self._names:
            yield data
        elif self._coding and not self.cut:
            yield from self._decode(self._coding, data)

    def _decode(self, coding: _Gzip | _Zstd, data: bytes) -> Iterator[bytes]:
        try:
            for piece in coding.feed(data):
                plain, self._left = piece[: self._left], self._left - len(piece)
                yield plain
                if self._left < 0:
                    self.cut = True
                    return
        except (zlib.error, zstandard.ZstdError):
            self.cut = True


class _Gzip:
    wbits = 47  # 32 + 15: zlib's or gzip's header

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(self.wbits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._inner.eof:
            yield self._inner.decompress(data, PIECE)
            data = self._inner.unconsumed_tail


class _Zstd:
    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(
            max_window_size=8 << 20
        ).decompressobj()  # RFC 8878 3.1.1.1.2

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), 1_024):  # its output cannot be bounded, only its input
            if not self._inner.eof:
                yield self._inner.decompress(data[at : at + 1_024])


_CODINGS: dict[str, type[_Gzip | _Zstd]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Gzip, "zstd": _Zstd}
