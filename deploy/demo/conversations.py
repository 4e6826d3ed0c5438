"""What is said on the demo's connections: real TLS, real QUIC Initials, HTTP in clear."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import random
import ssl
import struct
import tempfile
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.x509.oid import NameOID

WORDS = ("ticket", "summary", "please", "the", "log", "customer", "error", "list")
JSON = "Content-Type: application/json\r\n"
OLLAMA_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Turn:
    """Payload one way, `wait` seconds after the last one, its packets `pace` seconds apart."""

    up: bool
    data: bytes
    wait: float = 0.01
    pace: float = 0.0006


@lru_cache(maxsize=1)
def certificate() -> bytes:
    """A self-signed certificate and its key, PEM; the demo's client ends do not verify."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "demo")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem + private


def end(server: bool, alpn: tuple[str, ...], name: str) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(list(alpn))
    if server:
        with tempfile.NamedTemporaryFile() as file:  # it loads from files only
            file.write(certificate())
            file.flush()
            context.load_cert_chain(file.name)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    return (
        context.wrap_bio(received, sent, server_side=server, server_hostname=None if server else name),
        received,
        sent,
    )


def with_extension(record: bytes, kind: int, body: bytes) -> bytes:
    """A ClientHello record with one more extension at its end (RFC 8446 4.1.2)."""
    hello = record[9:]
    at = 34
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at]
    extensions = hello[at + 2 :] + struct.pack("!HH", kind, len(body)) + body
    hello = hello[:at] + struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(hello).to_bytes(3, "big") + hello
    return record[:3] + struct.pack("!H", len(message)) + message


class Tls:
    """One TLS 1.3 session between two real ends; `say` sends application data through them."""

    def __init__(self, name: str, alpn: tuple[str, ...], rng: random.Random, ech: bytes = b"") -> None:
        self.random, self.turns = rng, list[Turn]()
        client, server = end(False, alpn, name), end(True, alpn, name)
        self.ends = {True: (client[0], client[2], server), False: (server[0], server[2], client)}
        for up in (True, False, True, False):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.ends[up][0].do_handshake()
            self.flush(up, 0.01)
        if ech:  # the hidden name cannot be seen by anyone on the path; nor can what is in this extension
            hello = self.turns[0]
            self.turns[0] = Turn(
                True,
                with_extension(
                    hello.data,
                    0xFE0D,
                    bytes([0, 0, 1, 0, 1, 7, 0, 32])
                    + rng.randbytes(32)
                    + struct.pack("!H", 144)
                    + rng.randbytes(144),
                ),
            )

    def flush(self, up: bool, wait: float, pace: float = 0.0006) -> None:
        _, out, (_peer, into, _) = self.ends[up]
        if data := out.read():
            self.turns.append(Turn(up, data, wait, pace))
            into.write(data)

    def say(self, up: bool, size: int, wait: float, pace: float = 0.0006) -> None:
        tls, _, (peer, _, _) = self.ends[up]
        tls.write(self.random.randbytes(size))
        self.flush(up, wait, pace)
        left = size
        while left:
            left -= len(peer.read(min(left, 65_536)))

    @staticmethod
    def ech_config(front: str, rng: random.Random) -> bytes:
        """An ECHConfigList as an HTTPS record offers it (RFC 9849 4)."""
        contents = (
            struct.pack("!BHH", 7, 0x0020, 32) + rng.randbytes(32) + struct.pack("!HHH", 4, 1, 1) + b"\0"
        )
        contents += bytes([len(front)]) + front.encode() + struct.pack("!H", 0)
        config = struct.pack("!HH", 0xFE0D, len(contents)) + contents
        return struct.pack("!H", len(config)) + config


class Quic:
    """QUIC v1 datagrams: the Initial really encrypted (RFC 9001 5), the rest as opaque as on the wire."""

    SALT = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")

    def __init__(self, name: str, rng: random.Random) -> None:
        self.random, self.dcid = rng, rng.randbytes(8)
        hello, _, out = end(False, ("h3",), name)
        with contextlib.suppress(ssl.SSLWantReadError):
            hello.do_handshake()
        self.hello = with_extension(out.read(), 0x39, bytes.fromhex("0f00"))[5:]

    def initial(self) -> bytes:
        """The client's first datagram, its CRYPTO frames out of order as Chromium sends them."""
        secret = self.expand(HKDF.extract(hashes.SHA256(), self.SALT, self.dcid), b"client in", 32)
        labels = ((b"quic key", 16), (b"quic iv", 12), (b"quic hp", 16))
        key, iv, hp = (self.expand(secret, *what) for what in labels)
        half = len(self.hello) // 2
        parts = ((half, self.hello[half:]), (0, self.hello[:half]))
        crypto = (b"\x06" + struct.pack("!HH", at | 0x4000, len(part) | 0x4000) + part for at, part in parts)
        frames = b"".join(crypto).ljust(1162, b"\0")
        length = struct.pack("!H", (4 + len(frames) + 16) | 0x4000)
        header = b"\xc3\0\0\0\1\x08" + self.dcid + b"\0\0" + length + bytes(4)
        sealed = AESGCM(key).encrypt(iv, frames, header)
        mask = Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sealed[:16])  # noqa: S305
        number = bytes(a ^ b for a, b in zip(header[-4:], mask[1:5], strict=True))
        return bytes([header[0] ^ mask[0] & 0x0F]) + header[1:-4] + number + sealed

    @staticmethod
    def expand(secret: bytes, label: bytes, length: int) -> bytes:
        info = struct.pack("!HB", length, 6 + len(label)) + b"tls13 " + label + b"\0"
        return HKDFExpand(hashes.SHA256(), length, info).derive(secret)

    def talk(self, prompts: int) -> list[Turn]:
        rest = self.random.randbytes
        handshake = b"\xe0\0\0\0\1\0\x08" + rest(8)
        turns = [
            Turn(True, self.initial()),
            Turn(False, handshake + rest(1180)),
            Turn(True, handshake + rest(70)),
        ]
        for _ in range(prompts):
            turns += [
                Turn(True, b"\x43" + self.dcid + rest(900), wait=self.random.uniform(6, 30)) for _ in range(1)
            ]
            turns += [
                Turn(False, b"\x42" + rest(self.random.randint(90, 400)), wait=0.03)
                for _ in range(self.random.randint(20, 80))
            ]
        return turns


def post(path: str, host: str, agent: str, body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n{JSON}"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def ollama(rng: random.Random, model: str, prompts: int) -> list[Turn]:
    """Chats with Ollama in clear: answers stream as NDJSON and end with the server's own token counts."""
    turns = []
    for _ in range(prompts):
        words = rng.randint(20, 200)
        messages = [{"role": "user", "content": " ".join(rng.choices(WORDS, k=words))}]
        body = {"model": model, "stream": True, "messages": messages}
        request = post("/api/chat", "10.20.0.50:11434", "ollama-python/0.6.3", body)
        turns += [Turn(True, request, wait=rng.uniform(3, 20)), Turn(False, OLLAMA_HEAD, wait=0.3)]
        tokens = rng.randint(20, 90)
        lines: list[dict[str, object]] = [{"model": model, "message": {"content": "word "}}] * tokens
        lines.append({"model": model, "done": True, "prompt_eval_count": words, "eval_count": tokens})
        chunks = [json.dumps(line).encode() + b"\n" for line in lines]
        turns += [Turn(False, f"{len(c):x}\r\n".encode() + c + b"\r\n", wait=0.03) for c in chunks]
        turns.append(Turn(False, b"0\r\n\r\n"))
    return turns


def mcp(tools: list[str]) -> list[Turn]:
    """Tool calls to an MCP server in clear (Streamable HTTP)."""
    turns = []
    for number, tool in enumerate(tools):
        call = {"jsonrpc": "2.0", "id": number, "method": "tools/call"}
        request = call | {"params": {"name": tool, "arguments": {"query": "open tickets"}}}
        turns.append(Turn(True, post("/mcp", "10.20.0.50:8080", "mcp-python", request), wait=2.0))
        result = {"content": [{"type": "text", "text": "3 results"}]}
        answer = json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()
        head = f"HTTP/1.1 200 OK\r\n{JSON}Content-Length: {len(answer)}\r\n\r\n"
        turns.append(Turn(False, head.encode() + answer, wait=0.2))
    return turns
