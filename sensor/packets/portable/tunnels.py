"""GRE, ERSPAN, and the tunnels that run in UDP: steps of `decap.Decap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dpkt import ethernet

from sensor.packets.portable.headers import (
    CAPWAP,
    GENEVE,
    GRE,
    GTPU,
    OTHER,
    TEREDO,
    TUNNELLED,
    TZSP,
    VXLAN,
    u16,
    u32,
)
from sensor.wire.cursor import Malformed

if TYPE_CHECKING:
    from sensor.packets.portable.decap import Decap, Next


def gre(decap: Decap, at: int, wire: int) -> Next:
    """RFC 2784, RFC 2890 (key, sequence), RFC 2637 4.1 (version 1 with acknowledgement)."""
    flags, kind = u16(decap.data, at)[0], u16(decap.data, at + 2)[0]
    if flags & 7 > 1 or flags & 0x4000:  # source routes (RFC 1701) are long gone
        raise Malformed("GRE version or source route")
    header = 4 + 4 * sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
    header += 4 * (flags & 7 == 1 and flags & 0x80 > 0)
    if at + header > len(decap.data):
        raise Malformed("GRE header cut off")
    at, wire = at + header, max(wire - header, 0)
    if kind in (0x88BE, 0x22EB):
        return _erspan(decap, at, wire, kind == 0x22EB, flags & 0x1000 > 0)
    if kind == 0x6400 and flags == 0x2001:  # MikroTik's Ethernet over IP: length, its number in little endian
        decap.enter(f"eoip:{int.from_bytes(decap.data[at - 2 : at], 'little')}")
        return (decap.ethernet, at, wire) if wire else OTHER  # a keep-alive has nothing inside
    decap.enter("gre")
    if kind & 0xFE0F == 0x8200:  # Aruba's access points, by priority
        return decap.wlan, at, wire
    if kind == ethernet.ETH_TYPE_TEB:
        return decap.ethernet, at, wire
    if kind == ethernet.ETH_TYPE_PPP:
        return (decap.ppp, at, wire) if at < len(decap.data) else OTHER
    return decap.ether_type(kind, at, wire)


def _erspan(decap: Decap, at: int, wire: int, third: bool, sequenced: bool) -> Next:
    """draft-foschiano-erspan 4: type I has no header, II 8 bytes, III 12 and 8 more with the O bit."""
    if not third and not sequenced:
        decap.enter("erspan:0")
        return decap.ethernet, at, wire
    decap.enter(f"erspan:{u16(decap.data, at + 2)[0] & 0x03FF}")
    header = 8 if not third else 20 if decap.data[at + 11] & 1 else 12
    return decap.ethernet, at + header, wire - header


# Inside UDP. `None`: these bytes are no such tunnel, the flow is an ordinary one.


# EtherTypes by which a tunnel is known whose reserved bits are set: clients may have its port, and answers look so too.
_FRAMES = frozenset((0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x9100, 0x8847, 0x8848, 0x8864))
_FRAMES |= {0x88E5, 0x88E7, 0x8903, 0x8909, 0x8926, 0x893F}
_GENEVE = frozenset((0x0800, 0x86DD, 0x6558))


def _vxlan(decap: Decap, at: int, wire: int) -> Next | None:
    """RFC 7348 5: the I flag must be set; 0x80 is a group policy's."""
    head = decap.data[at : at + 22]
    if len(head) < 8 or not head[0] & 0x08:
        return None
    if (head[0] & 0x77 or head[7]) and int.from_bytes(head[20:], "big") not in _FRAMES:
        return None
    decap.enter(f"vxlan:{u32(decap.data, at + 4)[0] >> 8}")
    return decap.ethernet, at + 8, wire - 8


def _geneve(decap: Decap, at: int, wire: int) -> Next | None:
    """RFC 8926 3.4: version 0."""
    if len(decap.data) < at + 8 or decap.data[at] >> 6:
        return None
    kind = u16(decap.data, at + 2)[0]
    if (decap.data[at + 1] & 0x3F or decap.data[at + 7]) and kind not in _GENEVE:
        return None
    decap.enter(f"geneve:{int.from_bytes(decap.data[at + 4 : at + 7], 'big')}")
    header = 8 + ((decap.data[at] & 0x3F) << 2)
    if kind == ethernet.ETH_TYPE_TEB:
        return decap.ethernet, at + header, wire - header
    return decap.ether_type(kind, at + header, max(wire - header, 0))


def _gtpu(decap: Decap, at: int, wire: int) -> Next | None:
    """3GPP TS 29.281 5.1: version 1, type 255 carries a packet."""
    if len(decap.data) < at + 8:
        return None
    flags, teid = decap.data[at], u32(decap.data, at + 4)[0]
    if flags >> 5 != 1 or not flags & 0x10 or decap.data[at + 1] != 0xFF:
        return None
    inner = at + 8
    if flags & 7:
        if len(decap.data) < inner + 4:
            return None
        following, inner = decap.data[inner + 3], inner + 4
        while flags & 4 and following:
            if inner >= len(decap.data):
                return None
            size = decap.data[inner] << 2
            if size == 0:
                raise Malformed("GTP-U extension header without length")
            if inner + size > len(decap.data):
                return None
            following, inner = decap.data[inner + size - 1], inner + size
    decap.enter(f"gtpu:{teid}")
    return decap.any_ip, inner, wire - (inner - at)


_TEREDO = frozenset((b"\x20\1\0\0", b"\xfe\x80\0\0"))  # its prefix, and link-local addresses


def _teredo(decap: Decap, at: int, wire: int) -> Next | None:
    """RFC 4380 5.1.1: authentication and origin indications may come first.

    An address tells it: QUIC's bytes to a client that has this port often begin like IPv6.
    """
    inner = at
    if decap.data[inner : inner + 2] == b"\0\1":
        if len(decap.data) < inner + 4:
            return None
        inner += decap.data[inner + 2] + decap.data[inner + 3] + 13
    if decap.data[inner : inner + 2] == b"\0\0":
        inner += 8
    begins = (decap.data[inner + place : inner + place + 4] for place in (8, 24))
    if inner >= len(decap.data) or decap.data[inner] >> 4 != 6 or _TEREDO.isdisjoint(begins):
        return None
    decap.enter("teredo")
    return decap.ipv6, inner, wire - (inner - at)


def _gre_in_udp(decap: Decap, at: int, wire: int) -> Next | None:
    """RFC 8086 3: no routing, no version; what else comes to this port has no such header."""
    if len(decap.data) < at + 4:
        return None
    flags, kind = u16(decap.data, at)[0], u16(decap.data, at + 2)[0]
    if flags & ~0xB000 or not (kind in _FRAMES or kind == ethernet.ETH_TYPE_TEB):
        return None
    return gre(decap, at, wire)


def _tzsp(decap: Decap, at: int, wire: int) -> Next | None:
    """How MikroTik and others send copies: version 1, received or sent, Ethernet; fields up to one of type 1."""
    data, inner = decap.data, at + 4
    if data[at:inner] not in (b"\1\0\0\1", b"\1\1\0\1"):
        return None
    while data[inner : inner + 1] not in (b"\1", b""):
        inner += 1 if data[inner] == 0 else 2 + int.from_bytes(data[inner + 1 : inner + 2], "big")
    inner += 1
    if len(data) < inner + 14 or u16(data, inner + 12)[0] not in _FRAMES:
        return None
    decap.enter("tzsp")
    return decap.ethernet, inner, wire - (inner - at)


def _capwap(decap: Decap, at: int, wire: int) -> Next | None:
    """RFC 5415 4.3: a controller's data channel. Version 0, binding 1 (IEEE 802.11), no keep-alive."""
    if len(decap.data) < at + 4:
        return None
    word = u32(decap.data, at)[0]
    header = word >> 17 & 0x7C  # in words
    if word & 0xFF003E0F != 0x200 or header < 8:
        return None
    decap.enter("capwap")
    if word & 0x80:  # a fragment
        return TUNNELLED
    return decap.wlan if word & 0x100 else decap.ethernet, at + header, wire - header


def in_udp(decap: Decap, source: int, target: int, at: int, wire: int) -> Next | None:
    """What a datagram's ports say it carries. `None`: an ordinary one."""
    reader = _BY_PORT.get(target) or _BY_EITHER.get(target) or _BY_EITHER.get(source)
    return None if reader is None else reader(decap, at, wire)


_BY_PORT: dict[int, Callable[[Decap, int, int], Next | None]] = {
    **dict.fromkeys(VXLAN, _vxlan),
    GENEVE: _geneve,
    GTPU: _gtpu,
    GRE: _gre_in_udp,
    TZSP: _tzsp,
}
_BY_EITHER = {TEREDO: _teredo, CAPWAP: _capwap}
