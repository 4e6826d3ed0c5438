"""Small conversations of every kind the engines look into. The differential test mutates them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from sensor.packets.facts import Frame
from sensor.wire.quic import VERSION_2
from tests.sensor.packets.build import (
    ACK,
    CLIENT,
    FIN,
    MACS,
    RST,
    SECOND,
    SERVER,
    START,
    SYN,
    Talk,
    datagrams,
    ethernet,
    frame,
    ipv4,
    ipv6,
    tcp,
    udp,
)
from tests.sensor.wire.samples import (
    alpn,
    crypto,
    dtls_records,
    handshake,
    hello_body,
    initial,
    records,
    sni,
    vec,
    versions,
)

NAME, OTHER, FRONT = b"api.openai.com", b"www.example.net", b"cloudflare-ech.com"
ECH = (0xFE0D, bytes(40))
TUNNEL = b"CONNECT api.openai.com:443 HTTP/1.1\r\n\r\n"
PRE13, TLS13 = (0x0303,), (0x0304, 0x0303)


def hello(name: bytes = NAME, *more: tuple[int, bytes]) -> bytes:
    return handshake(hello_body([sni(name), alpn(b"h2"), versions(*TLS13), (21, bytes(300)), *more]))


def server_hello(tls13: bool) -> bytes:
    extensions = b"\0\x2b\0\2\3\4" if tls13 else b""
    return records(handshake(b"\3\3" + bytes(32) + b"\0" + b"\x13\x01\0" + vec(2, extensions), 2))


def data(size: int) -> bytes:
    return b"\x17\3\3" + vec(2, bytes(size))


def tls(name: bytes = NAME, cut: int = 200, tls13: bool = True, **talk: object) -> list[Frame]:
    one = Talk(**talk).hands()  # type: ignore[arg-type]
    first = records(hello(name, ECH), 300)
    for start in range(0, len(first), cut):
        one.up(first[start : start + cut])
    one.down(server_hello(tls13) + data(900)[:500]).down(data(900)[500:])
    one.up(b"\x14\3\3\0\1\1" + data(53)).up(data(400)).up(data(30) * 3, after=3 * SECOND)
    one.down(data(1_000)).down(data(1_200), after=70 * SECOND).up(data(20)[:3]).up(data(20)[3:])
    return one.bye().frames


def preconnect(sport: int = 40_072, connect: bytes = b"") -> list[Frame]:
    """A TLS 1.3 handshake, two tickets, close_notify each way: nothing was said."""
    one = Talk(sport=sport).hands()
    if connect:
        one.up(connect).down(b"HTTP/1.1 200 OK\r\n\r\n")
    one.up(records(hello())).down(server_hello(True) + data(900))
    one.up(b"\x14\3\3\0\1\1" + data(53)).up(data(19)).down(data(282) * 2 + data(19))
    return one.bye().frames


def out_of_order() -> list[Frame]:
    frames = tls(cut=150, sport=40_001)
    return frames[:3] + frames[3:8][::-1] + frames[8:]


def endings() -> list[Frame]:
    """The same ports three times: reset, reset by a new SYN, silence."""
    one = Talk(sport=40_002).hands().up(records(hello())).down(flags=RST | ACK).up(b"late")
    one.up(flags=SYN, seq=9_000).up(records(hello(OTHER)), seq=9_001)
    one.up(flags=SYN, seq=80_000, after=SECOND).up(records(hello()), seq=80_001)
    return one.up(b"after silence", after=400 * SECOND).up(flags=SYN, seq=1, after=7 * SECOND).frames


def middle() -> list[Frame]:
    """No SYN, server first, then a hello from the side with the lower port, or a request."""
    one = Talk(sport=443, dport=50_000).down(b"220 ready\r\n").down(b"more", seq=51_002)
    one.up(records(hello())).down(server_hello(False)).up(data(99)).bye()
    two = Talk(sport=40_014, dport=50_001).down(b"HTTP/1.1 200 OK\r\n\r\n").down(bytes(900)).down(b"z")
    return one.frames + two.up(request("localhost", "/api/chat")).down(b"HTTP/1.1 204 No\r\n\r\n").frames


def request(host: str = "api.openai.com", path: str = "/v1/chat", method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\n".encode()


def http() -> list[Frame]:
    one = Talk(sport=40_003, dport=11_434).hands()
    one.up(request("a.b", "/")).up(b"body").down(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    one.up(request("localhost", "/api/chat")[:30]).up(request("localhost", "/api/chat")[30:])
    one.up(request(path="/api/tags")).up(b"body", seq=5_000).down(bytes(100))
    return one.up(b"x" * 80).up(request()).down(b"y", seq=60_000).bye().frames


def plain_http() -> list[Frame]:
    one = (
        Talk(sport=40_013, dport=80).hands().up(request(OTHER.decode(), "/")).down(b"HTTP/1.1 204 No\r\n\r\n")
    )
    one.up(request(OTHER.decode(), "/v1/models")).down(b"HTTP/1.1 204 No\r\n\r\n")
    return one.up(request(method="GET")).up(b"z" * 40, seq=9_999).frames


def proxied() -> list[Frame]:
    one = Talk(sport=40_004, dport=3_128).hands()
    one.up(TUNNEL).down(b"HTTP/1.1 200 OK\r\n\r\n")
    two = Talk(sport=40_005, dport=1_080).hands().up(b"\5\1\0").down(b"\5\0")
    two.up(b"\5\1\0\3" + vec(1, NAME) + b"\1\xbb").down(b"\5\0\0\1" + bytes(6)).up(request(OTHER.decode()))
    three = (
        Talk(sport=40_006, dport=25)
        .hands()
        .down(b"220 mail\r\n")
        .up(b"EHLO me\r\n")
        .down(b"250 STARTTLS\r\n")
    )
    return (
        one.up(records(hello(OTHER))).frames
        + two.frames
        + three.up(b"STARTTLS\r\n").up(records(hello())).frames
    )


def name(text: bytes) -> bytes:
    return b"".join(vec(1, label) for label in text.split(b".")) + b"\0"


def dns(question: bytes = NAME, answers: Iterable[bytes] = (), response: bool = True, kind: int = 1) -> bytes:
    body = b"".join(answers)
    count = len(list(answers))
    head = struct.pack(">HHHHHH", 7, 0x8180 if response else 0x0100, 1, count, 0, 0)
    return head + name(question) + struct.pack(">HH", kind, 1) + body


def record(kind: int, body: bytes, ttl: int = 60) -> bytes:
    return b"\xc0\x0c" + struct.pack(">HHI", kind, 1, ttl) + vec(2, body)


def lookups() -> list[Frame]:
    address = bytes((192, 0, 2, 1))
    alias = dns(OTHER, [record(5, name(NAME)), record(1, address, 4_000_000_000)])
    config = b"\xfe\x0d" + vec(
        2, bytes(3) + vec(2, b"key") + vec(2, bytes(4)) + b"\0" + vec(1, FRONT) + bytes(2)
    )
    https = dns(OTHER, [record(65, b"\0\1\0" + b"\0\5" + vec(2, vec(2, config)))], kind=65)
    out = datagrams((True, dns(response=False)), (False, dns(answers=[record(1, address)])), dport=53)
    out += datagrams((False, alias), (True, dns(OTHER, response=False)), sport=40_007, dport=53)
    out += datagrams((True, https), (False, https), (False, dns()[:20]), sport=40_008, dport=53)
    out += datagrams(
        (True, dns(NAME.upper(), response=False)), (True, dns(b"\xff ." + NAME)), sport=40_012, dport=53
    )
    out += datagrams((True, dns(b"printer.local")), sport=5_353, dport=5_353)
    out += datagrams((True, bytes(240)), sport=68, dport=67)
    one = Talk(sport=40_009, dport=53).hands().up(vec(2, dns(response=False))[:9])
    one.up(vec(2, dns(response=False))[9:]).down(vec(2, alias) + vec(2, https)[:7]).down(vec(2, https)[7:])
    return (
        out + one.bye().frames + tls(FRONT, sport=40_010, cut=2_000) + Talk(sport=40_011).up(b"?" * 9).frames
    )


def quic(version: int = 1, sport: int = 40_020, name: bytes = NAME) -> list[Frame]:
    message = hello(name)
    pieces = [crypto(300, message[300:]), crypto(100, message[100:300]) + b"\1", crypto(0, message[:100])]
    sent = [(True, initial(piece, version=version, number=number)) for number, piece in enumerate(pieces)]
    answer = (False, initial(crypto(0, bytes(90)), version=version, server=True))
    rest = [
        (True, b"\x40" + bytes(30)),
        (False, b"\x41" + bytes(900)),
        (True, b"\x42" + bytes(80)),
        (False, b"\x43" * 99),
    ]
    return datagrams(*sent, answer, *rest, sport=sport)


def early(version: int = 1, behind: bool = True, sport: int = 40_026) -> list[Frame]:
    """A request in 0-RTT packets, `behind` the Initial or in a datagram of its own, and its answer."""
    first = bytes((0xE0 if version == VERSION_2 else 0xD0,))
    request = (
        first + version.to_bytes(4, "big") + vec(1, b"shorter1") + vec(1, b"") + b"\x40\x64" + bytes(100)
    )
    first_flight = initial(crypto(0, hello()), version=version)
    asked = [first_flight + request] if behind else [first_flight, request]
    answer = [(False, b"\x41" + bytes(900)), (True, b"\x40" + bytes(30)), (False, request)]
    return datagrams(*((True, payload) for payload in asked), *answer, sport=sport)


def quics() -> list[Frame]:
    retry = b"\xf0\0\0\0\1\0\0" + bytes(20)
    retried = initial(crypto(0, hello()), dcid=b"newer-id", token=b"token")
    return [
        *quic(), *quic(VERSION_2, 40_021), *quic(0xFF00001D, 40_022, OTHER),
        *datagrams((True, initial(b"\1")), (False, retry), (True, retried), sport=40_023),
        *early(), *early(VERSION_2, False, 40_027), *early(0xFF00001D, False, 40_028),
        *datagrams((True, b"\xc0\x0a\x0a\x0a\x0a\0\0" + bytes(60)), sport=40_024),
        *datagrams((True, b"\x09" + bytes(8) + b"Q039" + bytes(30)), sport=40_025),
    ]  # fmt: skip


def other_udp() -> list[Frame]:
    body = hello_body([sni(NAME)], cookie=b"")
    whole, half = dtls_records(body), dtls_records(body, 60)
    out = datagrams((True, whole[0]), (False, bytes(50)), sport=40_030)
    out += datagrams(*((True, part) for part in half), sport=40_031)
    out += datagrams(
        (True, b"\1\0\0\0" + bytes(144)), (False, b"\2\0\0\0" + bytes(88)), sport=51_820, dport=51_820
    )
    out += datagrams((True, bytes(40)), sport=40_032, dport=1_194) + datagrams((True, bytes(40)), dport=853)
    odd = [ethernet(ipv4(bytes(20), 50)), ethernet(ipv4(bytes(8), 1, ident=7)), ethernet(bytes(28), 0x0806)]
    return out + [frame(raw, START + SECOND + at) for at, raw in enumerate(odd)]


def rewrap(wrap: Callable[[bytes], bytes], frames: Iterable[Frame], link: int = 1) -> list[Frame]:
    return [frame(wrap(one.data), one.time, link) for one in frames]


def gre(body: bytes, kind: int, flags: int = 0, more: bytes = b"") -> bytes:
    return ethernet(ipv4(struct.pack(">HH", flags, kind) + more + body, 47, "10.9.9.1", "10.9.9.2", ident=3))


def over_udp(port: int, head: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: ethernet(ipv4(udp(head + raw, 40_000, port), 17, "10.9.9.1", "10.9.9.2", ident=9))


SNAP = b"\xaa\xaa\3\0\0\0"


def wlan(raw: bytes, way: int, kind: int = 0x08, order: int = 0, several: bool = False) -> bytes:
    """An Ethernet frame as a data frame of 802.11; `way`: its flags from and to the distribution system."""
    target, source, station = raw[:6], raw[6:12], b"\2\0\0\0\0\x09"
    places = {0: (target, source, station), 1: (station, source, target), 2: (target, station, source)}
    first, second, third = places.get(way, (station, station, target))
    head = bytes((kind, way | order, 0, 0)) + first + second + third + b"\x10\0"
    head += source if way == 3 else b""
    head += (b"\x80\0" if several else b"\0\0") if kind & 0x80 else b""
    return head + (bytes(4) if order else b"") + (raw if several else SNAP + raw[12:])


def padded(raw: bytes) -> bytes:
    """As some drivers hand it on: the header, here of 26 bytes, ends at a multiple of four."""
    return raw[:26] + bytes(2) + raw[26:]


def swapped(raw: bytes) -> bytes:
    """As Cisco's access points send it: the first field the other way round."""
    return raw[1::-1] + raw[2:]


WRAPS: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "vlan": (lambda raw: raw[:12] + b"\x88\xa8\0\7\x81\0\0\x2a" + raw[12:], 1),
    "mpls": (lambda raw: ethernet(b"\0\0\x10\0" + b"\0\0\x21\xff" + raw[14:], 0x8847), 1),
    "pppoe": (lambda raw: ethernet(b"\x11\0\0\1" + vec(2, b"\0\x21" + raw[14:]), 0x8864), 1),
    "cooked": (lambda raw: bytes(14) + raw[12:], 113),
    "cooked2": (lambda raw: raw[12:14] + bytes(18) + raw[14:], 276),
    "raw": (lambda raw: raw[14:], 101),
    "loopback": (lambda raw: b"\2\0\0\0" + raw[14:], 0),
    "ppp": (lambda raw: b"\xff\3\0\x21" + raw[14:], 9),
    "nflog": (lambda raw: b"\2\0\0\0" + struct.pack("<HH", len(raw) - 10, 9) + raw[14:], 239),
    "gre": (lambda raw: gre(raw[14:], 0x0800, 0x2000, b"\0\0\0\1"), 1),
    "pptp": (lambda raw: gre(b"\xff\3\0\x21" + raw[14:], 0x880B, 0x3081, bytes(12)), 1),
    "bridge": (lambda raw: gre(raw, 0x6558), 1),
    "erspan1": (lambda raw: gre(raw, 0x88BE), 1),
    "erspan2": (lambda raw: gre(raw, 0x88BE, 0x1000, bytes(4) + b"\x10\0\0\5" + bytes(4)), 1),
    "erspan3": (lambda raw: gre(raw, 0x22EB, 0x1000, bytes(4) + b"\x20\0\0\6" + bytes(8)), 1),
    "vxlan": (over_udp(4_789, b"\x08\0\0\0\0\0\x2a\0"), 1),
    "geneve": (over_udp(6_081, b"\1\0\x65\x58\0\0\7\0" + bytes(4)), 1),
    "gtpu": (lambda raw: over_udp(2_152, b"\x34\xff\0\0\0\0\0\x09\0\0\0\x85\1\0\0\0")(raw[14:]), 1),
    "ipip": (lambda raw: ethernet(ipv4(raw[14:], 4)), 1),
    "6in4": (lambda raw: ethernet(ipv4(ipv6(raw[34:], 6), 41)), 1),
    "teredo": (lambda raw: over_udp(3_544, b"")(ipv6(raw[34:], 6, "2001::1")), 1),
    "ah": (lambda raw: ethernet(ipv4(b"\6\4" + bytes(22) + raw[34:], 51, ident=5)), 1),
    "snap": (lambda raw: raw[:12] + vec(2, SNAP + raw[12:]), 1),
    "vn-tag": (lambda raw: raw[:12] + b"\x89\x26" + bytes(4) + raw[12:], 1),
    "e-tag": (lambda raw: raw[:12] + b"\x89\x3f" + bytes(6) + raw[12:], 1),
    "metadata": (lambda raw: raw[:12] + b"\x89\x09\1\1\0\1\0\7" + raw[12:], 1),
    "macsec": (lambda raw: raw[:12] + b"\x88\xe5\x20\0" + bytes(12) + raw[12:], 1),
    "macsec2": (lambda raw: raw[:12] + b"\x88\xe5\x40\0" + bytes(4) + raw[12:], 1),
    "pbb": (lambda raw: ethernet(b"\0\0\1\2" + raw, 0x88E7), 1),
    "fabricpath": (lambda raw: ethernet(b"\0\x60" + raw, 0x8903), 1),
    "fddi": (lambda raw: b"\x50" + raw[:12] + SNAP + raw[12:], 10),
    "arcnet": (lambda raw: bytes((1, 2, 212, 0, 0, 0)) + raw[14:], 7),
    "arcnet2": (lambda raw: bytes((1, 2, 0, 0, 240)) + raw[14:], 129),
    "pktap": (lambda raw: struct.pack("<3I96x", 108, 1, 1) + raw, 258),
    "pktap2": (lambda raw: struct.pack("<3I96x", 108, 1, 12) + raw[14:], 149),
    "wlan": (lambda raw: wlan(raw, 2), 105),
    "radiotap": (lambda raw: b"\0\0\x0c\0" + bytes(8) + wlan(raw, 1, 0x88, 0x80), 127),
    "radiotap2": (lambda raw: b"\0\0\x09\0\2\0\0\0\x20" + padded(wlan(raw, 1, 0x88)), 127),
    "a-msdu": (lambda raw: wlan(raw[:12] + vec(2, SNAP + raw[12:]), 3, 0x88, 0, True), 105),
    "eoip": (lambda raw: gre(raw, 0x6400, 0x2001, struct.pack(">H", len(raw)) + b"\7\0"), 1),
    "aruba": (lambda raw: gre(wlan(raw, 1, 0x88), 0x8240), 1),
    "gre in udp": (over_udp(4_754, b"\0\0\x65\x58"), 1),
    "tzsp": (over_udp(37_008, b"\1\0\0\1\x0a\1\xc8\0\1"), 1),
    "capwap": (over_udp(5_247, b"\0\x10\x02\0" + bytes(4)), 1),
    "capwap2": (lambda raw: over_udp(5_247, b"\0\x10\x03\0" + bytes(4))(swapped(wlan(raw, 1))), 1),
    "options": (lambda raw: ethernet(ipv6(b"\x3c" + bytes(7) + b"\6" + bytes(7) + raw[34:], 0), 0x86DD), 1),
}  # fmt: skip


def fragments() -> list[Frame]:
    out, body = [], udp(initial(crypto(0, hello())), 40_040)
    first = tcp(records(hello()), 40_041, seq=9)
    for at in range(0, len(body), 480):
        part, more = body[at : at + 480], 0x2000 if at + 480 < len(body) else 0
        out.append(frame(ethernet(ipv4(part, 17, ident=77, fragment=more | at // 8)), START + at))
    for at in range(0, len(first), 160):
        part, more = first[at : at + 160], at + 160 < len(first)
        head = struct.pack(">BxHI", 6, at | more, 99)
        out.append(frame(ethernet(ipv6(head + part, 44), 0x86DD), START + SECOND + at))
    overlap = ethernet(ipv4(b"overlap!" * 9, 17, ident=77, fragment=0x2000 | 50))
    return [out[1], frame(overlap, START), *out[:1], *out[2:]]


def mirrored() -> list[Frame]:
    """Each frame of a conversation twice, the second behind a router."""
    out = []
    for number, one in enumerate(tls(sport=40_050)[:9]):
        raw = bytearray(one.data)
        raw[18:20] = (number + 1).to_bytes(2, "big")
        out.append(frame(bytes(raw), one.time))
        raw[22] -= 1
        out.append(frame(bytes(MACS[::-1] + raw[12:]), one.time + 1_000))
    return out


def no_payload() -> list[Frame]:
    one = Talk(sport=40_060).hands().bye()
    return (
        one.frames
        + Talk(sport=40_061).up(flags=SYN).frames
        + Talk(sport=40_062).up(flags=FIN | ACK).up(flags=ACK).frames
    )


def land() -> list[Frame]:
    """Both endpoints are one: TCP with a new SYN, UDP, DNS, HTTP."""
    ends = {"client": CLIENT, "server": CLIENT}
    one = Talk(**ends, sport=443).hands().up(records(hello())).down(server_hello(True)).bye()  # type: ignore[arg-type]
    one.up(flags=SYN, seq=7).down(b"late").up(flags=RST)
    two = (
        Talk(**ends, sport=11_434, dport=11_434)
        .up(request("10.0.0.1", "/api/chat"))
        .down(b"HTTP/1.1 200 OK\r\n\r\n")
    )  # type: ignore[arg-type]
    asked = (dns(response=False), dns(answers=[record(1, bytes(4))]), dns(OTHER, [record(5, name(NAME))]))
    same = [
        frame(ethernet(ipv4(udp(payload, port, port), 17, CLIENT, CLIENT)), START + SECOND + port)
        for port in (53, 443, 853)
        for payload in (*asked, *(one.data[42:] for one in quic()))
    ]
    return one.frames + two.frames + same


SCENARIOS: dict[str, Callable[[], list[Frame]]] = {
    "tls": tls,
    "tls 1.2": lambda: tls(OTHER, cut=2_000, tls13=False, sport=40_070),
    "tls over IPv6": lambda: tls(client="2001:db8::1", server="2001:db8::2"),
    "unwatched": lambda: tls(OTHER, cut=99, sport=40_071),
    "pre-connect": preconnect,
    "pre-connect through a proxy": lambda: preconnect(40_073, TUNNEL),
    "out of order": out_of_order,
    "endings": endings,
    "middle": middle,
    "http": http,
    "plain http": plain_http,
    "proxied": proxied,
    "lookups": lookups,
    "quic": quics,
    "other udp": other_udp,
    "fragments": fragments,
    "mirrored": mirrored,
    "no payload": no_payload,
    "land": land,
    **{
        what: lambda wrap=wrap, link=link: rewrap(
            wrap, tls(sport=40_080, client=CLIENT, server=SERVER)[:12], link
        )  # type: ignore[misc]
        for what, (wrap, link) in WRAPS.items()
    },
}


def seed(frames: Iterable[Frame], choice: int) -> bytes:
    """The frames as `sensor/packets/core/src/fuzzing.rs` reads them, times aside."""
    links = (1, 1, 127, 101, 113, 239, 276, 258)
    known = [(links.index(one.link), one.data[:2_047]) for one in frames if one.link in links]
    return bytes((choice,)) + b"".join(bytes((1, link)) + vec(2, data) for link, data in known)


def main(folder: str) -> None:
    """Writes a corpus for the fuzz target."""
    for number, (what, make) in enumerate(SCENARIOS.items()):
        (Path(folder) / what.replace(" ", "-")).write_bytes(seed(make(), number % 4))


if __name__ == "__main__":
    main(sys.argv[1])
