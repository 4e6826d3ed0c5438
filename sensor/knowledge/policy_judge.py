"""Events get the policy's verdict; `alert` and above write one finding per client, service, rule and day.

What is judged is use: connections in a role that counts as use, or known by their address only, and
exchanges. A volume is what a client's connections to a service moved in a window of UTC until the end of the
slice at hand, in the order in which slices end. Engines report a slice some time after that (`slice_ns` and a
sweep or two), so while a rule asks for volumes, slices wait that long; one that moved nothing does not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

from sensor.delivery.event import Connection, Event, Exchange, Finding, Lookup, SensorStats
from sensor.knowledge.catalogue import Catalogue
from sensor.knowledge.catalogue_model import USE
from sensor.knowledge.policy import Case, Decision, Policy, window
from sensor.packets.facts import Limits

ROLES = USE | {""}
REMEMBERED = 100_000  # sums by client, service and window; findings by client, service, rule and day


class Meter:
    """Bytes by client, service and window. The least recently used sum is forgotten beyond `limit`."""

    def __init__(self, asked: Iterable[tuple[str, str]], limit: int = REMEMBERED) -> None:
        self._asked = sorted(asked)
        self._windows = sorted({per for per, _ in self._asked})
        self._limit = limit
        self._sums: OrderedDict[tuple[str, str, str], list[int]] = OrderedDict()

    def add(self, client: str, service: str, time: int, up: int, down: int) -> None:
        """Count bytes at a time in ns."""
        for per in self._windows:
            now = window(time, per)
            sums = self._sums.setdefault((client, service, per), [now, 0, 0])
            self._sums.move_to_end((client, service, per))
            if sums[0] < now:
                sums[:] = now, 0, 0
            sums[1] += up
            sums[2] += down
        while len(self._sums) > self._limit:
            self._sums.popitem(last=False)

    def volumes(self, client: str, service: str) -> dict[tuple[str, str], int]:
        """For `Case.volumes`, in the windows of the last bytes that were counted."""
        found = {}
        for per, of in self._asked:
            _, up, down = self._sums.get((client, service, per), (0, 0, 0))
            found[per, of] = {"up": up, "down": down, "both": up + down}[of]
        return found


class Judge:
    """Judges the events of one monitor, in their order."""

    def __init__(self, policy: Policy, catalogue: Catalogue, limits: Limits) -> None:
        self._policy = policy
        self._lag = limits.slice_ns + 2 * limits.sweep_ns
        self._meter = Meter(policy.volumes) if policy.volumes else None
        self._waiting: list[tuple[int, int, Connection]] = []
        self._order = self._now = 0
        self._found: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()
        self.reload(catalogue)

    def reload(self, catalogue: Catalogue) -> None:
        """Countries and scores from another catalogue."""

        @cache
        def known(service: str) -> tuple[str, int | None]:
            """Country of the vendor's seat, and score."""
            entry = catalogue.services.get(service)
            return (entry.vendor.country or "", catalogue.score(service).score) if entry else ("", None)

        self._known = known

    def judge(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events with their verdicts, and findings."""
        for event in events:
            self._now = max(self._now, _latest(event))
            if self._meter and isinstance(event, Connection) and event.bytes_up + event.bytes_down:
                self._order += 1
                heapq.heappush(self._waiting, (event.end_time // 1000, self._order, event))
            else:
                yield from self._verdict(event)
        yield from self._release(self._now - self._lag)

    def finish(self) -> Iterator[Event]:
        """What still waits."""
        yield from self._release(self._now + 1_000)

    def _release(self, before: int) -> Iterator[Event]:
        """Slices that ended before a time in ns. Those that end in the same microsecond count each other."""
        while self._meter and self._waiting and self._waiting[0][0] < before // 1000:
            end, together = self._waiting[0][0], []
            while self._waiting and self._waiting[0][0] == end:
                together.append(heapq.heappop(self._waiting)[2])
            for event in together:
                if _is_use(event):
                    moved = event.bytes_up, event.bytes_down
                    self._meter.add(event.client_ip, event.service, event.end_time, *moved)
            for event in together:
                yield from self._verdict(event, self._meter.volumes(event.client_ip, event.service))

    def _verdict(self, event: Event, volumes: dict[tuple[str, str], int] | None = None) -> Iterator[Event]:
        if not isinstance(event, Connection | Exchange) or not _is_use(event):
            yield event
            return
        decision = self._policy.decide(self._case(event, volumes or {}))
        yield replace(event, verdict=decision.verdict, policy=decision.rule)
        if decision.finding:
            yield from self._finding(event, decision)

    def _case(self, event: Connection | Exchange, volumes: dict[tuple[str, str], int]) -> Case:
        country, score = self._known(event.service)
        exchange = event if isinstance(event, Exchange) else None
        return Case(
            service=event.service,
            vendor=event.vendor,
            category=event.category,
            score=score,
            country=country,
            server_country=event.server_country if isinstance(event, Connection) else "",
            user=event.user,
            groups=event.groups,
            client_ip=event.client_ip,
            evidence=event.evidence,
            channel=event.channel,
            operation=exchange.operation if exchange else "",
            data_classes=exchange.data_classes if exchange else (),
            account=exchange.account if exchange else "",
            account_type=exchange.account_type if exchange else "",
            time=event.time,
            volumes=volumes,
        )

    def _finding(self, event: Connection | Exchange, decision: Decision) -> Iterator[Finding]:
        day = f"{dt.datetime.fromtimestamp(event.time // 1_000_000_000, dt.UTC):%Y-%m-%d}"
        key = event.client_ip, event.service, decision.rule, day
        if key in self._found:
            return
        self._found[key] = None
        if len(self._found) > REMEMBERED:
            self._found.popitem(last=False)
        table = "connections" if isinstance(event, Connection) else "exchanges"
        yield Finding(
            id=hashlib.blake2b("\0".join(key).encode(), digest_size=16).hexdigest(),
            time=event.time,
            rule=f"policy:{decision.rule}",
            severity=decision.severity,
            title=f"{event.service}: {decision.verdict} by policy rule {decision.rule}",
            client_ip=event.client_ip,
            user=event.user,
            service=event.service,
            evidence_query=(
                f"SELECT * FROM {table} WHERE service = '{event.service}' AND policy = '{decision.rule}' "
                f"AND client_ip = toIPv6('{event.client_ip}') AND toDate(time) = '{day}'"
            ),
            tags=("policy", decision.verdict),
        )


def _is_use(event: Connection | Exchange) -> bool:
    return bool(event.service) and (isinstance(event, Exchange) or event.role in ROLES)


def _latest(event: Event) -> int:
    """The latest time an event speaks of, in ns."""
    if isinstance(event, Connection | SensorStats):
        return event.end_time
    return event.time if isinstance(event, Lookup) else 0
