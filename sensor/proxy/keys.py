"""The key for hashes of prompts and accounts. It stays at the proxy; a new one makes the old hashes
meaningless."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

DAY = 86_400


class HashKey:
    """A key file of one line, `created-at hex`, its owner's alone. An old key is overwritten, never kept."""

    def __init__(self, path: Path, days: int) -> None:
        """`days`: how long a key is used; 0 for ever. Raises OSError, and ValueError for a file that is no
        key."""
        self._path, self._days = path, days
        self._made, self._key = self._read() if path.exists() else self._new()

    def key(self) -> bytes:
        """The key of now."""
        if self._days and not 0 <= time.time() - self._made < self._days * DAY:
            self._made, self._key = self._new()
        return self._key

    def _read(self) -> tuple[float, bytes]:
        made, _, text = self._path.read_text("ascii").strip().partition(" ")
        try:
            return float(made), bytes.fromhex(text)
        except ValueError:
            raise ValueError(f"{self._path}: not a key of aiscope; remove it and a new one is made") from None

    def _new(self) -> tuple[float, bytes]:
        made, key = time.time(), secrets.token_bytes(32)
        private_file(self._path, f"{made:.0f} {key.hex()}\n".encode("ascii"))
        return made, key


def private_file(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, at once or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
