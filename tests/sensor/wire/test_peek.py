from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.wire.cursor import Malformed
from sensor.wire.http import parse_request
from sensor.wire.peek import Peek, clean_name, peek
from sensor.wire.tls import client_hello
from tests.sensor.wire.samples import handshake, hello_body, openssl_hello, records, sni, vec

HELLO = openssl_hello("api.anthropic.com", ())
NAMELESS = records(handshake(hello_body([])))
CONNECT = b"CONNECT proxy-target.example:443 HTTP/1.1\r\nHost: x\r\n\r\n"
TO_ADDRESS = CONNECT.replace(b"proxy-target.example", b"[::1]")
SOCKS4 = b"\4\1\1\xbb\xc0\0\2\1\0"
SOCKS = b"\5\1\0\5\1\0\3" + vec(1, b"socks-target.example") + b"\1\xbb"
GET = b"GET /v1/models HTTP/1.1\r\nHost: ollama.lan:11434\r\n\r\n"

# stream -> protocol, name, source, where the hello begins
STREAMS = {
    "tls": (HELLO, "tls", "api.anthropic.com", "sni", 0),
    "tls without a name": (NAMELESS, "tls", "", "none", 0),
    "tls to an address": (records(handshake(hello_body([sni(b"192.0.2.1")]))), "tls", "", "none", 0),
    "http": (GET, "http", "ollama.lan", "http_host", 0),
    "http to an address": (GET.replace(b"ollama.lan", b"192.0.2.1"), "http", "", "none", 0),
    "http without host": (b"GET / HTTP/1.0\r\n\r\n", "http", "", "none", 0),
    "absolute form": (b"GET http://a.ai/ HTTP/1.1\r\nHost: b\r\n\r\n", "http", "a.ai", "http_host", 0),
    "connect": (CONNECT + HELLO, "tls", "api.anthropic.com", "sni", len(CONNECT)),
    "connect, no name inside": (CONNECT + NAMELESS, "tls", "proxy-target.example", "connect", len(CONNECT)),
    "connect, http inside": (CONNECT + GET, "http", "proxy-target.example", "connect", len(CONNECT)),
    "connect, something inside": (CONNECT + b"\1\2\3", "other", "proxy-target.example", "connect", 0),
    "connect to an address": (TO_ADDRESS + GET, "http", "ollama.lan", "http_host", len(TO_ADDRESS)),
    "connect again after 407": (CONNECT * 2 + HELLO, "tls", "api.anthropic.com", "sni", 2 * len(CONNECT)),
    "socks": (SOCKS + HELLO, "tls", "api.anthropic.com", "sni", len(SOCKS)),
    "socks, no name inside": (SOCKS + NAMELESS, "tls", "socks-target.example", "socks", len(SOCKS)),
    "socks 4 in connect": (CONNECT + SOCKS4 + HELLO, "tls", "api.anthropic.com", "sni", len(CONNECT) + 9),
    "starttls": (b"EHLO x\r\nSTARTTLS\r\n" + HELLO, "tls", "api.anthropic.com", "sni", 18),
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n", "other", "", "none", 0),
    "binary": (b"\xff\1", "other", "", "none", 0),
    "http/2 in clear": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "other", "", "none", 0),
    "tls, but not a hello": (b"\x16\3\1\0\4\2\0\0\0", "other", "", "none", 0),
    "smtp in clear": (b"EHLO x\r\n" + b"NOOP\r\n" * 400, "other", "", "none", 0),
    "starttls, then a broken hello": (
        b"STLS\r\n" + b"\x16\3\1\0\4\1\0\0\0".ljust(60, b"\0"), "other", "", "none", 0
    ),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "protocol", "name", "source", "offset"), STREAMS.values(), ids=STREAMS)
def test_streams(stream: bytes, protocol: str, name: str, source: str, offset: int) -> None:
    found = peek(stream)
    assert found is not None
    assert (found.protocol, found.name, found.name_source) == (protocol, name, source)
    if protocol == "tls":
        assert found.tls_offset == offset
        assert found.hello == client_hello(stream[offset:])
    if protocol == "http":
        assert found.request == parse_request(stream[offset:])
    assert peek(stream, final=True) == found


@pytest.mark.parametrize("stream", [one[0] for one in STREAMS.values()], ids=STREAMS)
def test_a_decision_is_never_taken_back(stream: bytes) -> None:
    outcomes = [peek(stream[:cut]) for cut in range(len(stream) + 1)]
    decided = [one for one in outcomes if one is not None]
    assert len(set(map(repr, decided))) == 1
    assert outcomes[-len(decided) :] == decided


def test_the_connect_request_is_kept_when_nothing_else_is() -> None:
    found = peek(CONNECT + HELLO)
    assert found is not None
    assert found.request is not None
    assert found.request.method == "CONNECT"


def test_ech_is_noted() -> None:
    found = peek(records(handshake(hello_body([sni(b"a.example"), (0xFE0D, b"\0")]))))
    assert found is not None
    assert found.ech


@pytest.mark.parametrize(
    ("stream", "protocol", "name"),
    [
        (b"", "other", ""),
        (HELLO[:-1], "tls", ""),
        (HELLO[:6], "tls", ""),
        (HELLO[:5], "other", ""),
        (GET[:-1], "http", "ollama.lan"),
        (GET[:30], "http", ""),
        (GET[:10], "other", ""),
        (CONNECT, "other", "proxy-target.example"),
        (CONNECT + HELLO[:100], "tls", "proxy-target.example"),
        (SOCKS, "other", "socks-target.example"),
        (SOCKS[:5], "other", ""),
        (b"EHLO x\r\n", "other", ""),
        (CONNECT * 6, "other", "proxy-target.example"),
    ],
)
def test_when_no_more_bytes_come(stream: bytes, protocol: str, name: str) -> None:
    assert peek(stream) is None or stream == CONNECT * 6
    found = peek(stream, final=True)
    assert found is not None
    assert (found.protocol if stream != CONNECT * 6 else "other", found.name) == (protocol, name)


PIECES = st.sampled_from(
    [CONNECT, SOCKS, GET, HELLO[:60], b"\4\1\0\0\0\0\0\1", b"a\0", b"STLS\r\n", b"\r\n", b"\x16\3"]
)


@given(st.binary(max_size=60) | st.lists(PIECES | st.binary(max_size=8), max_size=5).map(b"".join))
def test_any_bytes(data: bytes) -> None:
    for final in (False, True):
        found = peek(data, final)
        assert found is None or (isinstance(found, Peek) and not final) or final
    last = peek(data, final=True)
    assert last is not None
    assert clean_name(last.name) == last.name or "\\" in last.name
    now = peek(data)
    if now is not None:
        for tail in (b"x", HELLO, b"\r\n\r\n"):
            with suppress(Malformed):
                assert peek(data + tail) == now
