"""docs/engine.md, sections 4 and 5, on every engine: when facts come, what they count, and in which class."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR

from sensor.packets.engine import create
from sensor.packets.facts import Burst, Clear, Frame, Message, Opened, Progress, Totals, Watch
from tests.sensor.packets import scenarios
from tests.sensor.packets.build import (
    ACK,
    EVERYTHING,
    LIMITS,
    PSH,
    RST,
    SECOND,
    START,
    SYN,
    Talk,
    datagrams,
    ethernet,
    frame,
    ipv4,
    only,
    run,
    tcp,
    udp,
)
from tests.sensor.packets.conftest import Make, installed
from tests.sensor.packets.same import told
from tests.sensor.wire.samples import crypto, handshake, hello_body, initial, openssl_hello, records, sni

HELLO = openssl_hello("api.openai.com")
OPENAI = Watch(names=frozenset({"openai.com"}))
SERVER_HELLO = records(
    handshake(struct.pack(">H", 0x303) + bytes(32) + b"\0\x13\x01\0\0\x06\0\x2b\0\2\3\4", kind=2)
)


def record(size: int, kind: int = 23) -> bytes:
    return struct.pack(">BHH", kind, 0x303, size) + bytes(size)


def progress(facts: list) -> Progress:  # type: ignore[type-arg]
    (fact,) = only(facts, Progress)
    return fact


def classes(facts: list) -> dict[str, int]:  # type: ignore[type-arg]
    out: dict[str, int] = {}
    for fact in only(facts, Totals):
        for name, value in fact.bytes.items():
            out[name] = out.get(name, 0) + value
    return out


def test_opened_comes_when_the_client_goes_on(engine: Make) -> None:
    reader = engine(OPENAI, LIMITS)
    talk = Talk().hands().up(HELLO).down(SERVER_HELLO)
    assert reader.feed(talk.frames) == []
    before = len(talk.frames)
    (fact,) = reader.feed(talk.up(b"next").frames[before:])
    assert isinstance(fact, Opened)
    assert (fact.client_bytes, fact.server_bytes) == (HELLO, SERVER_HELLO)


def test_slices(engine: Make) -> None:
    talk = Talk().hands().up(HELLO).down(b"a")
    talk.up(b"bb", after=LIMITS.slice_ns).down(b"c", after=SECOND)
    facts = run(engine(OPENAI, LIMITS), talk.frames)
    assert [type(fact) for fact in facts if not isinstance(fact, Totals)] == [Opened, Progress, Progress]
    first, second = only(facts, Progress)
    times = [one.time for one in talk.frames]
    assert (first.bytes_up, first.bytes_down, first.closed) == (len(HELLO), 1, "")
    assert (first.start, first.end) == (times[0], times[4])
    assert (second.bytes_up, second.bytes_down, second.packets_up, second.closed) == (2, 1, 1, "end")
    assert (second.start, second.end) == (times[5], times[6])


def test_a_sweep_ends_a_slice_and_the_last_one_may_be_empty(engine: Make) -> None:
    reader = engine(OPENAI, LIMITS)
    talk = Talk().hands().up(HELLO)
    reader.feed(talk.frames)
    tick = frame(ethernet(bytes(50), 0x9999), talk.frames[0].time + LIMITS.slice_ns)
    facts = [fact for fact in reader.feed([tick]) if not isinstance(fact, Totals)]
    assert [type(fact) for fact in facts] == [Opened, Progress]
    last = progress(reader.finish())
    assert (last.closed, last.packets_up, last.start, last.end) == ("end", 0, talk.time, talk.time)


def test_a_sweep_ends_a_slice_whatever_ended_the_one_before(engine: Make) -> None:
    """Here a sweep; of a connection that is watched from a later request on, nothing did."""
    talk = Talk().hands().up(HELLO)
    later = Talk(sport=40_001, dport=80).hands().up(b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n")
    reader = engine(Watch(names=frozenset({"openai.com"})), LIMITS)
    reader.feed(talk.frames + later.frames)
    reader.tick(START + LIMITS.slice_ns + SECOND)
    for one, payload in ((talk, b"more"), (later, b"GET / HTTP/1.1\r\nHost: openai.com\r\n\r\n")):
        one.up(payload, after=LIMITS.slice_ns + 2 * SECOND)
        reader.feed(one.frames[-1:])
    ended = only(reader.tick(START + 2 * LIMITS.slice_ns + 4 * SECOND), Progress)
    assert [(slice_.packets_up, slice_.closed) for slice_ in ended] == [(1, "")] * 2


def test_totals_every_interval(engine: Make) -> None:
    frames = [frame(ethernet(bytes(50), 0x9999), START + at * SECOND) for at in (0, 59, 60, 61, 200)]
    facts = only(run(engine(OPENAI, LIMITS), frames), Totals)
    assert [((fact.start - START) // SECOND, (fact.end - START) // SECOND) for fact in facts] == [
        (0, 60), (60, 200), (200, 200)]  # fmt: skip
    assert [fact.counters["frames"] for fact in facts] == [2, 2, 1]
    assert [fact.bytes for fact in facts] == [{"other": 128}, {"other": 128}, {"other": 64}]


def test_an_empty_source(engine: Make) -> None:
    assert engine(OPENAI, LIMITS).finish() == [Totals(0, 0, {}, {})]


def test_application_payload_of_tls_13(engine: Make) -> None:
    talk = Talk().hands().up(HELLO).down(SERVER_HELLO + record(1, 20) + record(900))
    talk.up(record(1, 20) + record(53)).down(record(200)).up(record(400) + record(30))
    talk.down(record(1_000)[:300]).down(record(1_000)[300:] + record(25) + record(19))
    found = progress(run(engine(OPENAI, LIMITS), talk.frames))
    assert (found.app_up, found.app_down) == (430, 1_025)
    assert [burst.records for burst in found.bursts] == [0, 0, 0, 0, 2, 2]


def test_application_payload_of_tls_12(engine: Make) -> None:
    talk = Talk().hands().up(HELLO).down(b"\x16\x03\x03\0\x02\x0e\0").up(record(40, 22)).down(record(40, 22))
    talk.up(record(53)).down(record(200))
    found = progress(run(engine(OPENAI, LIMITS), talk.frames))
    assert (found.app_up, found.app_down) == (53, 200)


def test_records_after_a_gap_a_copy_and_a_split_header(engine: Make) -> None:
    talk = Talk().hands().up(HELLO).down(SERVER_HELLO)
    body = record(100)
    talk.up(body).up(body[:3]).up(body[3:])
    talk.up(body, seq=talk.seq[0] - len(body))  # again
    talk.seq[0] += 1_000  # lost
    talk.up(b"\xee" * 50).up(body)
    found = progress(run(engine(OPENAI, LIMITS), talk.frames))
    assert found.app_up == 300


def test_application_payload_of_quic(engine: Make) -> None:
    hello = initial(crypto(0, handshake(hello_body([sni(b"api.openai.com")]))))
    short = b"\x40" + bytes(999)
    frames = datagrams((True, hello), (False, b"\xe0" + bytes(500)), (False, short),
                       (True, b"\x40" + bytes(30)), (True, short), (False, short),
                       (False, b"\x40" + bytes(20)))  # fmt: skip
    found = progress(run(engine(OPENAI, LIMITS), frames))
    assert (found.app_up, found.app_down) == (1_000, 1_000)
    assert sum(burst.records for burst in found.bursts) == 2


def test_application_payload_of_anything_else(engine: Make) -> None:
    talk = Talk(dport=9_999).hands().down(b"banner").up(b"\x01first").up(b"then").down(b"answer")
    found = progress(run(engine(EVERYTHING, LIMITS), talk.frames))
    assert (found.app_up, found.app_down) == (4, 12)


def test_bursts(engine: Make) -> None:
    talk = (
        Talk(dport=9_999)
        .hands()
        .up(b"a")
        .up(b"bc")
        .down(b"d")
        .up()
        .down(b"e")
        .down(b"f", after=LIMITS.burst_gap_ns)
    )
    times = [one.time for one in talk.frames]
    facts = run(engine(EVERYTHING, LIMITS), talk.frames)
    assert progress(facts).bursts == (
        Burst(True, times[3], times[4], 3, 0),
        Burst(False, times[5], times[7], 2, 0),
        Burst(False, times[8], times[8], 1, 0),
    )
    assert len(progress(run(engine(EVERYTHING, replace(LIMITS, bursts=2)), talk.frames)).bursts) == 2


REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: llm.local\r\nContent-Length: 4\r\n\r\nbody"
HTTP = Watch(paths=frozenset({"/v1/chat"}))


def text(facts: list, up: bool) -> list[tuple[int, bytes]]:  # type: ignore[type-arg]
    return [(fact.gap, fact.data) for fact in only(facts, Clear) if fact.up is up]


def test_clear_text_of_a_watched_request(engine: Make) -> None:
    talk = Talk(dport=8_000).hands().up(REQUEST).down(b"HTTP/1.1 200 OK\r\n\r\n").up(b"more")
    facts = run(engine(HTTP, LIMITS), talk.frames)
    assert [type(fact) for fact in facts] == [Opened, Clear, Clear, Clear, Progress, Totals]
    assert (facts[0].name, facts[0].name_source, facts[0].client_bytes) == ("llm.local", "http_host", REQUEST)
    assert text(facts, True) == [(0, REQUEST), (0, b"more")]
    assert text(facts, False) == [(0, b"HTTP/1.1 200 OK\r\n\r\n")]
    found = progress(facts)
    assert (found.app_up, found.app_down) == (found.bytes_up, found.bytes_down)


def test_clear_text_in_order_with_gaps(engine: Make) -> None:
    talk = Talk(dport=8_000).hands().up(REQUEST)
    start = talk.seq[1]
    talk.down(b"world", seq=start + 5).down(b"HELLO", seq=start).down(b"after", seq=start + 20)
    assert text(run(engine(HTTP, LIMITS), talk.frames), False) == [(0, b"HELLOworld"), (10, b"after")]
    for number in range(5):
        talk.down(b"x", seq=start + 30 + 2 * number)
    facts = run(engine(HTTP, replace(LIMITS, segments=4)), talk.frames)
    assert text(facts, False)[:2] == [(0, b"HELLOworld"), (10, b"after")]
    assert len(text(facts, False)) == 7


def test_clear_text_is_bounded(engine: Make) -> None:
    talk = Talk(dport=8_000).hands().up(REQUEST).up(b"y" * 100).up(b"y" * 100)
    facts = run(engine(HTTP, replace(LIMITS, clear_bytes=len(REQUEST) + 30)), talk.frames)
    assert text(facts, True) == [(0, REQUEST), (0, b"y" * 30)]
    (totals,) = only(facts, Totals)
    assert totals.counters["clear_capped"] == 1


def test_what_waits_for_others_is_bounded(engine: Make) -> None:
    """Of all flows: while 300 bytes wait, and a piece's share, nothing more does."""

    def gap(sport: int) -> Talk:
        talk = Talk(dport=8_000, sport=sport).hands().up(REQUEST)
        return talk.up(b"y" * 300, seq=talk.seq[0] + 10)

    first, second, third = gap(1), gap(2), gap(3)
    start = [*first.frames, *second.frames]
    frames = [*start, first.up(b"x" * 10).frames[-1], *third.up(b"x" * 10).frames]
    late, whole = (10, b"y" * 300), (0, b"x" * 10 + b"y" * 300)
    said = text(run(engine(HTTP, replace(LIMITS, waiting=400)), frames), True)
    assert said == [(0, REQUEST), (0, REQUEST), late, whole, (0, REQUEST), whole]
    said = text(run(engine(HTTP, LIMITS), frames), True)
    assert said == [(0, REQUEST), (0, REQUEST), whole, (0, REQUEST), whole, late]


def test_unfinished_dns_over_tcp_is_bounded(engine: Make) -> None:
    """A stream that would have to wait ends; those that are whole at once do not."""
    limits, part = replace(LIMITS, waiting=60), struct.pack(">H", len(QUERY)) + QUERY
    one, two = (Talk(dport=53, sport=sport).hands() for sport in (1, 2))
    frames = [
        *one.up(b"\0\xff" + bytes(50)).frames,
        *two.up(part).up(part[:20]).up(part[20:]).up(part).frames,
    ]
    facts = run(engine(OPENAI, limits), frames)
    assert len(only(facts, Message)) == 1
    assert only(facts, Totals)[0].counters["reorder_lost"] == 20
    assert len(only(run(engine(OPENAI, LIMITS), frames), Message)) == 3
    ended = [*one.up(flags=RST).frames, *Talk(dport=53, sport=1).up(flags=SYN, seq=9).frames, *two.frames]
    assert len(only(run(engine(OPENAI, limits), ended), Message)) == 3


def test_a_later_request_is_found(engine: Make) -> None:
    page = b"GET /index.html HTTP/1.1\r\nHost: www.local\r\n\r\n"
    talk = Talk(dport=8_000).hands().up(page).down(b"HTTP/1.1 200 OK\r\n\r\n").up(REQUEST).down(b"answer")
    facts = run(engine(HTTP, LIMITS), talk.frames)
    (first,) = only(facts, Opened)
    assert (first.time, first.client_bytes, first.server_bytes) == (talk.frames[0].time, REQUEST, b"")
    assert text(facts, True) == [(0, REQUEST)]
    assert text(facts, False) == [(0, b"answer")]
    found = progress(facts)
    assert (found.start, found.bytes_up, found.bytes_down) == (talk.frames[5].time, len(REQUEST), 6)
    many = Talk(dport=8_000).hands()
    for _ in range(LIMITS.http_peeks + 1):
        many.up(page)
    assert only(run(engine(HTTP, LIMITS), many.up(REQUEST).frames), Opened) == []


def test_a_capture_that_begins_with_an_answer(engine: Make) -> None:
    """On ports that say nothing; what follows from that side is an answer too."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    talk = Talk(sport=40_000, dport=50_000).down(answer).down(b"body").up(REQUEST).down(answer)
    facts = run(engine(HTTP, LIMITS), talk.frames)
    flow = only(facts, Opened)[0].flow
    assert (flow.client_port, flow.server_port) == (40_000, 50_000)
    assert text(facts, True) == [(0, REQUEST)]
    assert text(facts, False) == [(0, answer + b"body"), (0, answer)]
    both = Talk(sport=40_000, dport=50_000).up(b"GE").down(answer).up(answer)
    assert only(run(engine(HTTP, LIMITS), both.frames), Opened) == []


def test_an_answer_that_is_longer_than_what_is_held(engine: Make) -> None:
    """It comes first, and to clients that are silent meanwhile."""
    part, answer = bytes(600), b"HTTP/1.1 204 No\r\n\r\n"
    talk = Talk(dport=80)
    for _ in range(4):
        talk.down(part)
    facts = run(engine(HTTP, replace(LIMITS, first_flight=700)), talk.up(REQUEST).down(answer).frames)
    assert text(facts, True) == [(0, REQUEST)]
    assert text(facts, False) == [(0, part * 2), (1_200, answer)]
    assert only(facts, Totals)[0].counters.get("reorder_lost", 0) == 0


def test_a_path_is_watched_as_clients_send_it(engine: Make) -> None:
    """In UTF-8 (RFC 3987 3.1)."""
    watch = Watch(paths=frozenset({"/caf\xe9/"}))
    for path, watched in ((b"/caf\xc3\xa9/1", True), (b"/caf\xe9/1", False)):
        talk = Talk(dport=8_000).hands().up(b"GET " + path + b" HTTP/1.1\r\nHost: www.local\r\n\r\n")
        assert len(only(run(engine(watch, LIMITS), talk.frames), Opened)) == watched


@pytest.mark.parametrize(
    "outer", [b"CONNECT api.openai.com:443 HTTP/1.1\r\n\r\n", b"\5\1\0\5\1\0\3\x0eapi.openai.com\1\xbb"]
)
def test_through_a_proxy(engine: Make, outer: bytes) -> None:
    talk = (
        Talk(dport=3_128)
        .hands()
        .up(outer)
        .down(b"HTTP/1.1 200 OK\r\n\r\n")
        .up(HELLO)
        .down(SERVER_HELLO + record(9))
    )
    talk.up(record(53) + record(100)).down(record(300))
    facts = run(engine(OPENAI, LIMITS), talk.frames)
    (first,) = only(facts, Opened)
    assert (first.protocol, first.name, first.name_source) == ("tls", "api.openai.com", "sni")
    assert first.client_bytes == outer + HELLO
    assert (progress(facts).app_up, progress(facts).app_down) == (100, 300)
    silent = run(engine(OPENAI, LIMITS), talk.frames[:4])
    assert only(silent, Opened)[0].name_source == ("connect" if outer[0] == 0x43 else "socks")


QUERY = bytes(DNS(qd=DNSQR(qname="api.openai.com.", qtype="A")))
OTHER_QUERY = bytes(DNS(qd=DNSQR(qname="example.org.", qtype="A")))


def test_dns_messages(engine: Make) -> None:
    frames = datagrams((True, QUERY), (True, OTHER_QUERY), (True, b"not dns"), dport=53)
    (found,) = only(run(engine(OPENAI, LIMITS), frames), Message)
    assert (found.kind, found.transport, found.dst_port, found.payload) == ("dns", "udp", 53, QUERY)
    assert (found.src_mac, found.vlan, found.time) == ("02:00:00:00:00:01", None, START)
    assert len(only(run(engine(EVERYTHING, LIMITS), frames), Message)) == 3
    cut = [replace(frames[0], data=frames[0].data[:-1])]
    assert only(run(engine(EVERYTHING, LIMITS), cut), Message) == []


def test_an_answer_through_a_watched_name(engine: Make) -> None:
    alias = scenarios.record(5, scenarios.name(b"api.openai.com"))
    question = scenarios.dns(b"alias.example", response=False)
    answer = scenarios.dns(b"alias.example", [alias, scenarios.record(1, bytes(4))])
    frames = datagrams((True, question), (False, answer), dport=53)
    (found,) = only(run(engine(OPENAI, LIMITS), frames), Message)
    assert found.payload == answer
    elsewhere = datagrams((True, answer), dport=53)  # no answer: it comes from the asking side
    assert only(run(engine(OPENAI, LIMITS), elsewhere), Message) == []


def test_http_without_a_name_is_readable(engine: Make) -> None:
    talk = Talk(dport=8_080).hands().up(b"GET / HTTP/1.1\r\nHost: 192.0.2.1:8080\r\n\r\n").down(b"x")
    for watch in (EVERYTHING, OPENAI):
        (fact,) = only(run(engine(watch, LIMITS), talk.frames), Totals)
        assert fact.bytes == {"named": sum(one.length for one in talk.frames)}


def test_dns_over_tcp(engine: Make) -> None:
    stream = b"".join(struct.pack(">H", len(one)) + one for one in (QUERY, OTHER_QUERY, QUERY))
    talk = Talk(dport=53).hands()
    start = talk.seq[0]
    for at in range(0, len(stream), 7):
        talk.up(stream[at : at + 7], seq=start + at)
    found = only(run(engine(OPENAI, LIMITS), talk.frames), Message)
    assert [fact.payload for fact in found] == [QUERY, QUERY]
    assert {fact.transport for fact in found} == {"tcp"}
    del talk.frames[4]  # a gap that is never closed
    assert only(run(engine(OPENAI, LIMITS), talk.frames), Message) == []


def test_mdns_responses_and_dhcp_always(engine: Make) -> None:
    answer = b"\0\0\x84\0" + bytes(8)
    mdns = datagrams((True, answer), (True, QUERY), sport=5_353, dport=5_353)
    dhcp = datagrams((True, bytes(240)), sport=68, dport=67)
    found = only(run(engine(Watch(), LIMITS), mdns + dhcp), Message)
    assert [fact.kind for fact in found] == ["mdns", "dhcp"]


@pytest.mark.parametrize(
    ("payload", "sport", "dport", "kind"),
    [
        (b"x", 40_000, 853, "doq"),
        (b"x", 40_000, 443, "unnamed"),
        (QUERY, 40_000, 53, "dns"),
        (b"x", 137, 137, "dns"),
        (b"x", 40_000, 1_194, "tunnelled"),
        (b"x", 40_000, 1_701, "tunnelled"),
        (b"\1\0\0\0" + bytes(144), 40_000, 51_820, "tunnelled"),
        (b"\2\0\0\0" + bytes(88), 40_000, 51_820, "tunnelled"),
        (b"\3\0\0\0" + bytes(60), 40_000, 51_820, "tunnelled"),
        (b"\4\0\0\0" + bytes(28), 40_000, 51_820, "tunnelled"),
        (b"\4\0\0\0" + bytes(29), 40_000, 51_820, "unnamed"),
        (initial(crypto(0, handshake(hello_body([sni(b"a.example")])))), 40_000, 443, "quic_named"),
    ],
)
def test_classes_of_datagrams(engine: Make, payload: bytes, sport: int, dport: int, kind: str) -> None:
    frames = datagrams((True, payload), (False, b"reply"), sport=sport, dport=dport)
    assert classes(run(engine(Watch(), LIMITS), frames)) == {kind: sum(one.length for one in frames)}


def test_classes_of_connections(engine: Make) -> None:
    def kind(talk: Talk, watch: Watch = OPENAI) -> str:
        (name,) = classes(run(engine(watch, LIMITS), talk.frames))
        return name

    assert kind(Talk().hands().up(HELLO)) == "named"
    assert kind(Talk().hands()) == "unnamed"
    assert kind(Talk(dport=853).hands().up(HELLO)) == "dot"
    assert kind(Talk().hands().up(HELLO), Watch(resolvers=frozenset({"api.openai.com"}))) == "doh"
    assert kind(Talk().hands().up(HELLO), Watch(resolver_ips=frozenset({"192.0.2.1"}))) == "doh"
    assert kind(Talk().hands(), Watch(resolvers=frozenset({""}))) == "unnamed"


def test_encrypted_dns_is_counted_and_not_reported(engine: Make) -> None:
    talk = Talk().hands().up(HELLO).down(b"x")
    watch = replace(OPENAI, resolvers=frozenset({"api.openai.com"}))
    assert only(run(engine(watch, LIMITS), talk.frames), Opened) == []
    assert len(only(run(engine(replace(watch, all=True), LIMITS), talk.frames), Opened)) == 1


def test_of_everything_what_the_rest_of_watch_names_is_listed(engine: Make) -> None:
    watch = replace(OPENAI, all=True, networks=("192.0.2.8/32",), paths=frozenset({"/v1/"}))
    talks = {
        Talk(sport=1).hands().up(HELLO).bye(): True,
        Talk(sport=2).hands().up(openssl_hello("example.org")).bye(): False,
        Talk(sport=3, server="192.0.2.8").hands().up(b"?").bye(): True,
        Talk(sport=4, server="192.0.2.8").hands().bye(): False,  # without payload
        Talk(sport=5).hands().up(b"GET /v1/x HTTP/1.1\r\n\r\n").bye(): True,
        Talk(sport=6).hands().up(b"GET /v2/x HTTP/1.1\r\n\r\n").bye(): False,
        Talk(sport=7, dport=853).hands().up(HELLO).bye(): False,
    }
    for talk, listed in talks.items():
        (opened,) = only(run(engine(watch, LIMITS), talk.frames), Opened)
        assert opened.listed == listed
        found = only(run(engine(replace(watch, all=False), LIMITS), talk.frames), Opened)
        assert [one.listed for one in found] == [True] * listed


def test_what_was_counted_moves_when_the_flow_is_decided(engine: Make) -> None:
    talk = Talk().hands().up(HELLO[:10]).up(HELLO[10:], after=40 * SECOND)
    limits = replace(LIMITS, totals_ns=30 * SECOND)
    reader = engine(OPENAI, limits)
    first, second = only(reader.feed(talk.frames) + reader.finish(), Totals)
    assert set(first.bytes) == {"unnamed"}
    assert second.bytes == {"named": talk.frames[-1].length}


def conversation() -> list[Frame]:
    """A bit of everything, interleaved."""
    tls = (
        Talk()
        .hands()
        .up(HELLO[:200])
        .up(HELLO[200:])
        .down(SERVER_HELLO + record(90))
        .up(record(53) + record(10))
        .bye()
    )
    http = (
        Talk(sport=2_000, dport=8_000)
        .hands()
        .up(REQUEST[:30])
        .up(REQUEST[30:])
        .down(b"HTTP/1.1 200 OK\r\n\r\n")
    )
    middle = Talk(sport=3_000).down(b"late").up(record(100)).down(record(100), flags=ACK | PSH).bye()
    proxy = (
        Talk(sport=4_000, dport=3_128)
        .hands()
        .up(b"CONNECT api.openai.com:443 HTTP/1.1\r\n\r\n")
        .down(b"ok")
        .up(HELLO)
    )
    quic = datagrams(
        *((True, initial(crypto(at, part), number=at)) for at, part in ((300, b"x"), (0, bytes(40))))
    )
    dns = datagrams((True, QUERY), (False, b"\0\1\x84\0" + QUERY[4:]), sport=5_000, dport=53)
    pieces = udp(bytes(2_000), 6_000, 4_789)
    parts = [ipv4(pieces[at : at + 800], 17, ident=3, fragment=(0x2000 if at < 1_600 else 0) | at >> 3)
             for at in range(0, 2_008, 800)]  # fmt: skip
    split = [frame(ethernet(part), START + 3_000_000 + at) for at, part in enumerate(parts)]
    syn = [frame(ethernet(ipv4(tcp(b"early", 7_000, flags=SYN), 6)), START)]
    frames = tls.frames + http.frames + middle.frames + proxy.frames + quic + dns + split + syn
    return sorted(frames, key=lambda one: one.time)


FRAMES = conversation()
WATCHES = [EVERYTHING, replace(OPENAI, paths=frozenset({"/v1"}), networks=("192.0.2.0/30",)), OPENAI, Watch()]
SMALL = replace(LIMITS, flows=3, held=2, first_flight=300, server_bytes=40, segments=2, fragments=1, bursts=2,
                clear_bytes=60, names=1, datagrams=1)  # fmt: skip


@st.composite
def mangled(draw: st.DrawFn) -> list[Frame]:
    """Frames that came late, twice, not at all, cut, or with other bytes."""
    frames = list(FRAMES)
    for _ in range(draw(st.integers(0, 12))):
        at = draw(st.integers(0, len(frames) - 1))
        one = frames[at]
        match draw(st.sampled_from(["drop", "swap", "again", "cut", "byte", "wait"])):
            case "drop" if len(frames) > 1:
                del frames[at]
            case "swap":
                frames.insert(draw(st.integers(0, len(frames) - 1)), frames.pop(at))
            case "again":
                frames.insert(at, replace(one, time=one.time + draw(st.sampled_from([0, 1, 10_000_000]))))
            case "cut":
                frames[at] = replace(one, data=one.data[: draw(st.integers(0, len(one.data)))])
            case "byte":
                data = bytearray(one.data)
                for _ in range(draw(st.integers(1, 3))):
                    if data:
                        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
                frames[at] = replace(one, data=bytes(data))
            case "wait":
                more = draw(st.sampled_from([SECOND, 6 * SECOND, 61 * SECOND, 301 * SECOND]))
                frames[at:] = [replace(late, time=late.time + more) for late in frames[at:]]
    return frames


@settings(max_examples=60)
@given(mangled(), st.sampled_from(WATCHES), st.sampled_from([LIMITS, SMALL]), st.data())
def test_any_frames_in_any_batches(
    frames: list[Frame], watch: Watch, limits: object, data: st.DataObject
) -> None:
    """Nothing raises, batches do not matter, classes add up, and every engine says the same."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(frames)), max_size=6)))
    bounds = [0, *cuts, len(frames)]
    expected = None
    for name in installed():
        whole = run(create(name, watch, limits), frames)  # type: ignore[arg-type]
        reader = create(name, watch, limits)  # type: ignore[arg-type]
        parts = [fact for start, end in pairwise(bounds) for fact in reader.feed(frames[start:end])]
        assert parts + reader.finish() == whole
        for fact in only(whole, Totals):
            assert sum(fact.bytes.values()) == fact.counters.get("bytes", 0)
            assert all(value > 0 for value in (*fact.bytes.values(), *fact.counters.values()))
        assert expected is None or told(whole) == expected
        expected = told(whole)


def test_time_goes_on_without_frames(engine: Make) -> None:
    made = engine(EVERYTHING, LIMITS)
    assert made.tick(START) == []
    made.feed(datagrams((True, b"hello")))
    late = START + LIMITS.udp_idle_ns + 2 * LIMITS.sweep_ns
    silent = made.tick(late)
    assert [type(fact).__name__ for fact in silent] == ["Opened", "Progress", "Totals"]
    assert progress(silent).closed == "idle"
    assert made.tick(START) == []  # a clock that is behind changes nothing
    assert [fact.end for fact in only(made.finish(), Totals)] == [late]


def test_another_catalogue_from_the_next_frame_on(engine: Make) -> None:
    made = engine(Watch(), LIMITS)
    for port in (40_000, 40_001):
        made.feed(Talk(sport=port).hands().up(HELLO).frames)
        made.look(OPENAI)
    assert [fact.flow.client_port for fact in only(made.finish(), Opened)] == [40_001]
