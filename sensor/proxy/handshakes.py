"""Before decryption: which connections are decrypted, and which clients do not accept that."""

from __future__ import annotations

import time

from mitmproxy import connection, tls
from mitmproxy.proxy import layer

from sensor.knowledge.catalogue_match import Match
from sensor.proxy.boundary import Boundary, guarded
from sensor.proxy.bounded import Dropping
from sensor.proxy.decide import Key
from sensor.proxy.flows import fingerprint
from sensor.proxy.parts import Parts
from sensor.proxy.people import Client
from sensor.proxy.rows import Seen


class Handshakes(Boundary):
    """mitmproxy's hooks of connections."""

    def __init__(self, parts: Parts) -> None:
        self._ = parts
        self._trying: dict[str, tuple[Key, Match, float]] = {}  # connections without a request yet

    def requested(self, id: str) -> None:
        """A request came on a connection: its client accepts our certificates."""
        if trying := self._trying.pop(id, None):
            self._.gaps.trusted(trying[0], time.monotonic())

    @guarded
    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """QUIC through WireGuard is dropped, so that browsers fall back to TCP."""
        server = nextlayer.context.server.address
        if nextlayer.context.client.transport_protocol == "udp" and server and server[1] == 443:
            nextlayer.layer = Dropping(nextlayer.context)

    @guarded
    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Decrypt, or pass through untouched."""
        data.ignore_connection = not self._.actions.may_forbid  # should what follows fail
        context, sni = data.context, data.client_hello.sni or ""
        asked = context.server.address[0] if context.server.address else ""
        match = self._.targets.match(sni, asked)
        if match is None:
            data.ignore_connection = True
            return
        client = self._.people.client(context.client)
        key = (client.ip, sni or asked, fingerprint(data))
        pinned = self._.pass_pinned and self._.gaps.passes(key, time.monotonic())
        excepted = self._.exceptions.hold(client, match.service)
        data.ignore_connection = excepted or (pinned and not self._forbidden(client, match))
        if not data.ignore_connection:
            self._trying[context.client.id] = (key, match, 0.0)

    @guarded
    def tls_established_client(self, data: tls.TlsData) -> None:
        """From now on a client that leaves without a request tells something."""
        if trying := self._trying.get(data.conn.id):
            self._trying[data.conn.id] = (trying[0], trying[1], time.monotonic())

    @guarded
    def tls_failed_client(self, data: tls.TlsData) -> None:
        """The client does not trust our certificate."""
        if trying := self._trying.pop(data.conn.id, None):
            self._.gaps.failed(trying[0], time.monotonic())
            self._gap(data.context.client, *trying[:2], "does not trust the certificate")

    @guarded
    def client_disconnected(self, client: connection.Client) -> None:
        """A client that pins finishes the handshake and leaves."""
        trying = self._trying.pop(client.id, None)
        if trying and trying[2]:
            now = time.monotonic()
            if self._.gaps.left(trying[0], now, now - trying[2]):
                self._gap(client, *trying[:2], "leaves after the handshake, as one that pins does")
        self._.people.forget(client)

    def _gap(self, conn: connection.Client, key: Key, match: Match, why: str) -> None:
        seen = Seen("", time.time_ns(), self._.people.client(conn), match, key[1])
        self._.sink.put(self._.findings.gap(seen, why))

    def _forbidden(self, client: Client, match: Match) -> bool:
        """Whether the policy refuses it whatever the content is: then its handshake goes on failing."""
        return bool(self._.actions.before(Seen("", time.time_ns(), client, match, "")).refused)
