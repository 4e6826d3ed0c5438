"""A small capture for tests of commands: a client asks a local Ollama in clear and looks up ChatGPT."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import dpkt

CLIENT, SERVER, RESOLVER = "10.0.0.5", "10.0.0.99", "10.0.0.1"
START = 1_700_000_000
REQUEST = b'{"model":"llama3","prompt":"hello","stream":false}'
ANSWER = b'{"model":"llama3","response":"hi","done":true}'


def frame(source: str, destination: str, kind: int, payload: bytes) -> bytes:
    packet = dpkt.ip.IP(
        src=socket.inet_aton(source), dst=socket.inet_aton(destination), p=kind, data=payload, id=0
    )
    packet.len = 20 + len(payload)
    return bytes(dpkt.ethernet.Ethernet(src=b"\2" * 6, dst=b"\4" * 6, data=packet))


def tcp(up: bool, seq: int, ack: int, flags: int, data: bytes = b"") -> bytes:
    ports = (50_000, 11_434) if up else (11_434, 50_000)
    head = struct.pack(">HHIIBBHHH", *ports, seq, ack, 0x50, flags, 65535, 0, 0)
    ends = (CLIENT, SERVER) if up else (SERVER, CLIENT)
    return frame(*ends, 6, head + data)


def dns(up: bool) -> bytes:
    name = b"\7chatgpt\3com\0"
    data = struct.pack(">HHHHHH", 7, 0x0100 if up else 0x8180, 1, 0 if up else 1, 0, 0) + name + b"\0\1\0\1"
    if not up:
        data += name + b"\0\1\0\1" + struct.pack(">IH4s", 60, 4, socket.inet_aton("192.0.2.7"))
    ports = (40_000, 53) if up else (53, 40_000)
    ends = (CLIENT, RESOLVER) if up else (RESOLVER, CLIENT)
    return frame(*ends, 17, struct.pack(">HHHH", *ports, 8 + len(data), 0) + data)


def frames() -> list[bytes]:
    head = b"POST /api/generate HTTP/1.1\r\nHost: ollama:11434\r\nContent-Type: application/json\r\n"
    up = head + b"Content-Length: %d\r\n\r\n" % len(REQUEST) + REQUEST
    down = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    down += b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
    return [
        dns(True),
        dns(False),
        tcp(True, 100, 0, 2),
        tcp(False, 900, 101, 18),
        tcp(True, 101, 901, 16),
        tcp(True, 101, 901, 24, up),
        tcp(False, 901, 101 + len(up), 24, down),
        tcp(True, 101 + len(up), 901 + len(down), 17),
        tcp(False, 901 + len(down), 102 + len(up), 17),
        tcp(True, 102 + len(up), 902 + len(down), 16),
    ]


def capture(path: Path, start: int = START) -> Path:
    """Write the capture; the same `start` gives the same bytes."""
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for number, data in enumerate(frames()):
            writer.writepkt_time(data, start + number / 100)
    return path
