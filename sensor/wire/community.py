"""Community ID v1 (github.com/corelight/community-id-spec): the flow id of Zeek, Suricata and Arkime."""

from __future__ import annotations

import socket
from base64 import b64encode
from hashlib import sha1

PROTOCOLS = {"tcp": 6, "udp": 17}


def community_id(transport: str, ip: str, port: int, other_ip: str, other_port: int) -> str:
    """`1:...` of a TCP or UDP flow, seed 0; both directions give the same."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    one = (socket.inet_pton(family, ip), port.to_bytes(2, "big"))
    two = (socket.inet_pton(family, other_ip), other_port.to_bytes(2, "big"))
    low, high = (one, two) if one <= two else (two, one)
    data = b"".join((b"\0\0", low[0], high[0], bytes((PROTOCOLS[transport], 0)), low[1], high[1]))
    digest = sha1(data, usedforsecurity=False).digest()
    return "1:" + b64encode(digest).decode("ascii")
