"""A capture's bytes, decompressed when it begins like gzip or zstd. What precedes damage is not lost."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from sensor.packets import zstd

CHUNK = 1 << 20
BROKEN = (EOFError, zlib.error, zstandard.ZstdError)
PIECE = 1 << 16  # decompressed at a time


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes in pieces of bounded size. Ends with one of `BROKEN` where it is damaged."""
    first = file.read(CHUNK)
    source = itertools.chain((first,) if first else (), iter(lambda: file.read(CHUNK), b""))
    if first[:2] == b"\x1f\x8b":
        return _gunzip(source)
    return zstd.decompress(source) if zstd.begins(first) else source


def _gunzip(source: Iterator[bytes]) -> Iterator[bytes]:
    """Any number of gzip members, one after the other (RFC 1952 2.2); what follows the last is padding."""
    data = next(source)
    while data.startswith(b"\x1f\x8b"):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            before = member.copy()
            try:
                piece = member.decompress(data, PIECE)
            except zlib.error as error:
                yield _as_far_as(before, data)
                raise error
            if piece:
                yield piece
            data = member.unconsumed_tail or member.unused_data
            if not data and not (data := next(source, b"")) and not member.eof:
                raise EOFError("the compressed stream ends early")
        if len(data) == 1:
            data += next(source, b"")


def _as_far_as(member: zlib._Decompress, data: bytes) -> bytes:
    """What comes of damaged data: zlib drops all of a call that fails."""
    out = bytearray()
    try:
        for byte in data:
            out += member.decompress(bytes((byte,)))
    except zlib.error:
        pass
    return bytes(out)
