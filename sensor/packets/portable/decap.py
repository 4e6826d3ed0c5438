"""From a captured frame to the innermost transport header, one header per step: docs/engine.md 1.

This reads everything; `headers.plain` is the short way for most frames, and a test holds the two together.
dpkt's own packet classes decode all layers at once, and stop at the ones they do not know, at ten times the
cost; its constants name the code points here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct, error
from typing import ClassVar

from dpkt import ethernet, ip, pcap, ppp

from sensor.packets.portable.headers import (
    OTHER,
    TCP,
    TUNNELLED,
    UDP,
    UNDECODABLE,
    Around,
    Found,
    Fragment,
    Packet,
    u16,
    u32,
)
from sensor.packets.portable.tags import ether_type, llc
from sensor.packets.portable.tunnels import gre, in_udp
from sensor.packets.portable.wlan import radiotap, wlan
from sensor.wire.cursor import Malformed

_v4 = Struct(">BxHHHxB2x8s").unpack_from
_v6 = Struct(">B3xHB1x32s").unpack_from
_tcp = Struct(">4sI4xBB").unpack_from
_pktap = Struct("<3I").unpack_from

Step = tuple["Callable[[int, int], Next]", int, int]
Next = Step | Found


class Decap:
    """One frame's headers. `around` is complete when `frame` or `datagram` has returned."""

    __slots__ = ("data", "limit", "macs", "network", "tunnels", "vlan")

    def __init__(self, limit: int) -> None:
        self.limit = limit  # of nested tunnels
        self.data = b""
        self.macs = b""
        self.vlan: int | None = None
        self.tunnels: list[str] = []
        self.network = -1  # offset of the outermost IP header

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

        def transport(at: int, wire: int) -> Next:
            return self._transport(protocol, addresses, at, wire, 0)

        return self._run((transport, 0, size))

    def _run(self, step: Next) -> Found:
        # Every step consumes bytes or a level of tunnels, so this ends.
        try:
            while not isinstance(step, (Packet, Fragment, str)):
                following, at, wire = step
                step = following(at, max(wire, 0))
        except (IndexError, error, Malformed):
            return UNDECODABLE
        return step

    def enter(self, tunnel: str) -> None:
        if len(self.tunnels) >= self.limit:
            raise Malformed("tunnels nested too deep")
        self.tunnels.append(tunnel)

    def _limit(self, at: int, size: int) -> None:
        if at + size < len(self.data):
            self.data = self.data[: at + size]

    # Link layers

    def ethernet(self, at: int, wire: int) -> Next:
        kind = u16(self.data, at + 12)[0]
        self.macs = self.data[at : at + 12]
        return self.ether_type(kind, at + 14, wire - 14)

    def ether_type(self, kind: int, at: int, wire: int) -> Next:
        if kind == ethernet.ETH_TYPE_IP:
            return self.ipv4, at, wire
        if kind == ethernet.ETH_TYPE_IP6:
            return self.ipv6, at, wire
        if kind in (ethernet.ETH_TYPE_8021Q, ethernet.ETH_TYPE_8021AD, ethernet.ETH_TYPE_QINQ1):
            return self._vlan, at, wire
        if kind in (ethernet.ETH_TYPE_MPLS, ethernet.ETH_TYPE_MPLS_MCAST):
            return self._mpls, at, wire
        if kind == ethernet.ETH_TYPE_PPPoE:
            return self._pppoe, at, wire
        return ether_type(self, kind, at, wire)

    def _vlan(self, at: int, wire: int) -> Next:
        self.vlan = u16(self.data, at)[0] & 0x0FFF
        return self.ether_type(u16(self.data, at + 2)[0], at + 4, wire - 4)

    def _mpls(self, at: int, wire: int) -> Next:
        """RFC 3032 2.1; what is below the last label is told by the first nibble (RFC 4928 3)."""
        start = at
        while not u32(self.data, at)[0] & 0x100:
            at += 4
        at += 4
        wire -= at - start
        below = self.data[at] >> 4
        if below in (4, 6):
            return self.any_ip, at, wire
        if below == 0:  # RFC 4385 3: a control word before an Ethernet pseudowire
            return self.ethernet, at + 4, wire - 4
        return self.ethernet, at, wire

    def _pppoe(self, at: int, wire: int) -> Next:
        """RFC 2516 4: version and type, code, session, length."""
        size = min(u16(self.data, at + 4)[0], max(wire - 6, 0))
        self._limit(at + 6, size)
        return self.ppp, at + 6, size

    def ppp(self, at: int, wire: int) -> Next:
        """RFC 1661 2 and RFC 1662: address and control may be there, the protocol may be one byte."""
        start = at
        if self.data[at : at + 2] == b"\xff\x03":
            at += 2
        kind = self.data[at]
        if kind & 1:
            at += 1
        else:
            kind, at = u16(self.data, at)[0], at + 2
        wire -= at - start
        if kind == ppp.PPP_IP:
            return self.ipv4, at, wire
        if kind == ppp.PPP_IP6:
            return self.ipv6, at, wire
        if kind in (0x0281, 0x0283):  # RFC 3032 4.3
            return self._mpls, at, wire
        return OTHER

    def _loopback(self, at: int, wire: int) -> Next:
        # AF_ values differ between systems and byte orders; the version nibble behind them does not.
        return self.any_ip, at + 4, wire - 4

    def _cooked(self, at: int, wire: int) -> Next:
        return self.ether_type(u16(self.data, at + 14)[0], at + 16, wire - 16)

    def _cooked2(self, at: int, wire: int) -> Next:
        return self.ether_type(u16(self.data, at)[0], at + 20, wire - 20)

    def _nflog(self, at: int, wire: int) -> Next:
        """LINKTYPE_NFLOG: family, version, id; (length, type, value) padded to 4. Type 9 is the packet."""
        family, at = self.data[at], at + 4
        while True:
            size = int.from_bytes(self.data[at : at + 2], "little")
            kind = Struct("<H").unpack_from(self.data, at + 2)[0] & 0x7FFF
            if size < 4:
                raise Malformed("NFLOG attribute shorter than its header")
            if kind == 9:
                self._limit(at, size)
                steps = {2: self.ipv4, 10: self.ipv6}
                return (steps[family], at + 4, size - 4) if family in steps else OTHER
            at += size + 3 & ~3

    def _arcnet(self, at: int, wire: int) -> Next:
        """Protocol identifiers of RFC 1201, whose header has a sequence number, and of RFC 1051."""
        steps = {240: (self.ipv4, 3), 212: (self.ipv4, 6), 196: (self.ipv6, 6)}
        step, header = steps.get(self.data[at + 2], (None, 0))
        return (step, at + header, wire - header) if step else OTHER

    def _arcnet_linux(self, at: int, wire: int) -> Next:
        return self._arcnet(at + 2, wire - 2)  # an offset before the protocol

    def _fddi(self, at: int, wire: int) -> Next:
        return llc(self, at + 13, wire - 13)  # frame control and addresses

    def wlan(self, at: int, wire: int) -> Next:
        return wlan(self, at, wire)

    def _radiotap(self, at: int, wire: int) -> Next:
        return radiotap(self, at, wire)

    def _pktap(self, at: int, wire: int) -> Next:
        """What macOS's tcpdump writes: length, record type, link type."""
        size, kind, link = _pktap(self.data, at)
        first = self._LINKS.get(link)
        if kind != 1 or first is None or link in (258, 149):
            raise Malformed("PKTAP without a packet")
        return first.__get__(self), at + size, wire - size

    # Network layer

    def any_ip(self, at: int, wire: int) -> Next:
        version = self.data[at] >> 4
        if version not in (4, 6):
            raise Malformed(f"IP version {version}")
        return (self.ipv4 if version == 4 else self.ipv6), at, wire

    def ipv4(self, at: int, wire: int) -> Next:
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

    def ipv6(self, at: int, wire: int) -> Next:
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
            mark = u32(self.data, at + 4)[0] | 1 << 32
        return self._transport(protocol, addresses, at, size, mark)

    def _transport(self, protocol: int, addresses: bytes, at: int, wire: int, mark: int) -> Next:
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
                word, ident = u16(self.data, at + 2)[0], u32(self.data, at + 4)[0]
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

    def _inside(self, protocol: int, at: int, wire: int) -> Next:
        if protocol in (ip.IP_PROTO_IP6, 4):
            self.enter("ipip")
            return (self.ipv4 if protocol == 4 else self.ipv6), at, wire
        if protocol == ip.IP_PROTO_GRE:
            return partial(gre, self), at, wire
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

    def _udp(self, addresses: bytes, at: int, wire: int, mark: int) -> Next:
        """RFC 768."""
        if len(self.data) < at + 8:
            raise Malformed("UDP header cut off")
        source, target = u16(self.data, at)[0], u16(self.data, at + 2)[0]
        inner = at + 8
        tunnel = in_udp(self, source, target, inner, max(wire - 8, 0))
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

    _LINKS: ClassVar[dict[int, Callable[[Decap, int, int], Next]]] = {
        pcap.DLT_EN10MB: ethernet,
        pcap.DLT_RAW: any_ip,
        14: any_ip,  # DLT_RAW of OpenBSD
        101: any_ip,
        228: ipv4,
        229: ipv6,
        pcap.DLT_NULL: _loopback,
        108: _loopback,
        pcap.DLT_PPP: ppp,
        50: ppp,
        51: _pppoe,
        pcap.DLT_LINUX_SLL: _cooked,
        276: _cooked2,
        239: _nflog,
        pcap.DLT_ARCNET: _arcnet,
        129: _arcnet_linux,
        pcap.DLT_FDDI: _fddi,
        105: wlan,
        127: _radiotap,
        258: _pktap,
        149: _pktap,  # the second of the private link types, which older macOS took
    }
