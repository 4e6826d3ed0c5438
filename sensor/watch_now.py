"""What `aiscope watch` sees at this moment, and what is wrong with how it sees: pure counting, no I/O."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence

from sensor.delivery.event import Finding
from sensor.packets.facts import Fact, Message, Progress, Totals

_JUDGED = 20  # TCP connections with payload before a mirror is said to be one-way
_RECENT = 50  # the last ones, by which it is: what was before it became so does not hide it


class Now:
    """Clients and services with an open connection, as facts go by; `service` says a flow's, "" for none."""

    def __init__(self, service: Callable[[int], str]) -> None:
        self._service = service
        self._open: dict[int, tuple[str, str]] = {}

    def add(self, fact: Fact) -> None:
        """A fact that was interpreted: a request in clear may have shown the service."""
        if isinstance(fact, Message | Totals):
            return
        if service := self._service(fact.flow.id):
            self._open[fact.flow.id] = fact.flow.client_ip, service
        else:
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
        self.one_way = False  # begins with most of the last connections, ends with few of them
        self._judged: set[int] = set()
        self._last: deque[bool] = deque(maxlen=_RECENT)  # true: one direction only

    def add(self, fact: Fact) -> None:
        if not isinstance(fact, Progress) or fact.flow.transport != "tcp":
            return
        if fact.flow.id not in self._judged and fact.bytes_up + fact.bytes_down:
            self._judged.add(fact.flow.id)
            self._judge(not (fact.packets_up and fact.packets_down))
        if fact.closed:
            self._judged.discard(fact.flow.id)

    def _judge(self, half: bool) -> None:
        self.both, self.one = self.both + (not half), self.one + half
        self._last.append(half)
        one, of = self.recent
        if of >= _JUDGED:
            self.one_way = one * (4 if self.one_way else 2) > of

    @property
    def recent(self) -> tuple[int, int]:
        """Of the last connections those in one direction only, and how many these are."""
        return sum(self._last), len(self._last)


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
