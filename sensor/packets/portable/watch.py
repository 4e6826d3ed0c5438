"""The compiled `Watch`: is this name, address or path worth reporting?"""

from __future__ import annotations

import ipaddress
import re
import socket
from bisect import bisect_right
from collections.abc import Iterable, Set
from functools import lru_cache

from sensor.packets import facts


class Watch:
    """Lookups of `facts.Watch`. Names are spelled as in `sensor.wire.names`, addresses are packed."""

    def __init__(self, watch: facts.Watch) -> None:
        self.become(watch)

    def become(self, watch: facts.Watch) -> None:
        """Another one from now on, for all who look here."""
        self.all = watch.all
        self.names = watch.names
        self.patterns = _patterns(watch.patterns)
        self.networks = Networks(watch.networks)
        # Clients send UTF-8 (RFC 3987 3.1), and a request's path is decoded as Latin-1.
        self.paths = tuple(sorted(path.encode().decode("latin-1") for path in watch.paths))
        self.ports = watch.ports
        self.fronts = watch.fronts
        self.resolvers = watch.resolvers
        self.resolver_ips = frozenset(pack(text) for text in watch.resolver_ips)
        self.http = bool(watch.paths or watch.ports or watch.names or watch.patterns)
        self.name = lru_cache(8_192)(self._name)  # a network's names repeat

    def _name(self, name: str) -> bool:
        """In `names`, under one of them, or matched by a pattern."""
        return bool(name) and (under(self.names, name) or self._pattern(name))

    def _pattern(self, name: str) -> bool:
        pattern = self.patterns.get(name.count("."))
        return pattern is not None and pattern.fullmatch(name) is not None

    def resolver(self, name: str) -> bool:
        return bool(name) and under(self.resolvers, name)

    def path(self, path: str) -> bool:
        return path.startswith(self.paths)


def under(names: Set[str], name: str) -> bool:
    """`name` or a name it lies under is in `names`."""
    while name not in names:
        _, dot, name = name.partition(".")
        if not dot:
            return False
    return True


def pack(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _patterns(patterns: Iterable[str]) -> dict[int, re.Pattern[str]]:
    """One expression for all patterns of so many dots; `*` stands for any characters of one label."""
    by_dots: dict[int, list[str]] = {}
    for pattern in sorted(patterns):
        expression = re.escape(pattern).replace(r"\*", "[^.]*")
        by_dots.setdefault(pattern.count("."), []).append(expression)
    return {dots: re.compile("|".join(found), re.DOTALL) for dots, found in by_dots.items()}


class Networks:
    """Address ranges, sorted and merged, IPv4 and IPv6 apart."""

    def __init__(self, networks: Iterable[str]) -> None:
        parsed = [ipaddress.ip_network(text, strict=False) for text in networks]
        self._ranges = {
            size: _ranges(
                (int(net.network_address), int(net.broadcast_address))
                for net in parsed
                if net.max_prefixlen == size * 8
            )
            for size in (4, 16)
        }

    def __contains__(self, address: bytes) -> bool:
        starts, ends = self._ranges[len(address)]
        value = int.from_bytes(address, "big")
        at = bisect_right(starts, value)
        return at > 0 and value <= ends[at - 1]


def _ranges(pairs: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(pairs):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
