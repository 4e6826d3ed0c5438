"""The one way to read bytes from the wire: a cursor that cannot leave its bounds.

`end` is where the structure ends by its own declaration and may lie beyond the bytes at hand. Reading past it
is `Malformed`: no further byte can repair it. Reading past the bytes at hand is `Truncated`, which a parser
of a stream turns into `None` ("need more") and which anyone else may take as `Malformed`.
"""

from __future__ import annotations

from struct import Struct
from typing import NoReturn

_U32 = Struct(">I").unpack_from
_PAIR = Struct(">HH").unpack_from


class Malformed(ValueError):  # noqa: N818 (the word of docs/architecture.md)
    """The bytes are not what the parser reads."""


class Truncated(Malformed):
    """The bytes at hand end before the structure does."""


class Cursor:
    """Reads `data[pos:end]`. Integers are big-endian."""

    __slots__ = ("data", "end", "have", "pos")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None) -> None:
        have = len(data)
        self.data = data
        self.pos = pos
        if end is None:
            end = have
        self.end = end
        self.have = have if have < end else end

    @property
    def left(self) -> int:
        """Declared bytes not read yet, at hand or not."""
        return self.end - self.pos

    @property
    def whole(self) -> bool:
        """Every declared byte is at hand."""
        return self.have == self.end

    def _short(self, size: int) -> NoReturn:
        if self.pos + size > self.end:
            raise Malformed(f"{size} bytes wanted at {self.pos}, structure ends at {self.end}")
        raise Truncated(f"{size} bytes wanted at {self.pos}, {self.have} at hand")

    def u8(self) -> int:
        pos = self.pos
        if pos >= self.have:
            self._short(1)
        self.pos = pos + 1
        return self.data[pos]

    def u16(self) -> int:
        pos, data = self.pos, self.data
        if pos + 2 > self.have:
            self._short(2)
        self.pos = pos + 2
        return data[pos] << 8 | data[pos + 1]

    def u24(self) -> int:
        return self.u8() << 16 | self.u16()

    def u32(self) -> int:
        pos = self.pos
        if pos + 4 > self.have:
            self._short(4)
        self.pos = pos + 4
        value: int = _U32(self.data, pos)[0]
        return value

    def varint(self) -> int:
        """Variable-length integer, RFC 9000 16."""
        first = self.u8()
        value = first & 0x3F
        for byte in self.take((1 << (first >> 6)) - 1):
            value = value << 8 | byte
        return value

    def take(self, size: int) -> bytes:
        pos = self.pos
        end = pos + size
        if end > self.have:
            self._short(size)
        self.pos = end
        return self.data[pos:end]

    def vec8(self) -> bytes:
        """Bytes behind an 8-bit length."""
        pos = self.pos
        if pos >= self.have:
            self._short(1)
        self.pos = pos + 1
        return self.take(self.data[pos])

    def vec16(self) -> bytes:
        """Bytes behind a 16-bit length."""
        return self.take(self.u16())

    def pairs(self, size: int) -> tuple[tuple[int, bytes], ...]:
        """`size` bytes of (16-bit type, bytes behind a 16-bit length): TLS extensions, SVCB parameters."""
        data, pos = self.data, self.pos
        end = pos + size
        if end > self.have:  # not walked until it is whole: bytes may come one by one
            self._short(size)
        out = []
        while pos < end:
            start = pos + 4
            kind, length = _PAIR(data, pos) if start <= end else (0, 0)
            after = start + length
            if after > end:
                raise Malformed(f"pair at {pos} ends at {after} of {end}")
            out.append((kind, data[start:after]))
            pos = after
        self.pos = end
        return tuple(out)
