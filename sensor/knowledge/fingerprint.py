"""JA3 and JA4 of a TLS client: github.com/salesforce/ja3, github.com/FoxIO-LLC/ja4 technical_details/JA4.md.

They tell the TLS library and its settings, not the program and never the service.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import md5, sha256

from sensor.wire.tls import ALPN, SERVER_NAME, ClientHello, is_grease

_VERSIONS = {
    0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
    0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3",
}  # fmt: skip
_LISTS = 4_096  # distinct lists of a hello whose hash is remembered
_NOTHING = "000000000000"  # instead of the hash of nothing


def ja3_text(hello: ClientHello) -> str:
    """Version, ciphers, extensions, groups and point formats in decimal, GREASE left out."""
    lists = (
        hello.cipher_suites,
        [kind for kind, _ in hello.extensions],
        hello.groups,
        hello.point_formats,
    )
    return ",".join((str(hello.version), *("-".join(map(str, _plain(values))) for values in lists)))


def ja3(hello: ClientHello) -> str:
    """MD5 of `ja3_text`."""
    return md5(ja3_text(hello).encode("ascii"), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHello, transport: str) -> str:
    """`transport`: t for TLS over TCP, q for QUIC, d for DTLS."""
    ciphers = _plain(hello.cipher_suites)
    kinds = sorted(_plain([kind for kind, _ in hello.extensions]))
    sni = "d" if SERVER_NAME in kinds else "i"
    counts = f"{min(len(ciphers), 99):02}{min(len(kinds), 99):02}"
    first = f"{transport}{_version(hello)}{sni}{counts}{_alpn(hello)}"
    return f"{first}_{_hash(tuple(sorted(ciphers)))}_{_third(tuple(kinds), hello.signature_algorithms)}"


def _plain(values: Iterable[int]) -> list[int]:
    return [value for value in values if not is_grease(value)]


def _version(hello: ClientHello) -> str:
    offered = _plain(hello.supported_versions) or [hello.version]
    # DTLS counts downwards: 0xfefc is newer than 0xfeff.
    newest = max(offered, key=lambda version: -version if version >> 8 == 0xFE else version)
    return _VERSIONS.get(newest, "00")


def _alpn(hello: ClientHello) -> str:
    """First and last character of the first protocol, or of its hex when either is not alphanumeric."""
    protocol = next(iter(hello.alpn), b"")
    if not protocol:
        return "00"
    if not (protocol[:1].isalnum() and protocol[-1:].isalnum()):  # bytes: ASCII only
        protocol = protocol.hex().encode("ascii")
    return chr(protocol[0]) + chr(protocol[-1])


# Clients that put their extensions in another order each time have the same in a sorted list.
@lru_cache(_LISTS)
def _third(kinds: tuple[int, ...], signatures: tuple[int, ...]) -> str:
    rest = tuple(kind for kind in kinds if kind not in (SERVER_NAME, ALPN))
    return _hash(rest, tuple(_plain(signatures))) if rest else _NOTHING


@lru_cache(_LISTS)
def _hash(*lists: tuple[int, ...]) -> str:
    """Of lists in hexadecimal, those that are empty left out."""
    text = "_".join(",".join(f"{value:04x}" for value in values) for values in lists if values)
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NOTHING
