"""The users of `aiscope collect`: one JSON file with roles and hashed secrets, and a journal of its changes.

A token is 32 random bytes, shown once; its SHA-256 is enough. A password is a person's: scrypt. Old secrets of a user
may go on for a while after a new one is made. The server writes the journal into the table `audit`.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import getpass
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

ROLES = ("sensor", "reader", "analyst", "investigator", "admin")
PREFIX = "ais_"  # tokens begin with it: secret scanners find them, and no scrypt is spent on one
KEPT_CHANGES = 1000
MOST = 1_000_000  # requests, a second or at once
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}  # 16 MB, about 50 ms


class UsersError(ValueError):
    """The users file, or a change of it, is wrong; the text says where."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A hashed token or password. `expires` is in seconds since 1970; None does not."""

    kind: str
    hash: str
    salt: str = ""
    created: float = 0
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A name with a role. `sensor` is what a sensor's rows are called; rates are requests."""

    name: str
    role: str
    sensor: str = ""
    per_second: float = 50
    at_once: int = 8
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to the users, by which account of the operating system."""

    id: str
    time: float
    actor: str
    action: str
    user: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Users:
    """The file's content."""

    users: dict[str, User] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


def load(path: Path) -> Users:
    """Read the file; empty when there is none. UsersError with file and key when it is wrong."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Users()
    except ValueError as error:
        raise UsersError(f"{path}: {error}") from None
    try:
        found = {name: _user(name, entry) for name, entry in data["users"].items()}
        return Users(found, tuple(Change(**change) for change in data["changes"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsersError(f"{path}: {error}") from None


def _user(name: str, entry: dict[str, Any]) -> User:
    entry = {**entry, "secrets": tuple(Secret(**secret) for secret in entry["secrets"])}
    return _sound(User(name=name, **entry))


def _sound(user: User) -> User:
    if user.role not in ROLES or not _NAME.fullmatch(user.name):
        raise UsersError(f"users.{user.name}: a role is one of {', '.join(ROLES)}")
    for key in ("per_second", "at_once"):
        value = getattr(user, key)
        if not isinstance(value, int | float) or not 0 < value <= MOST:  # nan neither
            raise UsersError(f"users.{user.name}.{key}: a number above 0, up to {MOST:,}")
    return user


@contextlib.contextmanager
def changing(path: Path) -> Iterator[dict[str, Any]]:
    """The file's users and changes to be edited; written whole, or not at all, by one process at a time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = load(path)
        edited: dict[str, Any] = {"users": dict(before.users), "changes": list(before.changes)}
        yield edited
        data = {
            "users": {name: _entry(user) for name, user in edited["users"].items()},
            "changes": [asdict(change) for change in edited["changes"][-KEPT_CHANGES:]],
        }
        new = path.parent / f".{path.name}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def _entry(user: User) -> dict[str, Any]:
    entry = asdict(user)
    del entry["name"]
    return entry


def add(path: Path, name: str, role: str, password: str = "", sensor: str = "") -> str:
    """Make a user; its token, unless it has a password. UsersError when there is one of this name."""
    if not _NAME.fullmatch(name):
        raise UsersError(
            f"{name!r}: a name has letters, digits and . _ @ - and begins with a letter or digit"
        )
    token, secret = _secret(password)
    with changing(path) as edited:
        if name in edited["users"]:
            raise UsersError(f"{name}: there is a user of this name: `user rotate` makes a new secret")
        label = (sensor or name) if role == "sensor" else ""
        edited["users"][name] = User(name, role, label, secrets=(secret,))
        edited["changes"].append(_change("user.add", name, role))
    return token


def rotate(path: Path, name: str, overlap: float, password: str = "") -> str:
    """Give a user a new secret; those it has end after `overlap` seconds."""
    token, secret = _secret(password)
    now = time.time()
    with changing(path) as edited:
        user = _known(edited, name)
        old = [s for s in user.secrets if s.expires is None or s.expires > now]
        old = (
            [replace(s, expires=min(s.expires or now + overlap, now + overlap)) for s in old]
            if overlap
            else []
        )
        edited["users"][name] = replace(user, secrets=(*old, secret))
        edited["changes"].append(_change("user.rotate", name, f"old secrets end in {overlap:.0f} s"))
    return token


def change(path: Path, name: str, **values: Any) -> None:
    """Change a user's role or limits."""
    with changing(path) as edited:
        edited["users"][name] = _sound(replace(_known(edited, name), **values))
        edited["changes"].append(_change("user.change", name, json.dumps(values)))


def remove(path: Path, name: str) -> None:
    """Take a user away."""
    with changing(path) as edited:
        _known(edited, name)
        del edited["users"][name]
        edited["changes"].append(_change("user.remove", name))


def _known(edited: dict[str, Any], name: str) -> User:
    user: User | None = edited["users"].get(name)
    if user is None:
        raise UsersError(f"{name}: no such user")
    return user


def _change(action: str, name: str, detail: str = "") -> Change:
    return Change(secrets.token_hex(16), time.time(), getpass.getuser(), action, name, detail)


def _secret(password: str) -> tuple[str, Secret]:
    """What to show (nothing for a password) and what to keep."""
    if password:
        if len(password) < 12 or password.startswith(PREFIX):
            raise UsersError(f"a password has at least 12 characters and does not begin with {PREFIX}")
        salt = secrets.token_bytes(16)
        kept = base64.b64encode(stretched(password, salt)).decode()
        return "", Secret("scrypt", kept, base64.b64encode(salt).decode(), time.time())
    token = PREFIX + secrets.token_urlsafe(32)
    return token, Secret("sha256", hashlib.sha256(token.encode()).hexdigest(), created=time.time())


def stretched(password: str, salt: bytes) -> bytes:
    """scrypt (RFC 7914). Takes 16 MB and tens of milliseconds, on purpose."""
    return hashlib.scrypt(password.encode(), salt=salt, maxmem=64 << 20, **_SCRYPT)


def matches(secret: Secret, given: str, now: float) -> bool:
    """Is this the secret? Compared in constant time."""
    if secret.expires is not None and secret.expires <= now:
        return False
    if secret.kind == "sha256":
        return hmac.compare_digest(hashlib.sha256(given.encode()).hexdigest(), secret.hash)
    return hmac.compare_digest(stretched(given, base64.b64decode(secret.salt)), base64.b64decode(secret.hash))
