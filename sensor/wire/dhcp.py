"""DHCPv4 messages: RFC 2131, options of RFC 2132, client FQDN of RFC 4702."""

from __future__ import annotations

import socket

from sensor.frozen import dataclass
from sensor.wire.cursor import Cursor, Malformed
from sensor.wire.dns import read_name
from sensor.wire.names import clean_name

MAGIC = bytes((99, 130, 83, 99))  # RFC 2131 3
HOST_NAME, REQUESTED, LEASE, TYPE, CLIENT_FQDN = 12, 50, 51, 53, 81
_ETHERNET = 1  # hardware type
_ENCODED = 0x04  # RFC 4702 2.1: the E bit, name in DNS wire format


@dataclass(frozen=True, slots=True)
class DhcpMessage:
    """Addresses and names are "" when absent."""

    type: int  # RFC 2132 9.6: 1 DISCOVER, 3 REQUEST, 5 ACK, 7 RELEASE, ...; 0 for BOOTP
    is_reply: bool
    transaction: int
    client_mac: str  # lower-case with colons; "" unless Ethernet
    client_ip: str  # ciaddr: the address the client has
    your_ip: str  # yiaddr: the address it is given
    requested_ip: str
    host_name: str
    fqdn: str
    lease: int | None  # seconds
    options: tuple[tuple[int, bytes], ...]  # parts of one code joined (RFC 3396 7)


def parse_dhcp(payload: bytes) -> DhcpMessage:
    """The payload of a datagram between ports 67 and 68."""
    cursor = Cursor(payload)
    operation, hardware, size, _hops, transaction = (
        cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8(), cursor.u32()
    )  # fmt: skip
    cursor.take(4)  # secs, flags
    client, yours, _next, _relay = (cursor.take(4) for _ in range(4))
    address = cursor.take(16)
    cursor.take(192)  # sname, file
    if operation not in (1, 2) or cursor.take(4) != MAGIC:
        raise Malformed("not DHCP")
    options = _options(cursor)
    lease = options.get(LEASE, b"")
    return DhcpMessage(
        type=int.from_bytes(options.get(TYPE, b"")[:1], "big"),
        is_reply=operation == 2,
        transaction=transaction,
        client_mac=address[:6].hex(":") if hardware == _ETHERNET and size == 6 else "",
        client_ip=_address(client),
        your_ip=_address(yours),
        requested_ip=_address(options.get(REQUESTED, b"")),
        host_name=clean_name(options.get(HOST_NAME, b"").rstrip(b"\0")),
        fqdn=_fqdn(options.get(CLIENT_FQDN, b"")),
        lease=int.from_bytes(lease, "big") if len(lease) == 4 else None,
        options=tuple(options.items()),
    )


def _options(cursor: Cursor) -> dict[int, bytes]:
    """RFC 2132 2: code, length, content; 0 pads and 255 ends."""
    out: dict[int, bytes] = {}
    while cursor.left:
        code = cursor.u8()
        if code == 255:
            break
        if code:
            out[code] = out.get(code, b"") + cursor.vec8()
    return out


def _address(raw: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET, raw) if len(raw) == 4 and any(raw) else ""


def _fqdn(option: bytes) -> str:
    """Flags, two RCODEs, then the name; ASCII is the older form."""
    if len(option) < 4:
        return ""
    if not option[0] & _ENCODED:
        return clean_name(option[3:].rstrip(b"\0"))
    # A partial name has no root label at its end.
    try:
        return read_name(Cursor(option[3:] + b"\0"))
    except Malformed:
        return ""
