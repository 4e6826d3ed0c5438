"""Sealed names: `user`, `client_host` and `client_mac` as tokens that only the key's holder can read.

AES-SIV (RFC 5297) without a nonce is deterministic: the same name gives the same token, so that rows still
group and join, and there is no counter to lose. A token is `~` and unpadded base64url.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from sensor.reason import reason, why

MARK = "~"
_CONTEXT = [b"aiscope name v1"]  # associated data: a token of another purpose under this key is refused
_CACHE = 65_536  # names of a large site; sealing one costs some 10 us


class SealError(ValueError):
    """A key that cannot be used or a token that was not made with it."""


class Sealer:
    """Seals and unseals names with one 64-byte key (AES-256-SIV)."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 64:
            raise SealError(f"a sealing key has 64 bytes, this one {len(key)}")
        self._siv = AESSIV(key)
        self.seal = lru_cache(_CACHE)(self._seal)

    def _seal(self, name: str) -> str:
        """The token of a name. Nothing stays nothing, so that "unknown" is still seen as such."""
        if not name:
            return ""
        token = self._siv.encrypt(name.encode("utf-8", "surrogateescape"), _CONTEXT)
        return MARK + base64.urlsafe_b64encode(token).decode().rstrip("=")

    def unseal(self, token: str) -> str:
        """The name behind a token; what does not start with `~` was never sealed and comes back as it is."""
        if not token.startswith(MARK):
            return token
        text = token[len(MARK) :]
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            return self._siv.decrypt(data, _CONTEXT).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError, InvalidTag):
            raise SealError(f"not a name sealed with this key: {token[:80]!a}") from None


def load(path: Path, *, create: bool = False) -> Sealer:
    """The sealer of a key file: 64 bytes in hexadecimal, its owner's alone. `create` makes a missing one."""
    if create and not path.exists():
        _create(path)
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SealError(f"{path}: sealing key cannot be read: {why(error)}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SealError(f"{path}: sealing key is open to others: mode {stat.S_IMODE(mode):04o}, not 0600")
    try:
        return Sealer(bytes.fromhex(text))
    except ValueError as error:
        raise SealError(f"{path}: no sealing key: {error}") from None


def _create(path: Path) -> None:
    """Write beside and link: another process sees a whole key or none, and the first one stands."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as draft:  # mode 0600
            draft.write(AESSIV.generate_key(512).hex() + "\n")
            draft.flush()
            os.fsync(draft.fileno())
            with suppress(FileExistsError):
                path.hardlink_to(draft.name)
    except OSError as error:
        raise SealError(f"{path}: sealing key cannot be made: {reason(error)}") from None
