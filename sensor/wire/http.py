"""HTTP/1 heads and streams, read as a bystander: RFC 9112. Lenient where servers are."""

from __future__ import annotations

import re
from collections import deque

from sensor.frozen import dataclass
from sensor.wire.cursor import Malformed
from sensor.wire.names import clean_name, is_address

HEAD_MAX = 65_536  # common servers stop at 8 to 64 KiB

_method = re.compile(rb"[A-Z][A-Z_-]{0,23}(?: |$)").match
_request_line = re.compile(
    rb"([A-Z][A-Z_-]{0,23}) ([^\x00-\x20\x7f][^\x00-\x1f\x7f]*) HTTP/(1\.[0-9]) *\r?\n"
).match
_status_line = re.compile(rb"HTTP/(1\.[0-9]) ([1-9][0-9][0-9])(?: ([^\r\n]*))?\r?\n").match
_bad_target = re.compile(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]").search
_end = re.compile(rb"\r?\n\r?\n").search
_absolute = re.compile(r"(?:https?|wss?|ftp)://([^/?#]*)([^#]*)", re.IGNORECASE).match
_decimal = re.compile(r"[0-9]{1,18}").fullmatch
_chunk_size = re.compile(rb"[0-9A-Fa-f]{1,15}").fullmatch

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Head:
    version: str  # 1.0, 1.1
    headers: Headers  # in order; names lower case, values decoded as Latin-1
    size: int  # bytes of the head, its blank line included

    def get(self, name: str) -> str | None:
        """Value of the first header of that lower-case name."""
        for found, value in self.headers:
            if found == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class HttpRequest(_Head):
    method: str
    target: str  # as sent
    host: str  # by `clean_name`, or an address; the absolute form wins over Host (RFC 9112 3.2.2)
    port: int | None
    path: str  # without query; "" for CONNECT


@dataclass(frozen=True, slots=True)
class HttpResponse(_Head):
    status: int
    reason: str


def parse_request(data: bytes, final: bool = False) -> HttpRequest | None:
    """The request head at the start of `data`. `None`: need more bytes.

    `final`: nothing follows; a head whose request line is whole then counts as far as its lines are.
    """
    start = _blank(data)
    line = _request_line(data, start)
    if line is None:
        _check_request_start(data, start)
        return None
    end = _head_end(data, line.end() - 1, final)
    if end is None:
        return None
    headers = _headers(data[line.end() : end])
    method, target = line[1].decode("ascii"), line[2].decode("latin-1")
    authority, path = _split_target(method, target)
    if authority is None:
        authority = next((value for name, value in headers if name == "host"), "")
    host, port = split_authority(authority)
    return HttpRequest(line[3].decode("ascii"), headers, end, method, target, host, port, path)


def parse_response(data: bytes) -> HttpResponse | None:
    """The response head at the start of `data`. `None`: need more bytes."""
    line = _status_line(data)
    if line is None:
        if not data.startswith(b"HTTP/1."[: len(data)]) or b"\n" in data or len(data) > HEAD_MAX:
            raise Malformed("not an HTTP/1 status line")
        return None
    end = _head_end(data, line.end() - 1, False)
    if end is None:
        return None
    reason = (line[3] or b"").decode("latin-1")
    return HttpResponse(line[1].decode("ascii"), _headers(data[line.end() : end]), end, int(line[2]), reason)


def split_authority(authority: str) -> tuple[str, int | None]:
    """`host:port` of RFC 3986 3.2 as (clean name or address, port)."""
    rest = authority.rpartition("@")[2].strip()
    if rest.startswith("["):
        host, _, rest = rest[1:].partition("]")
        host = host.lower() if is_address(host) else clean_name(host)
    else:
        host, _, rest = rest.partition(":")
        host, rest = clean_name(host), ":" + rest
    port = rest[1:] if rest[:1] == ":" else ""
    return host, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def _blank(data: bytes) -> int:
    """Bytes of empty lines before a request (RFC 9112 2.2)."""
    start = 0
    while data[start : start + 1] in (b"\r", b"\n") and start < 4:
        start += 1
    return start


def _check_request_start(data: bytes, start: int) -> None:
    """Raises unless `data` can still become a request."""
    newline = data.find(b"\n", start)
    if newline >= 0 or len(data) > HEAD_MAX:
        raise Malformed("not an HTTP/1 request line")
    if start < len(data) and (not _method(data, start) or _bad_target(data, start)):
        raise Malformed("not an HTTP method and target")


def _head_end(data: bytes, pos: int, final: bool) -> int | None:
    """Index behind the blank line, looking from the first line's newline."""
    found = _end(data, pos - (data[pos - 1 : pos] == b"\r"))
    if found:
        return found.end()
    if final:
        return data.rfind(b"\n") + 1
    if len(data) > HEAD_MAX:
        raise Malformed("HTTP head without an end")
    return None


def _headers(lines: bytes) -> Headers:
    out: list[tuple[str, str]] = []
    for line in lines.decode("latin-1").split("\n"):
        if line[:1] in (" ", "\t") and out and line.strip():  # RFC 9112 5.2: obsolete folding
            out[-1] = (out[-1][0], f"{out[-1][1]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if colon:
            out.append((name.strip().lower(), value.strip()))
    return tuple(out)


def _split_target(method: str, target: str) -> tuple[str | None, str]:
    """Authority, if the target names one (RFC 9112 3.2), and path."""
    if method == "CONNECT":
        return target, ""
    if target[0] != "/":
        absolute = _absolute(target)
        if absolute:
            return absolute[1], absolute[2].partition("?")[0] or "/"
    return None, target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Head:
    up: bool
    head: HttpRequest | HttpResponse


@dataclass(frozen=True, slots=True)
class Body:
    """`size` bytes of body passed; `data` is what is kept of them. The transfer coding is removed."""

    up: bool
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class End:
    """A message is over. `size`: its whole body; `complete`: to its end, with no byte missing in between."""

    up: bool
    size: int
    complete: bool


HttpEvent = Head | Body | End


class _Half:
    """One direction: the state of its current message."""

    __slots__ = ("buffer", "kept", "left", "mode", "size", "whole")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.mode = "head"  # head, length, size, chunk, newline, trailer, close, lost
        self.left = 0  # of a body or chunk
        self.size = 0
        self.kept = 0
        self.whole = True


class HttpStream:
    """Splits both directions of a connection into messages, from bytes in order and with gaps between them.

    A gap inside a body is counted and the message goes on; anywhere else the direction is lost until bytes
    are fed that begin with a head. Held is only an unfinished head or line, `HEAD_MAX` a direction.
    """

    __slots__ = ("_halves", "_keep", "_methods")

    def __init__(self, keep: int = 1_048_576, pipelined: int = 256) -> None:
        """`keep` bytes of each body are passed on; the methods of `pipelined` open requests are known."""
        self._halves = (_Half(), _Half())
        self._methods: deque[str] = deque(maxlen=pipelined)
        self._keep = keep

    def feed(self, up: bool, data: bytes, gap: int = 0) -> list[HttpEvent]:
        """Takes the next bytes of a direction; `gap` bytes before them are missing."""
        half, events = self._halves[up], list[HttpEvent]()
        if gap:
            self._skip(half, up, gap, events)
        half.buffer += data
        if half.mode == "lost":
            half.mode = "head"
        while half.buffer and self._step(half, up, events):
            pass
        if half.mode == "lost":
            half.buffer.clear()
        return events

    def finish(self) -> list[HttpEvent]:
        """The connection is over: so are messages that last until then."""
        events: list[HttpEvent] = []
        for up in (True, False):
            half = self._halves[up]
            if half.mode not in ("head", "lost"):
                self._end(half, up, events, complete=half.mode == "close")
            half.mode = "lost"
        return events

    def _skip(self, half: _Half, up: bool, gap: int, events: list[HttpEvent]) -> None:
        inside = half.mode == "close" or (half.mode in ("length", "chunk") and gap <= half.left)
        if not inside:
            self._lose(half, up, events)
            return
        half.whole = False
        half.kept = self._keep  # what is kept is the body's beginning
        self._body(half, up, b"", gap, events)

    def _lose(self, half: _Half, up: bool, events: list[HttpEvent]) -> None:
        if half.mode not in ("head", "lost"):
            self._end(half, up, events, complete=False)
        half.buffer.clear()
        half.mode = "lost"
        if up:
            self._methods.clear()

    def _step(self, half: _Half, up: bool, events: list[HttpEvent]) -> bool:
        """Eats from the buffer; whether there may be more to eat."""
        if half.mode in ("length", "chunk", "close"):
            size = len(half.buffer) if half.mode == "close" else min(half.left, len(half.buffer))
            data = bytes(half.buffer[: min(size, self._keep - half.kept)])
            del half.buffer[:size]
            self._body(half, up, data, size, events)
            return True
        try:
            return self._head(half, up, events) if half.mode == "head" else self._line(half, up, events)
        except Malformed:
            self._lose(half, up, events)
            return False

    def _body(self, half: _Half, up: bool, data: bytes, size: int, events: list[HttpEvent]) -> None:
        half.size += size
        half.kept += len(data)
        events.append(Body(up, data, size))
        if half.mode == "close":
            return
        half.left -= size
        if not half.left:
            if half.mode == "chunk":
                half.mode = "newline"
            else:
                self._end(half, up, events, complete=True)

    def _end(self, half: _Half, up: bool, events: list[HttpEvent], complete: bool) -> None:
        events.append(End(up, half.size, complete and half.whole))
        half.mode, half.size, half.kept, half.whole = "head", 0, 0, True

    def _head(self, half: _Half, up: bool, events: list[HttpEvent]) -> bool:
        raw = bytes(half.buffer[:HEAD_MAX])
        head = parse_request(raw) if up else parse_response(raw)
        if head is None:
            if len(half.buffer) >= HEAD_MAX:
                raise Malformed("HTTP head without an end")
            return False
        del half.buffer[: head.size]
        framing, length = self._framing(head)
        events.append(Head(up, head))
        if framing == "tunnel":
            for other in self._halves:
                other.mode, other.left = "close", 0
        elif framing == "none":
            self._end(half, up, events, complete=True)
        else:
            half.mode, half.left = framing, length
        return True

    def _framing(self, head: HttpRequest | HttpResponse) -> tuple[str, int]:
        """How the body's end is found (RFC 9112 6.3): mode and length."""
        if isinstance(head, HttpRequest):
            self._methods.append(head.method)
        elif head.status // 100 == 1 and head.status != 101:
            return "none", 0
        else:
            method = self._methods.popleft() if self._methods else ""
            if head.status == 101 or (method == "CONNECT" and head.status // 100 == 2):
                return "tunnel", 0
            if method == "HEAD" or head.status in (204, 304):
                return "none", 0
        if "chunked" in (head.get("transfer-encoding") or "").lower():
            return "size", 0
        declared = {value.strip() for value in (head.get("content-length") or "").split(",")} - {""}
        if len(declared) > 1 or not all(_decimal(value) for value in declared):
            raise Malformed("Content-Length")
        length = int(declared.pop()) if declared else None
        if length is None and isinstance(head, HttpResponse):
            return "close", 0
        return ("length", length) if length else ("none", 0)

    def _line(self, half: _Half, up: bool, events: list[HttpEvent]) -> bool:
        """A line around a chunk: its size, the line end behind it, or a trailer (RFC 9112 7.1)."""
        newline = half.buffer.find(b"\n")
        if newline < 0:
            if len(half.buffer) > HEAD_MAX:
                raise Malformed("line without an end")
            return False
        line = bytes(half.buffer[:newline]).strip()
        del half.buffer[: newline + 1]
        if half.mode == "size":
            size = line.partition(b";")[0].strip()
            if not _chunk_size(size):
                raise Malformed("chunk size")
            half.left = int(size, 16)
            half.mode = "chunk" if half.left else "trailer"
        elif half.mode == "newline":
            if line:
                raise Malformed("chunk longer than its size")
            half.mode = "size"
        elif not line:
            self._end(half, up, events, complete=True)
        return True
