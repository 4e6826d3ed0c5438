"""Who may do what: roles and their tables, logins, and what bounds one user and one address."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from collector import users
from collector.errors import Refused
from collector.gate import DATABASE, SYSTEM, Rights
from collector.request import Login
from collector.users import User, Users
from sensor.delivery.event import TABLES

EVENTS = frozenset(TABLES.values())
SUMS = frozenset(
    {"usage", "usage_hourly", "usage_daily", "lookups_hourly", "exchanges_hourly", "services", "sensor_stats"}
)
PRIVATE = frozenset({"sealed", "identities"})
# Row policies of the engine: roles that see rows of a table at all. A second lock behind `rights`, not its copy: what
# views and rollups are made of cannot be in it for those who may read these.
_STAFF = ("reader", "analyst", "investigator", "admin")
_RAW = ("analyst", "investigator", "admin")
TIERS = {
    "connections": _STAFF,
    "usage_hourly": _STAFF,
    "lookups": _RAW,
    "exchanges": _RAW,
    "identities": ("investigator",),
    "sealed": ("investigator",),
}
DECISIONS = frozenset({"services", "reviews", "finding_states", "inputs", "vantages"})

CACHE_SECONDS = 60.0  # a password that was right is not stretched again for so long
RELOAD_SECONDS = 1.0
ADDRESSES = 4096  # failed logins are remembered of so many addresses
FORGIVEN_SECONDS = 900.0
LONGEST_DELAY = 5.0
LOGIN_NOTED_SECONDS = 600.0  # a user from one address is in the audit once in this time


def rights(role: str, tables: frozenset[str]) -> Rights:
    """What a role may read, describe and insert into, of the store's tables."""
    private = PRIVATE if role in {"analyst", "admin"} else frozenset()
    readable = {
        "sensor": frozenset[str](),
        "reader": (SUMS | {"migrations"}) & tables,  # which schema this is: every command asks that first
    }.get(role, tables - private)
    inserts = {"sensor": EVENTS, "admin": EVENTS | DECISIONS}.get(role, frozenset[str]()) & tables
    reads = frozenset((DATABASE, name) for name in readable) | SYSTEM
    return Rights(reads, reads | {(DATABASE, name) for name in inserts}, inserts)


@dataclass(slots=True)
class _Use:
    """A user's bucket of requests, and requests under way."""

    tokens: float
    filled: float
    running: int = 0


@dataclass(slots=True)
class Failures:
    """Failed logins by address, so many addresses; the oldest is forgotten first."""

    clock: Callable[[], float]
    total: int = 0
    _seen: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)

    def add(self, address: str) -> float:
        """One more from here; the seconds that the answer is to wait."""
        self.total += 1
        key = _network(address)
        count, last = self._seen.pop(key, (0, 0.0))
        now = self.clock()
        count = count + 1 if now - last < FORGIVEN_SECONDS else 1
        self._seen[key] = (count, now)
        if len(self._seen) > ADDRESSES:
            self._seen.popitem(last=False)
        return min(LONGEST_DELAY, 0.1 * 2.0 ** min(count - 1, 10))


class Access:
    """The users file at work. `clock` is monotonic; expiry is by the wall clock."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.failures = Failures(clock)
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, tuple[str, float]] = {}
        self._uses: dict[str, _Use] = {}
        self._noted: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._stamp: tuple[int, int] | None = None
        self._looked = float("-inf")
        self.users = Users()
        self.problem = ""
        self.reload()

    def reload(self) -> bool:
        """Read the file again if it is another; at most once a second. A file that is wrong changes nothing."""
        now = self._clock()
        if now - self._looked < RELOAD_SECONDS:
            return False
        self._looked = now
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
        except FileNotFoundError:
            stamp = (0, 0)
        if stamp == self._stamp:
            return False
        try:
            self.users, self.problem = users.load(self.path), ""
        except (users.UsersError, OSError) as error:
            self.problem = str(error)
        self._stamp = stamp
        self._known.clear()
        return True

    def quick(self, login: Login) -> User | None:
        """The user, when that takes no time: a token, or a password that was right a moment ago."""
        self.reload()
        if login.secret.startswith(users.PREFIX):
            return self._by_token(login)
        name, until = self._known.get(self._digest(login), ("", 0.0))
        return self.users.users.get(name) if until > self._clock() else None

    def _by_token(self, login: Login) -> User | None:
        digest = hashlib.sha256(login.secret.encode()).hexdigest()
        now = time.time()
        for user in self.users.users.values():
            for secret in user.secrets:
                if secret.kind == "sha256" and hmac.compare_digest(secret.hash, digest):
                    alive = secret.expires is None or secret.expires > now
                    return user if alive and login.user in {"", user.name} else None
        return None

    def slow(self, login: Login) -> User | None:
        """The user by password. Takes as long for one that does not exist."""
        user = self.users.users.get(login.user)
        stretchable = [s for s in user.secrets if s.kind == "scrypt"] if user else []
        if not stretchable:
            users.stretched(login.secret, self._key[:16])
            return None
        now = time.time()
        if not any(users.matches(secret, login.secret, now) for secret in stretchable):
            return None
        if len(self._known) > ADDRESSES:
            self._known.clear()
        self._known[self._digest(login)] = (login.user, self._clock() + CACHE_SECONDS)
        return user

    def _digest(self, login: Login) -> bytes:
        return hmac.digest(self._key, f"{login.user}\0{login.secret}".encode(), "sha256")

    def noteworthy(self, user: str, address: str) -> bool:
        """Is this login one for the audit, or one of many of a session?"""
        now = self._clock()
        last = self._noted.pop((user, address), float("-inf"))
        fresh = now - last > LOGIN_NOTED_SECONDS
        self._noted[user, address] = now if fresh else last
        if len(self._noted) > ADDRESSES:
            self._noted.popitem(last=False)
        return fresh

    @contextmanager
    def slot(self, user: User) -> Iterator[None]:
        """One of the user's requests, or Refused."""
        now = self._clock()
        burst = max(user.per_second * 2, 1)
        use = self._uses.setdefault(user.name, _Use(burst, now))
        use.tokens = min(burst, use.tokens + (now - use.filled) * user.per_second)
        use.filled = now
        if use.tokens < 1:
            raise Refused("QUOTA_EXCEEDED", f"{user.name}: more than {user.per_second:g} requests a second")
        if use.running >= user.at_once:
            raise Refused("TOO_MANY_SIMULTANEOUS_QUERIES", f"{user.name}: {user.at_once} requests at once")
        use.tokens -= 1
        use.running += 1
        try:
            yield
        finally:
            use.running -= 1


def _network(address: str) -> str:
    """An IPv6 host has a whole /64 to try from."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Address(int(ip) >> 64 << 64)) if isinstance(ip, IPv6Address) else address
