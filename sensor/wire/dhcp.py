"""DHCPv4 messages (RFC 2131 2, options of RFC 2132): who was given which address."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import IntEnum

from sensor.wire.cursor import Cursor, Malformed

_COOKIE = 0x63825363  # RFC 2131 3
_PAD, _END = 0, 255  # RFC 2132 3.1, 3.2
_HOST_NAME, _LEASE, _TYPE, _FQDN = 12, 51, 53, 81  # RFC 2132 3.14, 9.2, 9.6; RFC 4702 2


class MessageType(IntEnum):
    """RFC 2132 9.6."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


@dataclass(frozen=True, slots=True)
class Dhcp:
    """One message. Addresses are dotted quads, "" for 0.0.0.0."""

    type: int  # 0 in plain BOOTP
    mac: str  # lower case with colons; "" when the hardware is not Ethernet
    client_ip: str  # ciaddr: what the client has
    your_ip: str  # yiaddr: what the server gives
    options: dict[int, bytes]

    @property
    def hostname(self) -> str:
        """What the client calls itself: Host Name, else Client FQDN; as it came, "" when it does not say."""
        name = self.options.get(_HOST_NAME, b"") or self._fqdn()
        return name.rstrip(b"\0").decode("utf-8", "backslashreplace")

    def _fqdn(self) -> bytes:
        """RFC 4702 2.1: flags, two unused bytes, then ASCII or (flag E) labels in DNS wire format."""
        flags, name = self.options.get(_FQDN, b"")[:1], self.options.get(_FQDN, b"")[3:]
        if not flags or not flags[0] & 4:
            return name
        cursor, labels = Cursor(name), []
        while cursor.left and len(label := cursor.take(min(cursor.u8(), cursor.left))):
            labels.append(label)
        return b".".join(labels)

    @property
    def lease(self) -> int:
        """Seconds the address is given for; 0 when it is not said."""
        return int.from_bytes(self.options.get(_LEASE, b"")[:4], "big")


def parse_dhcp(data: bytes) -> Dhcp:
    """The payload of a datagram to or from udp/67. Raises Malformed; options may end without an end mark."""
    c = Cursor(data)
    c.take(1)
    hardware, length = c.u8(), c.u8()
    c.take(9)
    client_ip, your_ip = _address(c.take(4)), _address(c.take(4))
    c.take(8)
    mac = c.take(16)[:6].hex(":") if (hardware, length) == (1, 6) else ""
    c.take(64 + 128)
    if c.u32() != _COOKIE:
        raise Malformed("no DHCP options")
    options = _options(c)
    return Dhcp(int.from_bytes(options.get(_TYPE, b"")[:1], "big"), mac, client_ip, your_ip, options)


def _address(raw: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET, raw) if any(raw) else ""


def _options(c: Cursor) -> dict[int, bytes]:
    """Options by code; the parts of one that comes several times are joined (RFC 3396 7)."""
    options: dict[int, bytes] = {}
    while c.left and (code := c.u8()) != _END:
        if code != _PAD:
            try:
                options[code] = options.get(code, b"") + c.vec8()
            except Malformed:  # cut off: what came before still stands
                break
    return options
