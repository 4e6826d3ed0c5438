from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.wire.cursor import Malformed
from sensor.wire.http import (
    HEAD_MAX,
    Body,
    End,
    Head,
    HttpEvent,
    HttpRequest,
    HttpResponse,
    HttpStream,
    parse_request,
    parse_response,
    split_authority,
)

POST = b"POST /api/chat?x=1 HTTP/1.1\r\nHost: Ollama.LAN:11434\r\nContent-Length: 5\r\n\r\n"


def request(raw: bytes) -> HttpRequest:
    found = parse_request(raw)
    assert found is not None
    return found


def test_a_request() -> None:
    head = request(POST + b"hello")
    assert (head.method, head.target, head.path, head.version) == (
        "POST",
        "/api/chat?x=1",
        "/api/chat",
        "1.1",
    )
    assert (head.host, head.port, head.size) == ("ollama.lan", 11_434, len(POST))
    assert head.headers == (("host", "Ollama.LAN:11434"), ("content-length", "5"))
    assert head.get("content-length") == "5"
    assert head.get("cookie") is None


@pytest.mark.parametrize(
    ("line", "host", "port", "path"),
    [
        (b"GET http://API.example.com:8080/a?b HTTP/1.1", "api.example.com", 8080, "/a"),
        (b"GET https://user:pw@api.example.com HTTP/1.0", "api.example.com", None, "/"),
        (b"GET http://[2001:DB8::1]:80/x HTTP/1.1", "2001:db8::1", 80, "/x"),
        (b"CONNECT api.openai.com:443 HTTP/1.1", "api.openai.com", 443, ""),
        (b"CONNECT [::1]:443 HTTP/1.1", "::1", 443, ""),
        (b"OPTIONS * HTTP/1.1", "fallback", None, "*"),
        (b"M-SEARCH relative HTTP/1.1", "fallback", None, "relative"),
        (b"GET /a b c HTTP/1.1", "fallback", None, "/a b c"),
        (b"GET /caf\xc3\xa9 HTTP/1.1", "fallback", None, "/caf\xc3\xa9"),
    ],
)
def test_targets(line: bytes, host: str, port: int | None, path: str) -> None:
    head = request(line + b"\r\nhost: fallback\r\n\r\n")
    assert (head.host, head.port, head.path) == (host, port, path)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "", None),
        ("a.example.", "a.example", None),
        ("a.example:", "a.example", None),
        ("a.example:x", "a.example", None),
        ("a.example:٣", "a.example", None),
        ("a.example:123456", "a.example", None),
        ("[::1]", "::1", None),
        ("[not an address]:1", r"not\x20an\x20address", 1),
        ("1.2.3.4:80", "1.2.3.4", 80),
    ],
)
def test_authorities(text: str, host: str, port: int | None) -> None:
    assert split_authority(text) == (host, port)


def test_lenient_heads() -> None:
    head = request(b"\r\n\nGET / HTTP/1.1\nHost : a.example \n folded\n\tmore\n  \nno colon\n\n")
    assert head.headers == (("host", "a.example folded more"),)
    assert request(b"GET / HTTP/1.1\r\n\r\n").host == ""
    assert request(b"GET / HTTP/1.1\r\n\nbody").size == 17


def test_need_more_at_every_cut() -> None:
    assert {parse_request(POST[:cut]) for cut in range(len(POST))} == {None}
    answer = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"
    assert {parse_response(answer[:cut]) for cut in range(len(answer))} == {None}


def test_final_takes_the_lines_that_are_whole() -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: aaaa", final=True)
    assert head is not None
    assert (head.host, head.get("cookie"), head.size) == ("a.example", None, 33)
    assert parse_request(b"GET / HT", final=True) is None


@pytest.mark.parametrize(
    "data",
    [
        b"get / HTTP/1.1\r\n\r\n",
        b"\x16\3\1",
        b"GET\t/",
        b"GET /\0",
        b"EHLO mail.example\r\n",
        b"INVITE sip:a SIP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"A" * 30,
        b"GET /" + b"a" * HEAD_MAX,
        b"GET / HTTP/1.1\r\nx: " + b"a" * HEAD_MAX,
        b"\r\n\r\n\r\n",
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(data)


@pytest.mark.parametrize(
    "data",
    [b"HTTP/2 200", b"HTTP/1.1 20\r\n", b"HTTP/1.1 099 x\r\n\r\n", b"SSH-2.0", b"HTTP/1." + b"1" * HEAD_MAX],
)
def test_what_is_no_response(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_response(data)


def test_a_response() -> None:
    head = parse_response(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n")
    assert isinstance(head, HttpResponse)
    assert (head.status, head.reason, head.version, head.get("a")) == (404, "Not Found", "1.0", "b")
    bare = parse_response(b"HTTP/1.1 204\r\n\r\n")
    assert bare is not None
    assert (bare.status, bare.reason) == (204, "")


def summary(events: list[HttpEvent]) -> list[object]:
    """Heads by their first line, bodies joined, ends."""
    out: list[object] = []
    for event in events:
        if isinstance(event, Head):
            out.append(event.head.method if isinstance(event.head, HttpRequest) else event.head.status)
        elif isinstance(event, End):
            out.append((event.size, event.complete))
        elif out and isinstance(out[-1], list):
            out[-1] = [out[-1][0] + event.data, out[-1][1] + event.size]
        else:
            out.append([event.data, event.size])
    return out


def answers(stream: HttpStream, *methods: bytes) -> None:
    for method in methods:
        stream.feed(True, method + b" / HTTP/1.1\r\n\r\n")


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
def test_pipelined_requests_in_any_pieces(size: int) -> None:
    data = POST + b"hello" + b"GET / HTTP/1.1\r\n\r\n" + b"\r\n" + POST + b"again"
    stream, events = HttpStream(), []
    for at in range(0, len(data), size):
        events += stream.feed(True, data[at : at + size])
    whole = ["POST", [b"hello", 5], (5, True), "GET", (0, True), "POST", [b"again", 5], (5, True)]
    assert summary(events) == whole
    assert stream.finish() == []


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_responses_of_every_framing(size: int) -> None:
    parts = [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n",  # to HEAD
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        CHUNKED,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ]
    stream = HttpStream()
    answers(stream, b"POST", b"HEAD", b"DELETE", b"GET", b"POST", b"GET", b"GET")
    data, events = b"".join(parts), []
    for at in range(0, len(data), size):
        events += stream.feed(False, data[at : at + size])
    assert summary(events + stream.finish()) == [
        100, (0, True),
        200, [b"abc", 3], (3, True),
        200, (0, True),
        204, (0, True),
        304, (0, True),
        200, [b"hello!", 6], (6, True),
        200, (0, True),
        200, [b"until the end", 13], (13, True),
    ]  # fmt: skip


def test_what_is_kept_is_bounded_and_the_count_is_exact() -> None:
    stream = HttpStream(keep=4)
    events = stream.feed(True, POST + b"he") + stream.feed(True, b"llo")
    assert [event for event in events if isinstance(event, Body)] == [
        Body(True, b"he", 2),
        Body(True, b"ll", 3),
    ]
    assert events[-1] == End(True, 5, True)


def test_tunnels_after_upgrade_and_connect() -> None:
    for ask, reply in (
        (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    ):
        stream = HttpStream()
        stream.feed(True, ask)
        assert summary(stream.feed(False, reply + b"down")) in ([101, [b"down", 4]], [200, [b"down", 4]])
        assert stream.feed(True, b"GET /") == [Body(True, b"GET /", 5)]
        assert stream.finish() == [End(True, 5, True), End(False, 4, True)]


def test_a_gap_in_a_body_is_counted_and_the_message_goes_on() -> None:
    stream = HttpStream()
    events = stream.feed(True, POST + b"he") + stream.feed(True, b"o" + POST, gap=2)
    assert summary(events) == ["POST", [b"he", 5], (5, False), "POST"]
    chunked = HttpStream()
    events = chunked.feed(False, CHUNKED[:-26]) + chunked.feed(False, CHUNKED[-24:], gap=2)
    assert summary(events)[-1][1] is False  # type: ignore[index]
    close = HttpStream()
    events = (
        close.feed(False, b"HTTP/1.1 200 OK\r\n\r\nab") + close.feed(False, b"ef", gap=2) + close.finish()
    )
    assert summary(events) == [200, [b"ab", 6], (6, False)]
    exact = HttpStream()
    events = exact.feed(True, POST) + exact.feed(True, POST, gap=5)
    assert summary(events) == ["POST", [b"", 5], (5, False), "POST"]


def test_a_gap_elsewhere_loses_the_direction_until_a_head_comes() -> None:
    stream = HttpStream()
    stream.feed(True, b"HEAD / HTTP/1.1\r\nHo")
    assert stream.feed(True, b"st: a\r\n\r\n", gap=10) == []
    assert stream.feed(True, b"xxxx" + POST) == []
    assert summary(stream.feed(True, POST)) == ["POST"]
    assert summary(stream.feed(True, b"more", gap=6)) == [(0, False)]
    assert summary(stream.feed(False, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")) == [
        200,
        [b"ab", 2],
        (2, True),
    ]
    assert stream.finish() == []


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\nabc", []),
        (b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\nabc", []),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\n", []),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", ["POST", (0, False)]),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            ["POST", [b"a", 1], (1, False)],
        ),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 70_000, ["POST", (0, False)]),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000, []),
        (b"GET /" + b"a" * HEAD_MAX, []),
    ],
)
def test_nonsense_loses_the_direction(data: bytes, events: list[object]) -> None:
    stream = HttpStream()
    assert summary(stream.feed(True, data)) == events
    assert stream.finish() == []


def test_the_end_of_the_connection_cuts_messages_off() -> None:
    stream = HttpStream()
    stream.feed(True, POST + b"he")
    stream.feed(False, CHUNKED[:-10])
    assert stream.finish() == [End(True, 2, False), End(False, 6, False)]
    assert stream.finish() == []


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes(data: bytes, final: bool) -> None:
    for raw in (data, b"GET / HTTP/1.1\r\n" + data, b"GET " + data):
        with suppress(Malformed):
            parse_request(raw, final)
    for raw in (data, b"HTTP/1.1 200" + data):
        with suppress(Malformed):
            parse_response(raw)


TOKENS = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"abc",
     b"3\r\n", b"0\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 x\r\n", b"CONNECT a HTTP/1.1\r\n", b"\0"]
)  # fmt: skip


@given(st.lists(st.tuples(st.booleans(), TOKENS, st.sampled_from((0, 0, 0, 1, 3, 100))), max_size=25))
def test_any_stream_keeps_its_books(feeds: list[tuple[bool, bytes, int]]) -> None:
    stream = HttpStream(keep=10)
    events = [event for up, data, gap in feeds for event in stream.feed(up, data, gap)] + stream.finish()
    for up in (True, False):
        size, open_ = 0, False
        for event in (event for event in events if event.up is up):
            if isinstance(event, Head):
                assert not open_
                size, open_ = 0, True
            elif isinstance(event, Body):
                assert len(event.data) <= event.size
                size += event.size
                open_ = True
            else:
                assert event.size == size
                size, open_ = 0, False
    assert stream.finish() == []


@given(st.lists(TOKENS, max_size=12), st.booleans())
def test_byte_by_byte_equals_one_chunk(tokens: list[bytes], up: bool) -> None:
    data = b"".join(tokens)
    one, many = HttpStream(), HttpStream()
    whole = one.feed(up, data)
    pieces = [event for at in range(len(data)) for event in many.feed(up, data[at : at + 1])]
    if not any(isinstance(half.mode, str) and half.mode == "lost" for half in (*one._halves, *many._halves)):
        assert summary(pieces + many.finish()) == summary(whole + one.finish())
