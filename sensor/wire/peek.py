"""What a client's first bytes say about where it goes: docs/engine.md 3, from bytes and not from ports."""

from __future__ import annotations

from dataclasses import replace

from sensor.frozen import dataclass
from sensor.wire.cursor import Malformed
from sensor.wire.http import HttpRequest, parse_request
from sensor.wire.names import clean_name, is_address
from sensor.wire.socks import parse_socks
from sensor.wire.tls import ClientHello, client_hello
from sensor.wire.upgrade import hello_offset

__all__ = ["Peek", "clean_name", "peek"]

LAYERS = 4  # proxies within proxies that are looked through


@dataclass(frozen=True, slots=True)
class Peek:
    protocol: str  # tls, http, other
    name: str = ""  # never an address
    name_source: str = "none"  # sni, http_host, connect, socks, none
    ech: bool = False  # the hello carries an ECH extension; whether it hides something is not to be seen here
    tls_offset: int = 0  # where the hello begins, behind CONNECT, SOCKS or STARTTLS
    hello: ClientHello | None = None
    request: HttpRequest | None = None  # the innermost one


_OTHER = Peek("other")


def peek(client: bytes, final: bool = False) -> Peek | None:
    """Reads the start of a client's TCP stream. `None`: need more bytes.

    `final`: no more will come, so the answer is what these bytes say. A hello that is cut off is then `tls`
    without a name, an HTTP head counts as far as its lines are whole.
    """
    return _peek(client, 0, final)


def _peek(client: bytes, offset: int, final: bool, depth: int = LAYERS) -> Peek | None:
    if not client:
        return _OTHER if final else None
    first = client[0]
    try:
        if first == 0x16:
            return _tls(client, offset, final)
        if first in (4, 5) and depth:
            return _socks(client, offset, final, depth)
        if 0x41 <= first <= 0x5A or first in b"\r\n":
            return _http(client, offset, final, depth)
    except Malformed:
        pass
    return _upgrade(client, offset, final)


def _tls(client: bytes, offset: int, final: bool) -> Peek | None:
    hello = client_hello(client)
    if hello is None:
        return Peek("tls" if client[5:6] == b"\1" else "other", tls_offset=offset) if final else None
    name = hello.sni
    if name and not is_address(name):
        return Peek("tls", name, "sni", hello.ech, offset, hello)
    return Peek("tls", "", "none", hello.ech, offset, hello)


def _http(client: bytes, offset: int, final: bool, depth: int) -> Peek | None:
    request = parse_request(client, final)
    if request is None:
        return _OTHER if final else None
    if request.method == "CONNECT" and depth:
        inside = _peek(client[request.size :], offset + request.size, final, depth - 1)
        if inside and inside.request is None:
            inside = replace(inside, request=request)
        return _through(inside, request.host, "connect")
    if request.host and not is_address(request.host):
        return Peek("http", request.host, "http_host", tls_offset=offset, request=request)
    return Peek("http", tls_offset=offset, request=request)


def _socks(client: bytes, offset: int, final: bool, depth: int) -> Peek | None:
    request = parse_socks(client)
    if request is None:
        return _OTHER if final else None
    inside = _peek(client[request.length :], offset + request.length, final, depth - 1)
    return _through(inside, request.host, "socks")


def _upgrade(client: bytes, offset: int, final: bool) -> Peek | None:
    try:
        start = hello_offset(client)
        if start is not None:
            return _tls(client[start:], offset + start, final)
    except Malformed:
        return _OTHER
    return _OTHER if final else None


def _through(inside: Peek | None, host: str, source: str) -> Peek | None:
    """What is inside a tunnel; the tunnel's target names it unless a hello inside does."""
    if inside is None or inside.name_source == "sni" or not host or is_address(host):
        return inside
    return replace(inside, name=host, name_source=source)
