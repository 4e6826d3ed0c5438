"""What the first flights of a connection say of client and protocol: ALPN, version, JA3, JA4, user agent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sensor.knowledge.fingerprint import ja3, ja4
from sensor.packets.facts import Opened
from sensor.wire.cursor import Malformed
from sensor.wire.peek import peek
from sensor.wire.tls import (
    ALPN,
    GROUPS,
    POINT_FORMATS,
    SIGNATURES,
    VERSIONS,
    ClientHello,
    dtls_client_hello,
    is_grease,
    parse_client_hello,
    server_hello,
)

_TELLING = frozenset(
    {ALPN, GROUPS, POINT_FORMATS, SIGNATURES, VERSIONS}
)  # what is read of a hello's extensions
_HELLOS = 4_096  # kinds of hello remembered; browsers that shuffle theirs never repeat

_VERSIONS = {
    0x0300: "ssl3.0",
    0x0301: "1.0",
    0x0302: "1.1",
    0x0303: "1.2",
    0x0304: "1.3",
    0xFEFF: "dtls1.0",
    0xFEFD: "dtls1.2",
    0xFEFC: "dtls1.3",
}


@dataclass(frozen=True, slots=True)
class FirstFlight:
    """Empty where there was no hello or request, or it could not be read whole."""

    alpn: str = ""  # offered, comma separated
    tls_version: str = ""  # chosen if the server's hello was seen, else the highest offered
    ja3: str = ""
    ja4: str = ""
    user_agent: str = ""
    whole: bool = False  # a hello or request was read


NOTHING = FirstFlight()


def read_first_flight(opened: Opened) -> FirstFlight:
    """Read what an engine kept of both sides' first bytes."""
    try:
        if opened.protocol == "quic":
            return _hello(parse_client_hello(opened.client_bytes), "q", 0x0304)  # RFC 9001 4.2: at least 1.3
        if opened.flow.transport == "udp":
            hello = dtls_client_hello(opened.client_bytes)
            return _hello(hello, "d", 0) if hello else NOTHING
        seen = peek(opened.client_bytes, final=True)
    except Malformed:
        return NOTHING
    if seen is None:
        return NOTHING
    if seen.hello:
        return _hello(seen.hello, "t", _chosen(opened.server_bytes))
    agent = seen.request.get("user-agent") if seen.request else None
    return FirstFlight(user_agent=(agent or "")[:512], whole=seen.request is not None)


def _hello(hello: ClientHello, transport: str, chosen: int) -> FirstFlight:
    # Without what differs from one connection of a program to the next, its hellos are equal.
    known = tuple((kind, body if kind in _TELLING else b"") for kind, body in hello.extensions)
    bare = ClientHello(hello.version, b"", b"", hello.cipher_suites, hello.compression, known, hello.cookie)
    return _read(bare, transport, chosen)


@lru_cache(_HELLOS)
def _read(hello: ClientHello, transport: str, chosen: int) -> FirstFlight:
    offered = [v for v in hello.supported_versions if not is_grease(v)] or [hello.version]
    version = chosen or (min(offered) if transport == "d" else max(offered))  # DTLS counts down
    return FirstFlight(
        ",".join(name.decode("ascii", "backslashreplace") for name in hello.alpn),
        _VERSIONS.get(version, f"0x{version:04x}"),
        ja3(hello),
        ja4(hello, transport),
        whole=True,
    )


def _chosen(server: bytes) -> int:
    """The version in the server's hello, which a proxy's answer may precede; 0 when it was not seen."""
    start = server.find(b"\x16\x03")
    if start < 0:
        return 0
    try:
        hello = server_hello(server[start:])
    except Malformed:
        return 0
    return hello.version if hello else 0
