"""JA3 and JA4 of a TLS client: github.com/salesforce/ja3, github.com/FoxIO-LLC/ja4 technical_details/JA4.md.

They tell the TLS library and its settings, not the program and never the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import md5, sha256
from typing import TypeVar

from sensor.wire.tls import (
    ALPN,
    GREASE,
    GROUPS,
    POINT_FORMATS,
    SERVER_NAME,
    SIGNATURES,
    VERSIONS,
    ClientHello,
    protocols,
    u16s,
    vector,
)

_VERSIONS = {
    0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
    0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3",
}  # fmt: skip
_LISTS = 1_024  # distinct lists of hellos that are remembered, of each kind
_LENGTH = 256  # of a list, in bytes or members; browsers send some twenty members
_NOTHING = "000000000000"  # instead of the hash of nothing

T = TypeVar("T")


def ja3_text(hello: ClientHello) -> str:
    """Version, ciphers, extensions, groups and point formats in decimal, GREASE left out."""
    bodies = hello.bodies
    kinds = "-".join(map(str, hello.kinds))
    groups, formats = _groups(bodies.get(GROUPS, b"")), _formats(bodies.get(POINT_FORMATS, b""))
    return f"{hello.version},{_ciphers(hello.suites)[0]},{kinds},{groups},{formats}"


def ja3(hello: ClientHello) -> str:
    """MD5 of `ja3_text`."""
    return md5(ja3_text(hello).encode("ascii"), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHello, transport: str) -> str:
    """`transport`: t for TLS over TCP, q for QUIC, d for DTLS."""
    bodies = hello.bodies
    kinds = tuple(sorted(hello.kinds))
    sni = "d" if SERVER_NAME in bodies else "i"
    _, count, ciphers = _ciphers(hello.suites)
    version = _version(bodies.get(VERSIONS, b"")) or _VERSIONS.get(hello.version, "00")
    first = f"{transport}{version}{sni}{count}{min(len(kinds), 99):02}{_alpn(bodies.get(ALPN, b''))}"
    return f"{first}_{ciphers}_{_third(kinds, bodies.get(SIGNATURES, b''))}"


def remembered(make: Callable[..., T]) -> Callable[..., T]:
    """A program's next hello has the same lists, but for GREASE and the order of its extensions.

    Lists that no program sends are not kept: one may be as long as a hello.
    """
    kept = lru_cache(_LISTS)(make)

    def made(one: Sequence[int], other: Sequence[int] | None = None) -> T:
        if other is None:
            return kept(one) if len(one) <= _LENGTH else make(one)
        return kept(one, other) if len(one) + len(other) <= _LENGTH else make(one, other)

    return made


@remembered
def _ciphers(suites: bytes) -> tuple[str, str, str]:
    """In decimal; how many, two digits; the hash."""
    plain = _plain(u16s(suites))
    return "-".join(map(str, plain)), f"{min(len(plain), 99):02}", _hash(sorted(plain))


@remembered
def _groups(body: bytes) -> str:
    return "-".join(map(str, _plain(u16s(vector(body, 2)))))


@remembered
def _formats(body: bytes) -> str:
    return "-".join(map(str, _plain(vector(body, 1))))


def _plain(values: Iterable[int]) -> list[int]:
    return [value for value in values if value not in GREASE]


@remembered
def _version(body: bytes) -> str:
    """Of the newest that is offered; "" when none is."""
    offered = _plain(u16s(vector(body, 1)))
    # DTLS counts downwards: 0xfefc is newer than 0xfeff.
    return _VERSIONS.get(max(offered, key=lambda v: -v if v >> 8 == 0xFE else v), "00") if offered else ""


@remembered
def _alpn(body: bytes) -> str:
    """First and last character of the first protocol, or of its hex when either is not alphanumeric."""
    protocol = next(iter(protocols(body)), b"")
    if not protocol:
        return "00"
    if not (protocol[:1].isalnum() and protocol[-1:].isalnum()):  # bytes: ASCII only
        protocol = protocol.hex().encode("ascii")
    return chr(protocol[0]) + chr(protocol[-1])


@remembered
def _third(kinds: tuple[int, ...], signatures: bytes) -> str:
    rest = [kind for kind in kinds if kind not in (SERVER_NAME, ALPN)]
    return _hash(rest, _plain(u16s(vector(signatures, 2)))) if rest else _NOTHING


def _hash(*lists: list[int]) -> str:
    """Of lists in hexadecimal, those that are empty left out."""
    text = "_".join(",".join(f"{value:04x}" for value in values) for values in lists if values)
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NOTHING
