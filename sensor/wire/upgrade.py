"""TLS inside a stream that begins in another protocol: STARTTLS and its kin, by what the client says first.

SMTP (RFC 3207), LMTP, IMAP and POP3 (RFC 2595), FTP (RFC 4217), XMPP (RFC 6120 5), LDAP (RFC 4511 4.14),
PostgreSQL (SSLRequest, GSSENCRequest), MySQL (SSLRequest).
"""

from __future__ import annotations

import re

from sensor.wire.cursor import Malformed

OPENING = 48  # bytes, or one line of text, that tell the protocol
PREFACE_MAX = 2_048  # the dialogue before TLS is a few lines

_opening = re.compile(
    rb"\0\0\0\x08\x04\xd2\x16[\x2f\x30]"
    rb"|\x20\0\0\x01"
    rb"|0[\s\S]{4,16}1\.3\.6\.1\.4\.1\.1466\.20037"
    rb"|(?:[EL]HLO |HELO |CAPA\r?\n|STLS\r?\n|FEAT\r?\n|AUTH (?:TLS|SSL)"
    rb"|[!-~]{1,16} (?:CAPABILITY|STARTTLS|ID )|<\?xml |<stream:)",
    re.IGNORECASE,
).match
_hello = re.compile(rb"\x16\x03[\x00-\x04][\x00-\x40][\s\S]\x01\x00").search  # record and ClientHello headers


def hello_offset(client: bytes) -> int | None:
    """Where the TLS records begin. `None`: need more bytes. `Malformed`: it will not turn into TLS."""
    first = client[:1]
    if first and first != b"\0" and not b" " <= first <= b"~":
        raise Malformed("neither text nor a known request for TLS")
    newline = -1 if first in (b"\0", b" ", b"0") else client.find(b"\n", 0, OPENING)
    if newline < 0 and len(client) < OPENING:
        return None
    if not _opening(client[: newline + 1 or OPENING]):
        raise Malformed("no protocol known to turn into TLS")
    found = _hello(client, 0, PREFACE_MAX)
    if found:
        return found.start()
    if len(client) >= PREFACE_MAX:
        raise Malformed("no hello after the request for TLS")
    return None
