"""How answers are cut into messages: SSE, JSON lines, AWS event streams, WebSocket messages, one document.

A framing takes bytes in any portions and gives whole frames, which keep the bytes they were made of. A frame
longer than `FRAME` has no data and passes in pieces; bytes that are no frame at all likewise. Nothing raises.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

FRAME = 16 << 20  # bytes; pictures in base64 are a few MB each
LINES = 10_000  # of one event
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")  # WHATWG HTML 9.2.5, end of an event
_LINE = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Frame:
    """`data` is the payload, None for bytes that only pass; `name` the event's type, if it has one."""

    raw: bytes
    data: bytes | None = None
    name: str = ""

    def encode(self, data: bytes) -> bytes:
        """The frame with another payload, which holds no line break."""
        return data


class SseFrame(Frame):
    def encode(self, data: bytes) -> bytes:
        lines = [line for line in _LINE.split(self.raw) if line and line.partition(b":")[0] != b"data"]
        return b"\n".join([*lines, b"data: " + data]) + b"\n\n"


class LineFrame(Frame):
    def encode(self, data: bytes) -> bytes:
        return data + (b"\n" if self.raw.endswith(b"\n") else b"")


class AwsFrame(Frame):
    """Amazon event stream encoding: length, headers' length, CRC of both, headers, payload, CRC of all."""

    def encode(self, data: bytes) -> bytes:
        (size,) = struct.unpack_from(">I", self.raw, 4)
        prelude = struct.pack(">II", 16 + size + len(data), size)
        out = prelude + struct.pack(">I", zlib.crc32(prelude)) + self.raw[12 : 12 + size] + data
        return out + struct.pack(">I", zlib.crc32(out))


class Framing:
    """The base: one document that ends with the body."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._passing = False  # in a frame that is too long

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        self._buffer += data
        return list(self._frames(False))

    def finish(self) -> list[Frame]:
        """The last frame, which may lack its end."""
        frames = list(self._frames(True))
        if self._buffer:
            frames.append(self._take(len(self._buffer)))
        return frames

    def _frames(self, final: bool) -> Iterator[Frame]:
        while (end := self._end(final)) is not None:
            yield self._take(end)
        if len(self._buffer) > FRAME or (self._passing and len(self._buffer) > 4):
            self._passing = True
            yield self._pass(len(self._buffer) - 3)  # an end may have begun

    def _take(self, end: int) -> Frame:
        if self._passing or end > FRAME:
            self._passing = False
            return self._pass(end)
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        return self.frame(raw)

    def _pass(self, size: int) -> Frame:
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Frame(raw)

    def _end(self, final: bool) -> int | None:
        return None

    def frame(self, raw: bytes) -> Frame:
        """The frame of its bytes."""
        return Frame(raw, raw)


class Messages(Framing):
    """WebSocket: what comes in one `feed` is one message."""

    def feed(self, data: bytes) -> list[Frame]:
        return [Frame(data) if len(data) > FRAME else Frame(data, data)]


class Pieces(Framing):
    """What is no text: nothing waits, nothing is held."""

    def feed(self, data: bytes) -> list[Frame]:
        return [Frame(data)]


class _Scanned(Framing):
    """Frames that end with a mark; bytes already looked at are not looked at again."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0

    def _pass(self, size: int) -> Frame:
        self._seen = 0
        return super()._pass(size)

    def _take(self, end: int) -> Frame:
        self._seen = 0
        return super()._take(end)


class Lines(_Scanned):
    """JSON lines."""

    def _end(self, final: bool) -> int | None:
        at = self._buffer.find(b"\n", self._seen)
        self._seen = len(self._buffer)
        return None if at < 0 else at + 1

    def frame(self, raw: bytes) -> Frame:
        return LineFrame(raw, raw.strip() or None)


class Events(_Scanned):
    """Server-sent events (WHATWG HTML 9.2)."""

    def _end(self, final: bool) -> int | None:
        found = _BLANK.search(self._buffer, self._seen)
        self._seen = max(0, len(self._buffer) - 3)
        if found is None or (
            not final and self._buffer[found.end() - 1] == 13 and found.end() == len(self._buffer)
        ):
            return None  # a carriage return may be half a line's end
        return found.end()

    def frame(self, raw: bytes) -> Frame:
        if raw.count(b"\n") + raw.count(b"\r") > LINES:
            return Frame(raw)
        data, name = [], ""
        for line in _LINE.split(raw):
            key, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if key == b"data":
                data.append(value)
            elif key == b"event":
                name = value[:100].decode("utf-8", "replace")
        return SseFrame(raw, b"\n".join(data) if data else None, name)


class AwsEvents(Framing):
    """application/vnd.amazon.eventstream."""

    _lost = False

    def _end(self, final: bool) -> int | None:
        if self._lost or len(self._buffer) < 12:
            return None
        total, headers, crc = struct.unpack_from(">III", self._buffer)
        if zlib.crc32(self._buffer[:8]) != crc or total < 16 + headers or total > FRAME:
            self._lost = self._passing = True  # there is no way to find the next one
            return None
        return total if len(self._buffer) >= total else None

    def _take(self, end: int) -> Frame:
        whole = not self._lost and len(self._buffer) >= 16
        return super()._take(end) if whole else self._pass(end)

    def frame(self, raw: bytes) -> Frame:
        total, size, _ = struct.unpack_from(">III", raw)
        if total != len(raw):
            return Frame(raw)
        headers = dict(_aws_headers(raw[12 : 12 + size]))
        name = (
            headers.get(":exception-type") or headers.get(":event-type") or headers.get(":error-code") or ""
        )
        return AwsFrame(raw, raw[12 + size : -4], name)


def _aws_headers(data: bytes) -> Iterator[tuple[str, str]]:
    """Text headers (value type 7); the stream's other types do not occur in what we read."""
    at = 0
    while at + 4 < len(data):
        name_end = at + 1 + data[at]
        if data[name_end : name_end + 1] != b"\x07" or name_end + 3 > len(data):
            return
        (size,) = struct.unpack_from(">H", data, name_end + 1)
        value = data[name_end + 3 : name_end + 3 + size]
        yield data[at + 1 : name_end].decode("utf-8", "replace"), value.decode("utf-8", "replace")
        at = name_end + 3 + size


def framing(status: int, content_type: str) -> Framing:
    """By the media type."""
    kind = content_type.partition(";")[0].strip().lower()
    if status == 101:
        return Messages()
    if kind == "text/event-stream":
        return Events()
    if kind == "application/vnd.amazon.eventstream":
        return AwsEvents()
    if "ndjson" in kind or "jsonl" in kind or kind == "application/stream+json":
        return Lines()
    return Framing() if not kind or "json" in kind or kind.startswith("text/") else Pieces()


STREAMS = (Events, Lines, AwsEvents, Messages)
