"""Where something listens: `HOST:PORT` or `[IPV6]:PORT`, the same for every command."""

from __future__ import annotations

import re
import socket


def address(listen: str) -> tuple[str, int]:
    """Host, without brackets and "" when there is none, and port. Raises ValueError."""
    match = re.fullmatch(r"\[?([\w.:%-]*?)\]?:(\d{1,5})", listen, re.ASCII)
    if match is None or int(match[2]) > 65_535:
        raise ValueError(f"{listen}: HOST:PORT is wanted")
    return match[1], int(match[2])


def bind(host: str, port: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    """A socket of this address. Raises OSError in one line when it cannot be had."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        where = f"[{host}]" if ":" in host else host
        raise OSError(f"cannot listen on {where}:{port}: {error.strerror}") from None
    return made
