from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sensor.wire import dns as wire_dns
from sensor.wire.cursor import Cursor, Malformed
from sensor.wire.dns import (
    RECORDS,
    TEXT_MAX,
    TcpMessages,
    ech_public_names,
    parse_dns,
    peek_answers,
    peek_question,
    read_name,
)
from tests.sensor.wire.samples import vec

HEADER = bytes.fromhex("1234 8180 0001 0000 0000 0000")


def query(name: str = "API.OpenAI.com", kind: str = "A") -> bytes:
    return dns.message.make_query(name, kind).to_wire()


def response(
    *rrsets: str, name: str = "api.openai.com", kind: str = "A", additional: tuple[str, ...] = ()
) -> bytes:
    message = dns.message.make_response(dns.message.make_query(name, kind))
    for section, lines in ((message.answer, rrsets), (message.additional, additional)):
        for line in lines:
            owner, ttl, rdtype, rest = line.split(" ", 3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", rdtype, rest))
    return message.to_wire()


def ech_config(name: bytes, version: int = 0xFE0D) -> bytes:
    body = b"\x2a\0\x20" + vec(2, bytes(32)) + vec(2, b"\0\1\0\1") + b"\0" + vec(1, name) + b"\0\0"
    return version.to_bytes(2, "big") + vec(2, body)


def https(*params: tuple[int, bytes]) -> bytes:
    """A response whose one answer is an HTTPS record."""
    rdata = b"\0\1\0" + b"".join(key.to_bytes(2, "big") + vec(2, value) for key, value in params)
    question = b"\3cdn\7example\0\0\x41\0\1"
    return HEADER[:6] + b"\0\1" + bytes(4) + question + b"\xc0\x0c\0\x41\0\1\0\0\1\x2c" + vec(2, rdata)


def raw(records: bytes, count: int = 1) -> bytes:
    """A response to `x A` with hand-made answers."""
    return HEADER[:6] + count.to_bytes(2, "big") + bytes(4) + b"\1x\0\0\1\0\1" + records


CHAIN = response(
    "api.openai.com. 300 CNAME api.openai.com.cdn.example.",
    "api.openai.com.cdn.example. 60 A 192.0.2.1",
    "api.openai.com.cdn.example. 60 A 192.0.2.2",
    "api.openai.com.cdn.example. 90 AAAA 2001:db8::1",
)


def test_question() -> None:
    assert peek_question(query()) == ("api.openai.com", 1, False)
    assert peek_question(query("claude.ai", "HTTPS")) == ("claude.ai", 65, False)
    assert peek_question(CHAIN) == ("api.openai.com", 1, True)
    assert peek_question(query(".", "NS")) == ("", 2, False)
    assert peek_question(HEADER[:4] + bytes(8)) is None


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ([b"A_b-9", b"COM"], "a_b-9.com"),
        ([b"b\xc3\xbc", b"x"], r"b\xc3\xbc.x"),
        ([b"a.b", b"local"], r"a\x2eb.local"),
        ([b"\0\\", b"x"], r"\x00\x5c.x"),
        ([b"\xff" * 63] * 3, ((r"\xff" * 63 + ".") * 3)[:255]),
    ],
)
def test_names_are_written_one_way(labels: list[bytes], name: str) -> None:
    wire = b"".join(vec(1, label) for label in labels) + b"\0"
    assert peek_question(HEADER + wire + b"\0\1\0\1") == (name, 1, True)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        HEADER,
        HEADER[:11],
        HEADER + b"\3ab",
        HEADER + b"\3abc\0\0\1",
        HEADER + b"\xc0\x0c\0\1\0\1",  # points to itself
        HEADER + b"\xc0\x20\0\1\0\1" + bytes(30),  # forward
        HEADER + b"\1a\xc0\x0c\0\1\0\1",  # loop
        HEADER + b"\x80a\0\0\1\0\1",  # reserved label type
        HEADER + b"\xc0",
        HEADER + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",  # 256 bytes
    ],
)
def test_questions_that_cannot_be_read(message: bytes) -> None:
    for parse in (peek_question, peek_answers, parse_dns):
        with pytest.raises(Malformed):
            parse(message)


def test_the_longest_name_and_a_chain_of_pointers() -> None:
    longest = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0"
    assert len(longest) == 255
    cursor = Cursor(longest + b"rest")
    assert len(read_name(cursor)) == 253
    assert cursor.take(4) == b"rest"
    cursor = Cursor(b"\1c\0\1b\xc0\0\1a\xc0\3rest", 7)
    assert read_name(cursor) == "a.b.c"
    assert cursor.take(4) == b"rest"


def test_a_name_in_the_header_is_the_messages_own() -> None:
    for ident in (b"\1a", b"\1b"):  # the same but for the id, which the question's pointer leads to
        message = ident + b"\0\0\0\1" + bytes(6) + b"\xc0\0\0\1\0\1"
        assert peek_question(message) == (chr(ident[1]), 1, False)


@given(st.binary(max_size=80).map(lambda tail: HEADER + b"\3abc\xc0\3" + tail), st.integers(0, 60))
@example(HEADER + b"\3a\0b\0\xc0\x0c", 12)
@example(HEADER + b"\3a\0b\0\xc0\x0c", 17)
@example(HEADER + b"\x3f" + b"a" * 63 + b"\0", 12)
def test_names_at_hand_are_read_like_those_that_are_compressed(message: bytes, pos: int) -> None:
    def read(how: Callable[[Cursor], str]) -> tuple[str, int] | None:
        cursor = Cursor(message, pos)
        with suppress(Malformed):
            return how(cursor), cursor.pos
        return None

    assert read(read_name) == read(wire_dns._compressed)


def test_answers() -> None:
    answers = peek_answers(CHAIN)
    assert answers.question == "api.openai.com"
    assert answers.chain == (("api.openai.com", "api.openai.com.cdn.example"),)
    assert answers.addresses == (
        ("api.openai.com.cdn.example", "192.0.2.1", 60),
        ("api.openai.com.cdn.example", "192.0.2.2", 60),
        ("api.openai.com.cdn.example", "2001:db8::1", 90),
    )
    assert answers.ech_names == ()


def test_answers_as_far_as_they_can_be_read() -> None:
    first = b"\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0\0\2\1"
    for bad in (
        b"\xc0\x0c\0\1\0\1\0\0\0\x0a\0\5\xc0\0\2\1\0",
        b"\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0",
        b"\xff",
        b"",
    ):
        message = raw(first + bad, 2)
        assert [address for _, address, _ in peek_answers(message).addresses] == ["192.0.2.1"]
        parse_dns(message)


def test_aliases_as_far_as_they_can_be_read() -> None:
    good, broken = (b"\xc0\x0c\0\5\0\1\0\0\0\1" + vec(2, data) for data in (b"\1y\0", b"\3y"))
    message = parse_dns(raw(good + broken + good, 3))
    assert message.chain == (("x", "y"),)
    assert [record.data for record in message.answers] == ["y", "\\# 2 0379", "y"]


def test_ttl_with_its_top_bit_set_is_zero() -> None:
    assert peek_answers(raw(b"\0\0\1\0\1\xff\xff\xff\xff\0\4\1\2\3\4")).addresses == (("", "1.2.3.4", 0),)


def test_a_message_of_thousands_of_records_is_bounded() -> None:
    message = raw(b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4" * 3_000, 3_000)
    assert len(peek_answers(message).addresses) == RECORDS
    assert len(parse_dns(message).answers) == RECORDS
    assert parse_dns(HEADER[:4] + b"\xff\xff" + bytes(6) + b"\1x\0\0\1\0\1" * 600).question == "x"


def test_ech_public_names() -> None:
    configs = vec(
        2, ech_config(b"Cloudflare-ECH.com") + ech_config(b"other", 0xFE0A) + ech_config(b"second.example")
    )
    assert ech_public_names(configs) == ("cloudflare-ech.com", "second.example")
    message = https((1, b"\2h2"), (5, configs))
    assert peek_answers(message).ech_names == ("cloudflare-ech.com", "second.example")
    parsed = parse_dns(message)
    assert (parsed.ech_offered, parsed.ech_names) == (True, ("cloudflare-ech.com", "second.example"))
    assert peek_answers(https((1, b"\2h2"))).ech_names == ()
    assert not parse_dns(https()).ech_offered
    assert peek_answers(https((5, configs[:-9]))).ech_names == ()
    assert parse_dns(https((5, configs[:-9]))).answers[0].data.startswith("\\# ")


def test_a_whole_message() -> None:
    message = parse_dns(CHAIN)
    assert (message.is_response, message.opcode, message.rcode, message.truncated) == (
        True,
        0,
        "NOERROR",
        False,
    )
    assert (message.question, message.qtype) == ("api.openai.com", "A")
    assert message.addresses == ("192.0.2.1", "192.0.2.2", "2001:db8::1")
    assert message.ttl == 60
    assert message.chain == (("api.openai.com", "api.openai.com.cdn.example"),)
    first = message.answers[0]
    assert (first.name, first.type, first.ttl) == ("api.openai.com", "CNAME", 300)
    assert first.data == "api.openai.com.cdn.example"
    asked = parse_dns(query())
    assert (asked.is_response, asked.question, asked.answers, asked.ttl, asked.hosts) == (
        False,
        "api.openai.com",
        (),
        None,
        (),
    )


def test_data_of_many_types_is_written_by_dnspython() -> None:
    message = parse_dns(
        response(
            'x.example. 1 TXT "v=spf1 -all" "two"',
            "x.example. 1 MX 10 mail.x.example.",
            "_a._tcp.x.example. 1 SRV 0 5 443 host.x.example.",
            "x.example. 1 SOA ns. root. 1 2 3 4 5",
            'x.example. 1 HTTPS 1 . alpn="h2,h3" port=8443',
            "x.example. 1 TYPE65400 \\# 2 abcd",
        )
    )
    data = {record.type: record.data for record in message.answers}
    assert data["TXT"] == '"v=spf1 -all" "two"'
    assert data["MX"] == "10 mail.x.example."
    assert data["SRV"] == "0 5 443 host.x.example."
    assert data["SOA"] == "ns. root. 1 2 3 4 5"
    assert data["HTTPS"] == '1 . alpn="h2,h3" port="8443"'
    assert data["TYPE65400"] == "\\# 2 abcd"


def test_data_is_bounded_and_what_cannot_be_read_is_hex() -> None:
    txt = b"\0\0\x10\0\1\0\0\0\1" + vec(2, vec(1, b"x" * 255) * 20)
    assert len(parse_dns(raw(txt)).answers[0].data) == TEXT_MAX
    assert parse_dns(raw(b"\0\0\x0f\0\1\0\0\0\1\0\2\0\x0a")).answers[0].data == "\\# 2 000a"
    assert parse_dns(raw(b"\0\0\1\0\1\0\0\0\1\0\2\1\2")).answers[0].data == "\\# 2 0102"


def test_codes_and_flags() -> None:
    message = dns.message.make_response(dns.message.make_query("x.example", "A"))
    message.set_rcode(3)
    message.flags |= dns.flags.TC
    parsed = parse_dns(message.to_wire())
    assert (parsed.rcode, parsed.truncated) == ("NXDOMAIN", True)
    message.use_edns(0)
    message.set_rcode(23)
    assert parse_dns(message.to_wire()).rcode == "BADCOOKIE"
    message.set_rcode(4_000)
    assert parse_dns(message.to_wire()).rcode == "4000"
    assert parse_dns(message.to_wire()).additional == ()
    assert parse_dns(query() + b"trailing").question == "api.openai.com"
    assert parse_dns(HEADER[:4] + bytes(8)).qtype == ""


def test_mdns_hosts_with_the_cache_flush_bit() -> None:
    address = b"\x04Lab1\5local\0\0\1\x80\1\0\0\0\x78\0\4\x0a\0\0\7"
    message = (
        b"\0\0\x84\0\0\0\0\1\0\0\0\1" + address + b"\xc0\x0c\0\x1c\x80\1\0\0\0\x78\0\x10" + bytes(15) + b"\1"
    )
    parsed = parse_dns(message)
    assert parsed.hosts == (("lab1.local", "10.0.0.7", 120), ("lab1.local", "::1", 120))
    assert (parsed.question, parsed.qtype) == ("", "")
    assert parsed.answers[0].flush
    assert parse_dns(message[:2] + b"\0\0" + message[4:]).hosts == ()


def test_tcp_messages_in_any_pieces() -> None:
    stream = vec(2, query()) + vec(2, CHAIN) + vec(2, query("claude.ai"))
    for size in (1, 2, 3, 50, len(stream)):
        splitter = TcpMessages()
        found = [m for at in range(0, len(stream), size) for m in splitter.feed(stream[at : at + size])]
        assert [peek_question(m) for m in found] == [
            ("api.openai.com", 1, False),
            ("api.openai.com", 1, True),
            ("claude.ai", 1, False),
        ]
    with pytest.raises(Malformed):
        TcpMessages().feed(b"\0\x0b" + bytes(11))


BYTES = st.binary(max_size=120) | st.binary(max_size=100).map(
    lambda tail: HEADER[:6] + b"\0\3\0\1\0\1" + tail
)


@given(BYTES)
@example(CHAIN)
def test_any_bytes(data: bytes) -> None:
    for parse in (peek_question, peek_answers, parse_dns, ech_public_names):
        with suppress(Malformed):
            parse(data)  # type: ignore[operator]
    with suppress(Malformed):
        TcpMessages().feed(data)


@given(st.data())
def test_a_damaged_response(data: st.DataObject) -> None:
    configs = vec(2, ech_config(b"front.example"))
    message = bytearray(data.draw(st.sampled_from((CHAIN, https((1, b"\2h2"), (4, bytes(4)), (5, configs))))))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(0, len(message)))])
    with suppress(Malformed):
        parsed = parse_dns(cut)
        peeked = peek_question(cut)
        assert peeked is None or peeked[0] == parsed.question
        assert set(parsed.addresses) >= {address for _, address, _ in peek_answers(cut).addresses}


@given(st.integers(0, 65_535), st.binary(max_size=60))
def test_any_type_with_any_data(kind: int, rdata: bytes) -> None:
    record = b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\1" + vec(2, rdata)
    (answer,) = parse_dns(raw(record)).answers
    assert answer.name == "x"
    if kind == 1 and len(rdata) == 4:
        assert answer.data == socket.inet_ntop(socket.AF_INET, rdata)
