"""QUIC as far as a client's name needs it: RFC 8999, 9000, 9001, 9369 and drafts 22 to 34.

Initial packets are encrypted with keys that anyone can derive from the client's first destination connection
id.
"""

from __future__ import annotations

import enum
from hmac import digest
from struct import pack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from sensor.frozen import dataclass
from sensor.wire.cursor import Cursor, Malformed

VERSION_1, VERSION_2 = 1, 0x6B3343CF
CID_MAX = 20  # RFC 9000 17.2
COALESCED = 8  # packets looked at in a datagram; senders coalesce one of each kind, some a few Initials
INITIAL, ZERO_RTT, HANDSHAKE, RETRY, NEGOTIATION, SHORT, UNKNOWN = (
    "initial", "0rtt", "handshake", "retry", "negotiation", "short", "unknown"
)  # fmt: skip
_TYPES = (INITIAL, ZERO_RTT, HANDSHAKE, RETRY)  # RFC 9000 17.2; version 2 counts from Retry (RFC 9369 3.2)

_SALT_1 = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")  # RFC 9001 5.2, drafts 33 and 34
_SALT_2 = bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")  # RFC 9369 3.3.1
_SALTS_DRAFT = (  # with the first draft that has it
    (33, _SALT_1),
    (29, bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")),
    (23, bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")),
    (22, bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a")),
)
_MVFST = {0xFACEB001: 22, 0xFACEB002: 27, 0xFACEB00E: 27}  # Facebook's numbers for drafts


def salt(version: int) -> bytes | None:
    """Initial salt of a version whose Initial packets can be read."""
    if version == VERSION_1:
        return _SALT_1
    if version == VERSION_2:
        return _SALT_2
    draft = _MVFST.get(version, version & 0xFF if version >> 8 == 0xFF0000 else 0)
    return next((value for first, value in _SALTS_DRAFT if first <= draft <= 34), None)


def is_version(version: int) -> bool:
    """A number in use as a QUIC version, readable or not: drafts, Google's, Facebook's, GREASE."""
    return (
        salt(version) is not None
        or version >> 8 == 0xFF0000
        or version >> 12 in (0xFACEB, 0x51303, 0x54303)  # mvfst; Google's Q0xx and T0xx
        or version & 0x0F0F0F0F == 0x0A0A0A0A  # RFC 9000 15
    )


@dataclass(frozen=True, slots=True)
class Packet:
    """Header of one packet of a datagram, as far as it is in clear."""

    kind: str
    version: int
    dcid: bytes
    scid: bytes
    token: bytes  # of Initial and Retry
    start: int
    number: int  # where the protected packet number begins
    end: int


def parse_packets(datagram: bytes) -> tuple[Packet, ...]:
    """The first coalesced packets of a datagram (RFC 9000 12.2), up to one that cannot be read."""
    cursor = Cursor(datagram)
    out: list[Packet] = []
    while cursor.left and len(out) < COALESCED:
        try:
            packet = _packet(cursor)
        except Malformed:
            if not out:
                raise
            break
        out.append(packet)
        cursor.pos = packet.end
    return tuple(out)


def _packet(cursor: Cursor) -> Packet:
    start, end = cursor.pos, cursor.end
    first = cursor.u8()
    if not first & 0x80:
        if not first & 0x40:
            raise Malformed("no fixed bit (RFC 9000 17.3.1)")
        return Packet(SHORT, 0, b"", b"", b"", start, cursor.pos, end)
    version = cursor.u32()
    if version >> 8 in (0x513034, 0x513033):  # Google's Q03x, Q04x have connection ids of another form
        return Packet(UNKNOWN, version, b"", b"", b"", start, cursor.pos, end)
    dcid, scid = cursor.vec8(), cursor.vec8()
    if version == 0:
        return Packet(NEGOTIATION, 0, dcid, scid, b"", start, cursor.pos, end)
    if salt(version) is None:
        return Packet(UNKNOWN, version, dcid, scid, b"", start, cursor.pos, end)
    if len(dcid) > CID_MAX or len(scid) > CID_MAX:
        raise Malformed("connection id too long")
    kind = _kind(first, version)
    if kind == RETRY:  # ends with a tag of 16 bytes, RFC 9000 17.2.5
        token = cursor.take(max(cursor.left - 16, 0))
        return Packet(RETRY, version, dcid, scid, token, start, cursor.pos, end)
    token = cursor.take(cursor.varint()) if kind == INITIAL else b""
    length = cursor.varint()
    number = cursor.pos
    cursor.take(length)
    return Packet(kind, version, dcid, scid, token, start, number, cursor.pos)


def _kind(first: int, version: int) -> str:
    """Of a long header in a version that can be read."""
    return _TYPES[((first >> 4) - (version == VERSION_2)) & 3]


def is_early(first: int, version: int) -> bool:
    """Whether that byte begins a 0-RTT packet (RFC 9000 17.2.3): a request before the handshake is over."""
    return first & 0x80 > 0 and salt(version) is not None and _kind(first, version) == ZERO_RTT


@dataclass(frozen=True, slots=True)
class Keys:
    """Packet protection of one side's Initial packets."""

    key: bytes
    iv: bytes
    hp: bytes


def initial_keys(version: int, dcid: bytes, server: bool = False) -> Keys:
    """RFC 9001 5.2, RFC 9369 3.3. The version must have a `salt`."""
    secret = digest(salt(version) or b"", dcid, "sha256")
    secret = _expand(secret, b"server in" if server else b"client in", 32)
    prefix = b"quicv2 " if version == VERSION_2 else b"quic "
    return Keys(
        _expand(secret, prefix + b"key", 16),
        _expand(secret, prefix + b"iv", 12),
        _expand(secret, prefix + b"hp", 16),
    )


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with an empty context, RFC 8446 7.1; one block of SHA-256 is enough."""
    info = pack(">HB", size, len(label) + 6) + b"tls13 " + label + b"\0\1"
    return digest(secret, info, "sha256")[:size]


def unprotect(datagram: bytes, packet: Packet, keys: Keys, largest: int = -1) -> tuple[int, bytes]:
    """Packet number and payload of an Initial (RFC 9001 5.3, 5.4). `largest`: highest number before it."""
    number, end = packet.number, packet.end
    sample = datagram[number + 4 : number + 20]
    if len(sample) < 16 or number + 20 > end:
        raise Malformed("packet too short for its protection")
    mask = Cipher(AES(keys.hp), ECB()).encryptor().update(sample)  # noqa: S305 (RFC 9001 5.4.3)
    first = datagram[packet.start] ^ mask[0] & 0x0F
    size = (first & 3) + 1
    masked = int.from_bytes(datagram[number : number + size], "big")
    truncated = masked ^ int.from_bytes(mask[1 : 1 + size], "big")
    header = bytes((first,)) + datagram[packet.start + 1 : number] + truncated.to_bytes(size, "big")
    full = _full_number(truncated, size * 8, largest + 1)
    nonce = (int.from_bytes(keys.iv, "big") ^ full).to_bytes(12, "big")
    try:
        return full, AESGCM(keys.key).decrypt(nonce, datagram[number + size : end], header)
    except InvalidTag:
        raise Malformed("packet does not authenticate") from None


def _full_number(truncated: int, bits: int, expected: int) -> int:
    """RFC 9000 A.3."""
    window = 1 << bits
    candidate = (expected & ~(window - 1)) | truncated
    if candidate <= expected - window // 2:
        return candidate + window
    if candidate > expected + window // 2 and candidate >= window:
        return candidate - window
    return candidate


def crypto_frames(payload: bytes) -> tuple[tuple[int, bytes], ...]:
    """(offset, data) of the CRYPTO frames of an Initial, where only some types may be (RFC 9000 12.4)."""
    cursor, out = Cursor(payload), []
    while cursor.left:
        kind = cursor.u8()
        if kind == 0x06:
            offset = cursor.varint()
            out.append((offset, cursor.take(cursor.varint())))
        elif kind == 0x00:
            cursor.pos = cursor.end - len(payload[cursor.pos :].lstrip(b"\0"))  # PADDING comes in hundreds
        elif kind in (0x02, 0x03):
            _skip_ack(cursor, kind == 0x03)
        elif kind in (0x1C, 0x1D):
            _skip_close(cursor, kind == 0x1C)
        elif kind != 0x01:  # PING
            raise Malformed(f"frame type {kind} in an Initial")
    return tuple(out)


def _skip_ack(cursor: Cursor, ecn: bool) -> None:
    """RFC 9000 19.3."""
    cursor.varint()
    cursor.varint()
    ranges = cursor.varint()
    if ranges > cursor.left:
        raise Malformed("more ACK ranges than bytes")
    for _ in range(1 + 2 * ranges + 3 * ecn):
        cursor.varint()


def _skip_close(cursor: Cursor, transport: bool) -> None:
    """RFC 9000 19.19."""
    cursor.varint()
    if transport:
        cursor.varint()
    cursor.take(cursor.varint())


class Probe(enum.Enum):
    """What the datagrams so far say."""

    MORE = "more"  # QUIC; the hello is not whole yet
    HELLO = "hello"  # the hello is there
    UNREADABLE = "unreadable"  # QUIC, but the hello will not be read
    OTHER = "other"  # not QUIC


class ClientCrypto:
    """Collects the ClientHello from a client's datagrams, fed one at a time and in any order.

    Keys stay those of the first Initial that opened, whatever connection id the client uses later (RFC 9001
    5.2). When they stop fitting, the packet's own id and version are tried: so Retry and Version Negotiation
    need not be seen. After a version that cannot be read may come one that can (RFC 9000 6.2).
    """

    __slots__ = (
        "_chunks",
        "_held",
        "_keys",
        "_largest",
        "_left",
        "_most",
        "_source",
        "early",
        "hello",
        "probe",
        "version",
    )

    def __init__(self, datagrams: int = 16, most: int = 16_384) -> None:
        """`datagrams` are looked at before giving up; `most` bytes of handshake are held."""
        self.probe = Probe.MORE
        self.version = 0
        self.hello = b""  # the ClientHello with its 4-byte header, once `probe` is HELLO
        self.early = False  # a 0-RTT packet came
        self._left = datagrams
        self._most = most
        self._source: tuple[int, bytes] | None = None  # version and connection id that the keys come from
        self._keys = Keys(b"", b"", b"")
        self._largest = -1
        self._chunks: dict[int, bytes] = {}
        self._held = 0

    def feed(self, datagram: bytes) -> Probe:
        """Takes a datagram of the client's. Nothing changes any more once `probe` is not MORE."""
        if self.probe is not Probe.MORE:
            return self.probe
        self._left -= 1
        try:
            for packet in parse_packets(datagram):
                self._take(datagram, packet)
        except Malformed:
            self._not_quic(datagram)
        if self.probe is Probe.MORE and self._left <= 0:
            self.probe = Probe.UNREADABLE
        return self.probe

    def _not_quic(self, datagram: bytes) -> None:
        if not self.version:
            self.version = _google_version(datagram)
            self.probe = Probe.UNREADABLE if self.version else Probe.OTHER

    def _take(self, datagram: bytes, packet: Packet) -> None:
        if packet.kind in (SHORT, NEGOTIATION) or (packet.kind == UNKNOWN and not is_version(packet.version)):
            self._not_quic(datagram)
            return
        if not self._source:
            self.version = packet.version
        self.early = self.early or packet.kind == ZERO_RTT
        if packet.kind == INITIAL and self.probe is Probe.MORE:
            payload = self._open(datagram, packet)
            if payload is not None:
                self._collect(payload)

    def _open(self, datagram: bytes, packet: Packet) -> bytes | None:
        own = (packet.version, packet.dcid)
        for source in dict.fromkeys((self._source or own, own)):
            known = source == self._source
            keys, largest = (self._keys, self._largest) if known else (initial_keys(*source), -1)
            try:
                number, payload = unprotect(datagram, packet, keys, largest)
            except Malformed:
                continue
            if not known:  # a hello sent again from its beginning
                self._source, self._keys, self.version = source, keys, packet.version
                self._chunks, self._held = {}, 0
            self._largest = max(number, largest)
            return payload
        return None

    def _collect(self, payload: bytes) -> None:
        try:
            frames = crypto_frames(payload)
        except Malformed:
            return
        for offset, data in frames:
            known = self._chunks.get(offset, b"")
            if len(data) > len(known):
                self._chunks[offset] = data
                self._held += len(data) - len(known)
        if self._held > self._most:
            self.probe = Probe.UNREADABLE
            return
        self._assemble()

    def _assemble(self) -> None:
        message = bytearray()
        for offset in sorted(self._chunks):
            if offset > len(message):
                break
            message += self._chunks[offset][len(message) - offset :]
        length = int.from_bytes(message[1:4], "big") + 4
        if (message and message[0] != 1) or (len(message) >= 4 and length > self._most):
            self.probe = Probe.UNREADABLE
        elif 4 <= length <= len(message):
            self.hello = bytes(message[:length])
            self.probe = Probe.HELLO


def _google_version(datagram: bytes) -> int:
    """Version in a Google QUIC public header, Q043 and before: flags, connection id, `Q0xx`. 0: not one."""
    version = datagram[9:13] if datagram[0] & 0x89 == 0x09 else b""
    return int.from_bytes(version, "big") if version[:2] == b"Q0" and version[2:].isdigit() else 0
