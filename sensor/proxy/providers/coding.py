"""Content codings (RFC 9110 8.4) taken off as bytes pass, a little at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import zstandard

PIECE = 65_536
MEMBERS = 1_000
DECODED = 256 << 20  # of one body that is coded: no answer is this long, a bomb is


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

    @property
    def whole(self) -> bool:
        """Whether nothing is missing: the coding has come to its end."""
        return not self.cut and (self._coding is None or self._coding.ended)

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


class _Members:
    """A body may have several members, one after the other (RFC 1952 2.2, RFC 8878 3.1); servers read them all."""

    def __init__(self) -> None:
        self._inner, self._left = self._new(), MEMBERS

    @property
    def ended(self) -> bool:
        """Whether the last member is whole."""
        return bool(self._inner.eof)

    def _new(self) -> Any:
        raise NotImplementedError

    def _next(self) -> None:
        if self._inner.eof:
            self._left -= 1
            if not self._left:
                raise zlib.error("too many members")
            self._inner = self._new()


class _Gzip(_Members):
    def _new(self) -> Any:
        return zlib.decompressobj(47)  # 32 + 15: zlib's or gzip's header

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            self._next()
            yield self._inner.decompress(data, PIECE)
            data = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail


class _Zstd(_Members):
    def _new(self) -> Any:
        return zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()  # RFC 8878 3.1.1.1.2

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), 1_024):  # its output cannot be bounded, only its input
            piece = data[at : at + 1_024]
            while piece:
                self._next()
                yield self._inner.decompress(piece)
                piece = self._inner.unused_data if self._inner.eof else b""


_CODINGS: dict[str, type[_Gzip | _Zstd]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Gzip, "zstd": _Zstd}
