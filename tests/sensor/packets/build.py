"""Frames made by hand: a small conversation kit on struct, so that a test reads as what was on the wire."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

from sensor.packets.engine import Engine
from sensor.packets.facts import Fact, Frame, Limits, Watch

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT, SERVER = "10.0.0.1", "192.0.2.1"
MACS = bytes.fromhex("020000000002") + bytes.fromhex("020000000001")
MAC = "02:00:00:00:00:01"
EVERYTHING = Watch(all=True)


def pack(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ethernet(body: bytes, kind: int = 0x0800, macs: bytes = MACS) -> bytes:
    return macs + struct.pack(">H", kind) + body


def ipv4(
    body: bytes,
    protocol: int,
    source: str = CLIENT,
    target: str = SERVER,
    ident: int = 0,
    fragment: int = 0,
    total: int | None = None,
    ttl: int = 64,
    options: bytes = b"",
) -> bytes:
    size = 20 + len(options) + len(body) if total is None else total
    first = 0x40 | 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", first, 0, size, ident, fragment, ttl, protocol, 0)
    return head + pack(source) + pack(target) + options + body


def ipv6(
    body: bytes,
    protocol: int,
    source: str = "2001:db8::1",
    target: str = "2001:db8::2",
    size: int | None = None,
) -> bytes:
    length = len(body) if size is None else size
    return struct.pack(">IHBB", 6 << 28, length, protocol, 64) + pack(source) + pack(target) + body


def tcp(
    payload: bytes = b"", sport: int = 40_000, dport: int = 443, seq: int = 1, flags: int = ACK, ack: int = 0
) -> bytes:
    return struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 65_535, 0, 0) + payload


def udp(payload: bytes = b"", sport: int = 40_000, dport: int = 443) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


def frame(data: bytes, time: int = START, link: int = 1, length: int | None = None) -> Frame:
    return Frame(time, link, data, len(data) if length is None else length)


class Talk:
    """One TCP connection. Each call is a frame; sequence numbers advance by themselves."""

    def __init__(
        self,
        client: str = CLIENT,
        server: str = SERVER,
        sport: int = 40_000,
        dport: int = 443,
        isn: int = 1_000,
    ) -> None:
        self.ends = ((client, sport), (server, dport))
        self.seq = [isn, isn + 50_000]
        self.time = START
        self.frames: list[Frame] = []

    def send(
        self, up: bool, payload: bytes = b"", flags: int = ACK, after: int = 1_000_000, seq: int | None = None
    ) -> Talk:
        """`seq`: send there and leave the running number alone."""
        (source, sport), (target, dport) = self.ends if up else self.ends[::-1]
        at = self.seq[not up] if seq is None else seq
        self.time += after
        segment = tcp(payload, sport, dport, at & 0xFFFFFFFF, flags)
        packet = ipv6(segment, 6, source, target) if ":" in source else ipv4(segment, 6, source, target)
        self.frames.append(frame(ethernet(packet, 0x86DD if ":" in source else 0x0800), self.time))
        if seq is None:
            self.seq[not up] += len(payload) + bool(flags & (SYN | FIN))
        return self

    def up(
        self, payload: bytes = b"", flags: int = ACK, after: int = 1_000_000, seq: int | None = None
    ) -> Talk:
        return self.send(True, payload, flags, after, seq)

    def down(
        self, payload: bytes = b"", flags: int = ACK, after: int = 1_000_000, seq: int | None = None
    ) -> Talk:
        return self.send(False, payload, flags, after, seq)

    def hands(self) -> Talk:
        return self.up(flags=SYN).down(flags=SYN | ACK).up()

    def bye(self) -> Talk:
        return self.up(flags=FIN | ACK).down(flags=FIN | ACK).up()


def datagrams(
    *payloads: tuple[bool, bytes], sport: int = 40_000, dport: int = 443, step: int = 1_000_000
) -> list[Frame]:
    """One UDP flow: (up, payload) each."""
    out = []
    for number, (up, payload) in enumerate(payloads):
        ends = (CLIENT, SERVER) if up else (SERVER, CLIENT)
        body = udp(payload, sport, dport) if up else udp(payload, dport, sport)
        out.append(frame(ethernet(ipv4(body, 17, *ends)), START + number * step))
    return out


def run(engine: Engine, frames: Iterable[Frame]) -> list[Fact]:
    return engine.feed(list(frames)) + engine.finish()


def only(facts: Sequence[Fact], kind: type) -> list:  # type: ignore[type-arg]
    return [fact for fact in facts if isinstance(fact, kind)]


LIMITS = Limits()
