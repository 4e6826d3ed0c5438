"""Content-Encoding both ways: lz4 frames, zstd, gzip, deflate, br; in steps, with a bound on every step."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import brotli  # type: ignore[import-untyped]
import lz4.frame  # type: ignore[import-untyped]

from collector.errors import Refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STEP = 1 << 20  # a decoder gives at most this much at a time, whatever a bomb promises
_WINDOW_LOG = 23  # RFC 9659: a zstd window of more than 8 MB is not for HTTP


class Encoder(Protocol):
    """Takes bytes, gives bytes; `finish` gives the rest."""

    def encode(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._encoder = zlib.compressobj(1, zlib.DEFLATED, wbits)

    def encode(self, data: bytes) -> bytes:
        return self._encoder.compress(data)

    def finish(self) -> bytes:
        return self._encoder.flush()


class _Zstd:
    def __init__(self) -> None:
        self._encoder = zstd.ZstdCompressor(level=1)

    def encode(self, data: bytes) -> bytes:
        return self._encoder.compress(data)

    def finish(self) -> bytes:
        return self._encoder.flush()


class _Brotli:
    def __init__(self) -> None:
        self._encoder = brotli.Compressor(quality=3)

    def encode(self, data: bytes) -> bytes:
        return bytes(self._encoder.process(data))

    def finish(self) -> bytes:
        return bytes(self._encoder.finish())


class _Lz4:
    def __init__(self) -> None:
        self._encoder = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def encode(self, data: bytes) -> bytes:
        head = b"" if self._begun else bytes(self._encoder.begin())
        self._begun = True
        return head + bytes(self._encoder.compress(data))

    def finish(self) -> bytes:
        head = b"" if self._begun else bytes(self._encoder.begin())
        return head + bytes(self._encoder.flush())


ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _Lz4,
    "zstd": _Zstd,
    "gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "br": _Brotli,
}


def choose(accepted: str) -> str:
    """The first of the client's codings that we have, in the order of its weights (RFC 9110, 12.5.3)."""
    weighted = []
    for item in accepted.split(",")[:16]:
        name, _, rest = item.strip().partition(";")
        _, _, weight = rest.partition("q=")
        try:
            weighted.append((float(weight) if weight else 1.0, name.strip().lower()))
        except ValueError:
            continue
    ranked = sorted(weighted, key=lambda pair: -pair[0])
    return next((name for weight, name in ranked if weight > 0 and name in ENCODERS), "")


class Decoder:
    """A request's body, decoded as it comes. One coding may be several frames one after the other."""

    def __init__(self, coding: str) -> None:
        coding = coding.strip().lower()
        if coding not in _DECODERS:
            raise Refused("UNKNOWN_COMPRESSION_METHOD", f"Content-Encoding {coding[:20]!r} is not supported")
        self._make = _DECODERS[coding]
        self._frame: Any = self._make()
        self._coding = coding
        self._fed = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What these bytes give, in pieces of at most about STEP."""
        self._fed = self._fed or bool(data)
        while data:
            if self._frame.eof:
                self._frame = self._make()
            try:
                yield from self._frame.pieces(data)
            except (zlib.error, zstd.ZstdError, brotli.error, RuntimeError, EOFError, MemoryError) as error:
                raise Refused("CANNOT_DECOMPRESS", f"the body is not {self._coding}: {error}") from None
            data = self._frame.rest

    def finish(self) -> None:
        """Refused when the body ended inside a frame."""
        if self._fed and not self._frame.eof:
            raise Refused("CANNOT_READ_ALL_DATA", f"the {self._coding} body ends too early")


class _Identity:
    eof = True
    rest = b""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Framed:
    """Decompressors with the interface of `bz2`: max_length, needs_input, eof, unused_data."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.rest = b""

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        self.rest = b""
        yield self._frame.decompress(data, STEP)
        while not self._frame.eof and not self._frame.needs_input:
            yield self._frame.decompress(b"", STEP)
        if self._frame.eof:
            self.rest = self._frame.unused_data or b""


class _Deflated:
    def __init__(self, wbits: int) -> None:
        self._frame = zlib.decompressobj(wbits)
        self.rest = b""

    @property
    def eof(self) -> bool:
        return self._frame.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        more = True
        while more and not self._frame.eof:
            piece = self._frame.decompress(data, STEP)
            data = self._frame.unconsumed_tail
            more = bool(data) or len(piece) == STEP
            yield piece
        self.rest = self._frame.unused_data


class _Unbrotli:
    def __init__(self) -> None:
        self._frame = brotli.Decompressor()
        self.rest = b""

    @property
    def eof(self) -> bool:
        return bool(self._frame.is_finished())

    def pieces(self, data: bytes) -> Iterator[bytes]:
        yield self._frame.process(data, output_buffer_limit=STEP)
        while not self._frame.can_accept_more_data():
            yield self._frame.process(b"", output_buffer_limit=STEP)


_DECODERS: dict[str, Callable[[], Any]] = {
    "": _Identity,
    "identity": _Identity,
    "lz4": lambda: _Framed(lz4.frame.LZ4FrameDecompressor()),
    "zstd": lambda: _Framed(
        zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
    ),
    "gzip": lambda: _Deflated(31),
    "deflate": lambda: _Deflated(15),
    "br": _Unbrotli,
}
