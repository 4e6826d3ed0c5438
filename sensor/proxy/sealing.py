"""Originals of prompts for an investigator: encrypted to a public key whose private part the store never has.

The construction is that of RFC 9180's base mode with other names for its labels: an ephemeral X25519 key for
each message (RFC 7748), HKDF-SHA256 over both public keys (RFC 5869), ChaCha20-Poly1305 (RFC 8439) with a
nonce of zeros, since each key encrypts one message. The exchange's id is authenticated with it.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sensor.proxy.keys import private_file

_LABEL = b"aiscope sealed v1"
_RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw


class UnsealError(ValueError):
    """A key that cannot be used, or a text that was not sealed to it."""


def make(path: Path) -> tuple[Path, Path]:
    """A new pair: `path` (private, 0600) and `path`.pub. Raises FileExistsError."""
    public = path.with_name(path.name + ".pub")
    if path.exists() or public.exists():
        raise FileExistsError(
            f"{path}: there already; a key that is overwritten makes what was sealed unreadable"
        )
    key = X25519PrivateKey.generate()
    private_file(
        path,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path, public


class Sealer:
    """Seals to one public key."""

    def __init__(self, path: Path) -> None:
        """A PEM file as `make` writes it. Raises UnsealError, OSError."""
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except ValueError:
            key = None
        if not isinstance(key, X25519PublicKey):
            raise UnsealError(f"{path}: not a public X25519 key")
        self._key, self._raw = key, key.public_bytes(*_RAW)
        self.key_id = key_id(self._raw)

    def seal(self, id: str, text: str) -> str:
        """Ciphertext in base64: the ephemeral public key, then the sealed text."""
        ephemeral = X25519PrivateKey.generate()
        sent = ephemeral.public_key().public_bytes(*_RAW)
        cipher = _cipher(ephemeral.exchange(self._key), sent, self._raw)
        sealed = cipher.encrypt(bytes(12), text.encode("utf-8", "surrogatepass"), id.encode())
        return base64.b64encode(sent + sealed).decode()


class Unsealer:
    """Opens what was sealed to one key."""

    def __init__(self, path: Path) -> None:
        """The private key. Raises UnsealError, OSError."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, X25519PrivateKey):
            raise UnsealError(f"{path}: not a private X25519 key")
        self._key, self._raw = key, key.public_key().public_bytes(*_RAW)
        self.key_id = key_id(self._raw)

    def unseal(self, id: str, ciphertext: str) -> str:
        """The text. Raises UnsealError."""
        try:
            data = base64.b64decode(ciphertext, validate=True)
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(data[:32]))
            plain = _cipher(shared, data[:32], self._raw).decrypt(bytes(12), data[32:], id.encode())
        except (ValueError, InvalidTag):
            raise UnsealError(f"{id!a}: not sealed to this key, or damaged") from None
        return plain.decode("utf-8", "surrogatepass")


def key_id(raw: bytes) -> str:
    """Sixteen hexadecimal digits that tell public keys apart."""
    return hashlib.sha256(raw).hexdigest()[:16]


def _cipher(shared: bytes, sent: bytes, recipient: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(hashes.SHA256(), 32, sent + recipient, _LABEL).derive(shared))
