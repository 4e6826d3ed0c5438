"""Community ID v1 (github.com/corelight/community-id-spec): the flow id of Zeek, Suricata and Arkime."""

from __future__ import annotations

import socket
from binascii import b2a_base64
from hashlib import sha1

_PROTOCOLS = {"tcp": b"\6\0", "udp": b"\x11\0"}  # number and padding


def community_id(transport: str, ip: str, port: int, other_ip: str, other_port: int) -> str:
    """`1:...` of a TCP or UDP flow, seed 0; both directions give the same."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    one = (socket.inet_pton(family, ip), port.to_bytes(2, "big"))
    two = (socket.inet_pton(family, other_ip), other_port.to_bytes(2, "big"))
    low, high = (one, two) if one <= two else (two, one)
    data = b"\0\0" + low[0] + high[0] + _PROTOCOLS[transport] + low[1] + high[1]
    digest = sha1(data, usedforsecurity=False).digest()
    return "1:" + b2a_base64(digest, newline=False).decode("ascii")
