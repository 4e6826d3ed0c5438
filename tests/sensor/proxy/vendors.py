"""A server that speaks the vendors' formats (`vendor_formats.py`), over TLS under their names or in clear;
standard library only.

    python tests/sensor/proxy/vendors.py --certificate cert.pem --key key.pem [--port 0] [--pace 0.01]

prints `listening PORT`, then serves until its input ends. `GET /_received` on any name says what it received,
as a JSON list; `GET /_reset` forgets it. In a test: `async with serve(certificate, key) as vendors: ...
vendors.port, vendors.received`. `certify(folder, names)` makes an authority and a certificate (needs
`cryptography`).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import ssl
import struct
import sys
import zlib
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

sys.path[:0] = [str(Path(__file__).parents[3])] if __name__ == "__main__" else []

from tests.sensor.proxy.vendor_formats import Asked, Reply, answer, mcp, websocket  # noqa: E402

NAMES = (
    "api.openai.com",
    "*.openai.azure.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "aiplatform.googleapis.com",
    "*-aiplatform.googleapis.com",
    "*.amazonaws.com",
    "*.us-east-1.amazonaws.com",
    "api.mistral.ai",
    "api.cohere.com",
    "api.groq.com",
    "api.together.xyz",
    "api.together.ai",
    "api.fireworks.ai",
    "openrouter.ai",
    "api.deepseek.com",
    "api.x.ai",
    "api.perplexity.ai",
    "router.huggingface.co",
    "api.githubcopilot.com",
    "*.githubcopilot.com",
    "chatgpt.com",
    "claude.ai",
    "gemini.google.com",
    "copilot.microsoft.com",
    "www.perplexity.ai",
    "chat.deepseek.com",
    "grok.com",
    "api2.cursor.sh",
    "mcp.example.com",
    "ollama.example.com",
    "localhost",
)
KEPT = 32 << 20  # bytes of a body
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3


@dataclass
class Received:
    """One request, or one message of a WebSocket (`method` is then WEBSOCKET)."""

    method: str
    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Vendors:
    """`pace`: seconds between the events of a stream."""

    def __init__(self, pace: float = 0.0) -> None:
        self.received: list[Received] = []
        self.pace = pace
        self.port = 0
        self.scheme = "http"
        self._streams: dict[str, asyncio.Queue[bytes]] = {}  # MCP of 2024-11-05: GET streams by session

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while await self._exchange(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        if headers.get("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self._body(reader, headers)
        path, _, query = target.partition("?")
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        request = Received(method, host, path, dict(parse_qsl(query)), headers, body)
        if "websocket" in headers.get("upgrade", "").lower():
            await self._websocket(request, reader, writer)
            return False
        await self._answer(request, writer)
        return headers.get("connection", "").lower() != "close"

    @staticmethod
    async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            size = int(headers.get("content-length", 0))
            body = await reader.readexactly(min(size, KEPT))
            while size := size - min(size, KEPT):  # a long file is not held
                await reader.readexactly(min(size, KEPT))
        else:
            body = b""
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readuntil(b"\r\n")
        try:
            return gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        except (OSError, EOFError, zlib.error):
            return body

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> None:
        if request.path == "/_received":
            rows = [asdict(one) | {"body": base64.b64encode(one.body).decode()} for one in self.received]
            return await self._write(writer, Reply(rows))
        if request.path == "/_reset":
            self.received.clear()
            return await self._write(writer, Reply({}))
        self.received.append(request)
        if request.method == "GET" and "event-stream" in request.headers.get("accept", ""):
            return await self._events(request, writer)
        if request.path.startswith("/messages/") and "session_id" in request.query:
            reply = mcp(request.json)
            data = reply.data if reply.body else b"".join(reply.events).partition(b"data: ")[2].strip()
            if data:
                self._streams[request.query["session_id"]].put_nowait(
                    b"event: message\ndata: " + data + b"\n\n"
                )
            return await self._write(writer, Reply(b"", status=202))
        return await self._write(writer, self._reply(request), gzipped="gzip-please" in request.query)

    def _reply(self, request: Received) -> Reply:
        if request.method == "GET":
            page = b"<!doctype html><title>Vendor</title><textarea id=prompt></textarea>"
            return (
                Reply(page, kind="text/html")
                if request.path == "/"
                else Reply({"object": "list", "data": []})
            )
        if request.method == "DELETE":
            return Reply(b"", status=200)
        if request.path.startswith("/mcp"):
            return mcp(request.json)
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            body = {}
        headers = request.headers | {"x-served-as": self.scheme}
        return answer(Asked(request.path, request.query, body if isinstance(body, dict) else {}, headers))

    async def _write(self, writer: asyncio.StreamWriter, reply: Reply, gzipped: bool = False) -> None:
        head = f"HTTP/1.1 {reply.status} Answer\r\ncontent-type: {reply.kind}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        if reply.events:
            events = [gzip.compress(b"".join(reply.events))] if gzipped else reply.events
            head += "content-encoding: gzip\r\n" if gzipped else ""
            writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
            for event in events:
                writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                await writer.drain()
                await asyncio.sleep(self.pace)
            writer.write(b"0\r\n\r\n")
        else:
            data = reply.data
            writer.write(head.encode() + f"content-length: {len(data)}\r\n\r\n".encode() + data)
        await writer.drain()

    async def _events(self, request: Received, writer: asyncio.StreamWriter) -> None:
        """MCP's GET: the oldest revision is answered on it; the later ones are refused, as they allow."""
        if not request.path.endswith("/sse"):
            return await self._write(writer, Reply({}, status=405))
        session = f"s{len(self._streams)}"
        queue = self._streams[session] = asyncio.Queue()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        queue.put_nowait(f"event: endpoint\ndata: /messages/?session_id={session}\n\n".encode())
        while True:
            event = await queue.get()
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            await writer.drain()

    async def _websocket(
        self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        key = request.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        head += f"sec-websocket-accept: {accept}\r\n"
        protocols = [
            one.strip() for one in request.headers.get("sec-websocket-protocol", "").split(",") if one.strip()
        ]
        writer.write(
            head.encode()
            + (f"sec-websocket-protocol: {protocols[0]}\r\n" if protocols else "").encode()
            + b"\r\n"
        )
        if request.path.endswith("/realtime"):
            writer.write(
                _frame({"type": "session.created", "event_id": "e", "session": {"type": "realtime"}})
            )
        before: list[dict[str, Any]] = []
        while True:
            code, data = await _message(reader)
            if code == 8:
                writer.write(b"\x88" + bytes([len(data)]) + data)
                return
            if code in (1, 2):
                self.received.append(
                    Received("WEBSOCKET", request.host, request.path, request.query, request.headers, data)
                )
                message = json.loads(data)
                for event in websocket(request.path, message, before):
                    writer.write(_frame(event))
                    await writer.drain()
                    await asyncio.sleep(self.pace)
                before.append(message)


def _frame(event: dict[str, Any]) -> bytes:
    """A text message (RFC 6455 5.2)."""
    data = json.dumps(event).encode()
    size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
    return b"\x81" + size + data


async def _message(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """A whole message of a client, fragments joined; (0, b"") for pings."""
    code, out = 0, b""
    while True:
        first, second = await reader.readexactly(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack(">H", await reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await reader.readexactly(8))
        mask = await reader.readexactly(4)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await reader.readexactly(size)))
        kind = first & 15
        if kind >= 8:
            return (kind, data) if kind == 8 else (0, b"")
        code, out = code or kind, out + data
        if first & 128:
            return code, out


@contextlib.asynccontextmanager
async def serve(
    certificate: Path | None = None,
    key: Path | None = None,
    port: int = 0,
    pace: float = 0.0,
    host: str = "127.0.0.1",
) -> AsyncIterator[Vendors]:
    """A running server; without a certificate in clear."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["http/1.1"])
    vendors, open_ = Vendors(pace), set[asyncio.Task[None]]()
    vendors.scheme = "https" if certificate else "http"

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(vendors.serve(reader, writer))
        open_.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        open_.discard(task)

    server = await asyncio.start_server(connection, host, port, ssl=context, limit=64 << 20)
    vendors.port = server.sockets[0].getsockname()[1]
    try:
        yield vendors
    finally:
        server.close()
        for task in list(open_):
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)


def certify(folder: Path, names: tuple[str, ...] = NAMES) -> tuple[Path, Path, Path]:
    """An authority, a certificate of it for `names` and 127.0.0.1, and its key, as PEM files in `folder`."""
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = dt.datetime.now(dt.UTC)

    def build(
        subject: str, issuer: str, public: Any, signer: Any, *extensions: tuple[Any, bool]
    ) -> x509.Certificate:
        def name(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = x509.CertificateBuilder(name(issuer), name(subject), public, x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(
            now + dt.timedelta(days=30)
        )
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        for extension, critical in (*extensions, (authority, False)):
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = build(
        "Vendors CA",
        "Vendors CA",
        ca_key.public_key(),
        ca_key,
        (x509.BasicConstraints(True, 0), True),
        (usage, True),
        (identifier, False),
    )
    alternatives = [
        *(x509.DNSName(name) for name in names),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    leaf = build(
        "Vendors",
        "Vendors CA",
        key.public_key(),
        ca_key,
        (x509.SubjectAlternativeName(alternatives), False),
        (x509.BasicConstraints(False, None), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = (folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    for file, data in zip(files, (ca.public_bytes(pem), leaf.public_bytes(pem), private), strict=True):
        file.write_bytes(data)
    return files


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pace", type=float, default=0.0)
    args = parser.parse_args()
    async with serve(args.certificate, args.key, args.port, args.pace, args.host) as vendors:
        print("listening", vendors.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
