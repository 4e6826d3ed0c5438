"""multipart/form-data (RFC 7578) as it passes, and put together again.

Parts are read incrementally, so that an upload is hashed without being held. Broken framing never raises: what
cannot be understood is counted as part of the part it is in.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

HEAD = 16_384  # bytes of a part's headers
PARTS = 1_000
_PARAMETER = re.compile(r';\s*([\w*-]{1,40})\s*=\s*(?:"((?:[^"\\]|\\.){0,1024})"|([^;\s"]{0,1024}))')
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)


def parameter(header: str, name: str) -> str:
    """A parameter of a header's value (RFC 9110 5.6.6), "" when absent."""
    for key, quoted, plain in _PARAMETER.findall(header):
        if key.lower() == name:
            return re.sub(r"\\(.)", r"\1", quoted) or plain
    return ""


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
    """Reads a form. Keeps `keep` bytes of every part, `HEAD` of headers and one delimiter's length besides."""

    def __init__(self, delimiter: bytes, keep: int) -> None:
        self.parts: list[Part] = []
        self.cut = False
        self.closed = False  # the last delimiter came
        self._delimiter = b"\r\n--" + delimiter
        self._keep = keep
        self._buffer = b"\r\n"  # the first delimiter has no line before it
        self._part: Part | None = None
        self._header = False

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""
        self._buffer += data
        while not self.closed and (self._head() if self._header else self._body()):
            pass
        if self.closed:
            self._buffer = b""

    def finish(self) -> list[Part]:
        """The parts; `cut` says whether something was missing."""
        if not self.closed:
            self.cut = True
            if self._part and not self._header:
                self._part.add(self._buffer, self._keep)
        self._buffer, self.closed = b"", True
        return self.parts

    def _body(self) -> bool:
        at = self._buffer.find(self._delimiter)
        if at < 0:
            keep = len(self._delimiter) - 1
            passed, self._buffer = self._buffer[:-keep], self._buffer[-keep:]
            if self._part:
                self._part.add(passed, self._keep)
            return False
        after = at + len(self._delimiter)
        if len(self._buffer) < after + 2:
            return False
        if self._part:
            self._part.add(self._buffer[:at], self._keep)
        self.closed = self._buffer[after : after + 2] == b"--"
        self._part, self._header = Part(), True
        self._buffer = self._buffer[after:]
        if not self.closed:
            self._open()
        return True

    def _open(self) -> None:
        if len(self.parts) >= PARTS:
            self.cut = True
        elif self._part:
            self.parts.append(self._part)

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 and len(self._buffer) <= HEAD:
            return False
        assert self._part
        if end < 0 or end > HEAD:  # no header this long is read by anybody
            self.cut, end, self._header = True, HEAD, False
            self._buffer = self._buffer[HEAD:]
            return True
        self._part.header = self._buffer[:end].lstrip(b"\r\n")
        self._buffer, self._header = self._buffer[end + 4 :], False
        # An empty part: its delimiter's line break is the one that ended the headers.
        self._buffer = (
            self._buffer if not self._buffer.startswith(self._delimiter[2:]) else b"\r\n" + self._buffer
        )
        return True


def write(parts: list[tuple[bytes, bytes]], delimiter: bytes) -> bytes:
    """A form of (headers, data)."""
    out = b"".join(b"--" + delimiter + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return out + b"--" + delimiter + b"--\r\n"
