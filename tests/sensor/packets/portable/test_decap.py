from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_I, ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.contrib.tzsp import TZSP, TZSPTagEnd, TZSPTagPadding, TZSPTagRawRSSIByte
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import GRE, GRE_PPTP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet as Layer
from scapy.packet import Raw

from sensor.packets.portable.decap import Decap
from sensor.packets.portable.headers import Around, Fragment, Packet, identity, plain
from tests.sensor.packets.build import MACS, ethernet, ipv4, ipv6, tcp, udp

PAYLOAD = b"application bytes"
ETHER = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
OPTIONS = [GeneveOptions()]
VX = {"vni": 2, "flags": "Instance"}
SEQUENCED = {"seqnum_present": 1}
OUTER = IP(src="198.51.100.1", dst="198.51.100.2")
INNER = IP(src="10.0.0.1", dst="192.0.2.1") / UDP(sport=40_000, dport=443) / PAYLOAD
INNER6 = (
    IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=40_000, dport=443, seq=7, flags="PA") / PAYLOAD
)
V4 = bytes(INNER)
KEY4 = bytes([10, 0, 0, 1, 192, 0, 2, 1]) + struct.pack(">HH", 40_000, 443)
KEY6 = bytes.fromhex("20010db8" + "0" * 23 + "1" + "20010db8" + "0" * 23 + "2") + struct.pack(
    ">HH", 40_000, 443
)


def look(
    data: bytes | Layer, link: int = 1, length: int | None = None, tunnels: int = 8
) -> tuple[object, Around]:
    data = bytes(data)
    decap = Decap(tunnels)
    found = decap.frame(link, data, len(data) if length is None else length)
    return found, decap.around


def payload(found: object) -> bytes:
    assert isinstance(found, Packet), found
    return found.data[found.start : found.end]


@pytest.mark.parametrize(
    ("link", "head"),
    [
        (1, bytes(Ether()) [:12] + b"\x08\0"),
        (12, b""),
        (14, b""),
        (101, b""),
        (228, b""),
        (0, struct.pack("<I", 2)),
        (0, struct.pack(">I", 2)),
        (108, struct.pack(">I", 2)),
        (9, b"\xff\x03\x00\x21"),
        (9, b"\x00\x21"),
        (9, b"\x21"),
        (50, bytes(HDLC() / PPP())[:4]),
        (51, bytes(PPPoE(sessionid=1, len=2 + len(V4)) / PPP(proto=0x21))),
        (113, bytes(CookedLinux(proto=0x0800))),
        (276, bytes(CookedLinuxV2(proto=0x0800))),
        (239, b"\x02\0\0\0" + struct.pack("<HH", 8, 1) + bytes(4) + struct.pack("<HH", 5, 10) + b"a\0\0\0"
         + struct.pack("<HH", 4 + len(V4), 9)),
        (7, bytes([1, 2, 212, 0, 0, 0])),
        (7, bytes([1, 2, 240])),
        (129, bytes([1, 2, 9, 9, 212, 0, 0, 0])),
        (10, b"\x50" + bytes(12) + b"\xaa\xaa\3\0\0\0\x08\0"),
        (258, struct.pack("<3I96x", 108, 1, 1) + bytes(Ether())[:12] + b"\x08\0"),
        (149, struct.pack("<3I96x", 108, 1, 12)),
    ],
)  # fmt: skip
def test_every_link_type(link: int, head: bytes) -> None:
    found, _ = look(head + V4, link)
    assert payload(found) == PAYLOAD
    assert isinstance(found, Packet)
    assert found.key == KEY4
    assert found.size == len(PAYLOAD)


@pytest.mark.parametrize("link", [229, 12, 101])
def test_links_that_carry_ipv6(link: int) -> None:
    found, _ = look(INNER6, link)
    assert isinstance(found, Packet)
    assert (found.key, found.seq, found.flags, payload(found)) == (KEY6, 7, 24, PAYLOAD)


@pytest.mark.parametrize(
    ("layers", "tunnel", "vlan"),
    [
        (ETHER / Dot1Q(vlan=42) / INNER, "", 42),
        (ETHER / Dot1AD(vlan=7) / Dot1Q(vlan=42) / INNER6, "", 42),
        (ETHER / Dot1Q(type=0x9100, vlan=7) / Dot1Q(vlan=9) / INNER, "", 9),
        (ETHER / MPLS(label=1, s=0) / MPLS(label=2, s=1) / INNER, "", None),
        (ETHER / MPLS(label=1, s=1) / Raw(bytes(4)) / ETHER / INNER6, "", None),
        (ETHER / PPPoE(sessionid=1, len=2 + len(V4)) / PPP(proto=0x21) / INNER, "", None),
        (ETHER / OUTER / GRE() / INNER, "gre", None),
        (ETHER / OUTER / GRE(key_present=1, key=5, seqnum_present=1, chksum_present=1) / INNER6, "gre", None),
        (ETHER / OUTER / GRE(proto=0x6558) / ETHER / Dot1Q(vlan=3) / INNER, "gre", 3),
        (ETHER / OUTER / GRE_PPTP(call_id=1, **SEQUENCED) / PPP(proto=0x21) / INNER, "gre", None),
        (ETHER / OUTER / GRE(proto=0x88BE) / ERSPAN_I() / ETHER / INNER, "erspan:0", None),
        (ETHER / OUTER / GRE(proto=0x88BE, **SEQUENCED) / ERSPAN_II(session_id=7) / ETHER / INNER, "erspan:7",
         None),
        (ETHER / OUTER / GRE(proto=0x22EB, **SEQUENCED) / ERSPAN_III(session_id=78) / ETHER / INNER6,
         "erspan:78", None),
        (ETHER / OUTER / UDP(sport=1, dport=4789) / VXLAN(**VX) / ETHER / INNER, "vxlan:2", None),
        (ETHER / OUTER / UDP(sport=1, dport=8472) / VXLAN(**VX) / ETHER / Dot1Q(vlan=8) / INNER6,
         "vxlan:2", 8),
        (ETHER / OUTER / UDP(dport=6081) / GENEVE(vni=9, options=OPTIONS) / ETHER / INNER, "geneve:9", None),
        (ETHER / OUTER / UDP(dport=6081) / GENEVE(vni=9, proto=0x86DD) / INNER6, "geneve:9", None),
        (ETHER / OUTER / INNER6, "ipip", None),
        (ETHER / OUTER / INNER, "ipip", None),
        (ETHER / IPv6() / INNER, "ipip", None),
        (ETHER / OUTER / UDP(dport=2152) / GTP_U_Header(teid=66) / INNER, "gtpu:66", None),
        (ETHER / OUTER / UDP(dport=2152) / GTP_U_Header(teid=67) / GTPPDUSessionContainer() / INNER,
         "gtpu:67", None),
        (ETHER / OUTER / UDP(sport=3544, dport=5) / IPv6(src="2001::1") / INNER, "teredo/ipip", None),
        (ETHER / OUTER / UDP(dport=3544) / Raw(b"\0\1\0\0" + bytes(9) + bytes(8)) / IPv6(dst="2001::1") / INNER,
         "teredo/ipip", None),
        (ETHER / OUTER / UDP(dport=3544) / IPv6(src="fe80::1", dst="ff02::2") / INNER, "teredo/ipip", None),
        (ETHER / OUTER / UDP(dport=4789) / VXLAN(**VX) / ETHER / OUTER / GRE() / INNER, "vxlan:2/gre",
         None),
        (ETHER / OUTER / GRE(proto=0x6400, version=1, key_present=1, key=0x0034_0700) / ETHER / INNER, "eoip:7",
         None),
        (ETHER / OUTER / UDP(sport=1, dport=4754) / GRE(key_present=1) / INNER6, "gre", None),
        (ETHER / OUTER / UDP(sport=1, dport=4754) / GRE(proto=0x6558) / ETHER / Dot1Q(vlan=2) / INNER, "gre", 2),
        (ETHER / OUTER / UDP(sport=1, dport=37008) / TZSP() / TZSPTagPadding() / TZSPTagEnd() / ETHER / INNER,
         "tzsp", None),
        (ETHER / OUTER / UDP(sport=1, dport=37008) / TZSP(type=1) / TZSPTagRawRSSIByte() / TZSPTagEnd() / ETHER
         / Dot1Q(vlan=4) / INNER6, "tzsp", 4),
        (ETHER / OUTER / UDP(sport=5247, dport=1) / Raw(b"\0\x10\2\0" + bytes(4)) / ETHER / INNER, "capwap", None),
        (ETHER / OUTER / UDP(sport=1, dport=5247) / Raw(b"\0\x18\2\x10" + bytes(8)) / ETHER / INNER6, "capwap",
         None),
        (ETHER / OUTER / AH(nh=4, payloadlen=4, icv=bytes(12)) / INNER, "ipip", None),
    ],
)  # fmt: skip
def test_tags_and_tunnels_are_looked_into(layers: Layer, tunnel: str, vlan: int | None) -> None:
    found, around = look(layers)
    assert payload(found) == PAYLOAD
    assert (around.tunnel, around.vlan) == (tunnel, vlan)
    assert around.macs == MACS
    assert found.key == (KEY6 if layers.haslayer(TCP) else KEY4)  # type: ignore[attr-defined]
    for cut in range(14, len(bytes(layers))):
        look(bytes(layers)[:cut], length=len(bytes(layers)))


def test_tunnels_end_at_the_limit() -> None:
    layers = ETHER / OUTER / OUTER / OUTER / INNER
    assert look(layers, tunnels=3)[1].tunnel == "ipip/ipip/ipip"
    assert look(layers, tunnels=2)[0] == "undecodable"


@pytest.mark.parametrize("body", [b"", b"\0" * 6, b"\0" * 60, b"\x30", b"\xff" * 60])
@pytest.mark.parametrize("port", [4789, 8472, 6081, 2152, 3544, 4754, 37008, 5247])
def test_on_a_tunnel_port_but_no_tunnel(port: int, body: bytes) -> None:
    found, around = look(ETHER / OUTER / UDP(sport=9, dport=port) / Raw(body))
    if not (body.startswith(b"\xff") and port in (4789, 8472)) and not (port == 6081 and body == bytes(60)):
        assert payload(found) == body
        assert around.tunnel == ""


@pytest.mark.parametrize("port", [4754, 37008, 5247, 3544])
@pytest.mark.parametrize(
    "body",
    [
        b"\1\0\x81\x80\0\1\0\1\0\0\0\0\3api\6openai\3com\0\0\1\0\1" + bytes(16),  # a DNS answer
        b"\0\x10\x81\x80\0\1\0\1\0\0\0\0\3api\6openai\3com\0\0\1\0\1" + bytes(16),
        b"\x41" + bytes(60),  # QUIC
        b"\x61" + bytes(60),
        b"\1\0\0\1\2\x40" + bytes(40),  # fields without an end
        b"\1\0\0\1\1" + bytes(40),  # of no EtherType
        b"\1\2\0\1\1" + bytes(ETHER / INNER),  # a reserved type
        b"\0\x10\2\x08" + bytes(40),  # a keep-alive
        b"\0\x08\2\0" + bytes(40),  # a header shorter than it is
        b"\x40\0\x08\0" + bytes(40),  # a source route
    ],
)
def test_answers_to_a_client_that_has_a_tunnels_port(port: int, body: bytes) -> None:
    found, around = look(ETHER / OUTER / UDP(sport=53, dport=port) / Raw(body))
    assert payload(found) == body
    assert around.tunnel == ""


@pytest.mark.parametrize(
    ("layers", "kind"),
    [
        (ETHER / OUTER / UDP(dport=5247) / Raw(b"\0\x10\2\x80" + bytes(40)), "tunnelled"),  # a fragment
        (ETHER / OUTER / GRE(proto=0x6400) / ETHER / INNER, "other"),  # not MikroTik's
        (ETHER / OUTER / GRE(proto=0x6400, version=1, key_present=1, key=0x0700), "other"),  # a keep-alive
        (ETHER / Raw(bytes(50)), "other"),
        (ETHER / OUTER / ESP(spi=1) / Raw(bytes(40)), "tunnelled"),
        (ETHER / IP(proto=115) / Raw(bytes(40)), "tunnelled"),
        (ETHER / IP(proto=1) / Raw(bytes(40)), "other"),
        (ETHER / IPv6(nh=59), "other"),
        (ETHER / OUTER / GRE(proto=0x9000) / Raw(bytes(40)), "other"),
        (ETHER / OUTER / GRE_PPTP(), "other"),
        (ETHER / PPPoE(sessionid=1, len=4) / PPP(proto=0xC021) / Raw(bytes(2)), "other"),
        (ETHER / OUTER / GRE(routing_present=1) / INNER, "undecodable"),
        (ETHER / OUTER / GRE(version=2) / INNER, "undecodable"),
        (ETHER / OUTER / UDP(dport=2152) / Raw(b"\x34\xff\0\0\0\0\0\1\0\0\0\x85" + bytes(30)), "undecodable"),
    ],
)  # fmt: skip
def test_what_is_not_looked_into(layers: Layer, kind: str) -> None:
    assert look(layers)[0] == kind


@pytest.mark.parametrize(
    "head", [(108, 2, 1), (108, 1, 258), (108, 1, 149), (0, 1, 999), (4_000_000_000, 1, 1)]
)
def test_pktap_without_a_packet(head: tuple[int, int, int]) -> None:
    assert look(struct.pack("<3I96x", *head) + bytes(ETHER / INNER), 258)[0] == "undecodable"


@pytest.mark.parametrize(
    ("data", "link"),
    [
        (b"", 1),
        (bytes(13), 1),
        (ethernet(b"\x45"), 1),
        (ethernet(ipv4(tcp(b"x"), 6)[:39]), 1),
        (ethernet(ipv4(udp(b"x"), 17)[:27]), 1),
        (ethernet(b"\x44" + ipv4(tcp(), 6)[1:]), 1),
        (ethernet(b"\x55" + ipv4(tcp(), 6)[1:]), 1),
        (ethernet(ipv4(tcp(), 6, total=19)), 1),
        (ethernet(ipv4(tcp()[:12] + b"\x40" + tcp()[13:], 6)), 1),
        (ethernet(ipv4(tcp()[:12] + b"\xf0" + tcp()[13:], 6)), 1),
        (ethernet(b"\x75" + ipv6(tcp(), 6)[1:], 0x86DD), 1),
        (ethernet(ipv6(b"\6\xff" + bytes(20), 0), 0x86DD), 1),
        (ethernet(ipv4(b"\6\xff" + bytes(20), 51)), 1),
        (b"\x75" + bytes(40), 101),
        (b"\2\0\0\0\3\0\1\0", 239),
        (bytes(60), 147),
    ],
)
def test_undecodable(data: bytes, link: int) -> None:
    assert look(data, link)[0] == "undecodable"


@pytest.mark.parametrize("data", [b"\x07\0\0\0" + struct.pack("<HH", 8, 9) + bytes(4)])
def test_nflog_of_another_family(data: bytes) -> None:
    assert look(data, 239)[0] == "other"
    assert look(b"\1\2\x06abc" + bytes(20), 7)[0] == "other"  # ARCnet


def test_extension_headers_are_skipped() -> None:
    pad = PadN(optdata=bytes(2))
    chain = (
        IPv6ExtHdrHopByHop(options=[pad])
        / IPv6ExtHdrRouting(addresses=["2001:db8::9"])
        / IPv6ExtHdrDestOpt(options=[pad])
    )
    found, _ = look(
        ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / chain / TCP(sport=40_000, dport=443) / PAYLOAD
    )
    assert isinstance(found, Packet)
    assert (found.key, payload(found), found.size) == (KEY6, PAYLOAD, len(PAYLOAD))


def test_lengths_come_from_the_ip_header() -> None:
    padded = ethernet(ipv4(tcp(b"ab"), 6)) + bytes(10)
    found, _ = look(padded)
    assert isinstance(found, Packet)
    assert (payload(found), found.size) == (b"ab", 2)
    cut, _ = look(ethernet(ipv4(tcp(bytes(1000)), 6))[:60], length=1_054)
    assert isinstance(cut, Packet)
    assert (payload(cut), cut.size) == (bytes(6), 1_000)


@pytest.mark.parametrize(
    "packet", [ipv4(tcp(bytes(70_000)), 6, total=0), ipv6(tcp(bytes(70_000)), 6, size=0)]
)
def test_length_zero_of_segmentation_offload(packet: bytes) -> None:
    data = ethernet(packet, 0x0800 if packet[0] == 0x45 else 0x86DD)
    found, _ = look(data)
    assert isinstance(found, Packet)
    assert found.size == 70_000
    snapped, _ = look(data[:100], length=len(data))
    assert isinstance(snapped, Packet)
    assert snapped.size == 70_000


def test_fragments() -> None:
    found, _ = look(ethernet(ipv4(b"x" * 16, 17, ident=9, fragment=0x2002)))
    assert found == Fragment((KEY4[:8], 9, 17), 17, 16, True, b"x" * 16, 16)
    body = struct.pack(">BBHI", 17, 0, 24 | 1, 77) + b"y" * 8
    found6, _ = look(ethernet(ipv6(body, 44), 0x86DD))
    assert found6 == Fragment((KEY6[:32], 77, 0), 17, 24, True, b"y" * 8, 8)
    atomic, _ = look(ethernet(ipv6(struct.pack(">BBHI", 17, 0, 0, 77) + udp(b"z"), 44), 0x86DD))
    assert payload(atomic) == b"z"


def test_a_whole_datagram_goes_on_where_it_was() -> None:
    decap = Decap(8)
    found = decap.datagram(4, KEY4[:8], V4, len(V4))
    assert payload(found) == PAYLOAD
    assert decap.around.tunnel == "ipip"
    for protocol in (6, 17, 47, 51, 4, 41):
        assert Decap(8).datagram(protocol, KEY4[:8], b"\x45", 900) == "undecodable"


FRAMES = [
    ethernet(ipv4(tcp(PAYLOAD), 6, ident=3)),
    ethernet(ipv4(udp(PAYLOAD), 17, ident=3)),
    ethernet(ipv6(tcp(PAYLOAD), 6), 0x86DD),
    ethernet(ipv6(udp(PAYLOAD), 17), 0x86DD),
    bytes(ETHER / Dot1Q(vlan=4) / INNER),
    bytes(ETHER / OUTER / UDP(sport=1, dport=4789) / VXLAN(**VX) / ETHER / INNER),
    bytes(ETHER / OUTER / GRE(proto=0x88BE, **SEQUENCED) / ERSPAN_II(session_id=77) / ETHER / INNER),
    bytes(ETHER / OUTER / UDP(dport=2152) / GTP_U_Header(teid=67) / GTPPDUSessionContainer() / INNER),
    bytes(ETHER / OUTER / UDP(sport=5247, dport=1) / Raw(b"\0\x10\2\0" + bytes(4)) / ETHER / INNER),
    bytes(ETHER / OUTER / UDP(dport=37008) / TZSP() / TZSPTagEnd() / ETHER / INNER),
    bytes(ETHER / OUTER / UDP(dport=4754) / GRE() / INNER),
]


@given(
    st.sampled_from(FRAMES),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4),
    st.data(),
)
def test_the_short_way_agrees_with_the_long_one(
    data: bytes, changes: list[tuple[int, int]], choice: st.DataObject
) -> None:
    changed = bytearray(data)
    for at, value in changes:
        changed[at % len(changed)] = value
    cut = bytes(changed[: choice.draw(st.integers(0, len(changed)))])
    found, around = look(cut, length=len(data))
    short = plain(cut)
    if short is not None:
        assert isinstance(found, Packet)
        assert (*short[:4], cut[short[5] : short[6]], short[7]) == (*found[:4], payload(found), found.size)
        assert around == Around(cut[:12], None, "")
        mark = short[8]
        assert identity(cut, 14) == (hash(short[1]) ^ mark if mark else None)


@given(
    st.binary(max_size=200),
    st.sampled_from([0, 1, 7, 9, 10, 12, 50, 51, 101, 105, 113, 127, 129, 149, 228, 229, 239, 258, 276]),
    st.integers(0, 9_000),
)
def test_any_bytes_give_something(data: bytes, link: int, more: int) -> None:
    found, _ = look(data, link, len(data) + more)
    assert isinstance(found, (Packet, Fragment)) or found in ("other", "tunnelled", "undecodable")
    if isinstance(found, (Packet, Fragment)):
        assert found.size >= 0
