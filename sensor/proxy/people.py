"""Who a client of the proxy is: by proxy authentication, else by the organisation's inventory of
addresses."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from sensor.knowledge.inventory import Inventory

KINDS = ("service", "user", "group", "subnet")


@dataclass(frozen=True, slots=True)
class Client:
    """A client at a time."""

    ip: str
    user: str = ""
    host: str = ""
    groups: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Whom limits and permissions are counted for."""
        return self.user or self.ip


def who(inventory: Inventory, ip: str, user: str, time: int) -> Client:
    """`user` is the name that was authenticated, or ""; its word is above the inventory's."""
    entry = inventory.find(ip, time)
    if entry is None:
        return Client(ip, user)
    same = not user or not entry.user or entry.user == user
    return Client(ip, user or entry.user, entry.host, entry.groups if same else ())


class Connection(Protocol):
    """A client's connection, as mitmproxy has it."""

    @property
    def id(self) -> str:
        """Its own."""

    @property
    def peername(self) -> tuple[Any, ...] | None:
        """Address and port of the client."""


class People:
    """Clients by their connections; a name that was authenticated holds for all that comes on one."""

    def __init__(self, inventory: Inventory, clock: Callable[[], int] = time.time_ns) -> None:
        self._inventory, self._clock = inventory, clock
        self._users: dict[str, str] = {}

    def named(self, connection: Connection, user: str) -> None:
        """Who was authenticated on a connection."""
        self._users[connection.id] = user

    def forget(self, connection: Connection) -> None:
        """The connection is over."""
        self._users.pop(connection.id, None)

    def client(self, connection: Connection) -> Client:
        """Who is at the other end, now."""
        peer = connection.peername
        ip = str(peer[0]).removeprefix("::ffff:").partition("%")[0] if peer else ""
        return who(self._inventory, ip, self._users.get(connection.id, ""), self._clock())


class Exceptions:
    """Whose traffic, and to which services, is never decrypted: `service:claude`, `user:anna`,
    `group:works-council`, `subnet:10.1.0.0/16`."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        """Raises ValueError with the entry that is wrong."""
        self._names: dict[str, set[str]] = {kind: set() for kind in KINDS}
        self._networks = []
        for entry in entries:
            kind, _, value = entry.partition(":")
            if kind not in KINDS or not value:
                raise ValueError(
                    f"proxy.exceptions: {entry!a}: expected KIND:NAME, KIND one of {', '.join(KINDS)}"
                )
            if kind == "subnet":
                self._networks.append(ipaddress.ip_network(value))
            self._names[kind].add(value)

    def hold(self, client: Client, service: str) -> bool:
        """Whether content is none of our business here."""
        names = self._names
        return (
            service in names["service"]
            or client.user in names["user"]
            or not names["group"].isdisjoint(client.groups)
            or (bool(self._networks) and self._inside(client.ip))
        )

    def _inside(self, ip: str) -> bool:
        address = _address(ip)
        return any(address in network for network in self._networks)


@lru_cache(65_536)
def _address(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(ip)
