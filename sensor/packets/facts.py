"""What an engine says. Engines produce facts and nothing else; `docs/engine.md` says when each is produced.

Both engines build these very classes, so that `==` compares them. Times are nanoseconds since the epoch,
taken from frames. Addresses are text as `socket.inet_ntop` writes it. "Up" is client to server.
"""

from __future__ import annotations

from dataclasses import field

from sensor.frozen import dataclass

# Visibility classes: every frame's bytes are in exactly one of them (see Totals).
VISIBILITY = (
    "named",  # TLS SNI, HTTP request, CONNECT or SOCKS target was readable
    "quic_named",  # the same in QUIC
    "ech_grease",  # named; the hello carries an ECH extension that hides nothing
    "ech_offered",  # the outer name is an ECH front: the real name is hidden
    "dns",  # DNS in clear, mDNS, DHCP and other name services
    "doh",
    "dot",
    "doq",
    "unnamed",  # TCP or UDP without a readable name
    "tunnelled",  # ESP, WireGuard, OpenVPN and other tunnels that cannot be looked into
    "other",  # not TCP or UDP: ARP, ICMP, routing
    "undecodable",  # frames whose headers cannot be read
    "dropped_limit",  # frames a limit kept from being looked at
)

# Further counters of Totals: events, not bytes.
COUNTERS = (
    "frames",
    "bytes",  # on the wire
    "flows",
    "undecodable",  # frames whose headers cannot be read
    "duplicates",  # the same frame again within a moment: a mirror that copies both ways
    "fragments_lost",  # fragments whose datagram never became whole
    "flows_evicted",  # flow table was full
    "reorder_lost",  # out-of-order bytes given up
    "clear_capped",  # flows whose clear-text bytes reached the limit
    "names_evicted",  # learnt names given up
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of an engine, with the reason for its size. One object for either engine.

    Worst-case memory is about flows * 600 B + held * 40 KiB + waiting + fragments * 100 KiB + names * 500 B, and
    bursts * 40 B for each flow that is reported.
    """

    flows: int = 1_000_000  # entries of the flow table
    held: int = 4_096  # flows whose first flight is being assembled at the same time
    first_flight: int = 16_384  # bytes kept of a client's first flight; a TLS record's maximum (RFC 8446 5.1)
    server_bytes: int = 4_096  # bytes kept of the server's first flight: ServerHello, response head
    segments: int = 64  # out-of-order segments held per direction
    waiting: int = 67_108_864  # bytes of all flows that wait for others: HTTP in clear, DNS over TCP
    datagrams: int = 16  # QUIC datagrams looked at before a flow is given up as unreadable
    fragments: int = 1_024  # datagrams in reassembly
    fragment_ns: int = 30_000_000_000  # RFC 791 3.2 suggests 15 s, RFC 8200 4.5 sixty
    tunnels: int = 8  # nested encapsulations
    names: int = 262_144  # learnt (client, address) -> name entries
    name_min_ns: int = 60_000_000_000  # clients keep an address longer than a TTL of a few seconds
    name_max_ns: int = 86_400_000_000_000
    clear_bytes: int = 8_388_608  # clear-text HTTP passed on, per flow and direction
    http_peeks: int = 16  # requests looked at on a clear connection that is not watched yet
    slice_ns: int = 60_000_000_000  # a watched flow reports at least this often
    totals_ns: int = 60_000_000_000
    sweep_ns: int = 1_000_000_000
    tcp_idle_ns: int = 300_000_000_000
    udp_idle_ns: int = 120_000_000_000
    closed_ns: int = 5_000_000_000  # after FIN both ways or RST: late segments still belong to the flow
    burst_gap_ns: int = 1_000_000_000  # silence that ends a burst
    bursts: int = 512  # kept per slice; what is beyond is in the counters all the same
    duplicate_ns: int = 2_000_000  # two copies of a frame on a mirror are microseconds apart


@dataclass(frozen=True, slots=True)
class Watch:
    """What is worth reporting: names, addresses, paths and ports, without what they mean."""

    names: frozenset[str] = frozenset()  # the name itself and every name under it
    patterns: frozenset[str] = frozenset()  # a glob per label: `bedrock-runtime.*.amazonaws.com`
    networks: tuple[str, ...] = ()  # CIDR, of a server
    paths: frozenset[str] = frozenset()  # prefixes of a request's path, on any host in clear
    ports: frozenset[int] = frozenset()  # server ports on which any HTTP in clear is worth a look
    fronts: frozenset[str] = frozenset()  # outer names of ECH
    resolvers: frozenset[str] = frozenset()  # names of encrypted resolvers
    resolver_ips: frozenset[str] = frozenset()
    all: bool = False  # everything


@dataclass(frozen=True, slots=True)
class Flow:
    """Who talks to whom. `id` counts an engine's flows from 0 in the order of their first frames."""

    id: int
    transport: str  # tcp, udp
    client_ip: str
    client_port: int
    server_ip: str
    server_port: int
    client_mac: str  # lower-case with colons; "" without Ethernet
    vlan: int | None  # innermost 802.1Q VID around the flow's first frame
    tunnel: str  # outermost first: "vxlan:42/gre"; "" when there is none


@dataclass(frozen=True, slots=True)
class Opened:
    """A watched flow and its first flights. Comes once, before the flow's first Progress."""

    flow: Flow
    time: int  # of the flow's first frame
    protocol: str  # tls, quic, http, other
    name: str  # lower case, no trailing dot; "" if there is none
    name_source: str  # sni, quic_sni, http_host, connect, socks, dns, ip, none
    ech: str  # none, grease, offered
    client_bytes: bytes  # TCP: first bytes of the stream; QUIC: the ClientHello from the CRYPTO stream
    server_bytes: bytes  # TCP only
    quic_version: int  # 0 unless QUIC
    listed: bool = True  # false: only `all` wants it, nothing else in Watch names it


@dataclass(frozen=True, slots=True)
class Burst:
    """Payload one way with no payload the other way in between and no long silence."""

    up: bool
    start: int
    end: int
    bytes: int
    records: int  # TLS application_data records begun, or QUIC packets with a short header or of 0-RTT


@dataclass(frozen=True, slots=True)
class Progress:
    """What a watched flow did since its last Progress. Counters are deltas."""

    flow: Flow
    start: int  # first frame of the slice
    end: int  # last frame of the slice
    bytes_up: int  # TCP/UDP payload, retransmissions included, by the IP header's length
    bytes_down: int
    packets_up: int
    packets_down: int
    app_up: int  # application payload: see docs/engine.md
    app_down: int
    bursts: tuple[Burst, ...]
    closed: str  # "" while it goes on; fin, rst, idle, evicted, end


@dataclass(frozen=True, slots=True)
class Message:
    """A whole datagram or length-prefixed message worth parsing."""

    kind: str  # dns, mdns, dhcp
    time: int
    transport: str
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int
    src_mac: str
    vlan: int | None
    payload: bytes


@dataclass(frozen=True, slots=True)
class Clear:
    """Bytes of a watched HTTP flow in clear, in order. `gap` bytes are missing before `data`."""

    flow: Flow
    up: bool
    time: int
    gap: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything seen since the last Totals, by visibility class, and the further counters."""

    start: int
    end: int
    bytes: dict[str, int] = field(default_factory=dict)  # VISIBILITY -> bytes on the wire
    counters: dict[str, int] = field(default_factory=dict)  # COUNTERS -> number


Fact = Opened | Progress | Message | Clear | Totals


@dataclass(frozen=True, slots=True)
class Frame:
    """Captured bytes. `length` is what was on the wire, at least `len(data)`."""

    time: int
    link: int  # LINKTYPE of tcpdump.org
    data: bytes
    length: int
