"""What the first flights of a connection say of client and protocol: ALPN, version, JA3, JA4, user agent."""

from __future__ import annotations

from sensor.frozen import dataclass
from sensor.knowledge.fingerprint import ja3, ja4, remembered
from sensor.packets.facts import Opened
from sensor.wire.cursor import Malformed
from sensor.wire.peek import peek
from sensor.wire.tls import (
    ALPN,
    GREASE,
    HANDSHAKE,
    VERSIONS,
    ClientHello,
    client_hello,
    dtls_client_hello,
    parse_client_hello,
    protocols,
    server_hello,
    u16s,
    vector,
)

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
_RECORD = bytes((HANDSHAKE,))


def read_first_flight(opened: Opened) -> FirstFlight:
    """Read what an engine kept of both sides' first bytes."""
    try:
        if opened.protocol == "quic":
            return _hello(parse_client_hello(opened.client_bytes), "q", 0x0304)  # RFC 9001 4.2: at least 1.3
        if opened.flow.transport == "udp":
            hello = dtls_client_hello(opened.client_bytes)
            return _hello(hello, "d", 0) if hello else NOTHING
        # Nearly always the hello comes first; `peek` finds the same, and what else there is.
        if opened.client_bytes[:1] == _RECORD and (plain := client_hello(opened.client_bytes)):
            return _hello(plain, "t", _chosen(opened.server_bytes))
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
    version = chosen or _offered(hello, transport)
    return FirstFlight(
        _protocols(hello.extension(ALPN)),
        _VERSIONS.get(version) or f"0x{version:04x}",
        ja3(hello),
        ja4(hello, transport),
        whole=True,
    )


def _offered(hello: ClientHello, transport: str) -> int:
    """The highest version offered."""
    versions = _versions(hello.extension(VERSIONS)) or (hello.version,)
    return min(versions) if transport == "d" else max(versions)  # DTLS counts down


@remembered
def _versions(body: bytes) -> tuple[int, ...]:
    return tuple(version for version in u16s(vector(body, 1)) if version not in GREASE)


@remembered
def _protocols(body: bytes) -> str:
    return ",".join(name.decode("ascii", "backslashreplace") for name in protocols(body))


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
