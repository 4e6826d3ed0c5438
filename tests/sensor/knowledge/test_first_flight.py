import pytest

from sensor.knowledge.first_flight import NOTHING, read_first_flight
from sensor.packets.facts import Flow, Opened
from tests.sensor.wire.samples import RFC_HELLO, openssl_hello

# ServerHello in TLS 1.2 (no extensions) and 1.3 (supported_versions)
_HEAD = bytes.fromhex("0303") + bytes(32) + b"\0" + bytes.fromhex("1301") + b"\0"


def server(extensions: bytes = b"") -> bytes:
    body = _HEAD + (len(extensions).to_bytes(2, "big") + extensions if extensions else b"")
    message = b"\2" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\3" + len(message).to_bytes(2, "big") + message


SERVER_13 = server(bytes.fromhex("002b00020304"))


def opened(protocol: str, client: bytes, answer: bytes = b"", transport: str = "tcp") -> Opened:
    flow = Flow(0, transport, "10.0.0.7", 40_000, "192.0.2.1", 443, "", None, "")
    return Opened(flow, 0, protocol, "", "none", "none", client, answer, 0)


def test_tls() -> None:
    flight = read_first_flight(opened("tls", openssl_hello(), SERVER_13))
    assert flight.alpn == "h2,http/1.1"
    assert flight.tls_version == "1.3"
    assert flight.ja4.startswith("t13d")
    assert len(flight.ja3) == 32
    assert flight.whole


@pytest.mark.parametrize(
    ("answer", "version"), [(b"", "1.3"), (server(), "1.2"), (b"\x16\x03garbage", "1.3")]
)
def test_the_servers_choice_counts_when_it_was_seen(answer: bytes, version: str) -> None:
    assert read_first_flight(opened("tls", openssl_hello(), answer)).tls_version == version


def test_tls_behind_a_proxy() -> None:
    ask = b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com\r\nUser-Agent: curl/8\r\n\r\n"
    flight = read_first_flight(opened("tls", ask + openssl_hello(), b"HTTP/1.1 200 OK\r\n\r\n" + SERVER_13))
    assert (flight.alpn, flight.tls_version) == ("h2,http/1.1", "1.3")


def test_quic() -> None:
    flight = read_first_flight(opened("quic", RFC_HELLO, transport="udp"))
    assert flight.ja4.startswith("q13d")
    assert flight.tls_version == "1.3"
    assert flight.ja3


def test_http_user_agent() -> None:
    flight = read_first_flight(opened("http", b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\n\r\n"))
    assert (flight.user_agent, flight.whole, flight.ja4) == ("curl/8", True, "")


@pytest.mark.parametrize(
    ("protocol", "transport", "client"),
    [
        ("tls", "tcp", openssl_hello()[:100]),
        ("other", "tcp", b"SSH-2.0-OpenSSH"),
        ("other", "tcp", b""),
        ("quic", "udp", b""),
        ("quic", "udp", RFC_HELLO[:50]),
        ("other", "udp", b"\x16\xfe\xfdgarbage"),
        ("other", "udp", b""),
    ],
    # Not by content: a hello is another each time.
    ids=["cut", "ssh", "silent", "no initial", "cut quic", "garbage", "silent udp"],
)
def test_what_cannot_be_read_says_nothing(protocol: str, transport: str, client: bytes) -> None:
    assert read_first_flight(opened(protocol, client, transport=transport)) == NOTHING
