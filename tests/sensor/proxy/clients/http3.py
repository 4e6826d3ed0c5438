"""An HTTP/3 server, and a client that falls back to TCP as browsers do (RFC 9114 3.1). Runs where aioquic is.

python http3.py serve CERTIFICATE KEY
python http3.py ask AUTHORITIES URL BODY      prints the protocol and the answer
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import urllib.request
from urllib.parse import urlsplit

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, QuicEvent

PATIENCE = 1.5  # seconds, after which TCP is tried


class Server(QuicConnectionProtocol):
    http: H3Connection | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for one in self.http.handle_event(event) if self.http else ():
            if isinstance(one, (HeadersReceived, DataReceived)) and one.stream_ended:
                self.http.send_headers(one.stream_id, [(b":status", b"200")])
                self.http.send_data(one.stream_id, b"past the proxy", end_stream=True)
                self.transmit()


class Client(QuicConnectionProtocol):
    async def ask(self, url: str, body: bytes) -> bytes:
        self.http, self.answer, self.parts = (
            H3Connection(self._quic),
            asyncio.get_running_loop().create_future(),
            b"",
        )
        parts, stream = urlsplit(url), self._quic.get_next_available_stream_id()
        head = {":method": "POST", ":scheme": "https", ":authority": parts.netloc, ":path": parts.path}
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in head.items()])
        self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        return await self.answer

    def quic_event_received(self, event: QuicEvent) -> None:
        for one in self.http.handle_event(event) if hasattr(self, "http") else ():
            if isinstance(one, DataReceived):
                self.parts += one.data
                if one.stream_ended and not self.answer.done():
                    self.answer.set_result(self.parts)


async def _serve(certificate: str, key: str) -> None:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(certificate, key)
    await serve("0.0.0.0", 443, configuration=configuration, create_protocol=Server)
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def _quic(authorities: str, url: str, body: bytes) -> bytes:
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, cafile=authorities)
    host = urlsplit(url).hostname or ""
    async with connect(host, 443, configuration=configuration, create_protocol=Client) as client:
        return await client.ask(url, body)


def _ask(authorities: str, url: str, text: str) -> None:
    body = text.encode()
    try:
        answer, protocol = asyncio.run(asyncio.wait_for(_quic(authorities, url, body), PATIENCE)), "h3"
    except (TimeoutError, ConnectionError):
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        context = ssl.create_default_context(cafile=authorities)
        answer, protocol = urllib.request.urlopen(request, timeout=20, context=context).read(), "http/1.1"
    print(protocol, answer.decode())


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[2:])) if sys.argv[1] == "serve" else _ask(*sys.argv[2:])
