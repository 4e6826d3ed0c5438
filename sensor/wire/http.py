"""HTTP/1 heads and streams, read as a bystander: RFC 9112. Lenient where servers are."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
