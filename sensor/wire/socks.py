"""SOCKS 4, 4a and 5 from the client's bytes alone: the protocol memos, RFC 1928, RFC 1929."""

from __future__ import annotations

import socket

from sensor.frozen import dataclass
from sensor.wire.cursor import Cursor, Malformed, Truncated
from sensor.wire.names import clean_name

TEXT_MAX = 255  # longest user id and host name of SOCKS 4a; RFC 1928 has 8-bit lengths anyway
COMMANDS = frozenset((1, 2, 3, 0xF0, 0xF1))  # CONNECT, BIND, UDP ASSOCIATE; Tor's RESOLVE and RESOLVE_PTR
_PASSWORD = 2  # method of RFC 1929


@dataclass(frozen=True, slots=True)
class SocksRequest:
    version: int
    command: int
    host: str  # by `clean_name`, or an address as `inet_ntop` writes it
    port: int
    user: str  # SOCKS 4 user id or RFC 1929 user name; the password is not kept
    length: int  # client bytes up to the end of the request; what follows is tunnelled


def parse_socks(client: bytes) -> SocksRequest | None:
    """The request that begins a client's stream. `None`: need more bytes."""
    cursor = Cursor(client, 0, 1 << 30)  # a stream: it may go on
    try:
        version = cursor.u8()
        if version == 4:
            return _socks4(cursor)
        if version == 5:
            return _socks5(cursor)
    except Truncated:
        return None
    raise Malformed(f"SOCKS version {version}")


def _socks4(cursor: Cursor) -> SocksRequest:
    command = cursor.u8()
    if command not in (1, 2):
        raise Malformed(f"SOCKS 4 command {command}")
    port, address = cursor.u16(), cursor.take(4)
    user = _text(cursor)
    if address[:3] == bytes(3) and address[3]:  # 4a: 0.0.0.x says that the name follows
        host = clean_name(_text(cursor))
    else:
        host = socket.inet_ntop(socket.AF_INET, address)
    return SocksRequest(4, command, host, port, user.decode("utf-8", "backslashreplace"), cursor.pos)


def _text(cursor: Cursor) -> bytes:
    """Bytes up to a NUL."""
    end = cursor.data.find(b"\0", cursor.pos, cursor.pos + TEXT_MAX + 1)
    if end >= 0:
        text = cursor.take(end - cursor.pos)
        cursor.take(1)
        return text
    if cursor.have - cursor.pos > TEXT_MAX:
        raise Malformed("SOCKS 4 text without an end")
    raise Truncated("SOCKS 4 text goes on")


def _socks5(cursor: Cursor) -> SocksRequest:
    methods = cursor.vec8()
    if not methods:
        raise Malformed("SOCKS 5 greeting without a method")
    user, version = b"", cursor.u8()
    if version == 1 and _PASSWORD in methods:  # RFC 1929 2: the sub-negotiation's own version
        user = cursor.vec8()
        cursor.vec8()
        version = cursor.u8()
    if version != 5:
        raise Malformed("no SOCKS 5 request after the greeting")
    command, reserved, kind = cursor.u8(), cursor.u8(), cursor.u8()
    if command not in COMMANDS or reserved or kind not in (1, 3, 4):
        raise Malformed("not a SOCKS 5 request")
    if kind == 3:
        host = clean_name(cursor.vec8())
    else:
        family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, cursor.take(size))
    port = cursor.u16()
    return SocksRequest(5, command, host, port, user.decode("utf-8", "backslashreplace"), cursor.pos)
