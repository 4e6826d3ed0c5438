"""Who a client address was at a time: DHCP and mDNS as seen on the wire, and the organisation's inventory.

Precedence, for each of host, MAC, user and groups by itself: the inventory (the organisation's word), then
DHCP (the network handed the address out), then mDNS (the host says so itself). Within a source the latest
word wins. From the wire only that is taken which the packet itself vouches for: a DHCP acknowledgement, a
request by a client that holds the address already, an mDNS answer from an address of the host it names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

from sensor.frozen import dataclass
from sensor.knowledge.inventory import Inventory
from sensor.wire.dhcp import DhcpMessage

_ACK, _RELEASE = 5, 7  # RFC 2132 9.6
_FROM_CLIENT = frozenset({1, 3, 8})  # DISCOVER, REQUEST, INFORM

K = TypeVar("K")
V = TypeVar("V")

_NS = 1_000_000_000
CONFIDENCE = {"inventory": 1.0, "dhcp": 0.9, "mdns": 0.6}  # mDNS: anyone on the link may answer to any name
PRECEDENCE = ("inventory", "dhcp", "mdns")
MDNS_NS = 3_600 * _NS  # a host answers when asked: its record's two minutes are the cache's, not its stay's
DHCP_SECONDS = 86_400  # where no lease time is said; a day is what servers are usually set to
ADDRESSES = 65_536  # client addresses remembered, as many as a /16
REQUESTS = 4_096  # DHCP clients between their request and the acknowledgement
HOST_LENGTH = 253  # RFC 1035 3.1, as text


@dataclass(frozen=True, slots=True)
class Sighting:
    """One source's word on an address. `until` is None when it does not end by itself. Times in ns."""

    time: int
    until: int | None
    source: str
    ip: str
    mac: str = ""
    host: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()

    @property
    def confidence(self) -> float:
        """How far the source is believed."""
        return CONFIDENCE[self.source]

    def holds(self, time: int) -> bool:
        """Whether the word is still good at a time."""
        return self.time <= time and (self.until is None or time < self.until)

    def fresh(self, time: int) -> bool:
        """Whether less than half of its time is over."""
        return self.time <= time and (self.until is None or time - self.time < (self.until - self.time) // 2)


@dataclass(frozen=True, slots=True)
class Who:
    """What is known of a client at a time; empty where nothing is."""

    mac: str = ""
    host: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()


NOBODY = Who()


class Identities:
    """Sightings by address, bounded; the address sighted longest ago goes first."""

    def __init__(self, inventory: Inventory | None = None, addresses: int = ADDRESSES) -> None:
        self._inventory = inventory or Inventory()
        self._limit = addresses
        self._seen: OrderedDict[str, dict[str, Sighting]] = OrderedDict()  # address -> source -> latest word
        self._asked: OrderedDict[str, str] = OrderedDict()  # MAC -> host name in its DHCP request
        self._told: OrderedDict[str, int] = OrderedDict()  # address -> inventory line already reported

    def who(self, ip: str, time: int) -> Who:
        """Who an address was at a time (ns)."""
        words = self._words(ip, time) if ip in self._seen or self._inventory else []
        if not words:
            return NOBODY
        return Who(
            next((w.mac for w in words if w.mac), ""),
            next((w.host for w in words if w.host), ""),
            next((w.user for w in words if w.user), ""),
            next((w.groups for w in words if w.groups), ()),
        )

    def _words(self, ip: str, time: int) -> list[Sighting]:
        seen = self._seen.get(ip, {})
        if inventory := self._inventory_word(ip, time):
            seen = {**seen, "inventory": inventory}
        return [seen[s] for s in PRECEDENCE if s in seen and seen[s].holds(time)]

    def _inventory_word(self, ip: str, time: int) -> Sighting | None:
        if entry := self._inventory.find(ip, time):
            start = time if entry.start is None else entry.start
            return Sighting(start, entry.until, "inventory", ip, "", entry.host, entry.user, entry.groups)
        return None

    def introduce(self, ip: str, time: int) -> list[Sighting]:
        """The inventory's word on a client that is seen for the first time since the word changed."""
        if not self._inventory:
            return []
        entry = self._inventory.find(ip, time)
        word = self._inventory_word(ip, time)
        if entry is None or word is None or self._told.get(ip) == entry.line:
            return []
        _keep(self._told, ip, entry.line, self._limit)
        return [word]

    def dhcp(self, message: DhcpMessage, time: int) -> list[Sighting]:
        """What a DHCP message says of an address (RFC 2131 3): news only."""
        host = _host(message.host_name or message.fqdn) or self._asked.get(message.client_mac, "")
        if message.type == _ACK:
            address, lease = message.your_ip or message.client_ip, message.lease or DHCP_SECONDS
        elif message.type in _FROM_CLIENT:
            if host and message.client_mac:
                _keep(self._asked, message.client_mac, host, REQUESTS)
            address = message.client_ip
            lease = self._lease(address, message.client_mac)
        else:
            if message.type == _RELEASE:
                self._forget(message.client_ip, "dhcp")
            return []
        if not address:
            return []
        self._handed_over(address, message.client_mac)
        return self._hear(Sighting(time, time + lease * _NS, "dhcp", address, message.client_mac, host))

    def _lease(self, ip: str, mac: str) -> int:
        """How long a client that asks to keep an address will have it, in s: as long as the last time."""
        last = self._seen.get(ip, {}).get("dhcp")
        if last is None or last.until is None or last.mac != mac:
            return DHCP_SECONDS
        return (last.until - last.time) // _NS

    def _handed_over(self, ip: str, mac: str) -> None:
        """What another device said of itself at an address ends when the network gives the address to this one."""
        last = self._seen.get(ip, {}).get("mdns")
        if last and last.mac and mac and last.mac != mac:
            self._forget(ip, "mdns")

    def mdns(
        self, hosts: Iterable[tuple[str, str, int]], src_ip: str, src_mac: str, time: int
    ) -> list[Sighting]:
        """What the address records (name, address, TTL in s) of an mDNS response say (RFC 6762 6): news only.

        A name counts when its sender's own address is among its records; TTL 0 is a goodbye (10.1).
        """
        records = list(hosts)
        vouched = {name for name, address, _ in records if address == src_ip and name.endswith(".local")}
        news: list[Sighting] = []
        for name, address, ttl in records:
            if name not in vouched:
                continue
            if not ttl:
                self._forget(address, "mdns")
            elif host := _host(name.removesuffix(".local")):
                until = time + max(ttl * _NS, MDNS_NS)
                news += self._hear(Sighting(time, until, "mdns", address, src_mac, host))
        return news

    def _forget(self, ip: str, source: str) -> None:
        self._seen.get(ip, {}).pop(source, None)

    def _hear(self, word: Sighting) -> list[Sighting]:
        """Remember a word if it is news: different from the last one, or half of that one's time is over."""
        words = self._seen.get(word.ip, {})
        last = words.get(word.source)
        if last and _same(last, word) and last.fresh(word.time):
            return []
        words[word.source] = word
        _keep(self._seen, word.ip, words, self._limit)
        return [word]


def _same(last: Sighting, word: Sighting) -> bool:
    """Whether a word repeats the last one. A lease that ends sooner than was thought is another word."""
    sooner = word.source == "dhcp" and (word.until or 0) < (last.until or 0)
    return (last.mac, last.host) == (word.mac, word.host) and not sooner


def _host(name: str) -> str:
    """A host name fit for a table: printable and bounded, for anyone on the link can write it."""
    name = name.rstrip(".")
    return (name if name.isprintable() else name.encode("unicode_escape").decode())[:HOST_LENGTH]


def _keep(table: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    """Write an entry as the newest; the oldest goes when there are more than `limit`."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > limit:
        table.popitem(last=False)
