"""First flights: what a flow is, what it is called, and whether it is watched. docs/engine.md 3 to 5."""

from __future__ import annotations

from dataclasses import replace

from sensor.frozen import dataclass
from sensor.packets.facts import Fact, Limits, Opened
from sensor.packets.portable.assembly import Stream
from sensor.packets.portable.clear import ClearText
from sensor.packets.portable.flows import Flow, Side, State
from sensor.packets.portable.fragments import Pending
from sensor.packets.portable.names import Names
from sensor.packets.portable.totals import Tally
from sensor.packets.portable.watch import Watch
from sensor.wire.cursor import Malformed
from sensor.wire.names import is_address
from sensor.wire.peek import Peek, peek
from sensor.wire.quic import ClientCrypto, Probe
from sensor.wire.tls import ClientHello, dtls_client_hello, parse_client_hello, server_hello

TLS13 = 0x0304
KEEP_ALIVE = b"\0"  # what one may carry is before the stream's next (RFC 9293 3.8.4): Windows sends it
ANSWER = b"HTTP/1."  # RFC 9112 4
DNS_PORTS = frozenset((53, 5353, 5355, 67, 68, 137, 546, 547))
WIRE_SOURCES = frozenset(("sni", "quic_sni", "http_host", "connect", "socks"))
ENCRYPTED_DNS = ("doh", "dot", "doq")
_WIREGUARD = {b"\1\0\0\0": 148, b"\2\0\0\0": 92, b"\3\0\0\0": 64}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the first bytes say, before anything learnt or configured is asked."""

    protocol: str
    name: str = ""
    source: str = "none"
    ech: bool = False
    path: str | None = None  # of a request in clear
    hello: bytes = b""  # QUIC: what `Opened.client_bytes` will be
    quic: int = 0
    early: bool = False  # QUIC: a request came with the hello


_OTHER = Seen("other")


def _seen(found: Peek) -> Seen:
    path = found.request.path if found.request and found.protocol == "http" else None
    return Seen(found.protocol, found.name, found.name_source, found.ech, path)


def _named(protocol: str, hello: ClientHello, source: str, raw: bytes = b"", version: int = 0) -> Seen:
    name = hello.sni
    if not name or is_address(name):
        name, source = "", "none"
    return Seen(protocol, name, source, hello.ech, None, raw, version)


class Flights:
    """Flows whose first bytes are being read. Emits `Opened`."""

    def __init__(self, watch: Watch, names: Names, limits: Limits, tally: Tally, out: list[Fact]) -> None:
        self._watch, self._names, self._limits, self._tally, self._out = watch, names, limits, tally, out
        self.clear = ClearText(limits, tally, out)
        self._held: dict[int, Flow] = {}  # flows that hold bytes, in the order they began to

    def take(self, flow: Flow, side: Side, seq: int, payload: bytes) -> None:
        """Payload of a flow that is undecided or opening, as far as it was captured."""
        if not flow.held:
            self._hold(flow)
        if flow.state == State.OPENING and side is flow.client and flow.server.spoke:
            self.open(flow)
            return
        if not flow.tcp:
            self._datagram(flow, side, payload)
            return
        if side.stream is None:
            if side.origin < 0 and payload == KEEP_ALIVE:
                return
            side.stream = self._stream(flow, side)
        fresh = side.stream.push(seq, payload)
        if flow.state == State.OPENING:
            if side is flow.server and len(side.stream.kept) >= self._limits.server_bytes:
                self.open(flow)
        elif _answers(flow, side, side.stream):
            self.swap(flow)
        elif fresh or side.stream.full:
            self._peek(flow, side, side.stream)

    def _stream(self, flow: Flow, side: Side) -> Stream:
        sure = flow.syn is not None and side is flow.server
        limit = self._limits.server_bytes if sure else self._limits.first_flight
        return Stream(limit, self._limits.segments, side.origin if side.origin >= 0 else None)

    def _hold(self, flow: Flow) -> None:
        flow.held = True
        self._held[flow.id] = flow
        if len(self._held) > self._limits.held:
            first = next(iter(self._held.values()))
            self.settle(first)

    def _release(self, flow: Flow) -> None:
        if flow.held:
            flow.held = False
            del self._held[flow.id]
        for side in (flow.client, flow.server):
            if side.stream is not None and not flow.clear:
                self._tally.reorder_lost += side.stream.close()
                side.stream = None
            side.probe, side.datagram = None, b""

    def _peek(self, flow: Flow, side: Side, stream: Stream) -> None:
        found = peek(bytes(stream.kept), stream.full)
        if side is flow.server:
            if flow.syn is not None or found is None or found.protocol == "other":
                return
            self.swap(flow)
        if found is not None:
            self.decide(flow, _seen(found))

    def _datagram(self, flow: Flow, side: Side, payload: bytes) -> None:
        side.datagram = side.datagram or payload
        if flow.state == State.OPENING:
            return
        if side.probe is None:
            hello = _dtls(payload)
            if hello is not None:
                if side is flow.server:
                    self.swap(flow)
                self.decide(flow, _named("other", hello, "sni"))
                return
            side.probe = ClientCrypto(self._limits.datagrams, self._limits.first_flight)
        probe = side.probe.feed(payload)
        if side is flow.server:
            if probe is not Probe.HELLO:
                return
            self.swap(flow)
        if probe is not Probe.MORE:
            self.decide(flow, _quic(side.probe))

    def swap(self, flow: Flow) -> None:
        flow.swap()
        flow.learnt = self._names.find(flow.client.address, flow.server.address, flow.start)

    def settle(self, flow: Flow) -> None:
        """Decides and opens a flow with what there is."""
        if flow.state == State.UNDECIDED:
            self.decide(flow, self._final(flow))
        if flow.state == State.OPENING:
            self.open(flow)

    def _final(self, flow: Flow) -> Seen:
        client = flow.client
        if client.stream is not None:
            found = peek(bytes(client.stream.kept), True)
            return _OTHER if found is None else _seen(found)
        if client.probe is not None and client.probe.version:
            return _quic(client.probe)
        return _OTHER

    def decide(self, flow: Flow, seen: Seen) -> None:
        """Names the flow, puts it in its class, and keeps it if it is watched."""
        self._call(flow, seen)
        near = flow.server.address in self._watch.networks
        flow.protocol = seen.protocol
        flow.quic, flow.hello, flow.up_counted = seen.quic, seen.hello, seen.early
        kind = self._class(flow, seen)
        self.move(flow, flow.cell, self._tally.classes[kind])
        flow.cell = self._tally.classes[kind]
        named = self._watch.name(flow.name) if self._watch.all else self._is_named(flow)
        watched = named or near or self._is_service(flow, seen)
        spoke = flow.client.spoke or flow.server.spoke
        flow.listed = watched and spoke and kind not in ENCRYPTED_DNS
        if flow.listed or self._watch.all:
            self._keep(flow)
            return
        flow.state = State.QUIET
        if seen.protocol == "http" and self._watch.http and kind not in ENCRYPTED_DNS:
            flow.peeks = self._limits.http_peeks
        flow.restart()
        self._release(flow)

    def _call(self, flow: Flow, seen: Seen) -> None:
        """The name, from where it is, and what ECH says of it."""
        name, source = seen.name, seen.source
        flow.ech = "none" if not seen.ech else "offered" if self._names.is_front(name) else "grease"
        if flow.learnt and (not name or flow.ech == "offered"):
            name, source = flow.learnt, "dns"
        elif not name and flow.server.address in self._watch.networks:
            source = "ip"
        flow.name, flow.source = name, source

    def _is_named(self, flow: Flow) -> bool:
        return flow.source == "dns" or self._watch.name(flow.name)

    def _keep(self, flow: Flow) -> None:
        flow.state = State.OPENING
        if flow.protocol not in ("tls", "quic"):
            flow.server.app += flow.server.bytes
        if flow.protocol == "http":
            flow.client.app += flow.client.bytes
            if flow.source not in ("connect", "socks"):
                flow.clear = True
                self.open(flow)

    def _is_service(self, flow: Flow, seen: Seen) -> bool:
        """HTTP in clear that looks like a service by its path or port."""
        if seen.protocol != "http":
            return False
        return flow.server.port in self._watch.ports or self._watch.path(seen.path or "")

    def again(self, flow: Flow, seq: int, payload: bytes) -> bool:
        """A later request on a clear connection that is not watched. True: it is, from this segment on."""
        found = peek(payload, True) if 0x41 <= payload[0] <= 0x5A else None
        if found is None or found.protocol != "http":
            return False
        flow.peeks -= 1
        seen = _seen(found)
        self._call(flow, seen)
        if not (self._is_named(flow) or self._is_service(flow, seen)):
            return False
        flow.restart()
        flow.client.stream = Stream(self._limits.first_flight, self._limits.segments, seq)
        flow.client.stream.push(seq, payload)
        flow.server.origin = -1  # what it sent before is not part of this
        flow.clear, flow.listed = flow.source not in ("connect", "socks"), True
        self.open(flow)
        return True

    def _class(self, flow: Flow, seen: Seen) -> str:
        """docs/engine.md 5, in the order of precedence."""
        ports = (flow.client.port, flow.server.port)
        name = flow.name if flow.source in WIRE_SOURCES else ""
        if 853 in ports:
            return "dot" if flow.tcp else "doq"
        if self._watch.resolver(flow.name) or (
            flow.server.port == 443 and flow.server.address in self._watch.resolver_ips
        ):
            return "doh"
        if flow.ech != "none":
            return "ech_" + flow.ech
        if name or flow.protocol == "http":
            return "quic_named" if flow.protocol == "quic" else "named"
        if not DNS_PORTS.isdisjoint(ports):
            return "dns"
        return "tunnelled" if self._is_tunnel(flow, ports) else "unnamed"

    def _is_tunnel(self, flow: Flow, ports: tuple[int, int]) -> bool:
        """OpenVPN and L2TP by port, WireGuard by its messages (whitepaper 5.4)."""
        if 1194 in ports or (1701 in ports and not flow.tcp):
            return True
        first = flow.client.datagram or flow.server.datagram
        kind, size = first[:4], len(first)
        return size == _WIREGUARD.get(kind, -1) or (kind == b"\4\0\0\0" and size >= 32 and size % 16 == 0)

    def move(self, counted: Flow | Pending, old: list[int], new: list[int]) -> None:
        """From one class to another, with what the running interval counted."""
        if counted.epoch == self._tally.epoch:
            old[0] -= counted.counted
            new[0] += counted.counted

    def open(self, flow: Flow) -> None:
        flow.state = State.OPEN
        client, server = flow.client, flow.server
        sent = client.stream.kept if client.stream else client.datagram
        heard = bytes(server.stream.kept[: self._limits.server_bytes]) if server.stream else b""
        if flow.protocol == "tls":  # behind a proxy's answer its records have said so already
            flow.tls13 = flow.tls13 or _chosen(heard)
        self._out.append(
            Opened(
                flow.describe(),
                flow.start,
                flow.protocol,
                flow.name,
                flow.source,
                flow.ech,
                flow.hello or bytes(sent[: self._limits.first_flight]),
                heard,
                flow.quic,
                flow.listed,
            )
        )
        flow.hello = b""
        if flow.clear:
            self.clear.begin(flow)
        self._release(flow)


def _answers(flow: Flow, side: Side, stream: Stream) -> bool:
    """Whether the side that was taken for the client answers a request that was not seen."""
    unsure = side is flow.client and flow.syn is None and not flow.server.spoke
    return unsure and stream.kept.startswith(ANSWER)


def _chosen(heard: bytes) -> bool:
    """Whether the server's first flight chose TLS 1.3."""
    try:
        hello = server_hello(heard)
    except Malformed:
        return False
    return hello is not None and hello.version == TLS13


def _dtls(payload: bytes) -> ClientHello | None:
    if payload[:2] != b"\x16\xfe":
        return None
    try:
        return dtls_client_hello(payload)
    except Malformed:
        return None


def _quic(probe: ClientCrypto) -> Seen:
    if probe.probe is Probe.OTHER:
        return _OTHER
    try:
        hello = parse_client_hello(probe.hello)
    except Malformed:
        return Seen("quic", hello=probe.hello, quic=probe.version, early=probe.early)
    return replace(_named("quic", hello, "quic_sni", probe.hello, probe.version), early=probe.early)
