"""A DNS record's data as a zone file has it: by dnspython, which knows the many types, but for the usual HTTPS and
SVCB records (RFC 9460), which most sites have.
"""

from __future__ import annotations

import re
import socket
from base64 import b64encode
from functools import lru_cache

from sensor.wire.cursor import Cursor

ECH_KEY = 5  # SvcParamKey "ech", RFC 9848

_HINTS = {4: ("ipv4hint", 4, socket.AF_INET), 6: ("ipv6hint", 16, socket.AF_INET6)}
_protocols = re.compile(rb"(?:[\x01-\x1f][a-z0-9/.-]+)+").fullmatch  # lengths and names


def text_of(kind: int, cls: int, payload: bytes, start: int, end: int) -> str:
    """Any record's data, `payload[start:end]`, by dnspython. Raises its exceptions and ValueError."""
    import dns.rdata  # with all it needs a quarter of a short run's start; few answers that matter ask for it
    import dns.rdataclass
    import dns.rdatatype

    made = dns.rdata.from_wire(
        dns.rdataclass.RdataClass.make(cls), dns.rdatatype.RdataType.make(kind), payload, start, end - start
    )
    return made.to_text()


@lru_cache(1_024)  # names in it are not compressed (RFC 9460 2.2), so it stands alone
def service(kind: int, cls: int, data: bytes) -> str:
    """The data of an HTTPS or SVCB record."""
    return _usual_service(data) or text_of(kind, cls, data, 0, len(data))


def _usual_service(data: bytes) -> str:
    """SVCB data of the kind that nearly all sites have, written as dnspython does; "" for any other."""
    cursor, out = Cursor(data), []
    priority, target, last = cursor.u16(), cursor.u8(), 0
    for key, value in cursor.pairs(cursor.left) if priority and not target else ():
        text = _usual_parameter(key, value) if key > last else ""
        if not text:
            return ""
        out.append(text)
        last = key
    return " ".join((f"{priority} .", *out)) if out else ""


def _usual_parameter(key: int, value: bytes) -> str:
    """RFC 9460 14.3.2, RFC 9848. Whole addresses, and protocols that need no escape."""
    if key == 1 and _protocols(value):
        names, cursor = [], Cursor(value)
        while cursor.left:
            names.append(cursor.vec8().decode("ascii"))
        return f'alpn="{",".join(names)}"' if all(names) else ""
    if key == ECH_KEY and len(value) > 5 and int.from_bytes(value[:2], "big") == len(value) - 2:
        return f'ech="{b64encode(value).decode("ascii")}"'
    name, size, family = _HINTS.get(key, ("", 1, 0))
    if not name or not value or len(value) % size:
        return ""
    hints = (socket.inet_ntop(family, value[at : at + size]) for at in range(0, len(value), size))
    return f'{name}="{",".join(hints)}"'
