"""A benchmark capture of our own: `capture.py mix|hs OUT.pcap`, beside it OUT.pcap.truth.json.

Real ClientHellos of this Python's OpenSSL, some over two segments, DNS pairs, and for `mix` what comes after
the hellos. The same every time but for the hellos' random bytes.
"""

import json
import random
import socket
import ssl
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
draw = random.Random(7)  # noqa: S311
NAMES = [f"{kind}{n}.example.{top}" for n in range(400) for kind in ("www", "api") for top in ("com", "net")]
NAMES += ["api.openai.com", "chatgpt.com", "claude.ai", "gemini.google.com", "api.mistral.ai"]


def hello(name: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        CONTEXT.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def packet(ends: tuple[bytes, bytes], protocol: int, body: bytes, number: int) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), number & 0xFFFF or 1, 0, 64, protocol, 0)
    return b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0" + head + ends[0] + ends[1] + body


def connection(
    client: bytes, port: int, first: bytes, responses: int, split: bool
) -> Iterator[tuple[bool, int, bytes]]:
    """Up, flags, payload."""
    cut = len(first) // 2 if split else len(first)
    yield from ((True, 2, b""), (False, 0x12, b""), (True, 0x10, b""), (True, 0x18, first[:cut]))
    if split:
        yield True, 0x18, first[cut:]
    yield False, 0x18, b"\x16\3\3\0\x7a" + bytes(122)
    for _ in range(responses):
        yield True, 0x18, b"\x17\3\3\1\x2c" + bytes(300)
        yield from ((False, 0x10, b"\x17\3\3\5\xaf" + bytes(1455)) for _ in range(4))
    yield from ((True, 0x11, b""), (False, 0x11, b""), (True, 0x10, b""))


def frames(flows: int, responses: int) -> Iterator[bytes]:
    hellos = {name: hello(name) for name in NAMES}
    number = 0
    for flow in range(flows):
        name = draw.choice(NAMES)
        client, server = (
            socket.inet_aton(f"10.1.{flow >> 8 & 255}.{flow & 255}"),
            socket.inet_aton("192.0.2.53"),
        )
        port = 1024 + flow % 60_000
        encoded = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
        question = struct.pack(">HHHHHH", flow & 0xFFFF, 0x0100, 1, 0, 0, 0) + encoded + b"\0\1\0\1"
        answer = (
            question[:2]
            + b"\x81\x80\0\1\0\1"
            + question[8:]
            + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc6\x33\x64\1"
        )
        for ends, source, target, text in (
            ((client, server), port, 53, question),
            ((server, client), 53, port, answer),
        ):
            number += 1
            yield packet(ends, 17, struct.pack(">HHHH", source, target, 8 + len(text), 0) + text, number)
        server, seq = socket.inet_aton(f"198.51.100.{hash_of(name)}"), [1000, 9000]
        for up, flags, payload in connection(client, port, hellos[name], responses, flow % 3 == 0):
            number += 1
            pair = (port, 443) if up else (443, port)
            head = struct.pack(">HHIIBBHHH", *pair, seq[not up], seq[up], 0x50, flags, 65_535, 0, 0)
            seq[not up] += len(payload) + bool(flags & 3)
            yield packet((client, server) if up else (server, client), 6, head + payload, number)


def hash_of(name: str) -> int:
    return sum(name.encode()) % 250 + 1


def main(kind: str, out: Path, flows: int = 60_000) -> None:
    responses = 6 if kind == "mix" else 0
    packets = 0
    with out.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        for data in frames(flows, responses):
            seconds, micros = divmod(packets * 250, 1_000_000)
            file.write(struct.pack("<IIII", 1_700_000_000 + seconds, micros, len(data), len(data)) + data)
            packets += 1
    truth = {"tls_sni": flows, "quic_flows": 0, "dns_pairs": flows, "packets": packets, "flows": 2 * flows}
    truth["wire_bytes"] = out.stat().st_size - 24 - 16 * packets
    Path(f"{out}.truth.json").write_text(json.dumps(truth))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
