"""The organisation's own list of clients: a CSV file with the columns `address,from,until,host,user,groups`.

`address` is an IP address or a subnet, `from` and `until` are ISO 8601 (UTC if they say nothing else;
empty is open; `until` is the first moment that is no longer meant), `groups` are separated by `;`. Columns
may come in any order; only `address` has to be there.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import ipaddress
import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from sensor.frozen import dataclass
from sensor.reason import why

COLUMNS = ("address", "from", "until", "host", "user", "groups")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class InventoryError(ValueError):
    """Everything that is wrong with a file, one `file:line: reason` per line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Who the addresses of a network are from `start` to before `until`, in ns; None is open."""

    network: Network
    start: int | None
    until: int | None
    host: str
    user: str
    groups: tuple[str, ...]
    line: int

    def holds(self, time: int) -> bool:
        """Whether the entry is meant at a time."""
        return (self.start is None or self.start <= time) and (self.until is None or time < self.until)


class Inventory:
    """Entries by network. The smallest network that holds an address at a time says who it is."""

    def __init__(self, entries: list[Entry] | None = None) -> None:
        self._tables: dict[tuple[int, int], dict[int, list[Entry]]] = {}
        for entry in entries or ():
            key = (entry.network.version, entry.network.prefixlen)
            table = self._tables.setdefault(key, {})
            table.setdefault(int(entry.network.network_address), []).append(entry)
        self._order = sorted(self._tables, reverse=True)  # longest prefix first

    def __bool__(self) -> bool:
        return bool(self._tables)

    def find(self, ip: str, time: int) -> Entry | None:
        """The entry of an address at a time."""
        if not self._order:
            return None
        address = ipaddress.ip_address(ip)
        number, width = int(address), address.max_prefixlen
        for version, length in self._order:
            if version == address.version:
                network = number >> (width - length) << (width - length)
                for entry in self._tables[version, length].get(network, ()):
                    if entry.holds(time):
                        return entry
        return None


def load(path: Path) -> Inventory:
    """Read an inventory file. Raises InventoryError with every error in it."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path}: cannot be read: {why(error)}") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Inventory:
    """The inventory in a CSV text; `name` is the file's, for errors."""
    errors: list[str] = []
    entries: list[Entry] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = _header(next(reader, []))
        for row in reader:
            try:
                entries += _entry(header, row, reader.line_num)
            except ValueError as error:
                errors.append(f"{name}:{reader.line_num}: {error}")
    except (csv.Error, ValueError) as error:
        errors.append(f"{name}:{reader.line_num}: {error}")
    for first, later in _overlaps(entries):
        errors.append(f"{name}:{later.line}: {later.network} at these times is in line {first.line} too")
    if errors:
        raise InventoryError("\n".join(errors))
    return Inventory(entries)


def _header(fields: list[str]) -> list[str]:
    header = [field.strip() for field in fields]
    if unknown := sorted({field for field in header if field not in COLUMNS}):
        raise ValueError(f"unknown column {', '.join(map(ascii, unknown))}; known are {', '.join(COLUMNS)}")
    if "address" not in header or len(set(header)) != len(header):
        raise ValueError("the first line names the columns, each once, `address` among them")
    return header


def _entry(header: list[str], fields: list[str], line: int) -> list[Entry]:
    """The entry of a line; none of an empty one."""
    if not any(field.strip() for field in fields):
        return []
    if len(fields) > len(header):
        raise ValueError(f"{len(fields)} fields, but the first line names {len(header)}")
    row = dict.fromkeys(COLUMNS, "") | dict(zip(header, (field.strip() for field in fields), strict=False))
    try:
        network = ipaddress.ip_network(row["address"])
    except ValueError as error:
        raise ValueError(f"address: {error}") from None
    start, until = _time(row["from"], "from"), _time(row["until"], "until")
    if start is not None and until is not None and until <= start:
        raise ValueError(f"until: {row['until']} is not after {row['from']}")
    groups = tuple(group.strip() for group in row["groups"].split(";") if group.strip())
    if not (row["host"] or row["user"] or groups):
        raise ValueError("says nothing: host, user and groups are all empty")
    return [Entry(network, start, until, row["host"], row["user"], groups, line)]


def _time(text: str, key: str) -> int | None:
    """Nanoseconds since the epoch of an ISO 8601 date or time."""
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{key}: {text!a} is no ISO 8601 date or time") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def _overlaps(entries: list[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Pairs of lines that say two things about one network at one time."""
    by_network: defaultdict[Network, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_network[entry.network].append(entry)
    for group in by_network.values():
        group.sort(key=lambda e: (e.start is not None, e.start or 0))
        for first, later in itertools.pairwise(group):
            if first.until is None or later.start is None or later.start < first.until:
                yield first, later
