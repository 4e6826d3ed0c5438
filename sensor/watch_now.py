"""What `aiscope watch` sees at this moment, and what is wrong with how it sees: pure counting, no I/O."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from sensor.delivery.event import Finding
from sensor.knowledge.catalogue import Catalogue
from sensor.packets.facts import Fact, Opened, Progress

_JUDGED = 20  # TCP connections with payload before a mirror is said to be one-way


class Now:
    """Clients and services with an open connection, as facts go by."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._open: dict[int, tuple[str, str]] = {}

    def add(self, fact: Fact) -> None:
        match fact:
            case Opened():
                name, server = fact.name, fact.flow.server_ip
                found = self.catalogue.match(name) if name else self.catalogue.match_address(server)
                if found:
                    self._open[fact.flow.id] = fact.flow.client_ip, found.service
            case Progress() if fact.closed:
                self._open.pop(fact.flow.id, None)

    def clients(self) -> int:
        return len({client for client, _ in self._open.values()})

    def services(self) -> list[str]:
        """The one with the most connections first."""
        counted = Counter(service for _, service in self._open.values())
        return [service for service, _ in counted.most_common()]


class Directions:
    """Whether both directions come by: where nobody acknowledges a payload, one is missing."""

    def __init__(self) -> None:
        self.both = self.one = 0
        self._judged: set[int] = set()

    def add(self, fact: Fact) -> None:
        if not isinstance(fact, Progress) or fact.flow.transport != "tcp":
            return
        if fact.flow.id not in self._judged and fact.bytes_up + fact.bytes_down:
            self._judged.add(fact.flow.id)
            whole = fact.packets_up and fact.packets_down
            self.both, self.one = self.both + bool(whole), self.one + (not whole)
        if fact.closed:
            self._judged.discard(fact.flow.id)

    @property
    def one_way(self) -> bool:
        """Of the watched connections so far, most had one direction only."""
        return self.one + self.both >= _JUDGED and self.one > self.both


def finding(
    sensor: str, rule: str, severity: str, title: str, time: int, tags: Sequence[str] = ()
) -> Finding:
    """Something about the sensor itself. The same rule on the same day is the same finding."""
    day = time // 86_400_000_000_000
    identity = f"{sensor}\0{rule}\0{day}".encode()
    return Finding(
        id=hashlib.blake2b(identity, digest_size=16).hexdigest(),
        time=time,
        rule=rule,
        severity=severity,
        title=title,
        client_ip="",
        user="",
        service="",
        evidence_query="SELECT * FROM sensor_stats WHERE sensor = '{}'".format(
            sensor.replace("\\", "\\\\").replace("'", "\\'")
        ),
        tags=("sensor", *tags),
    )
