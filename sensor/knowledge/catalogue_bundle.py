"""A catalogue as one signed file, and how it takes the place of an older one.

A bundle is a line that says what it is, a line with the signature, and zstd-compressed JSON `{"files": {name:
text}}`. The signature (Ed25519, RFC 8032) is over the first line and the compressed bytes, and nothing is
unpacked before it holds. There are no paths to escape by: a name is one of a few, or `services/` and a vendor
id.

Installed catalogues are folders beside each other; `current` is a link that one rename moves. Until then,
whatever goes wrong, the old one is in use.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sensor.knowledge.catalogue import catalogue_id, load
from sensor.knowledge.catalogue_check import check
from sensor.knowledge.catalogue_files import MAX_BYTES, MAX_FILES, CatalogueError, newest, version
from sensor.reason import reason, why

MAGIC = b"aiscope catalogue 1\n"
MAX_BUNDLE = 16 * 1_048_576  # 600 services are about 0.2 MB
MAX_UNPACKED = 64 * 1_048_576
MAX_WINDOW = 16 * 1_048_576  # zstd's memory; level 19 needs half of it
TIMEOUT = 30.0  # seconds without a byte
SIDE = ("version.yaml", "resolvers.yaml", "clients.yaml", "rubric.yaml", "rejected.tsv")
_NAME = re.compile(r"services/[a-z0-9]+(?:-[a-z0-9]+)*\.yaml\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can write one, UTF-8 cannot


class BundleError(ValueError):
    """A bundle that is not taken, or cannot be made, and why."""


def keygen(path: Path) -> str:
    """A new private key in a new file that only its owner can read. Returns the public key as text."""
    key = Ed25519PrivateKey.generate()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(base64.b64encode(key.private_bytes_raw()).decode() + "\n")
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def private_key(text: str) -> Ed25519PrivateKey:
    """A key as `keygen` writes it."""
    return Ed25519PrivateKey.from_private_bytes(_key_bytes(text))


def public_key(text: str) -> Ed25519PublicKey:
    """A pinned key as `keygen` prints it."""
    return Ed25519PublicKey.from_public_bytes(_key_bytes(text))


def _key_bytes(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise BundleError("a key is 32 bytes in base64, as keygen writes them")
    return raw


def pack(root: Path, key: Ed25519PrivateKey) -> bytes:
    """A bundle of a catalogue's folder, which must be without findings."""
    if problems := check(root / "services"):
        raise BundleError(f"{problems[0]} ({len(problems)} findings)")
    load(root, cache=False)
    names = [name for name in SIDE if (root / name).exists()]
    names += sorted(f"services/{path.name}" for path in (root / "services").glob("*.yaml"))
    text = json.dumps(
        {"files": {name: (root / name).read_text("utf-8") for name in names}}, ensure_ascii=False
    )
    payload = zstandard.ZstdCompressor(level=19).compress(text.encode())
    return MAGIC + base64.b64encode(key.sign(MAGIC + payload)) + b"\n" + payload


def unpack(data: bytes, key: Ed25519PublicKey) -> dict[str, str]:
    """The files of a bundle by name, once its signature holds. Raises `BundleError`."""
    if len(data) > MAX_BUNDLE:
        raise BundleError(f"larger than {MAX_BUNDLE} bytes")
    if not data.startswith(MAGIC):
        raise BundleError("not a catalogue bundle")
    signature, _, payload = data[len(MAGIC) :].partition(b"\n")
    try:
        key.verify(base64.b64decode(signature, validate=True), MAGIC + payload)
    except (InvalidSignature, binascii.Error, ValueError):
        raise BundleError("the signature is not the pinned key's, or the file is damaged") from None
    return _files(_inflate(payload))


def _inflate(payload: bytes) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(payload) as reader:
            text = reader.read(MAX_UNPACKED + 1)
    except zstandard.ZstdError:
        raise BundleError("the content is not zstd, or needs too much memory") from None
    if len(text) > MAX_UNPACKED:
        raise BundleError(f"the content is larger than {MAX_UNPACKED} bytes")
    return bytes(text)


def _files(text: bytes) -> dict[str, str]:
    try:
        found = json.loads(text)["files"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise BundleError("the content is not what a bundle holds") from None
    if not isinstance(found, dict) or not 0 < len(found) <= MAX_FILES:
        raise BundleError("the content is not what a bundle holds")
    for name, body in found.items():
        if name not in SIDE and not _NAME.match(name):
            raise BundleError(f"a file name that is not allowed: {ascii(name)[:100]}")
        if not isinstance(body, str) or len(body) > MAX_BYTES or _SURROGATE.search(body):
            raise BundleError(f"{name}: not text, or too long")
    return found


def fetch(source: str) -> bytes:
    """The bytes of a bundle from a file or by http(s), never more than a bundle may have."""
    try:
        if not re.match(r"https?://", source):
            with Path(source).open("rb") as file:
                return file.read(MAX_BUNDLE + 1)
        with urllib.request.urlopen(source, timeout=TIMEOUT) as reply:  # noqa: S310 - the scheme was looked at
            return bytes(reply.read(MAX_BUNDLE + 1))
    except (OSError, ValueError) as error:  # URLError is an OSError
        raise BundleError(f"cannot be read: {why(error)}") from None


def stamp(home: Path, overrides: Path | None) -> tuple[object, ...]:
    """Which catalogue is in use, cheap enough to ask every second: it differs once there is another one."""
    mine: list[tuple[str, int, int]] = []
    if overrides:
        with os.scandir(overrides) as entries:
            states = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".yaml")]
        mine = sorted((name, state.st_mtime_ns, state.st_size) for name, state in states)
    return newest(home), version(newest(home)), tuple(mine)


class Changes:
    """Says when the catalogue in use is another one than when it was asked last, or made.

    What cannot be read, since it is being replaced, is no change yet.
    """

    def __init__(self, home: Path, overrides: Path | None = None) -> None:
        self._places = home, overrides
        self._seen = stamp(home, overrides)

    def changed(self) -> bool:
        """Whether to load it again."""
        try:
            now = stamp(*self._places)
        except (OSError, CatalogueError):
            return False
        before, self._seen = self._seen, now
        return now != before


def install(data: bytes, key: Ed25519PublicKey, home: Path) -> str:
    """Put a bundle in use under `home`; the catalogue's id. Raises `BundleError` and changes nothing."""
    files = unpack(data, key)
    try:
        return _install(files, home)
    except OSError as error:
        raise BundleError(f"cannot be installed: {reason(error)}") from None


def _install(files: dict[str, str], home: Path) -> str:
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home), tempfile.TemporaryDirectory(dir=home, prefix=".new-") as scratch:
        folder = Path(scratch) / "catalogue"
        _write(folder, files)
        before = newest(home)
        name = _accept(folder, version(before))
        target = home / name
        if target.is_symlink():
            target.unlink()
        elif target.exists():  # left by an update that was cut short
            shutil.rmtree(target)
        folder.rename(target)
        _switch(home, Path(scratch), name)
        _sweep(home, keep={name, before.name})  # somebody may be reading the one before
    return name


def _write(folder: Path, files: dict[str, str]) -> None:
    (folder / "services").mkdir(parents=True)
    for name, text in files.items():
        with (folder / name).open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _accept(folder: Path, floor: int) -> str:
    """The id of a catalogue that is newer than `floor` and without findings."""
    try:
        number = version(folder)
        if number <= floor:
            raise BundleError(f"version {number} is not newer than {floor}, which is in use")
        if problems := check(folder / "services"):
            raise CatalogueError(problems)
        load(folder, cache=False)
    except (CatalogueError, OSError) as error:
        raise BundleError(f"the catalogue in it is not sound: {error}") from None
    return catalogue_id(folder)


def _switch(home: Path, scratch: Path, name: str) -> None:
    link = scratch / "current"
    link.symlink_to(name)
    link.rename(home / "current")  # atomic
    handle = os.open(home, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(home: Path, keep: set[str]) -> None:
    """Older catalogues: whoever uses one has read it and does not need its folder."""
    for path in home.iterdir():
        if (
            path.is_dir()
            and not path.is_symlink()
            and path.name not in keep
            and re.match(r"\d+-[0-9a-f]{12}\Z", path.name)
        ):
            shutil.rmtree(path)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BundleError("another update is going on") from None
        yield
