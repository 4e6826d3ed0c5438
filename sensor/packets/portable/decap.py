"""From a captured frame to the innermost transport header: docs/engine.md 1.

Almost every frame is Ethernet, IP, TCP or UDP and nothing else: `plain` reads those with one precompiled
struct. `Decap` reads everything, one header per step; the two agree where both apply, and a test holds them
to it. dpkt's own packet classes decode all layers at once, and stop at the ones they do not know, at ten
times the cost; its constants name the code points here.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, error
from typing import ClassVar, NamedTuple

from dpkt import ethernet, ip, pcap, ppp

from sensor.wire.cursor import Malformed

TCP, UDP = ip.IP_PROTO_TCP, ip.IP_PROTO_UDP
UNDECODABLE, OTHER, TUNNELLED = "undecodable", "other", "tunnelled"
VXLAN, GENEVE, GTPU, TEREDO = (4789, 8472), 6081, 2152, 3544
_TUNNEL_PORTS = frozenset(port.to_bytes(2, "big") for port in (*VXLAN, GENEVE, GTPU, TEREDO))
_TEREDO = TEREDO.to_bytes(2, "big")

_u16 = Struct(">H").unpack_from
_u32 = Struct(">I").unpack_from
_v4 = Struct(">BxHHHxB2x8s").unpack_from
_v6 = Struct(">B3xHB1x32s").unpack_from
_tcp = Struct(">4sI4xBB").unpack_from
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
Found = Packet | Fragment | str
_Step = tuple["Callable[[int, int], _Next]", int, int]
_Next = _Step | Found


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
    if protocol != UDP or size < 8 or key[-2:] in _TUNNEL_PORTS or key[-4:-2] == _TEREDO:
        return None
    mark = mark if ports == 34 else 0
    return False, key, 0, 0, data, ports + 8, min(end, have), size - 8, mark


def identity(data: bytes, at: int) -> int | None:
    """A number that copies of a packet share; `None` without an identity. `at`: its outermost IP header."""
    if len(data) >= at + 24 and data[at] >> 4 == 4:
        mark: int = _u16(data, at + 4)[0]
        return hash(data[at + 12 : at + 24]) ^ mark if mark else None
    if len(data) >= at + 48 and data[at] >> 4 == 6 and data[at + 6] == TCP:
        mark = _u32(data, at + 44)[0] | 1 << 32
        return hash(data[at + 8 : at + 44]) ^ mark
    return None


class Decap:
    """One frame's headers. `around` is complete when `frame` or `datagram` has returned."""

    __slots__ = ("data", "levels", "limit", "macs", "network", "tunnels", "vlan")

    def __init__(self, limit: int) -> None:
        self.limit = limit  # of nested tunnels
        self.data = b""
        self.macs = b""
        self.vlan: int | None = None
        self.tunnels: list[str] = []
        self.network = -1  # offset of the outermost IP header
        self.levels = 0

    @property
    def around(self) -> Around:
        return Around(self.macs, self.vlan, "/".join(self.tunnels))

    def frame(self, link: int, data: bytes, length: int) -> Found:
        self.data = data
        first = self._LINKS.get(link)
        return UNDECODABLE if first is None else self._run((first.__get__(self), 0, length))

    def datagram(self, protocol: int, addresses: bytes, data: bytes, size: int) -> Found:
        """A reassembled datagram, from behind its IP header; `size` by the fragments' headers."""
        self.data = data

        def transport(at: int, wire: int) -> _Next:
            return self._transport(protocol, addresses, at, wire, 0)

        return self._run((transport, 0, size))

    def _run(self, step: _Next) -> Found:
        # Every step consumes bytes or a level of tunnels, so this ends.
        try:
            while not isinstance(step, (Packet, Fragment, str)):
                following, at, wire = step
                step = following(at, max(wire, 0))
        except (IndexError, error, Malformed):
            return UNDECODABLE
        return step

    def _enter(self, tunnel: str) -> None:
        if len(self.tunnels) >= self.limit:
            raise Malformed("tunnels nested too deep")
        self.tunnels.append(tunnel)

    def _limit(self, at: int, size: int) -> None:
        if at + size < len(self.data):
            self.data = self.data[: at + size]

    # Link layers

    def _ethernet(self, at: int, wire: int) -> _Next:
        kind = _u16(self.data, at + 12)[0]
        self.macs = self.data[at : at + 12]
        return self._ether_type(kind, at + 14, wire - 14)

    def _ether_type(self, kind: int, at: int, wire: int) -> _Next:
        if kind == ethernet.ETH_TYPE_IP:
            return self._ipv4, at, wire
        if kind == ethernet.ETH_TYPE_IP6:
            return self._ipv6, at, wire
        if kind in (ethernet.ETH_TYPE_8021Q, ethernet.ETH_TYPE_8021AD, ethernet.ETH_TYPE_QINQ1):
            return self._vlan, at, wire
        if kind in (ethernet.ETH_TYPE_MPLS, ethernet.ETH_TYPE_MPLS_MCAST):
            return self._mpls, at, wire
        if kind == ethernet.ETH_TYPE_PPPoE:
            return self._pppoe, at, wire
        return OTHER

    def _vlan(self, at: int, wire: int) -> _Next:
        self.vlan = _u16(self.data, at)[0] & 0x0FFF
        return self._ether_type(_u16(self.data, at + 2)[0], at + 4, wire - 4)

    def _mpls(self, at: int, wire: int) -> _Next:
        """RFC 3032 2.1; what is below the last label is told by the first nibble (RFC 4928 3)."""
        start = at
        while not _u32(self.data, at)[0] & 0x100:
            at += 4
        at += 4
        wire -= at - start
        below = self.data[at] >> 4
        if below in (4, 6):
            return self._ip, at, wire
        if below == 0:  # RFC 4385 3: a control word before an Ethernet pseudowire
            return self._ethernet, at + 4, wire - 4
        return self._ethernet, at, wire

    def _pppoe(self, at: int, wire: int) -> _Next:
        """RFC 2516 4: version and type, code, session, length."""
        size = min(_u16(self.data, at + 4)[0], max(wire - 6, 0))
        self._limit(at + 6, size)
        return self._ppp, at + 6, size

    def _ppp(self, at: int, wire: int) -> _Next:
        """RFC 1661 2 and RFC 1662: address and control may be there, the protocol may be one byte."""
        start = at
        if self.data[at : at + 2] == b"\xff\x03":
            at += 2
        kind = self.data[at]
        if kind & 1:
            at += 1
        else:
            kind, at = _u16(self.data, at)[0], at + 2
        wire -= at - start
        if kind == ppp.PPP_IP:
            return self._ipv4, at, wire
        if kind == ppp.PPP_IP6:
            return self._ipv6, at, wire
        if kind in (0x0281, 0x0283):  # RFC 3032 4.3
            return self._mpls, at, wire
        return OTHER

    def _loopback(self, at: int, wire: int) -> _Next:
        # AF_ values differ between systems and byte orders; the version nibble behind them does not.
        return self._ip, at + 4, wire - 4

    def _cooked(self, at: int, wire: int) -> _Next:
        return self._ether_type(_u16(self.data, at + 14)[0], at + 16, wire - 16)

    def _cooked2(self, at: int, wire: int) -> _Next:
        return self._ether_type(_u16(self.data, at)[0], at + 20, wire - 20)

    def _nflog(self, at: int, wire: int) -> _Next:
        """LINKTYPE_NFLOG: family, version, id; (length, type, value) padded to 4. Type 9 is the packet."""
        family, at = self.data[at], at + 4
        while True:
            size = int.from_bytes(self.data[at : at + 2], "little")
            kind = Struct("<H").unpack_from(self.data, at + 2)[0] & 0x7FFF
            if size < 4:
                raise Malformed("NFLOG attribute shorter than its header")
            if kind == 9:
                self._limit(at, size)
                steps = {2: self._ipv4, 10: self._ipv6}
                return (steps[family], at + 4, size - 4) if family in steps else OTHER
            at += size + 3 & ~3

    def _arcnet(self, at: int, wire: int) -> _Next:
        """RFC 1201: protocol identifiers."""
        steps = {212: self._ipv4, 196: self._ipv6}
        kind = self.data[at + 2]
        return (steps[kind], at + 6, wire - 6) if kind in steps else OTHER

    # Network layer

    def _ip(self, at: int, wire: int) -> _Next:
        version = self.data[at] >> 4
        if version not in (4, 6):
            raise Malformed(f"IP version {version}")
        return (self._ipv4 if version == 4 else self._ipv6), at, wire

    def _ipv4(self, at: int, wire: int) -> _Next:
        """RFC 791 3.1."""
        if self.network < 0:
            self.network = at
        first, total, ident, fragment, protocol, addresses = _v4(self.data, at)
        header = (first & 15) << 2
        total = total or wire  # 0: segmentation offload, longer than the field can say
        if first >> 4 != 4 or header < 20 or at + header > len(self.data) or total < header:
            raise Malformed("IPv4 header")
        self._limit(at, total)
        if fragment & 0x3FFF:
            key = (addresses, ident, protocol)
            body = self.data[at + header :]
            return Fragment(
                key, protocol, (fragment & 0x1FFF) << 3, bool(fragment & 0x2000), body, total - header
            )
        return self._transport(protocol, addresses, at + header, total - header, ident)

    def _ipv6(self, at: int, wire: int) -> _Next:
        """RFC 8200 3 and 4."""
        if self.network < 0:
            self.network = at
        first, size, protocol, addresses = _v6(self.data, at)
        if first >> 4 != 6:
            raise Malformed("IPv6 header")
        at += 40
        if size:
            self._limit(at, size)
        else:  # jumbo payload (RFC 2675) or segmentation offload
            size = max(wire - 40, 0)
        mark = 0
        if protocol == TCP and len(self.data) >= at + 8:
            mark = _u32(self.data, at + 4)[0] | 1 << 32
        return self._transport(protocol, addresses, at, size, mark)

    def _transport(self, protocol: int, addresses: bytes, at: int, wire: int, mark: int) -> _Next:
        """What an IP header or a whole datagram holds."""
        while True:
            if protocol == TCP:
                return self._tcp(addresses, at, wire, mark)
            if protocol == UDP:
                return self._udp(addresses, at, wire, mark if len(addresses) == 8 else 0)
            if protocol == 51:  # AH, RFC 4302 2.2: length in words, minus 2
                size = self.data[at + 1] + 2 << 2
            elif len(addresses) == 32 and protocol in (0, 43, 60, 135, 139, 140):  # RFC 8200 4, RFC 7045 4
                size = self.data[at + 1] + 1 << 3
            elif len(addresses) == 32 and protocol == 44:
                size = 8
                word, ident = _u16(self.data, at + 2)[0], _u32(self.data, at + 4)[0]
                if word & 0xFFF9:
                    body, left = self.data[at + 8 :], max(wire - 8, 0)
                    return Fragment(
                        (addresses, ident, 0), self.data[at], word & 0xFFF8, bool(word & 1), body, left
                    )
            else:
                return self._inside(protocol, at, wire)
            if at + size > len(self.data):
                raise Malformed("extension header cut off")
            protocol, at, wire = self.data[at], at + size, max(wire - size, 0)

    def _inside(self, protocol: int, at: int, wire: int) -> _Next:
        if protocol in (ip.IP_PROTO_IP6, 4):
            self._enter("ipip")
            return (self._ipv4 if protocol == 4 else self._ipv6), at, wire
        if protocol == ip.IP_PROTO_GRE:
            return self._gre, at, wire
        return TUNNELLED if protocol in (ip.IP_PROTO_ESP, 115) else OTHER  # 115: L2TP, RFC 3931

    def _tcp(self, addresses: bytes, at: int, wire: int, mark: int) -> Packet:
        """RFC 9293 3.1."""
        if len(self.data) < at + 20:
            raise Malformed("TCP header cut off")
        ports, seq, offset, flags = _tcp(self.data, at)
        header = offset >> 4 << 2
        if header < 20 or header > wire:
            raise Malformed("TCP header length")
        return Packet(
            True, addresses + ports, seq, flags, self.data, at + header, len(self.data), wire - header, mark
        )

    def _udp(self, addresses: bytes, at: int, wire: int, mark: int) -> _Next:
        """RFC 768."""
        if len(self.data) < at + 8:
            raise Malformed("UDP header cut off")
        source, target = _u16(self.data, at)[0], _u16(self.data, at + 2)[0]
        inner = at + 8
        tunnel = None
        if target in _IN_UDP or source == TEREDO:
            reader = _IN_UDP.get(target, Decap._teredo)
            tunnel = reader(self, inner, max(wire - 8, 0))
        if tunnel is not None:
            return tunnel
        return Packet(
            False,
            addresses + self.data[at : at + 4],
            0,
            0,
            self.data,
            inner,
            len(self.data),
            max(wire - 8, 0),
            mark,
        )

    # Tunnels

    def _gre(self, at: int, wire: int) -> _Next:
        """RFC 2784, RFC 2890 (key, sequence), RFC 2637 4.1 (version 1 with acknowledgement)."""
        flags, kind = _u16(self.data, at)[0], _u16(self.data, at + 2)[0]
        if flags & 7 > 1 or flags & 0x4000:  # source routes (RFC 1701) are long gone
            raise Malformed("GRE version or source route")
        header = 4 + 4 * sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
        header += 4 * (flags & 7 == 1 and flags & 0x80 > 0)
        if at + header > len(self.data):
            raise Malformed("GRE header cut off")
        at, wire = at + header, max(wire - header, 0)
        if kind in (0x88BE, 0x22EB):
            return self._erspan(at, wire, kind == 0x22EB, flags & 0x1000 > 0)
        self._enter("gre")
        if kind == ethernet.ETH_TYPE_TEB:
            return self._ethernet, at, wire
        if kind == ethernet.ETH_TYPE_PPP:
            return (self._ppp, at, wire) if at < len(self.data) else OTHER
        return self._ether_type(kind, at, wire)

    def _erspan(self, at: int, wire: int, third: bool, sequenced: bool) -> _Next:
        """draft-foschiano-erspan 4: type I has no header, II 8 bytes, III 12 and 8 more with the O bit."""
        if not third and not sequenced:
            self._enter("erspan:0")
            return self._ethernet, at, wire
        self._enter(f"erspan:{_u16(self.data, at + 2)[0] & 0x03FF}")
        header = 8 if not third else 20 if self.data[at + 11] & 1 else 12
        return self._ethernet, at + header, wire - header

    # Inside UDP. `None`: these bytes are no such tunnel, the flow is an ordinary one.

    def _vxlan(self, at: int, wire: int) -> _Next | None:
        """RFC 7348 5: the I flag must be set."""
        if len(self.data) < at + 8 or not self.data[at] & 0x08:
            return None
        self._enter(f"vxlan:{_u32(self.data, at + 4)[0] >> 8}")
        return self._ethernet, at + 8, wire - 8

    def _geneve(self, at: int, wire: int) -> _Next | None:
        """RFC 8926 3.4."""
        if len(self.data) < at + 7 or self.data[at] >> 6:
            return None
        self._enter(f"geneve:{int.from_bytes(self.data[at + 4 : at + 7], 'big')}")
        header = 8 + ((self.data[at] & 0x3F) << 2)
        kind = _u16(self.data, at + 2)[0]
        if kind == ethernet.ETH_TYPE_TEB:
            return self._ethernet, at + header, wire - header
        return self._ether_type(kind, at + header, max(wire - header, 0))

    def _gtpu(self, at: int, wire: int) -> _Next | None:
        """3GPP TS 29.281 5.1: version 1, type 255 carries a packet."""
        if len(self.data) < at + 8:
            return None
        flags, teid = self.data[at], _u32(self.data, at + 4)[0]
        if flags >> 5 != 1 or not flags & 0x10 or self.data[at + 1] != 0xFF:
            return None
        inner = at + 8
        if flags & 7:
            if len(self.data) < inner + 4:
                return None
            following, inner = self.data[inner + 3], inner + 4
            while flags & 4 and following:
                if inner >= len(self.data):
                    return None
                size = self.data[inner] << 2
                if size == 0:
                    raise Malformed("GTP-U extension header without length")
                if inner + size > len(self.data):
                    return None
                following, inner = self.data[inner + size - 1], inner + size
        self._enter(f"gtpu:{teid}")
        return self._ip, inner, wire - (inner - at)

    def _teredo(self, at: int, wire: int) -> _Next | None:
        """RFC 4380 5.1.1: authentication and origin indications may come first."""
        inner = at
        if self.data[inner : inner + 2] == b"\0\1":
            if len(self.data) < inner + 4:
                return None
            inner += self.data[inner + 2] + self.data[inner + 3] + 13
        if self.data[inner : inner + 2] == b"\0\0":
            inner += 8
        if inner + 1 >= len(self.data) or self.data[inner] >> 4 != 6:
            return None
        self._enter("teredo")
        return self._ipv6, inner, wire - (inner - at)

    _LINKS: ClassVar[dict[int, Callable[[Decap, int, int], _Next]]] = {
        pcap.DLT_EN10MB: _ethernet,
        pcap.DLT_RAW: _ip,
        14: _ip,  # DLT_RAW of OpenBSD
        101: _ip,
        228: _ipv4,
        229: _ipv6,
        pcap.DLT_NULL: _loopback,
        108: _loopback,
        pcap.DLT_PPP: _ppp,
        50: _ppp,
        51: _pppoe,
        pcap.DLT_LINUX_SLL: _cooked,
        276: _cooked2,
        239: _nflog,
        pcap.DLT_ARCNET: _arcnet,
    }


_IN_UDP = {
    **dict.fromkeys(VXLAN, Decap._vxlan),
    GENEVE: Decap._geneve,
    GTPU: Decap._gtpu,
    TEREDO: Decap._teredo,
}
