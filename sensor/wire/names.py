"""One spelling for every name from the wire (docs/engine.md 3)."""

from __future__ import annotations

import re
import socket

NAME_MAX = 255  # RFC 1035 2.3.4
_plain = re.compile(rb"[a-z0-9._-]{0,254}[a-z]").fullmatch
_odd = re.compile(rb"[^a-z0-9._-]")


def escape(raw: bytes) -> str:
    r"""Lower case; bytes outside [a-z0-9._-] as `\xNN`."""
    return _odd.sub(lambda odd: b"\\x%02x" % ord(odd[0]), raw.lower()).decode("ascii")


def clean_name(raw: bytes | str) -> str:
    """Lower case, no port, no trailing dot, escaped, cut at 255 characters. Not for IPv6 literals."""
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogatepass")
    if _plain(raw):
        return raw.decode("ascii")
    host, colon, port = raw.rpartition(b":")
    if colon and b":" not in host and (not port or port.isdigit()):
        raw = host
    return escape(raw.removesuffix(b"."))[:NAME_MAX]


def is_address(text: str) -> bool:
    """Whether the text is an IPv4 (dotted quad) or IPv6 literal, with or without brackets."""
    if not text or not (":" in text or text[-1].isdigit()):
        return False
    text = text[1:-1] if text[0] == "[" and text[-1] == "]" else text
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):  # ValueError: a NUL or a character that is not ASCII
        return False
    return True
