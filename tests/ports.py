"""A port for a process that a test starts."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

ANY = range(
    10_240, 32_768
)  # below those the kernel gives to whoever does not ask for one (ip_local_port_range)
_DRAW = random.SystemRandom()  # never what another process draws


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free in TCP and UDP, and that nobody is given by chance until it is taken."""
    for _ in range(100):
        port = _DRAW.choice(ANY)
        with ExitStack() as both:
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    both.enter_context(socket.socket(socket.AF_INET, kind)).bind((host, port))
            except OSError:
                continue
        return port
    raise AssertionError(f"{host}: no free port")
