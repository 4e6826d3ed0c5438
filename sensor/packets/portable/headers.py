"""Packets as the portable engine sees them, and the short way to them.

Almost every frame is Ethernet, IP, TCP or UDP and nothing else: `plain` reads those with one precompiled
struct.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from dpkt import ip

TCP, UDP = ip.IP_PROTO_TCP, ip.IP_PROTO_UDP
UNDECODABLE, OTHER, TUNNELLED = "undecodable", "other", "tunnelled"
VXLAN, GENEVE, GTPU, TEREDO, GRE, TZSP, CAPWAP = (4789, 8472), 6081, 2152, 3544, 4754, 37008, 5247
# Ports of tunnels, as a datagram's target; and those of which either side's counts.
_TUNNEL_PORTS = frozenset(
    port.to_bytes(2, "big") for port in (*VXLAN, GENEVE, GTPU, TEREDO, GRE, TZSP, CAPWAP)
)
_EITHER_PORTS = frozenset(port.to_bytes(2, "big") for port in (TEREDO, CAPWAP))

u16 = Struct(">H").unpack_from
u32 = Struct(">I").unpack_from
_plain4 = Struct(">12xHBxHHHxB14xI4xBB").unpack_from
_plain6 = Struct(">I4xBB").unpack_from


class Around(NamedTuple):
    """What was around the innermost network header."""

    macs: bytes = b""  # destination and source, as on the wire
    vlan: int | None = None
    tunnel: str = ""


class Packet(NamedTuple):
    """A TCP or UDP header, and where its payload is."""

    tcp: bool
    key: bytes  # source and destination address, source and destination port
    seq: int
    flags: int
    data: bytes  # the payload is data[start:end]
    start: int
    end: int
    size: int  # of the payload by the IP header; the captured payload may be shorter
    mark: int  # identity for duplicates; 0: none


class Fragment(NamedTuple):
    key: tuple[
        bytes, int, int
    ]  # addresses, identification, protocol (0 for IPv6, which has it in the first fragment only)
    protocol: int
    offset: int
    more: bool
    data: bytes
    size: int  # by the IP header


Header = tuple[bool, bytes, int, int, bytes, int, int, int, int]  # a `Packet`; the hot path builds no classes
Found = Packet | Fragment | str  # a str is the visibility class of what holds neither


def plain(data: bytes) -> Header | None:
    """Ethernet, IP without options or fragments, TCP or UDP that is no tunnel. `None`: `Decap` must look."""
    have = len(data)
    if have < 54:
        return None
    kind, version, total, ident, fragment, protocol, seq, offset, flags = _plain4(data)
    if kind == 0x0800:
        if version != 0x45 or fragment & 0x3FFF or not total:
            return None
        ports, size, key, mark = 34, total - 20, data[26:38], ident
    elif kind == 0x86DD and have >= 74 and version >> 4 == 6:
        if not ident:  # at this place IPv6 has its payload length
            return None
        protocol, ports, size, key = data[20], 54, ident, data[22:58]
        seq, offset, flags = _plain6(data, 58)
        mark = seq | 1 << 32
    else:
        return None
    end = ports + size
    if protocol == TCP:
        header = offset >> 4 << 2
        if header < 20 or header > size:
            return None
        return True, key, seq, flags, data, ports + header, min(end, have), size - header, mark
    if protocol != UDP or size < 8 or key[-2:] in _TUNNEL_PORTS or key[-4:-2] in _EITHER_PORTS:
        return None
    mark = mark if ports == 34 else 0
    return False, key, 0, 0, data, ports + 8, min(end, have), size - 8, mark


def identity(data: bytes, at: int) -> int | None:
    """A number that copies of a packet share; `None` without an identity. `at`: its outermost IP header."""
    if len(data) >= at + 24 and data[at] >> 4 == 4:
        mark: int = u16(data, at + 4)[0]
        return hash(data[at + 12 : at + 24]) ^ mark if mark else None
    if len(data) >= at + 48 and data[at] >> 4 == 6 and data[at + 6] == TCP:
        mark = u32(data, at + 44)[0] | 1 << 32
        return hash(data[at + 8 : at + 44]) ^ mark
    return None
