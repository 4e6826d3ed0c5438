"""What of mitmproxy's objects we use, as plain values."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from mitmproxy import connection, ctx, http, tls
from mitmproxy.proxy.mode_specs import TransparentMode, WireGuardMode

from sensor.knowledge.fingerprint import ja4
from sensor.proxy import providers
from sensor.wire.community import community_id
from sensor.wire.cursor import Malformed
from sensor.wire.tls import parse_client_hello


def fingerprint(data: tls.ClientHelloData) -> str:
    """JA4: programs on one machine differ in what they trust."""
    try:
        body = data.client_hello.raw_bytes(wrap_in_record=False)
        return ja4(parse_client_hello(b"\1" + len(body).to_bytes(3, "big") + body), "t")
    except Malformed:
        return ""


def plain_headers(headers: http.Headers) -> dict[str, str]:
    """Lower-case names, repeated ones joined."""
    found: dict[str, str] = {}
    for raw, value in headers.fields:
        name, text = raw.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def query(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=200))
    except ValueError:
        return {}


def codings(offered: str) -> str:
    """Of the client's content codings those that we read."""
    read = [name for name in providers.CODINGS.split(", ") if name in offered.lower()]
    return ", ".join(read) or "identity"


def address(peer: tuple[Any, ...]) -> tuple[str, int]:
    return str(peer[0]).removeprefix("::ffff:").partition("%")[0], int(peer[1])


def intercepted(client: connection.Client) -> bool:
    """Whether the client does not know of us: `sockname` is then the server that it meant."""
    return isinstance(client.proxy_mode, (TransparentMode, WireGuardMode))


def legs(flow: http.HTTPFlow) -> tuple[str, str]:
    """Community IDs: of the client's connection as a sensor on its side sees it, and of ours to the
    server."""
    client, server = flow.client_conn, flow.server_conn
    return _leg(client.peername, client.sockname), _leg(server.sockname, server.peername)


def _leg(one: tuple[Any, ...] | None, two: tuple[Any, ...] | None) -> str:
    if not one or not two:
        return ""
    here, there = address(one), address(two)
    try:
        return community_id("tcp", *here, *there)
    except OSError:  # a name, or two families
        return ""


def inject(flow: http.HTTPFlow, data: bytes, text: bool) -> None:
    ctx.master.commands.call("inject.websocket", flow, True, data, text)
