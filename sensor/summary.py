"""What `aiscope read` says at the end: who uses which service with how much data, added up as rows go by."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import click

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
# The table: what a column is called, how wide it is. Client and service share what is left, figures are to the right.
_NAMED = ("client", "service")
_FIXED = {"evidence": 9, "connections": 11, "up": 7, "down": 7, "first seen": 11, "last seen": 11}
_RIGHT = {"connections", "up", "down"}
_TIMES = ("first seen", "last seen")
_LEGIBLE = 40  # characters of client and service for which times give way
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
        if isinstance(event, (Connection, Lookup, Exchange)):
            if event.service:
                self._count(event)
        elif isinstance(event, SensorStats):
            self.packets += event.packets
            self.bytes += event.bytes
            self.unreadable += event.bytes_ech_offered + event.bytes_tunnelled + event.bytes_unnamed
            self.lost += event.dropped_kernel + event.dropped_limit
            self.engine = event.engine

    def _count(self, event: Connection | Lookup | Exchange) -> None:
        use = self._uses.get((event.client_ip, event.service)) or self._begin(event)
        if use is None:
            return
        use.host, use.user = event.client_host or use.host, event.user or use.user
        if event.time < use.first_seen:
            use.first_seen = event.time
        end = event.end_time if isinstance(event, Connection) else event.time
        if end > use.last_seen:
            use.last_seen = end
        if isinstance(event, Lookup):
            return
        if use.evidence != event.evidence:
            use.evidence = max(use.evidence, event.evidence, key=EVIDENCE.index)
        if isinstance(event, Connection) and event.role != "relay":
            use.connections += event.first
            use.bytes_up += event.bytes_up
            use.bytes_down += event.bytes_down

    def _begin(self, event: Connection | Lookup | Exchange) -> Use | None:
        if len(self._uses) >= PAIRS:
            self.left_out += 1
            return None
        use = Use(event.client_ip, event.service, event.time, event.time)
        self._uses[event.client_ip, event.service] = use
        return use

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

    def lines(self, width: int, height: int, styled: bool = False) -> Iterator[str]:
        """A table that fits a screen of so many characters and lines, and what could not be seen.

        `styled`: with a terminal's codes for bold and dim.
        """
        uses = self.uses()
        shown = uses[: max(height - 10, 5)]
        if shown:
            first, last = min(use.first_seen for use in uses), max(use.last_seen for use in uses)
            yield f"{_clock(first)} to {_clock(last)} UTC"
            clock = "%H:%M:%S" if first // _DAY == last // _DAY else "%m-%d %H:%M"
            yield from _table(shown, clock, width, styled)
        else:
            yield "No use of a known AI service."
        yield from self._notes(len(uses) - len(shown))

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


def _table(uses: list[Use], clock: str, width: int, styled: bool) -> Iterator[str]:
    """On a narrow terminal times give way first, then client and service; figures do not."""
    rows = [(*_NAMED, *_FIXED), *(_row(use, clock) for use in uses)]
    widths = _widths([max(_cells(row[column]) for row in rows) for column in range(len(_NAMED))], width)
    for number, row in enumerate(rows):
        texts = zip(rows[0], row, strict=True)
        cells = (_fitted(text, widths[name], name in _RIGHT) for name, text in texts if name in widths)
        line = " ".join(cells)
        if styled and not number:
            line = click.style(line, bold=True)
        elif styled and uses[number - 1].evidence == "dns":
            line = click.style(line, dim=True)
        yield line


def _widths(wanted: list[int], width: int) -> dict[str, int]:
    """The columns that there is room for. Of it the client has what the service leaves, at least three fifths."""
    fixed = dict(_FIXED)
    for name in _TIMES:
        if _room(fixed, width) < min(sum(wanted), _LEGIBLE):
            del fixed[name]
    room = _room(fixed, width)
    service = min(wanted[1], room * 2 // 5)
    return dict(zip(_NAMED, (min(wanted[0], room - service), service), strict=True)) | fixed


def _room(fixed: dict[str, int], width: int) -> int:
    return max(width - sum(fixed.values()) - len(fixed) - 2, 16)


def _row(use: Use, clock: str) -> tuple[str, ...]:
    seen = _clock(use.first_seen, clock), _clock(use.last_seen, clock)
    figures = f"{use.connections:,}", volume(use.bytes_up), volume(use.bytes_down)
    return printable(use.client), printable(use.service), use.evidence, *figures, *seen


def _fitted(text: str, size: int, right: bool) -> str:
    """Text in so many cells of a terminal."""
    if _cells(text) > size:
        while _cells(text) >= size:
            text = text[:-1]
        text += "…"
    space = " " * (size - _cells(text))
    return space + text if right else text + space


def _cells(text: str) -> int:
    """Cells that a terminal needs for it: two for a wide character, none for one that is put over another."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


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
