"""docs/engine.md, sections 1 to 3, on every engine: duplicates, fragments, flows, first flights, names."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR

from sensor.packets.facts import Frame, Limits, Message, Opened, Progress, Totals, Watch
from sensor.wire.quic import VERSION_2
from tests.sensor.packets import scenarios
from tests.sensor.packets.build import (
    ACK,
    CLIENT,
    EVERYTHING,
    FIN,
    LIMITS,
    MAC,
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
    only,
    run,
    tcp,
    udp,
)
from tests.sensor.packets.conftest import Make
from tests.sensor.wire.samples import (
    crypto,
    dtls_records,
    handshake,
    hello_body,
    initial,
    openssl_hello,
    records,
    sni,
)

HELLO = openssl_hello("api.openai.com")
LONG = records(handshake(hello_body([sni(b"chat.example.org"), (21, bytes(4_000))])), 16_000)
OPENAI = Watch(names=frozenset({"openai.com"}))


def opened(facts: list) -> Opened:  # type: ignore[type-arg]
    (fact,) = only(facts, Opened)
    return fact


def totals(facts: list) -> dict[str, int]:  # type: ignore[type-arg]
    out: dict[str, int] = {}
    for fact in only(facts, Totals):
        assert sum(fact.bytes.values()) == fact.counters.get("bytes", 0)
        for name, value in (*fact.bytes.items(), *fact.counters.items()):
            out[name] = out.get(name, 0) + value
    return out


def test_a_connection(engine: Make) -> None:
    talk = Talk().hands().up(HELLO).down(b"server").up(b"more").bye()
    facts = run(engine(OPENAI, LIMITS), talk.frames)
    first = opened(facts)
    assert (first.name, first.name_source, first.protocol, first.ech) == (
        "api.openai.com",
        "sni",
        "tls",
        "none",
    )
    assert (first.client_bytes, first.server_bytes) == (HELLO, b"server")
    assert first.time == talk.frames[0].time
    flow = first.flow
    assert (flow.id, flow.transport, flow.client_ip, flow.client_port) == (0, "tcp", CLIENT, 40_000)
    assert (flow.server_ip, flow.server_port, flow.client_mac) == (SERVER, 443, MAC)
    (progress,) = only(facts, Progress)
    assert (progress.bytes_up, progress.bytes_down) == (len(HELLO) + 4, 6)
    assert (progress.packets_up, progress.packets_down, progress.closed) == (6, 3, "fin")
    assert (progress.start, progress.end) == (talk.frames[0].time, talk.frames[-1].time)
    assert totals(facts)["named"] == sum(one.length for one in talk.frames)


def test_what_is_not_watched_is_only_counted(engine: Make) -> None:
    talk = Talk().hands().up(openssl_hello("example.net")).down(b"server").bye()
    facts = run(engine(OPENAI, LIMITS), talk.frames)
    assert [type(fact) for fact in facts] == [Totals]
    assert totals(facts)["named"] == sum(one.length for one in talk.frames)


def test_no_payload_no_report_unless_all(engine: Make) -> None:
    networks = Watch(networks=("192.0.2.0/24",))
    assert only(run(engine(networks, LIMITS), Talk().hands().bye().frames), Opened) == []
    assert opened(run(engine(networks, LIMITS), Talk().hands().up(b"x").frames)).name_source == "ip"
    assert opened(run(engine(EVERYTHING, LIMITS), Talk().hands().bye().frames)).name_source == "none"


@pytest.mark.parametrize("size", [1, 7, 500, 1_400])
@pytest.mark.parametrize("order", ["forward", "backward", "twice", "overlapping"])
def test_a_hello_in_segments(engine: Make, size: int, order: str) -> None:
    hello = HELLO
    limits = replace(LIMITS, segments=2_000)
    talk = Talk().hands()
    start = talk.seq[0]
    cuts = range(0, len(hello), size)
    pieces = [(start + at, hello[at : at + size]) for at in cuts]
    if order == "backward":
        pieces.reverse()
    elif order == "twice":
        pieces = [piece for piece in pieces for _ in range(2)]
    elif order == "overlapping":
        pieces = [(start + at, hello[at : at + size * 2]) for at in cuts]
    for seq, piece in pieces:
        talk.up(piece, seq=seq)
    facts = run(engine(OPENAI, limits), talk.frames)
    assert opened(facts).client_bytes == hello
    assert sum(fact.bytes_up for fact in only(facts, Progress)) == sum(len(piece) for _, piece in pieces)


def test_first_come_bytes_win(engine: Make) -> None:
    talk = Talk().hands()
    start = talk.seq[0]
    talk.up(HELLO[100:], seq=start + 100).up(b"\xff" * 200, seq=start + 100).up(HELLO[:100], seq=start)
    assert opened(run(engine(OPENAI, LIMITS), talk.frames)).client_bytes == HELLO


def test_a_hello_that_begins_before_the_first_segment_seen(engine: Make) -> None:
    """No SYN: the lowest segment is the origin, until the flow is decided."""
    talk = Talk()
    start = talk.seq[0]
    request = b"POST /v1/chat HTTP/1.1\r\nHost: api.openai.com\r\n\r\n"
    talk.up(request[:10], seq=start)
    talk.up(request[30:], seq=start + 30).up(request[10:30], seq=start + 10)
    assert opened(run(engine(OPENAI, LIMITS), talk.frames)).client_bytes == request
    late = Talk().up(HELLO[:3], seq=start + 3).up(HELLO[3:], seq=start + 6)
    assert opened(run(engine(EVERYTHING, LIMITS), late.frames)).protocol == "tls"


def test_sequence_numbers_wrap(engine: Make) -> None:
    talk = Talk(isn=(1 << 32) - 20).hands().up(HELLO[:100]).up(HELLO[100:])
    assert opened(run(engine(OPENAI, LIMITS), talk.frames)).client_bytes == HELLO


def test_a_syn_may_have_the_last_sequence_number(engine: Make) -> None:
    last = (1 << 32) - 1
    talk = Talk().up(b"?").down(b"first", seq=last - 5).down(b"third", SYN | ACK, seq=last)
    talk.down(b"2", seq=last)
    assert opened(run(engine(EVERYTHING, LIMITS), talk.frames)).server_bytes == b"first2third"


def test_client_is_who_sends_the_hello(engine: Make) -> None:
    """Capture begins in the middle, with a frame of the server, on two high ports."""
    talk = Talk(sport=40_000, dport=8_443).down().up(HELLO).down(b"x")
    facts = run(engine(OPENAI, LIMITS), talk.frames)
    flow = opened(facts).flow
    # Every frame of `Talk` has the same MACs; the first was the server's, so the client's is its target.
    assert (flow.client_port, flow.client_mac) == (40_000, "02:00:00:00:00:02")
    (progress,) = only(facts, Progress)
    assert (progress.bytes_up, progress.bytes_down, progress.packets_down) == (len(HELLO), 1, 2)


def test_client_by_ports_when_nothing_else_says(engine: Make) -> None:
    talk = Talk(sport=40_000, dport=443).down(b"\x17\x03\x03\0\x05hello")
    assert opened(run(engine(EVERYTHING, LIMITS), talk.frames)).flow.client_port == 40_000
    ports = Watch(all=True, ports=frozenset({11_434}))
    talk = Talk(sport=40_000, dport=11_434).down(b"x")
    assert opened(run(engine(ports, LIMITS), talk.frames)).flow.client_port == 40_000


def test_super_segments_and_snap_lengths(engine: Make) -> None:
    big = bytes(65_000)
    talk = Talk().hands().up(HELLO).down(big).down(big)
    (progress,) = only(run(engine(OPENAI, LIMITS), talk.frames), Progress)
    assert progress.bytes_down == 130_000
    snapped = [Frame(one.time, one.link, one.data[:700], one.length) for one in talk.frames]
    (cut,) = only(run(engine(OPENAI, LIMITS), snapped), Progress)
    assert replace(cut, app_down=0) == replace(progress, app_down=0)


def test_a_keepalive_does_not_begin_a_stream(engine: Make) -> None:
    talk = Talk(dport=11_434)
    talk.up(b"\0", seq=talk.seq[0] - 1).down().up(scenarios.request()).down(b"HTTP/1.1 204 No\r\n\r\n")
    first = opened(run(engine(OPENAI, LIMITS), talk.frames))
    assert (first.protocol, first.name, first.client_bytes) == ("http", "api.openai.com", scenarios.request())


def test_a_forward_proxys_connection_in_clear_is_the_first_ones(engine: Make) -> None:
    """What README says cannot be told apart: another host's request behind it."""
    asked, other = (
        f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        for host in ("api.openai.com", "news.example")
    )
    talk = Talk(dport=3_128).hands().up(asked).up(other).down(bytes(900))
    facts = run(engine(OPENAI, LIMITS), talk.frames)
    assert opened(facts).name == "api.openai.com"
    (progress,) = only(facts, Progress)
    assert (progress.app_up, progress.app_down) == (len(asked + other), 900)


@pytest.mark.parametrize("port", [4_789, 8_472, 6_081])
def test_a_client_may_have_the_port_of_a_tunnel(engine: Make, port: int) -> None:
    record = DNSRR(rrname="api.openai.com.", rdata="192.0.2.1")
    answer = bytes(DNS(qr=1, qd=DNSQR(qname="api.openai.com."), an=record))
    for ident in range(0, 0x10000, 0xF1):
        start = struct.pack(">H", ident)
        frames = datagrams((True, start + QUERY[2:]), (False, start + answer[2:]), sport=port, dport=53)
        assert len(only(run(engine(OPENAI, LIMITS), frames), Message)) == 2


@pytest.mark.parametrize("connect", [b"", scenarios.TUNNEL], ids=["direct", "through a proxy"])
def test_a_preconnect_carries_nothing(engine: Make, connect: bytes) -> None:
    frames = scenarios.preconnect(connect=connect)
    (progress,) = only(run(engine(OPENAI, LIMITS), frames), Progress)
    assert (progress.app_up, progress.app_down) == (0, 0)


def fragments(payload: bytes, size: int, ident: int = 7, **ends: int) -> list[Frame]:
    datagram = udp(payload, **ends)
    out = []
    for at in range(0, len(datagram), size):
        more = 0x2000 if at + size < len(datagram) else 0
        body = ipv4(datagram[at : at + size], 17, ident=ident, fragment=more | at >> 3)
        out.append(frame(ethernet(body), START + at * 1_000))
    return out


QUERY = bytes(DNS(qd=DNSQR(qname="api.openai.com.", qtype="A")))


@pytest.mark.parametrize("order", ["forward", "backward", "overlapping", "twice"])
def test_fragments_are_reassembled(engine: Make, order: str) -> None:
    hello = initial(crypto(0, handshake(hello_body([sni(b"api.openai.com")]))))
    pieces = fragments(hello, 400)
    if order == "backward":
        pieces.reverse()
    elif order == "overlapping":  # what comes second does not count
        bad = ethernet(ipv4(b"\xff" * 400, 17, ident=7, fragment=0x2000))
        pieces.insert(1, frame(bad, START + 1))
    elif order == "twice":
        pieces = [pieces[0], *pieces]
        pieces[1] = replace(pieces[1], time=START + 10_000_000)  # not a mirror's copy
    facts = run(engine(OPENAI, LIMITS), pieces)
    assert (opened(facts).name, opened(facts).protocol) == ("api.openai.com", "quic")
    (progress,) = only(facts, Progress)
    assert (progress.bytes_up, progress.packets_up) == (len(hello), 1)
    assert totals(facts)["quic_named"] == sum(one.length for one in pieces)


def test_fragments_of_ipv6(engine: Make) -> None:
    datagram = udp(QUERY, 40_000, 53)
    head = [
        struct.pack(">BBHI", 17, 0, 1, 9) + datagram[:16],
        struct.pack(">BBHI", 17, 0, 16, 9) + datagram[16:],
    ]
    facts = run(engine(OPENAI, LIMITS), [frame(ethernet(ipv6(one, 44), 0x86DD)) for one in head])
    assert [fact.payload for fact in only(facts, Message)] == [QUERY]


def test_fragments_that_are_missing_are_lost(engine: Make) -> None:
    pieces = fragments(bytes(3_000), 800)
    assert totals(run(engine(EVERYTHING, LIMITS), pieces[:-1]))["fragments_lost"] == 3
    late = replace(pieces[-1], time=START + LIMITS.fragment_ns)
    seen = totals(run(engine(EVERYTHING, LIMITS), [*pieces[:-1], late]))
    assert (seen["fragments_lost"], seen["unnamed"]) == (4, sum(one.length for one in pieces))


def test_the_fragment_table_is_bounded(engine: Make) -> None:
    limits = replace(LIMITS, fragments=2)
    firsts = [fragments(bytes(1_000), 800, ident=number)[0] for number in range(1, 5)]
    rest = fragments(bytes(1_000), 800, ident=1)[1]
    facts = run(engine(EVERYTHING, limits), [*firsts, rest])
    assert totals(facts)["fragments_lost"] == 5
    assert "flows" not in totals(facts)


@pytest.mark.parametrize(("pieces", "lost"), [(256, 0), (257, 257)])
def test_a_datagram_in_very_many_fragments(engine: Make, pieces: int, lost: int) -> None:
    """It would take many times its size in memory."""
    parts = [
        frame(ethernet(ipv4(bytes(8), 17, ident=7, fragment=at | 0x2000 * (at + 1 < pieces))), START + at)
        for at in range(pieces)
    ]
    parts[0] = frame(ethernet(ipv4(udp(b"")[:8], 17, ident=7, fragment=0x2000)), START)
    for order in (parts, parts[::-1]):
        said = totals(run(engine(OPENAI, LIMITS), order))
        assert said.get("fragments_lost", 0) == lost
        assert said["frames"] == pieces
        assert said.get("flows", 0) == (not lost)


def test_a_fragment_beyond_the_datagram(engine: Make) -> None:
    ping_of_death = frame(ethernet(ipv4(bytes(80), 17, ident=1, fragment=0x1FFF)))
    (fact,) = only(run(engine(EVERYTHING, LIMITS), [ping_of_death]), Totals)
    assert (fact.bytes, fact.counters["undecodable"]) == ({"undecodable": ping_of_death.length}, 1)


def test_undecodable_frames_are_counted(engine: Make) -> None:
    cut = [frame(ethernet(b"\x45" + bytes(size))) for size in (0, 5, 18)]
    fine = [frame(ethernet(bytes(28), 0x0806)), *Talk().hands().frames]
    (fact,) = only(run(engine(EVERYTHING, LIMITS), [*fine, *cut]), Totals)
    assert fact.counters["undecodable"] == 3
    assert fact.bytes["undecodable"] == sum(one.length for one in cut)
    assert fact.counters["frames"] == 7


def test_a_frame_to_its_own_sender_is_the_clients(engine: Make) -> None:
    talk = Talk(server=CLIENT, sport=80, dport=80).hands().up(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    (fact,) = only(run(engine(EVERYTHING, LIMITS), talk.frames), Progress)
    assert (fact.packets_up, fact.packets_down) == (4, 0)


def test_frames_to_their_own_senders_fill_the_flow_table(engine: Make) -> None:
    frames = [one for port in range(5) for one in datagrams((True, b"x"), sport=port + 1, dport=port + 1)]
    same = [
        replace(one, data=one.data.replace(bytes((192, 0, 2, 1)), bytes((10, 0, 0, 1)))) for one in frames
    ]
    facts = run(engine(EVERYTHING, replace(LIMITS, flows=2)), same)
    assert totals(facts)["flows_evicted"] == 3


def test_duplicates(engine: Make) -> None:
    def one(ident: int, ttl: int = 64, time: int = 0, payload: bytes = b"x") -> Frame:
        return frame(ethernet(ipv4(udp(payload), 17, ident=ident, ttl=ttl)), START + time)

    def counted(*frames: Frame) -> tuple[int, int]:
        facts = run(engine(EVERYTHING, LIMITS), frames)
        assert totals(facts)["frames"] + totals(facts).get("duplicates", 0) == len(frames)
        return totals(facts).get("duplicates", 0), only(facts, Progress)[0].packets_up

    assert counted(one(5), one(5, ttl=63)) == (1, 1)
    assert counted(one(5), one(5, time=LIMITS.duplicate_ns), one(5, time=1)) == (2, 1)
    assert counted(one(5), one(5, time=LIMITS.duplicate_ns + 1)) == (0, 2)
    assert counted(one(5), one(5, payload=b"y")) == (0, 2)
    assert counted(one(5, payload=bytes(99) + b"x"), one(5, payload=bytes(99) + b"y")) == (0, 2)
    assert counted(one(5, payload=bytes(100) + b"x"), one(5, payload=bytes(100) + b"y")) == (1, 1)
    assert counted(one(0), one(0)) == (0, 2)
    assert counted(one(5), *(one(6 + n) for n in range(63)), one(5)) == (1, 64)
    assert counted(one(5), *(one(6 + n) for n in range(64)), one(5)) == (0, 66)


def test_duplicates_of_ipv6(engine: Make) -> None:
    segment = frame(ethernet(ipv6(tcp(b"x"), 6), 0x86DD))
    datagram = frame(ethernet(ipv6(udp(b"x"), 17), 0x86DD))
    seen = totals(run(engine(EVERYTHING, LIMITS), [segment, segment, datagram, datagram]))
    assert (seen["duplicates"], seen["frames"]) == (1, 3)


def closes(engine: Make, talk: Talk, limits: Limits = LIMITS) -> list[str]:
    return [
        fact.closed for fact in only(run(engine(EVERYTHING, limits), talk.frames), Progress) if fact.closed
    ]


def test_how_flows_end(engine: Make) -> None:
    assert closes(engine, Talk().hands()) == ["end"]
    assert closes(engine, Talk().hands().bye()) == ["fin"]
    assert closes(engine, Talk().hands().up(flags=RST)) == ["rst"]
    assert closes(engine, Talk().hands().up(flags=FIN | ACK)) == ["end"]
    assert closes(engine, Talk().hands().bye().down(flags=RST)) == ["fin"]
    assert closes(engine, Talk().hands().bye().down(b"late", after=LIMITS.closed_ns - SECOND)) == ["fin"]
    assert closes(engine, Talk().hands().bye().down(b"new", after=LIMITS.closed_ns)) == ["fin", "end"]
    assert closes(engine, Talk().hands().up(b"x", after=LIMITS.tcp_idle_ns)) == ["idle", "end"]
    assert closes(engine, Talk().hands().up(b"x", after=LIMITS.tcp_idle_ns - 1)) == ["end"]


def test_a_new_syn_on_the_same_key(engine: Make) -> None:
    again = Talk().hands().bye()
    again.seq = [9_000_000, 8_000_000]
    assert closes(engine, again.hands()) == ["fin", "end"]
    lost = Talk().hands().up(b"x")
    lost.seq = [9_000_000, 8_000_000]
    assert closes(engine, lost.hands()) == ["rst", "end"]
    assert closes(engine, Talk().up(flags=SYN, seq=5).up(flags=SYN, seq=5)) == ["end"]
    assert closes(engine, Talk().down(flags=SYN | ACK).up(flags=SYN)) == ["end"]


def test_udp_idles(engine: Make) -> None:
    frames = datagrams((True, b"a"), (True, b"b"), step=LIMITS.udp_idle_ns)
    facts = run(engine(EVERYTHING, LIMITS), frames)
    assert [fact.closed for fact in only(facts, Progress) if fact.closed] == ["idle", "end"]
    assert [fact.flow.id for fact in only(facts, Opened)] == [0, 1]


def test_the_least_recently_seen_flow_is_evicted(engine: Make) -> None:
    def one(port: int, time: int) -> Frame:
        return frame(ethernet(ipv4(udp(b"x", port, 9), 17)), START + time)

    order = [1_001, 1_002, 1_003, 1_001, 1_004, 1_005, 1_001]
    facts = run(
        engine(EVERYTHING, replace(LIMITS, flows=3)), [one(port, at) for at, port in enumerate(order)]
    )
    evicted = [fact.flow.client_port for fact in only(facts, Progress) if fact.closed == "evicted"]
    assert evicted == [1_002, 1_003]
    assert totals(facts)["flows_evicted"] == 2
    assert totals(facts)["flows"] == 5


def test_held_flows_are_bounded(engine: Make) -> None:
    talks = [Talk(sport=1_000 + number).hands().up(HELLO[:50]) for number in range(4)]
    frames = [one for talk in talks for one in talk.frames]
    facts = run(engine(EVERYTHING, replace(LIMITS, held=2)), frames)
    assert [fact.flow.client_port for fact in only(facts, Opened)] == [1_000, 1_001, 1_002, 1_003]
    assert all(fact.client_bytes == HELLO[:50] for fact in only(facts, Opened))


def test_out_of_order_segments_are_bounded(engine: Make) -> None:
    talk = Talk().hands()
    for number in range(6):
        talk.up(b"z" * 10, seq=talk.seq[0] + 100 + 20 * number)
    facts = run(engine(EVERYTHING, replace(LIMITS, segments=4)), talk.frames)
    assert totals(facts)["reorder_lost"] == 60
    assert opened(facts).client_bytes == b""


def test_the_first_flight_is_bounded(engine: Make) -> None:
    talk = Talk().hands()
    for at in range(0, len(LONG), 500):
        talk.up(LONG[at : at + 500])
    facts = run(engine(EVERYTHING, replace(LIMITS, first_flight=1_000)), talk.frames)
    assert opened(facts).client_bytes == LONG[:1_000]
    assert opened(facts).protocol == "tls"
    assert opened(run(engine(EVERYTHING, LIMITS), talk.frames)).name == "chat.example.org"


@pytest.mark.parametrize(
    "version", [1, VERSION_2, *range(0xFF000016, 0xFF000023), 0xFACEB001, 0xFACEB002, 0xFACEB00E]
)
def test_every_quic_version_whose_keys_are_known(engine: Make, version: int) -> None:
    hello = handshake(hello_body([sni(b"api.openai.com")]))
    frames = datagrams((True, initial(crypto(0, hello), version=version)))
    first = opened(run(engine(EVERYTHING, LIMITS), frames))
    assert (first.name, first.name_source, first.quic_version) == ("api.openai.com", "quic_sni", version)


def test_of_two_dtls_fragments_the_first_counts(engine: Make) -> None:
    hellos = [hello_body([sni(name)], cookie=b"") for name in (b"api.openai.com", b"www.example.co")]
    frames = datagrams((True, b"".join(dtls_records(hello)[0] for hello in hellos)))
    assert opened(run(engine(EVERYTHING, LIMITS), frames)).name == "api.openai.com"


def test_server_bytes_are_bounded(engine: Make) -> None:
    talk = Talk().hands().up(HELLO).down(bytes(3_000)).down(bytes(3_000)).down(bytes(3_000))
    assert opened(run(engine(OPENAI, LIMITS), talk.frames)).server_bytes == bytes(4_096)


@pytest.mark.parametrize("version", [1, VERSION_2])
def test_a_quic_request_in_0rtt_counts(engine: Make, version: int) -> None:
    size = len(scenarios.early(version, False)[1].data) - 42
    for behind, up in ((True, 0), (False, size)):
        (progress,) = only(run(engine(OPENAI, LIMITS), scenarios.early(version, behind)), Progress)
        assert (progress.app_up, progress.app_down) == (up, 901)


def test_quic_in_any_order_and_a_limit(engine: Make) -> None:
    message = handshake(hello_body([sni(b"claude.ai"), (21, bytes(2_000))]))
    parts = [(1_000, message[1_000:]), (0, message[:1_000])]
    frames = datagrams(
        *((True, initial(crypto(offset, part), number=number)) for number, (offset, part) in enumerate(parts))
    )
    first = opened(run(engine(Watch(names=frozenset({"claude.ai"})), LIMITS), frames))
    assert (first.name_source, first.client_bytes, first.quic_version) == ("quic_sni", message, 1)
    given_up = run(engine(EVERYTHING, replace(LIMITS, datagrams=1)), frames)
    assert (opened(given_up).protocol, opened(given_up).name) == ("quic", "")


def reply(name: str, address: str, ttl: int = 300) -> bytes:
    question = DNSQR(qname=name, qtype="A")
    alias = DNSRR(rrname=name, type="CNAME", rdata="edge.example.net.", ttl=ttl)
    answer = DNSRR(rrname="edge.example.net.", type="A", rdata=address, ttl=ttl)
    return bytes(DNS(qr=1, qd=question, an=[alias, answer]))


def lookup(
    name: str, address: str = SERVER, time: int = START, client: str = CLIENT, ttl: int = 300
) -> Frame:
    packet = ipv4(udp(reply(name, address, ttl), 53, 5_555), 17, "9.9.9.9", client)
    return frame(ethernet(packet), time)


@pytest.mark.parametrize(
    ("watch", "name"),
    [
        (OPENAI, "api.openai.com"),
        (Watch(patterns=frozenset({"*.open*.com"})), "api.openai.com"),
        (Watch(names=frozenset({"example.net"})), "edge.example.net"),
        (Watch(names=frozenset({"other.org"})), ""),
    ],
)
def test_names_are_learnt_from_answers(engine: Make, watch: Watch, name: str) -> None:
    talk = Talk().hands().up(b"\x80no name here")
    facts = run(engine(watch, LIMITS), [lookup("api.openai.com."), *talk.frames])
    found = [(fact.name, fact.name_source) for fact in only(facts, Opened) if fact.flow.transport == "tcp"]
    assert found == ([(name, "dns")] if name else [])


@pytest.mark.parametrize(("hops", "source"), [(127, "dns"), (128, "ip")])
def test_a_name_of_many_pointers(engine: Make, hops: int, source: str) -> None:
    """Each pointer of a record's data leads to the one before, the next record's name to the last."""
    ask = scenarios.name(b"api.openai.com")
    message = struct.pack(">HHHHHH", 7, 0x8180, 1, 2, 0, 0) + ask + struct.pack(">HH", 1, 1)
    at = len(message) + 11
    chain = b"".join(struct.pack(">H", 0xC000 | pos) for pos in (12, *range(at, at + 2 * hops - 4, 2)))
    message += b"\0" + struct.pack(">HHIH", 16, 1, 60, len(chain)) + chain
    message += struct.pack(">HHHIH", 0xC000 | at + 2 * hops - 4, 1, 1, 60, 4) + bytes((192, 0, 2, 1))
    watch = replace(OPENAI, networks=("192.0.2.0/24",))
    frames = datagrams((False, message), dport=53) + Talk().hands().up(b"hello").frames
    found = only(run(engine(watch, LIMITS), frames), Opened)
    assert [fact.name_source for fact in found if fact.flow.transport == "tcp"] == [source]


def test_what_is_learnt_holds_for_that_client_and_its_time(engine: Make) -> None:
    def heard(first: Frame, after: int = 0) -> bool:
        talk = Talk().up(b"\x80", after=after + 1)
        facts = run(engine(OPENAI, LIMITS), [first, *talk.frames])
        return any(fact.flow.transport == "tcp" for fact in only(facts, Opened))

    name = "api.openai.com."
    assert heard(lookup(name))
    assert not heard(lookup(name, client="10.0.0.9"))
    assert not heard(lookup(name, "192.0.2.7"))
    assert heard(lookup(name, ttl=1), LIMITS.name_min_ns - 2)
    assert not heard(lookup(name, ttl=1), LIMITS.name_min_ns)
    assert heard(lookup(name, ttl=90_000), LIMITS.name_max_ns - 2)
    assert not heard(lookup(name, ttl=90_000), LIMITS.name_max_ns)


def test_learnt_names_are_bounded(engine: Make) -> None:
    names = [lookup("api.openai.com.", f"192.0.2.{number}") for number in (1, 2, 3)]
    facts = run(engine(OPENAI, replace(LIMITS, names=2)), [*names, *Talk().up(b"\x80").frames])
    assert totals(facts)["names_evicted"] == 1
    assert [fact for fact in only(facts, Opened) if fact.flow.transport == "tcp"] == []
    # A written entry moves back: now the second goes.
    facts = run(
        engine(OPENAI, replace(LIMITS, names=2)),
        [names[0], names[1], names[0], names[2], *Talk().up(b"\x80").frames],
    )
    assert len([fact for fact in only(facts, Opened) if fact.flow.transport == "tcp"]) == 1


def test_ech_behind_a_front(engine: Make) -> None:
    hello = records(handshake(hello_body([sni(b"cloudflare-ech.com"), (0xFE0D, bytes(20))])), 16_000)
    watch = Watch(names=frozenset({"openai.com"}), fronts=frozenset({"cloudflare-ech.com"}))
    talk = Talk().hands().up(hello)
    first = opened([fact for fact in run(engine(watch, LIMITS), [lookup("api.openai.com."), *talk.frames])
                    if not isinstance(fact, Opened) or fact.flow.transport == "tcp"])  # fmt: skip
    assert (first.name, first.name_source, first.ech) == ("api.openai.com", "dns", "offered")
    everything = replace(watch, all=True)
    alone = opened(run(engine(everything, LIMITS), talk.frames))
    assert (alone.name, alone.name_source, alone.ech) == ("cloudflare-ech.com", "sni", "offered")
    grease = opened(run(engine(EVERYTHING, LIMITS), talk.frames))
    assert grease.ech == "grease"
    assert totals(run(engine(EVERYTHING, LIMITS), talk.frames))["ech_grease"]
