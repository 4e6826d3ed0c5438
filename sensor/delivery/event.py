"""The rows aiscope writes: one frozen dataclass per event table, named as in the store, `--json` and exports.

Times are nanoseconds since the epoch (the store keeps microseconds); addresses are text, IPv4 as dotted quad.
`None` means "cannot tell", never 0. `sensor` and `batch` are added by whoever delivers, `ingested` by the store.
`tests/collector/test_migrate.py` holds the fields against the tables' columns.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from sensor.frozen import dataclass

EVIDENCE = ("dns", "ip", "sni", "flow", "inferred", "decrypted")  # the ladder, lowest rung first


@dataclass(frozen=True, slots=True)
class Connection:
    """A slice of a connection: rows of one `flow_id` and `start_time` add up."""

    time: int  # of the slice
    end_time: int
    start_time: int  # of the connection
    flow_id: str  # Community ID v1
    first: bool  # the connection's first slice
    transport: str  # tcp, udp
    protocol: str  # tls, quic, http, other
    client_ip: str
    client_port: int
    client_mac: str
    client_host: str
    user: str
    groups: tuple[str, ...]
    server_ip: str
    server_port: int
    server_name: str
    name_source: str  # sni, quic_sni, http_host, connect, socks, dns, ip, none
    alpn: str  # what the client offered, comma separated
    tls_version: str  # chosen if the server's hello was seen, else the highest offered
    ja3: str
    ja4: str
    ech: str  # none, grease, offered
    service: str
    vendor: str
    category: str
    role: str  # app, api, upload, realtime, cdn, auth, telemetry; relay
    evidence: str
    confidence: float
    channel: str  # web, api, cli, ide, agent, mcp; "" when it cannot be told
    client_class: str
    bytes_up: int
    bytes_down: int
    packets_up: int
    packets_down: int
    exchanges_low: int | None
    exchanges: int | None
    exchanges_high: int | None
    upload_bytes: int | None
    server_country: str
    server_asn: int
    server_as_org: str
    vlan: int | None
    tunnel: str
    verdict: str
    policy: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """A DNS question and, when seen, its answer. Never shown as use."""

    time: int
    client_ip: str
    client_host: str
    user: str
    resolver_ip: str
    transport: str
    question: str
    qtype: str
    rcode: str  # "" when no answer was seen
    answers: tuple[str, ...]
    ttl: int | None
    ech_offered: bool
    service: str
    vendor: str
    category: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with a body to a service and its response."""

    id: str
    time: int
    client_flow_id: str
    server_flow_id: str
    client_ip: str
    client_host: str
    user: str
    groups: tuple[str, ...]
    service: str
    vendor: str
    category: str
    server_name: str
    channel: str
    operation: str  # chat, completion, embedding, image, audio, upload, tool_call, ...
    model: str
    stream: bool | None
    evidence: str
    confidence: float
    bytes_up: int
    bytes_down: int
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    ttfb_ms: float | None
    duration_ms: float | None
    status: int | None
    attachments: tuple[str, ...]
    tools: tuple[str, ...]
    data_classes: tuple[str, ...]
    verdict: str
    policy: str
    account: str
    account_type: str  # corporate, personal, unknown
    retry: bool
    prompt_hash: str
    excerpt: str
    messages: tuple[str, ...] = ()  # `role;characters` of each turn that was sent
    system_hash: str = ""  # of the system prompt
    tools_called: tuple[str, ...] = ()  # those of `tools` that the answer calls, or an MCP request
    project: str = ""  # as the request names it
    key_hash: str = ""  # keyed, of the credential


@dataclass(frozen=True, slots=True)
class Sealed:
    """The original of an exchange's prompt, encrypted to a key that the store does not have."""

    id: str  # the exchange's
    key_id: str
    ciphertext: str

    @property
    def time(self) -> int:
        """The table has none: it is partitioned by when rows came in."""
        return 0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client address was, and who says so."""

    time: int
    valid_until: int | None
    source: str  # dhcp, mdns, inventory
    confidence: float
    client_ip: str
    client_mac: str
    client_host: str
    user: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should look at."""

    id: str
    time: int
    rule: str
    severity: str  # info, low, medium, high, critical
    title: str
    client_ip: str
    user: str
    service: str
    evidence_query: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SensorStats:
    """What a sensor saw and could not see, per interval. Deltas. `bytes_*` are wire bytes by visibility class."""

    time: int
    end_time: int
    engine: str
    version: str
    catalogue: str
    packets: int
    bytes: int
    dropped_kernel: int
    dropped_limit: int
    duplicates: int
    undecodable: int
    flows: int
    spool_rows: int
    spool_lost: int
    bytes_named: int
    bytes_quic_named: int
    bytes_ech_grease: int
    bytes_ech_offered: int
    bytes_dns: int
    bytes_doh: int
    bytes_dot: int
    bytes_doq: int
    bytes_unnamed: int
    bytes_tunnelled: int
    bytes_other: int
    bytes_undecodable: int
    bytes_dropped_limit: int
    clock_skew: float | None = None  # seconds that the store's clock is ahead; who delivers knows


Event = Connection | Lookup | Exchange | Sealed | Identity | Finding | SensorStats

TABLES: dict[type[Any], str] = {
    Connection: "connections",
    Lookup: "lookups",
    Exchange: "exchanges",
    Sealed: "sealed",
    Identity: "identities",
    Finding: "findings",
    SensorStats: "sensor_stats",
}

TIMES = frozenset({"time", "end_time", "start_time", "valid_until"})
ADDRESSES = frozenset({"client_ip", "server_ip", "resolver_ip"})


def columns(event: type[Any]) -> tuple[str, ...]:
    """Column names of an event's table, in the order of the dataclass."""
    return tuple(f.name for f in dataclasses.fields(event))


def iso(ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC with microseconds, as the store keeps them."""
    seconds, rest = divmod(ns // 1000, 1_000_000)
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def as_json(event: Event) -> dict[str, Any]:
    """One JSON object of a row, `table` first."""
    row: dict[str, Any] = {"table": TABLES[type(event)]}
    for name in columns(type(event)):
        value = getattr(event, name)
        row[name] = iso(value) if name in TIMES and value is not None else value
    return row
