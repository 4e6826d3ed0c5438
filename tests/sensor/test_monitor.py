"""Facts made by hand in, events out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import dns.message
import dns.rrset
import pytest

from sensor.delivery.event import Connection, Event, Exchange, Identity, Lookup, SensorStats
from sensor.knowledge.catalogue import Catalogue, load
from sensor.knowledge.identity import Identities
from sensor.knowledge.inventory import parse
from sensor.knowledge.seal import Sealer
from sensor.monitor import Monitor
from sensor.packets.facts import Clear, Fact, Flow, Limits, Message, Opened, Progress, Totals
from tests.sensor.wire.samples import openssl_hello

S = 1_000_000_000
CLIENT, SERVER, RESOLVER = "10.0.0.7", "192.0.2.10", "10.0.0.1"
T = TypeVar("T")

CATALOGUE = """vendor: acme
name: Acme
services:
  - id: acme-chat
    name: Acme Chat
    category: chat
    description: A service that only this test knows
    hosts:
      app: [chat.acme.example]
      api: [api.acme.example]
      cdn: [static.acme.example]
    addresses: [203.0.113.0/24]
    sources: [https://acme.example/docs]
    checked: 2026-11-22
    fires: [chat.acme.example]
    silent: [acme.example]
  - id: acme-other
    name: Acme Other
    category: image
    description: A second one at the same addresses
    hosts:
      app: [other.acme.example]
    sources: [https://acme.example/docs]
    checked: 2026-11-22
    fires: [other.acme.example]
    silent: [acme.example]
  - id: acme-server
    name: Acme Server
    category: self-hosted
    description: Software in clear
    servers:
      - {ports: [9999], paths: [/v1/]}
    sources: [https://acme.example/docs]
    checked: 2026-11-22
    fires:
      - {request: "POST /v1/chat/completions", port: 9999}
    silent:
      - {request: "POST /v1/chat/completions", port: 9998}
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder: Path = tmp_path_factory.mktemp("overrides")
    (folder / "acme.yaml").write_text(CATALOGUE)
    return load(overrides=folder)


@pytest.fixture
def make(catalogue: Catalogue) -> Callable[..., Monitor]:
    return lambda **options: Monitor(catalogue, **options)


def flow(number: int = 0, port: int = 443, server: str = SERVER, client: str = CLIENT) -> Flow:
    return Flow(number, "tcp", client, 40_000 + number, server, port, "02:00:00:00:00:07", 10, "vxlan:42")


def opened(at: Flow, name: str = "chat.acme.example", source: str = "sni", **more: Any) -> Opened:
    hello = openssl_hello(name) if source == "sni" else b""
    row = Opened(at, S, "tls", name, source, "none", hello, b"", 0)
    return dataclasses.replace(row, **more)


def progress(at: Flow, start: int = 1, app: tuple[int, int] = (0, 0), closed: str = "fin") -> Progress:
    return Progress(at, start * S, (start + 1) * S, 1_000, 5_000, 10, 20, *app, (), closed)


def clear(at: Flow, up: bool, data: bytes, time: int = S) -> Clear:
    return Clear(at, up, time, 0, data)


def request(path: str, body: bytes = b"", method: str = "POST") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 192.0.2.10:9999\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def dns_message(name: str, time: int, address: str | None = None, kind: str = "A") -> Message:
    query = dns.message.make_query(name, kind, id=7)
    ends = (CLIENT, 40_000, RESOLVER, 53)
    if address is not None:
        query = dns.message.make_response(query)
        query.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", kind, address))
        ends = (RESOLVER, 53, CLIENT, 40_000)
    return Message("dns", time, "udp", *ends, "", None, query.to_wire())


def run(monitor: Monitor, *facts: Fact) -> list[Event]:
    return [event for fact in facts for event in monitor.observe(fact)] + monitor.finish()


def of(events: list[Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def test_slices_of_a_connection_add_up(make: Callable[..., Monitor]) -> None:
    at = flow()
    events = run(
        make(),
        opened(at),
        progress(at, 1, closed=""),
        progress(at, 61, app=(500, 0), closed=""),
        progress(at, 121, app=(0, 900)),
    )
    rows = of(events, Connection)
    assert len(rows) == len(events) == 3
    assert [row.first for row in rows] == [True, False, False]
    assert [row.evidence for row in rows] == ["sni", "sni", "flow"]
    assert [row.time // S for row in rows] == [1, 61, 121]
    assert {row.start_time for row in rows} == {S}
    assert {row.flow_id for row in rows} == {rows[0].flow_id}
    assert sum(row.bytes_up for row in rows) == 3_000
    row = rows[-1]
    assert (row.service, row.vendor, row.category, row.role) == ("acme-chat", "acme", "chat", "app")
    assert (row.alpn, row.tls_version, row.ja4[:4]) == ("h2,http/1.1", "1.3", "t13d")
    assert (row.client_mac, row.vlan, row.tunnel) == ("02:00:00:00:00:07", 10, "vxlan:42")
    assert (row.upload_bytes, row.exchanges, row.server_country) == (None, None, "")


def test_what_the_catalogue_does_not_know_is_silent_unless_all_is_wanted(
    make: Callable[..., Monitor],
) -> None:
    at = flow()
    facts = (opened(at, "www.example.com"), progress(at), dns_message("www.example.com", 2 * S))
    assert run(make(), *facts) == []
    connection, lookup = run(make(all=True), *facts)
    assert isinstance(connection, Connection)
    assert isinstance(lookup, Lookup)
    assert (connection.service, connection.confidence, connection.server_name) == ("", 0.0, "www.example.com")
    assert (lookup.service, lookup.question, lookup.rcode) == ("", "www.example.com", "")


def test_a_cdn_is_less_sure_than_the_service_itself(make: Callable[..., Monitor]) -> None:
    rows = []
    for name in ("api.acme.example", "static.acme.example"):
        at = flow()
        rows += of(run(make(), opened(at, name), progress(at, app=(9, 9))), Connection)
    api, cdn = rows
    assert (api.role, api.channel, cdn.role, cdn.channel) == ("api", "api", "cdn", "")
    assert api.evidence == cdn.evidence == "flow"
    assert api.confidence > cdn.confidence > 0


def test_a_learnt_name_is_not_more_than_an_address(make: Callable[..., Monitor]) -> None:
    at = flow()
    facts = (opened(at, source="dns"), progress(at, app=(9_999, 9_999)))
    (alone,) = of(run(make(), *facts), Connection)
    assert (alone.evidence, alone.service, alone.name_source) == ("ip", "acme-chat", "dns")
    shared = [dns_message(f"{name}.acme.example", 1, SERVER) for name in ("chat", "other")]
    (one_of_two,) = of(run(make(), *shared, *facts), Connection)
    assert one_of_two.confidence == pytest.approx(alone.confidence / 2, abs=0.01)


def test_an_address_that_a_vendor_owns(make: Callable[..., Monitor]) -> None:
    at = flow(server="203.0.113.9")
    (row,) = of(run(make(), opened(at, "", "ip"), progress(at, app=(9, 9))), Connection)
    assert (row.service, row.evidence, row.role, row.server_name) == ("acme-chat", "ip", "", "")


def test_hidden_behind_a_front(make: Callable[..., Monitor]) -> None:
    at = flow()
    facts = opened(at, "cloudflare-ech.com", ech="offered"), progress(at)
    assert run(make(), *facts) == []
    (row,) = of(run(make(all=True), *facts), Connection)
    assert (row.service, row.ech, row.evidence) == ("", "offered", "sni")


def test_the_onward_leg_of_a_proxy_is_a_relay(make: Callable[..., Monitor]) -> None:
    leg, onward = flow(0, 3128, "10.0.0.3"), flow(1, client="10.0.0.3")
    facts = (
        opened(leg, "api.acme.example", "connect"),
        opened(onward, "api.acme.example"),
        progress(leg, app=(9, 9)),
        progress(onward, app=(9, 9)),
    )
    assert [row.role for row in of(run(make(), *facts), Connection)] == ["api", "api"]
    rows = of(run(make(relays=["10.0.0.3/32"]), *facts), Connection)
    assert [(row.role, row.service, row.evidence) for row in rows] == [
        ("api", "acme-chat", "flow"),
        ("relay", "acme-chat", "flow"),
    ]


def test_a_prompt_in_clear_counts_once_on_its_way_through_a_proxy(make: Callable[..., Monitor]) -> None:
    facts: list[Fact] = []
    for leg in (flow(0, 3128, "10.0.0.3"), flow(1, 9999, client="10.0.0.3")):
        facts += [opened(leg, "", "none", protocol="http")]
        facts += [
            clear(leg, True, request("/v1/chat/completions", b'{"model": "m"}')),
            clear(leg, False, ANSWER),
        ]
        facts += [progress(leg, app=(9, 9))]
    assert len(of(run(make(), *facts), Exchange)) == 2
    events = run(make(relays=["10.0.0.3"]), *facts)
    assert [row.client_ip for row in of(events, Exchange)] == [CLIENT]
    assert [row.role for row in of(events, Connection)] == ["api", "relay"]


def test_clear_text_becomes_exchanges(make: Callable[..., Monitor]) -> None:
    at = flow(port=9999)
    ask = request("/v1/chat/completions", b'{"model": "m", "messages": [{"content": "secret plan"}]}')
    events = run(
        make(),
        opened(at, "", "ip", protocol="http", client_bytes=request("/v1/models", method="GET")),
        clear(at, True, request("/v1/models", method="GET")),
        clear(at, False, ANSWER),
        clear(at, True, ask, 2 * S),
        clear(at, False, ANSWER, 3 * S),
        progress(at, 1, closed=""),
        progress(at, 61),
    )
    (exchange,) = of(events, Exchange)
    assert (exchange.service, exchange.operation, exchange.model) == ("acme-server", "chat", "m")
    assert (exchange.evidence, exchange.status, exchange.bytes_up) == ("decrypted", 200, 56)
    assert (exchange.ttfb_ms, exchange.duration_ms, exchange.server_name) == (1_000.0, 1_000.0, "")
    first, second = of(events, Connection)
    assert (first.evidence, first.service, first.flow_id) == (
        "decrypted",
        "acme-server",
        exchange.client_flow_id,
    )
    assert (first.upload_bytes, second.upload_bytes) == (56, 0)
    assert "secret" not in repr(events)


@pytest.mark.parametrize(
    ("base", "chat"),
    [("", "vllm"), ("http://192.0.2.10:9000", "openai-compatible")],  # to the server, and through a proxy
)
def test_a_server_that_named_its_software_keeps_the_name(
    make: Callable[..., Monitor], base: str, chat: str
) -> None:
    at, listed = flow(port=9000), b'{"data":[{"owned_by":"vllm"}]}'
    models = ANSWER.replace(b"Length: 2", b"Length: %d" % len(listed)).removesuffix(b"{}") + listed
    call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}'
    asked = [("GET", "/v1/models", b""), ("POST", "/v1/chat/completions", b"{}"), ("POST", "/mcp", call)]
    facts: list[Fact] = [opened(at, "", "none", protocol="http")]
    for (method, path, body), answer in zip(asked, (models, ANSWER, ANSWER), strict=True):
        sent = request(base + path, body, method).replace(b":9999", b":9000")
        facts += [clear(at, True, sent), clear(at, False, answer)]
    events = run(make(), *facts, progress(at, app=(1, 1)))
    assert [row.service for row in of(events, Exchange)] == [chat, "mcp-server"]


def test_two_exchanges_have_two_ids(make: Callable[..., Monitor]) -> None:
    at = flow(port=9999)
    turn = clear(at, True, request("/v1/chat/completions", b"{}")), clear(at, False, ANSWER)
    events = run(make(), opened(at, "", "ip", protocol="http"), *turn, *turn, progress(at))
    assert len({exchange.id for exchange in of(events, Exchange)}) == 2


def test_counters_wait_until_a_request_shows_the_service(make: Callable[..., Monitor]) -> None:
    at = flow(port=9999)
    before = (
        opened(at, "", "ip", protocol="http"),
        clear(at, True, request("/", method="GET")),
        clear(at, False, ANSWER),
        progress(at, 1, closed=""),
    )
    monitor = make()
    assert [monitor.observe(fact) for fact in before] == [[]] * 4
    events = run(monitor, clear(at, True, request("/v1/embeddings", b"{}")), progress(at, 61))
    (row,) = of(events, Connection)
    assert (row.time, row.end_time, row.bytes_up, row.packets_down, row.first) == (S, 62 * S, 2_000, 40, True)
    assert row.upload_bytes == 2
    assert [exchange.operation for exchange in of(events, Exchange)] == ["embedding"]  # never answered
    assert run(make(), *before, progress(at, 61)) == []


def test_lookups_are_joined_and_never_connections(make: Callable[..., Monitor]) -> None:
    monitor = make()
    events = run(
        monitor,
        dns_message("chat.acme.example", S),
        dns_message("chat.acme.example", 2 * S, SERVER),
        dns_message("api.acme.example", 3 * S),
        Totals(0, 30 * S, {"dns": 200}, {"frames": 3, "bytes": 200, "flows": 2}),
    )
    answered, lost = of(events, Lookup)
    assert (answered.time, answered.rcode, answered.answers, answered.ttl) == (S, "NOERROR", (SERVER,), 300)
    assert (answered.service, answered.resolver_ip, answered.client_ip) == ("acme-chat", RESOLVER, CLIENT)
    assert (lost.question, lost.rcode, lost.answers, lost.ttl) == ("api.acme.example", "", (), None)
    assert of(events, Connection) == []


def test_an_alias_of_a_service(make: Callable[..., Monitor]) -> None:
    query = dns.message.make_query("ai.example.com", "A", id=7)
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text("ai.example.com.", 60, "IN", "CNAME", "api.acme.example."))
    response.answer.append(dns.rrset.from_text("api.acme.example.", 60, "IN", "A", SERVER))
    message = Message("dns", S, "udp", RESOLVER, 53, CLIENT, 40_000, "", None, response.to_wire())
    (row,) = of(run(make(), message), Lookup)
    assert (row.question, row.service) == ("ai.example.com", "acme-chat")
    assert row.answers == ("api.acme.example", SERVER)


def test_messages_that_are_none_are_passed_over(make: Callable[..., Monitor]) -> None:
    for kind in ("dns", "mdns", "dhcp"):
        assert run(make(), Message(kind, S, "udp", CLIENT, 1, RESOLVER, 53, "", None, b"\x00garbage")) == []


def mdns(time: int, host: str) -> Message:
    response = dns.message.Message(id=0)
    response.flags |= dns.flags.QR
    response.answer.append(dns.rrset.from_text(f"{host}.local.", 120, "IN", "A", CLIENT))
    return Message(
        "mdns", time, "udp", CLIENT, 5353, "224.0.0.251", 5353, "02:00:00:00:00:09", None, response.to_wire()
    )


def dhcp_ack(time: int, host: str) -> Message:
    head = bytes((2, 1, 6, 0)) + bytes(12) + bytes((10, 0, 0, 7)) + bytes(8)
    options = bytes((53, 1, 5, 12, len(host))) + host.encode() + b"\xff"
    payload = head + bytes.fromhex("020000000007") + bytes(10 + 192) + b"\x63\x82\x53\x63" + options
    return Message("dhcp", time, "udp", "10.0.0.1", 67, CLIENT, 68, "", None, payload)


def test_who_it_was(make: Callable[..., Monitor]) -> None:
    inventory = parse("address,user,groups\n10.0.0.0/24,anna,staff;finance\n", "i.csv")
    at = flow()
    events = run(
        make(identities=Identities(inventory)),
        mdns(S, "annas-laptop"),
        dhcp_ack(S, "ws-7"),
        dns_message("chat.acme.example", 2 * S, SERVER),
        opened(at),
        progress(at, 3),
    )
    seen = of(events, Identity)
    assert [(i.source, i.client_host, i.user) for i in seen] == [
        ("mdns", "annas-laptop", ""),
        ("dhcp", "ws-7", ""),
        ("inventory", "", "anna"),
    ]
    (row,) = of(events, Connection)
    (lookup,) = of(events, Lookup)
    assert (row.client_host, row.user, row.groups) == ("ws-7", "anna", ("staff", "finance"))
    assert (lookup.client_host, lookup.user) == ("ws-7", "anna")


def test_no_name_of_a_person_or_host_leaves_unsealed(make: Callable[..., Monitor]) -> None:
    inventory = parse("address,user\n10.0.0.7,anna\n", "i.csv")
    sealer, at = Sealer(bytes(64)), flow(port=9999)
    facts = (
        dhcp_ack(S, "ws-7"),
        dns_message("chat.acme.example", 2 * S, SERVER),
        opened(at, "", "ip", protocol="http"),
        clear(at, True, request("/v1/embeddings", b"{}")),
        clear(at, False, ANSWER),
        progress(at, 3),
        Totals(0, 9 * S),
    )
    plain = run(make(identities=Identities(inventory)), *facts)
    sealed = run(make(identities=Identities(inventory), sealer=sealer), *facts)
    assert {type(event) for event in sealed} == {Identity, Lookup, Exchange, Connection, SensorStats}
    text = repr(sealed)
    assert not any(name in text for name in ("anna", "ws-7", "02:00:00:00:00:07"))
    for before, after in zip(plain, sealed, strict=True):
        for name in ("user", "client_host", "client_mac"):
            if hasattr(before, name):
                assert sealer.unseal(getattr(after, name)) == getattr(before, name)


def test_statistics(make: Callable[..., Monitor]) -> None:
    counters = {
        "frames": 9,
        "bytes": 900,
        "flows": 2,
        "duplicates": 1,
        "flows_evicted": 3,
        "names_evicted": 1,
        "reorder_lost": 5_000,
    }
    (row,) = run(make(engine="portable"), Totals(S, 2 * S, {"named": 600, "ech_offered": 300}, counters))
    assert isinstance(row, SensorStats)
    assert (row.time, row.end_time, row.engine, row.packets, row.bytes) == (S, 2 * S, "portable", 9, 900)
    assert (row.bytes_named, row.bytes_ech_offered, row.bytes_doh) == (600, 300, 0)
    assert (row.dropped_limit, row.duplicates) == (4, 1)
    assert row.catalogue
    assert row.version


def test_what_was_given_up_for_a_limit_is_counted(make: Callable[..., Monitor]) -> None:
    monitor = make(limits=Limits(clear_bytes=100))
    at = flow(port=9999)
    events = run(
        monitor,
        opened(at, "", "ip", protocol="http"),
        clear(at, True, request("/v1/embeddings", b"x" * 100)),
        progress(at),
    )
    (row,) = of(events, Connection)
    assert row.upload_bytes is None  # the rest would not have been passed on


def test_facts_of_a_flow_that_was_never_opened_are_passed_over(make: Callable[..., Monitor]) -> None:
    assert run(make(), progress(flow()), clear(flow(), True, b"GET / HTTP/1.1\r\n\r\n")) == []


def test_a_closed_connection_leaves_nothing_behind(make: Callable[..., Monitor]) -> None:
    monitor = make()
    for number in range(3):
        at = flow(number, port=9999)
        run(
            monitor,
            opened(at, "", "ip", protocol="http"),
            clear(at, True, request("/v1/x", b"{}")),
            progress(at),
        )
    assert not monitor._connections
    assert not monitor._conversations._open
