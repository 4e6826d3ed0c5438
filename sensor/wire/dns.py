"""DNS messages: RFC 1035, mDNS (RFC 6762), SVCB and HTTPS (RFC 9460), ECH configurations (RFC 9849 4).

`peek_question` and `peek_answers` are what an engine needs of every message; `parse_dns` is the whole of one
that matters. What is in a record is written by `dns_data`.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import lru_cache
from struct import Struct

import dns.exception
import dns.rcode
import dns.rdatatype

from sensor.frozen import dataclass
from sensor.wire.cursor import Cursor, Malformed
from sensor.wire.dns_data import ECH_KEY, service, text_of
from sensor.wire.names import NAME_MAX, clean_name, escape

A, CNAME, AAAA, SVCB, HTTPS, OPT = 1, 5, 28, 64, 65, 41
ECH_VERSION = 0xFE0D  # RFC 9849 4
RECORDS = 512  # looked at per section; a 64 KiB message could hold thousands
HOPS = 127  # pointers followed in a name, which has no more labels (RFC 1035 2.3.4)
TEXT_MAX = 1_024  # characters kept of one record's data
MDNS_FLUSH = 0x8000  # RFC 6762 10.2, top bit of the class

_POINTER = b"\xc0"  # RFC 1035 4.1.4
_QUESTION = b"\xc0\x0c"  # the pointer to the first question's name, which is behind the header
_ADDRESSES = (A, AAAA)
_UNREAD = "\\# "  # how data of unknown form begins (RFC 3597 5), and no name does

_header = Struct(">HHHHHH").unpack_from
_record_head = Struct(">HHIH").unpack_from
_RECORD_HEAD = 10
_question_tail = Struct(">HH").unpack


@dataclass(frozen=True, slots=True)
class Answers:
    """What a response says about addresses: enough to learn names from it."""

    question: str
    addresses: tuple[tuple[str, str, int], ...]  # owner, address, TTL in seconds
    chain: tuple[tuple[str, str], ...]  # CNAME: owner, target
    ech_names: tuple[str, ...]  # public names of ECH configurations in HTTPS and SVCB records


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    type: str  # A, AAAA, TXT; TYPE65400 when it has no name
    ttl: int  # seconds
    data: str  # address, or as in a zone file
    flush: bool  # mDNS cache-flush


@dataclass(frozen=True, slots=True)
class DnsMessage:
    id: int
    is_response: bool
    opcode: int
    rcode: str  # NOERROR, NXDOMAIN, ...; EDNS extended codes included
    truncated: bool  # TC is set, or records could not be read to the end
    question: str  # "" for the root, or when there is none
    qtype: str  # "" when there is no question
    answers: tuple[Record, ...]
    additional: tuple[Record, ...]
    chain: tuple[tuple[str, str], ...]  # CNAME: owner, target
    ech_names: tuple[str, ...]  # public names of ECH configurations offered

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses in the answer section."""
        return tuple(record.data for record in self.answers if record.type in ("A", "AAAA"))

    @property
    def ech_offered(self) -> bool:
        return bool(self.ech_names)

    @property
    def ttl(self) -> int | None:
        """Lowest TTL of the answers."""
        return min([record.ttl for record in self.answers], default=None)

    @property
    def hosts(self) -> tuple[tuple[str, str, int], ...]:
        """(name, address, TTL) of each A and AAAA record of a response, additional ones included: mDNS."""
        records = self.answers + self.additional if self.is_response else ()
        return tuple([(r.name, r.data, r.ttl) for r in records if r.type in ("A", "AAAA")])


# A resource record: name, type, class, TTL, where its data begins, the data. A class's objects take too long.
_Raw = tuple[str, int, int, int, int, bytes]


def peek_question(payload: bytes) -> tuple[str, int, bool] | None:
    """(name, type, is response) of the first question; `None` when there is none."""
    cursor = Cursor(payload)
    _, flags, questions, _, _, _ = _header(cursor.take(12))
    if not questions:
        return None
    name, kind = _question(cursor)
    return name, kind, flags > 0x7FFF


def read_name(cursor: Cursor) -> str:
    r"""A name at the cursor, pointers followed (RFC 1035 4.1.4): lower case, without the last dot.

    A byte of a label that is not in [a-z0-9_-] is `\xNN`, a dot too. Cut at 255 characters.
    """
    data, pos, have = cursor.data, cursor.pos, cursor.have
    start, behind = pos, 0
    if pos + 2 <= have and data[pos] >= 192 and (target := (data[pos] & 63) << 8 | data[pos + 1]) < pos:
        start, behind = target, pos + 2
    end = data.find(0, start, start + NAME_MAX) + 1
    name = _uncompressed(data[start:end]) if 0 < end <= have else None
    if name is None:
        return _compressed(cursor)
    cursor.pos = behind or end
    return name


@lru_cache(4_096)  # a network asks for the same names over and over
def _uncompressed(raw: bytes) -> str | None:
    """A name that is `raw`, up to its first zero byte; None when it has pointers or is something else."""
    labels, pos, last = [], 0, len(raw) - 1
    while pos < last:
        after = pos + 1 + raw[pos]
        if raw[pos] > 63 or after > last:
            return None
        labels.append(raw[pos + 1 : after])
        pos = after
    return _text(labels)


def _compressed(cursor: Cursor) -> str:
    data, pos, have = cursor.data, cursor.pos, cursor.have
    labels: list[bytes] = []
    size, behind, limit, hops = 0, 0, pos, 0
    while pos < have:
        length = data[pos]
        if length == 0:
            cursor.pos = behind or pos + 1
            return _text(labels)
        if length < 64:
            after = pos + 1 + length
            size += length + 1
            if after > have or size > 254:
                break
            labels.append(data[pos + 1 : after])
            pos = after
        elif length >= 192 and pos + 2 <= have:
            behind = behind or pos + 2
            pos = (length & 63) << 8 | data[pos + 1]
            hops += 1
            if pos >= limit or hops > HOPS:  # only backwards, so that it ends
                break
            limit = pos
        else:
            break
    raise Malformed(f"name at {cursor.pos}")


def _text(labels: list[bytes]) -> str:
    joined = b".".join(labels)
    if joined.count(b".") < len(labels):
        return escape(joined)[:NAME_MAX]
    return ".".join(escape(label).replace(".", "\\x2e") for label in labels)[:NAME_MAX]


def _records(cursor: Cursor, count: int, known: dict[bytes, str], found: list[_Raw]) -> None:
    """Adds a section's records to `found`. `known`: names by the pointer to them; most are the last one's."""
    data, have = cursor.data, cursor.have
    for _ in range(min(count, RECORDS)):
        pointer = data[cursor.pos : cursor.pos + 2]
        name = known.get(pointer)
        if name is not None:
            cursor.pos += 2
        else:
            name = read_name(cursor)
            if pointer >= _POINTER:
                known[pointer] = name
        start = cursor.pos + _RECORD_HEAD
        if start > have:
            raise Malformed(f"record at {cursor.pos}")
        kind, cls, ttl, size = _record_head(data, cursor.pos)
        if start + size > have:
            raise Malformed(f"data at {start}")
        cursor.pos = start + size
        found.append((name, kind, cls, ttl, start, data[start : start + size]))


def _seconds(ttl: int) -> int:
    """RFC 2181 8: a TTL with the top bit set counts as 0."""
    return ttl if ttl < 1 << 31 else 0


def _question(cursor: Cursor) -> tuple[str, int]:
    name = read_name(cursor)
    kind, _ = _question_tail(cursor.take(4))
    return name, kind


def _questions(cursor: Cursor, count: int) -> tuple[str, int]:
    """Name and type of the first question; the cursor goes behind the last."""
    first = _question(cursor) if count else ("", 0)
    for _ in range(1, min(count, RECORDS)):
        _question(cursor)
    return first


def peek_answers(payload: bytes) -> Answers:
    """Addresses, aliases and ECH public names of a response's answers, as far as they can be read."""
    cursor = Cursor(payload)
    _, _, questions, answers, _, _ = _header(cursor.take(12))
    question, _ = _questions(cursor, questions)
    found: list[_Raw] = []
    with suppress(Malformed):
        _records(cursor, answers, {}, found)
    addresses, chain = [], []
    ech: list[str] = []
    with suppress(Malformed):
        for name, kind, _, ttl, start, data in found:
            if kind in _ADDRESSES:
                addresses.append((name, _address(kind, data), _seconds(ttl)))
            elif kind == CNAME:
                chain.append((name, read_name(Cursor(payload, start, start + len(data)))))
            elif kind in (HTTPS, SVCB):
                ech.extend(_ech_names(data))
    return Answers(question, tuple(addresses), tuple(chain), tuple(ech))


@lru_cache(4_096)  # of servers that clients are sent to, for each client
def _address(kind: int, data: bytes) -> str:
    size, family = (4, socket.AF_INET) if kind == A else (16, socket.AF_INET6)
    if len(data) != size:
        raise Malformed(f"address of {len(data)} bytes")
    return socket.inet_ntop(family, data)


@lru_cache(1_024)  # a name's answer is the same for all who ask
def _ech_names(rdata: bytes) -> tuple[str, ...]:
    """Public names in the `ech` parameter of SVCB data (RFC 9460 2.2)."""
    cursor = Cursor(rdata)
    cursor.u16()
    read_name(cursor)
    for key, value in cursor.pairs(cursor.left):
        if key == ECH_KEY:
            return ech_public_names(value)
    return ()


def ech_public_names(configs: bytes) -> tuple[str, ...]:
    """Public names of an ECHConfigList, RFC 9849 4. Versions other than RFC 9849's are passed over."""
    cursor, out = Cursor(configs), []
    for version, body in cursor.pairs(cursor.u16()):
        if version == ECH_VERSION:
            config = Cursor(body)
            config.take(3)  # config_id, kem_id
            config.vec16()  # public_key
            config.vec16()  # cipher_suites
            config.u8()  # maximum_name_length
            out.append(clean_name(config.vec8()))
    return tuple(out)


def parse_dns(payload: bytes) -> DnsMessage:
    """A whole message, DNS or mDNS. The question must be readable; records count as far as they are."""
    cursor = Cursor(payload)
    ident, flags, questions, answering, authority, further = _header(cursor.take(12))
    question, qtype = _questions(cursor, questions)
    answers: list[_Raw] = []
    additional: list[_Raw] = []
    cut, known = bool(flags & 0x0200), {_QUESTION: question} if questions else {}
    try:
        _records(cursor, answering, known, answers)
        if authority or further:
            _records(cursor, authority, known, [])
            _records(cursor, further, known, additional)
    except Malformed:
        cut = True
    records = [_record(payload, raw) for raw in answers]
    chain, ech_names = _leads(answers, records)
    return DnsMessage(
        ident,
        bool(flags & 0x8000),
        flags >> 11 & 15,
        _rcode(flags, additional),
        cut,
        question,
        type_text(qtype) if questions else "",
        tuple(records),
        tuple([_record(payload, raw) for raw in additional if raw[1] != OPT]),
        chain,
        ech_names,
    )


def _leads(raws: list[_Raw], records: list[Record]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Aliases and ECH public names, up to the first record of the kind that cannot be read."""
    chain: list[tuple[str, str]] = []
    ech: list[str] = []
    for raw, record in zip(raws, records, strict=True):
        if raw[1] == CNAME:
            if record.data.startswith(_UNREAD):
                break
            chain.append((record.name, record.data))
        elif raw[1] in (HTTPS, SVCB):
            try:
                ech.extend(_ech_names(raw[5]))
            except Malformed:
                break
    return tuple(chain), tuple(ech)


def _rcode(flags: int, additional: list[_Raw]) -> str:
    """RFC 6891 6.1.3: the OPT record's TTL holds the upper eight bits."""
    upper = 0
    for _, kind, _, ttl, _, _ in additional:
        if kind == OPT:
            upper = ttl >> 24
            break
    return _rcode_text(upper << 4 | flags & 15)


@lru_cache(4_096)
def _rcode_text(code: int) -> str:
    return dns.rcode.to_text(dns.rcode.Rcode.make(code))


@lru_cache(4_096)
def type_text(kind: int) -> str:
    """A, AAAA, HTTPS; TYPE65400 when it has no name."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind))


def _record(payload: bytes, raw: _Raw) -> Record:
    name, kind, cls, ttl, start, data = raw
    try:
        if kind in _ADDRESSES:
            text = _address(kind, data)
        elif kind == CNAME:
            text = read_name(Cursor(payload, start, start + len(data)))
        else:
            text = _data(payload, kind, cls & ~MDNS_FLUSH, start, data)[:TEXT_MAX]
    except (Malformed, dns.exception.DNSException, ValueError):
        text = f"{_UNREAD}{len(data)} {data.hex()}"[:TEXT_MAX]
    flush = cls >= MDNS_FLUSH and kind != OPT
    return Record(name, type_text(kind), _seconds(ttl), text, flush)


def _data(payload: bytes, kind: int, cls: int, start: int, data: bytes) -> str:
    if kind in (HTTPS, SVCB):
        return service(kind, cls, data)
    return text_of(kind, cls, payload, start, start + len(data))


class TcpMessages:
    """Splits one direction of DNS over TCP (RFC 1035 4.2.2) into messages. Holds at most one, 64 KiB."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def held(self) -> int:
        """Bytes of the message that is not whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Takes the next bytes in order; returns the messages now whole. `Malformed`: this is not DNS."""
        self._buffer += data
        out, pos = [], 0
        while len(self._buffer) - pos >= 2:
            length = self._buffer[pos] << 8 | self._buffer[pos + 1]
            if length < 12:
                raise Malformed(f"DNS message of {length} bytes")
            if len(self._buffer) - pos - 2 < length:
                break
            out.append(bytes(self._buffer[pos + 2 : pos + 2 + length]))
            pos += 2 + length
        del self._buffer[:pos]
        return out
