"""Where a server is: country, network and organisation, from MaxMind DB files that the user supplies.

Any file in that format will do (GeoLite2 or DB-IP; country, city, ASN): what is taken are the keys they
share. Files are opened at the first lookup; that a file is missing is said when it is named.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensor.frozen import dataclass
from sensor.reason import why

if TYPE_CHECKING:
    import maxminddb

_CACHE = 65_536  # servers; an entry is about 300 bytes


class PlaceError(ValueError):
    """A database that cannot be used."""


@dataclass(frozen=True, slots=True)
class Location:
    """`country` is ISO 3166-1 alpha-2; "" and 0 where no database says."""

    country: str = ""
    asn: int = 0
    organisation: str = ""


class Place:
    """Looks addresses up in the given databases; where two answer the same question, the first wins."""

    def __init__(self, databases: Iterable[Path] = ()) -> None:
        self._paths = tuple(databases)
        for path in self._paths:
            if not path.is_file():
                raise PlaceError(f"{path}: no such database file")
        self._readers: list[maxminddb.Reader] | None = None
        self.locate = lru_cache(_CACHE)(self._locate)

    def close(self) -> None:
        """Close what was opened."""
        for reader in self._readers or ():
            reader.close()
        self._readers = None

    def _locate(self, ip: str) -> Location:
        """The location of an address as text."""
        if self._readers is None:
            self._readers = [_open(path) for path in self._paths]
        country, asn, organisation = "", 0, ""
        for path, reader in zip(self._paths, self._readers, strict=True):
            row = _row(path, reader, ip)
            country = country or _text(row, "country") or _text(row, "registered_country")
            if not asn and isinstance(number := row.get("autonomous_system_number"), int):
                asn, organisation = number, str(row.get("autonomous_system_organization", ""))
        return Location(country, asn, organisation)


def _open(path: Path) -> maxminddb.Reader:
    import maxminddb  # only who has databases waits for it

    try:
        return maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise PlaceError(f"{path}: not a readable MaxMind DB file: {why(error)}") from None


def _row(path: Path, reader: maxminddb.Reader, ip: str) -> dict[str, Any]:
    """What a database has for an address; nothing for IPv6 in a file that holds IPv4 only."""
    import maxminddb

    if ":" in ip and reader.metadata().ip_version == 4:
        return {}
    try:
        row = reader.get(ip)
    except maxminddb.InvalidDatabaseError as error:
        raise PlaceError(f"{path}: damaged: {error}") from None
    return row if isinstance(row, dict) else {}


def _text(row: dict[str, Any], key: str) -> str:
    part = row.get(key)
    return str(part.get("iso_code", "")) if isinstance(part, dict) else ""


class Networks:
    """A set of addresses and networks (CIDR). Raises ValueError for what is neither."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(text) for text in texts]

    def __contains__(self, ip: str) -> bool:
        if not self._networks:
            return False
        address = ipaddress.ip_address(ip)
        return any(address in network for network in self._networks)
