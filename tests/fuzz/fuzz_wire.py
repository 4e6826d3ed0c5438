"""Fuzzes the parsers of `sensor/wire/`: only a value, `None` or `Malformed` may come out, and a decision on
the first bytes of a stream must stand when the rest comes.

    python tests/fuzz/fuzz_wire.py [CORPUS] -max_total_time=60

Seeds are made by code and written to CORPUS when it is given. Not collected by pytest; `make fuzz` runs it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["sensor.wire", "sensor.knowledge.fingerprint"]):
    from sensor.knowledge.fingerprint import ja3, ja4
    from sensor.wire.cursor import Malformed
    from sensor.wire.dhcp import parse_dhcp
    from sensor.wire.dns import TcpMessages, ech_public_names, parse_dns, peek_answers, peek_question
    from sensor.wire.http import HttpStream, parse_request, parse_response
    from sensor.wire.names import clean_name
    from sensor.wire.peek import peek
    from sensor.wire.quic import ClientCrypto, crypto_frames, parse_packets
    from sensor.wire.socks import parse_socks
    from sensor.wire.tls import ClientHello, client_hello, dtls_client_hello, parse_client_hello, server_hello
    from sensor.wire.upgrade import hello_offset

from tests.sensor.wire import samples

STREAMS = (client_hello, server_hello, parse_socks, parse_request, parse_response, peek, hello_offset)
MESSAGES = (
    parse_client_hello, dtls_client_hello, parse_dns, peek_question, peek_answers, ech_public_names,
    parse_dhcp, parse_packets, crypto_frames, clean_name,
)  # fmt: skip


def hello(found: object) -> None:
    """Reads everything that is read lazily."""
    if isinstance(found, ClientHello):
        _ = (found.sni, found.alpn, found.ech, ja3(found), ja4(found, "t"))


def stream(parse: object, data: bytes) -> None:
    """A decision on a prefix is the decision on the whole."""
    cut = data[0] if data else 0
    outcomes = []
    for part in (data[1 : 1 + cut], data[1:]):
        try:
            outcomes.append(parse(part))  # type: ignore[operator]
        except Malformed:
            outcomes.append("malformed")
        hello(outcomes[-1])
    early, late = outcomes
    if early is not None and early != late:
        raise AssertionError(f"{parse}: {early!r} became {late!r}")


def connection(data: bytes) -> None:
    """HTTP both ways with gaps, DNS over TCP, a client's datagrams: in pieces that the data itself sizes."""
    http, tcp, quic, pos = HttpStream(keep=64), TcpMessages(), ClientCrypto(most=4_096), 0
    while pos < len(data):
        size, flags = data[pos] + 1, data[pos]
        piece = data[pos + 1 : pos + 1 + size]
        http.feed(bool(flags & 1), piece, gap=3 if flags & 0x0E == 0x0E else 0)
        with suppress(Malformed):
            tcp.feed(piece)
        quic.feed(piece)
        pos += size + 1
    http.finish()
    quic.feed(samples.initial(data[:1_100]))


def one_input(data: bytes) -> None:
    if not data:
        return
    kind, data = data[0], data[1:]
    if kind < len(STREAMS):
        stream(STREAMS[kind], data)
    elif kind < len(STREAMS) + len(MESSAGES):
        with suppress(Malformed):
            hello(MESSAGES[kind - len(STREAMS)](data))  # type: ignore[operator]
    else:
        connection(data)


def seeds() -> list[bytes]:
    dns = bytes.fromhex(
        "12348180000100010000000003617069066f70656e616903636f6d0000010001c00c000100010000003c0004c0000201"
    )
    https = dns[:7] + b"\1" + dns[8:32] + b"\xc0\x0c\0\x41\0\1\0\0\0\1\0\x0a\0\1\0\0\1\0\3\2h2"
    request = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n" + samples.openssl_hello()
    dhcp = b"\1\1\6\0" + bytes(232) + b"\x63\x82\x53\x63\x35\1\1\x0c\3lab\x51\5\4\0\0\1a\xff"
    body = samples.hello_body([samples.sni(b"a.example"), samples.alpn(b"h2")], cookie=b"c")
    streams = [
        samples.openssl_hello(),
        samples.records(samples.RFC_HELLO, 20),
        samples.records(samples.handshake(b"\3\3" + bytes(32) + b"\0\x13\1\0\0\6\0\x2b\0\2\3\4", 2)),
        b"\5\2\0\2\1\1u\1p\5\1\0\3\7a.local\1\xbb",
        b"\4\1\1\xbb\0\0\0\1me\0a.local\0",
        request,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"EHLO a\r\nSTARTTLS\r\n" + samples.openssl_hello(),
    ]
    messages = [samples.RFC_HELLO, b"".join(samples.dtls_records(body, 30)), dns, https, dhcp]
    messages += [samples.initial(samples.crypto(0, samples.RFC_HELLO)), samples.crypto(0, b"abc"), b"A.b:1"]
    out = [bytes((kind,)) + b"\x40" + one for kind in range(len(STREAMS)) for one in streams]
    out += [bytes((len(STREAMS) + kind,)) + one for kind in range(len(MESSAGES)) for one in messages]
    return out + [b"\xff" + bytes((len(one) & 0xFF,)) + one for one in (*streams, *messages)]


def main() -> None:
    corpus = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    for folder in corpus:
        folder.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(seeds()):
            (folder / f"seed-{index:03}").write_bytes(seed)
    for seed in seeds():
        one_input(seed)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
