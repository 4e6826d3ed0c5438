"""A TCP proxy that cuts: in the middle of a request, or of its answer, when the rows may be in the store."""

from __future__ import annotations

import random
import socket
import struct
import threading
from contextlib import suppress

RESET = struct.pack("ii", 1, 0)


class Proxy:
    """127.0.0.1 on a port of its own to `port`. While `cutting` no connection lives long."""

    def __init__(self, port: int, seed: int) -> None:
        self.upstream, self.cutting, self.counted = port, True, {"request": 0, "response": 0}
        self._draw = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream), 5)
        except OSError:
            return _reset(client)
        server.settimeout(None)  # the store's disk may be slow: cutting is all that ends a connection here
        quota = {"request": 1 << 62, "response": 1 << 62}
        if self.cutting:
            quota = {
                # a batch of any size must pass in the end: one segment is never split, however slow the disk
                "request": self._draw.choice([self._draw.randrange(100_000), 1 << 62]),
                "response": self._draw.choice([0, 20, 200, 600]),
            }
        both = client, server
        for name, source, target in (("request", client, server), ("response", server, client)):
            threading.Thread(
                target=self._pump, args=(name, source, target, quota[name], both), daemon=True
            ).start()
        return None

    def _pump(
        self,
        name: str,
        source: socket.socket,
        target: socket.socket,
        quota: int,
        both: tuple[socket.socket, ...],
    ) -> None:
        """Pass bytes on until one side is through or the quota is: then both connections are reset."""
        with suppress(OSError):
            while data := source.recv(min(65_536, quota + 1)):
                target.sendall(data[:quota])
                quota -= len(data)
                if quota < 0:
                    self.counted[name] += 1
                    break
        for end in both:
            _reset(end)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end.shutdown(socket.SHUT_RDWR)
    end.close()
