"""TLS and DTLS hellos: RFC 8446 4.1, RFC 5246 7.4.1, RFC 9147 5, RFC 6101 (SSL 3.0).

Extensions stay raw and in order. What a property reads from an extension whose content is broken is empty:
the rest of the hello is still worth knowing.
"""

from __future__ import annotations

from dataclasses import field
from struct import unpack

from sensor.frozen import dataclass
from sensor.wire.cursor import Cursor, Malformed, Truncated
from sensor.wire.names import clean_name

HANDSHAKE = 22  # RFC 8446 5.1, ContentType
CLIENT_HELLO, SERVER_HELLO = 1, 2  # RFC 8446 4, HandshakeType
RECORD_MAX = 16_384  # RFC 8446 5.1
HELLO_MAX = 131_396  # every vector of RFC 8446 4.1.2 at its longest
# RFC 8446 4.1.3: SHA-256 of "HelloRetryRequest"
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURES, ALPN, VERSIONS = 0, 10, 11, 13, 16, 43
# encrypted_client_hello (RFC 9849 5), its drafts 08 to 12, and encrypted_server_name before them
ECH = frozenset((0xFE0D, 0xFE0C, 0xFE0B, 0xFE0A, 0xFE09, 0xFE08, 0xFFCE))

Extensions = tuple[tuple[int, bytes], ...]


GREASE = frozenset(0x1010 * high + 0x0A0A for high in range(16))  # RFC 8701 2


def u16s(raw: bytes) -> tuple[int, ...]:
    """Whole 16-bit numbers of `raw`; an odd last byte is left."""
    count = len(raw) >> 1
    return unpack(f">{count}H", raw[: count * 2])


def vector(raw: bytes, width: int) -> bytes:
    """What is behind the `width`-byte length that begins `raw`, as far as it is there."""
    return raw[width : width + int.from_bytes(raw[:width], "big")]


def protocols(body: bytes) -> tuple[bytes, ...]:
    """Those of an ALPN extension, RFC 7301 3.1."""
    raw = vector(body, 2)
    cursor, out = Cursor(raw), []
    while cursor.left:
        try:
            out.append(cursor.vec8())
        except Malformed:
            break
    return tuple(out)


@dataclass(frozen=True, slots=True)
class ClientHello:
    version: int  # legacy_version
    random: bytes
    session_id: bytes
    suites: bytes  # cipher_suites, raw
    compression: bytes
    extensions: Extensions
    cookie: bytes = b""  # DTLS only, RFC 6347 4.2.1
    bodies: dict[int, bytes] = field(init=False, repr=False, compare=False)  # of each type's first extension
    kinds: list[int] = field(init=False, repr=False, compare=False)  # types in order, without GREASE

    def __post_init__(self) -> None:
        object.__setattr__(self, "bodies", dict(self.extensions[::-1]))
        object.__setattr__(self, "kinds", [kind for kind, _ in self.extensions if kind not in GREASE])

    def extension(self, kind: int) -> bytes:
        """Content of the first extension of that type; empty when there is none."""
        return self.bodies.get(kind, b"")

    @property
    def cipher_suites(self) -> tuple[int, ...]:
        return u16s(self.suites)

    @property
    def sni(self) -> str:
        """host_name of RFC 6066 3, by `clean_name`; "" when there is none."""
        body = self.extension(SERVER_NAME)
        if not body:
            return ""
        entries = Cursor(body, 2)
        try:
            while entries.left:
                kind, name = entries.u8(), entries.vec16()
                if kind == 0:
                    return clean_name(name)
        except Malformed:
            pass
        return ""

    @property
    def alpn(self) -> tuple[bytes, ...]:
        return protocols(self.extension(ALPN))

    @property
    def supported_versions(self) -> tuple[int, ...]:
        return u16s(vector(self.extension(VERSIONS), 1))

    @property
    def groups(self) -> tuple[int, ...]:
        return u16s(vector(self.extension(GROUPS), 2))

    @property
    def point_formats(self) -> tuple[int, ...]:
        return tuple(vector(self.extension(POINT_FORMATS), 1))

    @property
    def signature_algorithms(self) -> tuple[int, ...]:
        return u16s(vector(self.extension(SIGNATURES), 2))

    @property
    def ech(self) -> bool:
        """Carries Encrypted ClientHello, real or GREASE: the two look alike (RFC 9849 6.2)."""
        return not ECH.isdisjoint(self.bodies)


@dataclass(frozen=True, slots=True)
class ServerHello:
    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression: int
    extensions: Extensions

    @property
    def version(self) -> int:
        """The version chosen, RFC 8446 4.2.1."""
        for kind, body in self.extensions:
            if kind == VERSIONS and len(body) == 2:
                return body[0] << 8 | body[1]
        return self.legacy_version

    @property
    def alpn(self) -> bytes:
        """The protocol chosen; empty when it is not readable (TLS 1.3 encrypts it)."""
        for kind, body in self.extensions:
            if kind == ALPN:
                return next(iter(protocols(body)), b"")
        return b""

    @property
    def retry(self) -> bool:
        """A HelloRetryRequest."""
        return self.random == RETRY_RANDOM


def client_hello(stream: bytes) -> ClientHello | None:
    """The ClientHello that begins a TCP stream, over any number of records. `None`: need more bytes."""
    message = _first_message(stream, CLIENT_HELLO)
    if message is None:
        return None
    try:
        hello = _client_hello(message, dtls=False)
    except Truncated:
        return None
    return hello if message.whole else None


def parse_client_hello(message: bytes) -> ClientHello:
    """A whole handshake message with its 4-byte header, as the QUIC CRYPTO stream carries it."""
    head = Cursor(message)
    if head.u8() != CLIENT_HELLO:
        raise Malformed("not a ClientHello")
    length = head.u24()
    if length > head.left:
        raise Malformed("ClientHello is cut off")
    return _client_hello(Cursor(message, 4, 4 + length), dtls=False)


def server_hello(stream: bytes) -> ServerHello | None:
    """The ServerHello or HelloRetryRequest that begins the server's stream. `None`: need more bytes."""
    message = _first_message(stream, SERVER_HELLO)
    if message is None:
        return None
    try:
        version, random, session_id = message.u16(), message.take(32), message.vec8()
        suite, compression = message.u16(), message.u8()
        extensions = message.pairs(message.u16()) if message.left else ()
    except Truncated:
        return None
    if not message.whole:
        return None
    return ServerHello(version, random, session_id, suite, compression, extensions)


def _client_hello(body: Cursor, dtls: bool) -> ClientHello:
    version, random, session_id = body.u16(), body.take(32), body.vec8()
    cookie = body.vec8() if dtls else b""
    # An odd length is a broken list, but what follows it is still where the length says.
    suites, compression = body.vec16(), body.vec8()
    extensions = body.pairs(body.u16()) if body.left else ()  # none at all in SSL 3.0 and early TLS 1.0
    return ClientHello(version, random, session_id, suites, compression, extensions, cookie)


def _first_message(stream: bytes, kind: int) -> Cursor | None:
    """Body of the handshake message that begins a stream of records. Its end may not have come yet."""
    if len(stream) >= 9 and stream[0] == HANDSHAKE and stream[1] == 3 and stream[5] == kind:
        record, length = stream[3] << 8 | stream[4], stream[6] << 16 | stream[7] << 8 | stream[8]
        if length + 4 <= record <= RECORD_MAX:
            return Cursor(stream, 9, 9 + length)
    message = _join_records(stream)
    if message and message[0] != kind:
        raise Malformed(f"handshake type {message[0]}, not {kind}")
    if len(message) < 4:
        return None
    length = int.from_bytes(message[1:4], "big")
    if length > HELLO_MAX:
        raise Malformed(f"a hello of {length} bytes")
    return Cursor(message, 4, 4 + length)


def _join_records(stream: bytes) -> bytes:
    """Contents of the handshake records at the start, up to the end of their first message."""
    content, pos, have = bytearray(), 0, len(stream)
    while pos < have and (len(content) < 4 or len(content) < 4 + int.from_bytes(content[1:4], "big")):
        if stream[pos] != HANDSHAKE or stream[pos + 1 : pos + 2] not in (b"", b"\3"):
            raise Malformed(f"no handshake record at {pos}")
        if pos + 5 > have:
            break
        length = stream[pos + 3] << 8 | stream[pos + 4]
        if not 0 < length <= RECORD_MAX:  # RFC 8446 5.1 forbids empty handshake records
            raise Malformed(f"handshake record of {length} bytes")
        content += stream[pos + 5 : pos + 5 + length]
        pos += 5 + length
    return bytes(content)


def dtls_client_hello(datagram: bytes) -> ClientHello | None:
    """The ClientHello of a DTLS datagram (RFC 6347 4.2, RFC 9147 5), its fragments in any order.

    `None`: it is one, but the rest is in another datagram.
    """
    cursor, whole = Cursor(datagram), -1
    parts: dict[int, bytes] = {}
    while cursor.left:
        fragment = _dtls_record(cursor)
        kind, length, _seq = fragment.u8(), fragment.u24(), fragment.u16()
        offset, body = fragment.u24(), fragment.take(fragment.u24())
        if kind != CLIENT_HELLO or length > HELLO_MAX or whole not in (-1, length):
            raise Malformed("not a ClientHello")
        if offset + len(body) > length:
            raise Malformed("fragment beyond its message")
        whole = length
        parts[offset] = max(parts.get(offset, b""), body, key=len)  # of two as long, the first that came
    message = b""
    for offset in sorted(parts):
        if offset > len(message):
            return None
        message += parts[offset][len(message) - offset :]
    if whole < 0:
        raise Malformed("empty datagram")
    return _client_hello(Cursor(message), dtls=True) if len(message) == whole else None


def _dtls_record(cursor: Cursor) -> Cursor:
    """Content of the next plaintext handshake record: type, version, epoch 0, sequence, length."""
    kind, version, epoch = cursor.u8(), cursor.u16(), cursor.u16()
    if kind != HANDSHAKE or version not in (0xFEFF, 0xFEFD) or epoch:  # RFC 9147 5.3: 1.3 says 0xfefd too
        raise Malformed("not a DTLS handshake record in clear")
    cursor.take(6)
    return Cursor(cursor.vec16())
