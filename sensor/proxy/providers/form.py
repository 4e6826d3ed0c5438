"""multipart/form-data (RFC 7578) as it passes, and put together again.

Parts are read incrementally, so that an upload is hashed without being held. Broken framing never raises:
what cannot be understood is counted as part of the part it is in.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

HEAD = 16_384  # bytes of a part's headers
PARTS = 1_000
_VALUE = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*+)"|([^;\s"]*+))')
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)


def parameter(header: str, name: str) -> str:
    """A parameter of a header's value (RFC 9110 5.6.6, else RFC 8187: `filename*=UTF-8''...`), "" when absent.

    Linear in the header's length.
    """
    return _parameter(header, name) or unquote(_parameter(header, rf"{name}\*").rpartition("'")[2])


def _parameter(header: str, name: str) -> str:
    start = re.search(rf";\s*+{name}\s*+=", header, re.IGNORECASE)
    value = _VALUE.match(header, start.end()) if start else None
    return (re.sub(r"\\(.)", r"\1", value[1] or "") or value[2] or "") if value else ""


def boundary(content_type: str) -> bytes:
    """The delimiter a content type states, b"" when none."""
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]).encode("utf-8", "replace") if found else b""


@dataclass(slots=True)
class Part:
    """One field or file. `data` is its beginning, as much as was asked for."""

    header: bytes = b""
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def get(self, name: str) -> str:
        """A header of the part."""
        for line in self.header.decode("utf-8", "replace").split("\r\n"):
            key, colon, value = line.partition(":")
            if colon and key.strip().lower() == name:
                return value.strip()
        return ""

    @property
    def name(self) -> str:
        return parameter(self.get("content-disposition"), "name")

    @property
    def filename(self) -> str:
        return parameter(self.get("content-disposition"), "filename")

    def add(self, data: bytes, keep: int) -> None:
        self.size += len(data)
        self.hash.update(data)
        self.data += data[: max(0, keep - len(self.data))]


class Form:
    """Reads a form. Holds `keep` bytes of every part, and `HEAD` or a delimiter's length besides."""

    def __init__(self, delimiter: bytes, keep: int) -> None:
        self.parts: list[Part] = []
        self.cut = False
        self.closed = False  # the last delimiter came
        self._delimiter = b"\r\n--" + delimiter
        self._keep = keep
        self._buffer = bytearray(b"\r\n")  # the first delimiter has no line before it
        self._part: Part | None = None
        self._header = False

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""
        self._buffer += data
        while not self.closed and (self._head() if self._header else self._body()):
            pass
        if self.closed:
            self._buffer.clear()

    def finish(self) -> list[Part]:
        """The parts; `cut` says whether something was missing."""
        if not self.closed:
            self.cut = True
            if self._part and not self._header:
                self._part.add(self._take(len(self._buffer)), self._keep)
        self._buffer.clear()
        self.closed = True
        return self.parts

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]  # cheap at the front
        return taken

    def _body(self) -> bool:
        at, length = self._buffer.find(self._delimiter), len(self._delimiter)
        if at < 0:  # a delimiter may have begun
            passed = self._take(max(0, len(self._buffer) - length + 1))
        elif len(self._buffer) < at + length + 2:
            return False
        else:
            passed = self._take(at)
        if self._part:
            self._part.add(passed, self._keep)
        return at >= 0 and self._next()

    def _next(self) -> bool:
        """The delimiter, and what it says of the following part."""
        self._take(len(self._delimiter))
        if self._buffer[:2] == b"--":
            self.closed = True
        elif len(self.parts) >= PARTS:
            self.cut = self.closed = True
        else:
            self._part, self._header = Part(), True
            self.parts.append(self._part)
        return not self.closed

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 and len(self._buffer) <= HEAD:
            return False
        self._header = False
        if end < 0 or end > HEAD:  # no header this long is read by anybody
            self.cut = True
            self._take(HEAD)
            return True
        self.parts[-1].header = self._take(end).lstrip(b"\r\n")
        # The line break before the delimiter of an empty part is the one that ended the headers.
        self._take(2 if self._buffer[4:].startswith(self._delimiter[2:]) else 4)
        return len(self._buffer) >= len(self._delimiter)


def write(parts: list[tuple[bytes, bytes]], delimiter: bytes) -> bytes:
    """A form of (headers, data)."""
    out = b"".join(b"--" + delimiter + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return out + b"--" + delimiter + b"--\r\n"
