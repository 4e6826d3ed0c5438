"""What `aiscope read` says at the end: who uses which service with how much data, added up as rows go by."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sensor.cli import printable
from sensor.delivery.event import EVIDENCE, Connection, Event, Exchange, Lookup, SensorStats, iso

PAIRS = 50_000  # client and service pairs kept; about 500 bytes each
COLUMNS = (
    "client",
    "service",
    "evidence",
    "connections",
    "bytes_up",
    "bytes_down",
    "first_seen",
    "last_seen",
)
_FIGURES = 9 + 11 + 7 + 7 + 11 + 11 + 8  # width of all columns but client and service, and of the gaps
_DAY = 86_400 * 1_000_000_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


@dataclass(slots=True)
class Use:
    """One client's use of one service."""

    ip: str
    service: str
    first_seen: int
    last_seen: int
    host: str = ""
    user: str = ""
    evidence: str = "dns"
    connections: int = 0
    bytes_up: int = 0
    bytes_down: int = 0

    @property
    def client(self) -> str:
        """The names a person would know, and the address."""
        name = " ".join(part for part in (self.user, self.host) if part)
        return f"{name} ({self.ip})" if name else self.ip

    def values(self) -> tuple[str | int, ...]:
        """As COLUMNS says."""
        seen = iso(self.first_seen), iso(self.last_seen)
        return (
            self.client,
            self.service,
            self.evidence,
            self.connections,
            self.bytes_up,
            self.bytes_down,
            *seen,
        )


class Summary:
    """Counts of what passed. Bounded: further pairs than PAIRS are counted and named as such."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, str], Use] = {}
        self.left_out = 0
        self.packets = self.bytes = self.unreadable = self.lost = 0
        self.engine = self.why = ""  # which engine, and why that one

    def add(self, event: Event) -> None:
        """Take a row into account."""
        match event:
            case Connection() | Lookup() | Exchange() if event.service:
                self._count(event)
            case SensorStats():
                self.packets += event.packets
                self.bytes += event.bytes
                self.unreadable += event.bytes_ech_offered + event.bytes_tunnelled + event.bytes_unnamed
                self.lost += event.dropped_kernel + event.dropped_limit
                self.engine = event.engine

    def _count(self, event: Connection | Lookup | Exchange) -> None:
        use = self._uses.get((event.client_ip, event.service))
        if use is None:
            if len(self._uses) >= PAIRS:
                self.left_out += 1
                return
            use = Use(event.client_ip, event.service, event.time, event.time)
            self._uses[event.client_ip, event.service] = use
        use.host, use.user = event.client_host or use.host, event.user or use.user
        use.first_seen = min(use.first_seen, event.time)
        use.last_seen = max(use.last_seen, event.end_time if isinstance(event, Connection) else event.time)
        if isinstance(event, Lookup):
            return
        use.evidence = max(use.evidence, event.evidence, key=EVIDENCE.index)
        if isinstance(event, Connection) and event.role != "relay":
            use.connections += event.first
            use.bytes_up += event.bytes_up
            use.bytes_down += event.bytes_down

    def uses(self) -> list[Use]:
        """Largest upload first; what was only looked up comes last."""
        return sorted(
            self._uses.values(),
            key=lambda use: (use.evidence == "dns", -use.bytes_up, use.ip, use.service),
        )

    def write_csv(self, out: TextIO) -> None:
        """All of it for a spreadsheet. Text that it would take for a formula gets an apostrophe."""
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for use in self.uses():
            writer.writerow(_inert(value) for value in use.values())

    def show(self, console: Console) -> None:
        """A table that fits one screen, and what could not be seen."""
        uses = self.uses()
        height = console.height if console.is_terminal else 48
        shown = uses[: max(height - 10, 5)]
        if shown:
            first, last = min(use.first_seen for use in uses), max(use.last_seen for use in uses)
            console.print(f"{_clock(first)} to {_clock(last)} UTC")
            clock = "%H:%M:%S" if first // _DAY == last // _DAY else "%m-%d %H:%M"
            console.print(_table(shown, clock, console.width))
        else:
            console.print("No use of a known AI service.")
        for line in self._notes(len(uses) - len(shown)):
            console.print(Text(line), soft_wrap=True)

    def _notes(self, hidden: int) -> Iterator[str]:
        if hidden:
            yield f"... and {hidden:,} more pairs of client and service: --csv lists all."
        if self.left_out:
            yield f"{self.left_out:,} rows of further pairs were not added up: more than {PAIRS:,} pairs."
        if self.bytes:
            share = self.unreadable / self.bytes
            yield (
                f"{self.packets:,} packets, {volume(self.bytes)}, {self.engine} engine ({self.why}); "
                f"{share:.0%} of the bytes without a readable name."
            )
        if self.lost:
            yield f"{self.lost:,} packets or flows were dropped: the figures are too low."


def _table(uses: list[Use], clock: str, width: int) -> Table:
    """On a narrow terminal client and service give way, figures do not."""
    names = max(width - _FIGURES, 16)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("client", overflow="ellipsis", no_wrap=True, max_width=names * 3 // 5)
    table.add_column("service", overflow="ellipsis", no_wrap=True, max_width=names * 2 // 5)
    table.add_column("evidence", no_wrap=True, min_width=9)
    for name, width in (("connections", 11), ("up", 7), ("down", 7)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for name in ("first seen", "last seen"):
        table.add_column(name, no_wrap=True, min_width=11)
    for use in uses:
        table.add_row(
            Text(printable(use.client)),
            Text(printable(use.service)),
            use.evidence,
            f"{use.connections:,}",
            volume(use.bytes_up),
            volume(use.bytes_down),
            _clock(use.first_seen, clock),
            _clock(use.last_seen, clock),
            style="dim" if use.evidence == "dns" else None,
        )
    return table


def _clock(ns: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC).strftime(form)


def _inert(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def volume(count: int) -> str:
    """Bytes for people: 1.2 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
