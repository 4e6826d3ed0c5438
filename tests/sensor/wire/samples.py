"""Real wire bytes, made on the spot: OpenSSL's hellos, hand-made hellos, protected QUIC Initials."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextlib import suppress

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from sensor.wire.quic import VERSION_2, initial_keys

DCID = bytes.fromhex("8394c8f03e515708")  # RFC 9001 Appendix A
# The ClientHello of RFC 9001 A.2, in its CRYPTO frame's data.
RFC_HELLO = bytes.fromhex(
    "010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e00"
    "000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024"
    "001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e04030503060302"
    "03080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901"
    "100f088394c8f03e51570806048000ffff"
)


def openssl_hello(name: str | None = "api.openai.com", alpn: tuple[str, ...] = ("h2", "http/1.1")) -> bytes:
    """First flight of a TLS client of this Python."""
    context = ssl.create_default_context()
    context.check_hostname = bool(name)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def vec(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def u16s(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def sni(name: bytes) -> tuple[int, bytes]:
    return 0, vec(2, b"\0" + vec(2, name))


def alpn(*protocols: bytes) -> tuple[int, bytes]:
    return 16, vec(2, b"".join(vec(1, protocol) for protocol in protocols))


def versions(*values: int) -> tuple[int, bytes]:
    return 43, vec(1, u16s(values))


def signatures(*values: int) -> tuple[int, bytes]:
    return 13, vec(2, u16s(values))


def hello_body(
    extensions: Iterable[tuple[int, bytes]] | None = (),
    ciphers: Iterable[int] = (0x1301, 0xC02F),
    version: int = 0x0303,
    cookie: bytes | None = None,
) -> bytes:
    """Body of a ClientHello; `extensions` None leaves the block out, `cookie` makes it DTLS."""
    block = b""
    if extensions is not None:
        block = vec(2, b"".join(kind.to_bytes(2, "big") + vec(2, body) for kind, body in extensions))
    middle = b"" if cookie is None else vec(1, cookie)
    return (
        version.to_bytes(2, "big")
        + bytes(32)
        + vec(1, b"")
        + middle
        + vec(2, u16s(ciphers))
        + b"\1\0"
        + block
    )


def handshake(body: bytes, kind: int = 1) -> bytes:
    return bytes((kind,)) + vec(3, body)


def records(message: bytes, size: int = 16_384) -> bytes:
    """TLS handshake records of `size` bytes."""
    return b"".join(b"\x16\3\1" + vec(2, message[i : i + size]) for i in range(0, len(message), size))


def dtls_records(body: bytes, size: int = 65_535, version: int = 0xFEFD) -> list[bytes]:
    """One DTLS record per fragment of a ClientHello."""
    out = []
    for offset in range(0, len(body), size):
        part = body[offset : offset + size]
        head = b"\1" + len(body).to_bytes(3, "big") + b"\0\0" + offset.to_bytes(3, "big")
        out.append(b"\x16" + version.to_bytes(2, "big") + bytes(8) + vec(2, head + vec(3, part)))
    return out


def varint(value: int) -> bytes:
    if value < 64:
        return bytes((value,))
    if value < 16_384:
        return (value | 0x4000).to_bytes(2, "big")
    return (value | 0x80000000).to_bytes(4, "big")


def crypto(offset: int, data: bytes) -> bytes:
    return b"\6" + varint(offset) + varint(len(data)) + data


def initial(
    payload: bytes,
    dcid: bytes = DCID,
    version: int = 1,
    number: int = 2,
    keys_from: bytes | None = None,
    token: bytes = b"",
    size: int = 1_162,
    server: bool = False,
    scid: bytes = b"",
    number_size: int = 4,
) -> bytes:
    """A protected Initial (RFC 9001 5.3, 5.4) whose payload is padded to `size`."""
    keys = initial_keys(version, dcid if keys_from is None else keys_from, server)
    payload = payload.ljust(size, b"\0")
    first = 0xC0 | (version == VERSION_2) << 4 | number_size - 1
    length = (number_size + len(payload) + 16) | 0x4000
    header = bytes((first,)) + version.to_bytes(4, "big") + vec(1, dcid) + vec(1, scid)
    header += varint(len(token)) + token + length.to_bytes(2, "big")
    start = len(header)
    header += (number & (1 << 8 * number_size) - 1).to_bytes(number_size, "big")
    nonce = (int.from_bytes(keys.iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(keys.key).encrypt(nonce, payload, header)
    mask = Cipher(AES(keys.hp), ECB()).encryptor().update(sealed[4 - number_size :][:16])
    out = bytearray(header + sealed)
    out[0] ^= mask[0] & 0x0F
    for index in range(number_size):
        out[start + index] ^= mask[1 + index]
    return bytes(out)
