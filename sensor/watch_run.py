"""A run of `aiscope watch`: what comes by until a signal, and what there is to say meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sensor.reason import reason, why
from sensor.watch_terminal import say, status

if TYPE_CHECKING:
    from sensor.config import Settings
    from sensor.delivery.event import Event
    from sensor.knowledge.catalogue import Catalogue
    from sensor.knowledge.catalogue_bundle import Changes
    from sensor.monitor import Monitor
    from sensor.packets.evidence_ring import EvidenceRing
    from sensor.packets.facts import Fact
    from sensor.packets.live import Live
    from sensor.watch_now import Directions, Now
    from sensor.watch_sink import Sink

ENDS = frozenset((signal.SIGINT, signal.SIGTERM))
_TURN = 0.2  # seconds between two looks at signals
_SAID_AGAIN = 60.0  # seconds between two lines about drops
_DAY = 86_400_000_000_000  # nanoseconds
_NAMES = 6  # services on the status line


def note(came: set[int], *numbers: signal.Signals) -> None:
    """Signals that come from here on are noted, and looked at between two lots of facts."""
    for number in numbers:
        signal.signal(number, lambda number, _: came.add(number))


def catalogue_of(settings: Settings) -> Catalogue:
    from sensor.knowledge.catalogue import load
    from sensor.knowledge.catalogue_files import newest

    return load(newest(settings.catalogue.home), settings.catalogue.overrides)


@dataclass(slots=True)
class Watching:
    """One run: facts to events, events to the sink, and what there is to say meanwhile."""

    live: Live
    settings: Settings
    catalogue: Catalogue
    changes: Changes
    engine: str
    interfaces: tuple[str, ...]
    everything: bool
    signals: set[int]  # that came
    indices: dict[int, str] = field(init=False)
    now: Now = field(init=False)
    directions: Directions = field(init=False)
    monitor: Monitor = field(init=False)
    ring: EvidenceRing | None = None
    shown: float = 0.0
    packets: int = 0  # at the last status line
    dropped: int = 0  # already in a row of sensor_stats
    duplicates: int = 0
    read: int = 0  # those included
    down: set[str] = field(default_factory=set)  # interfaces
    removed: set[str] = field(default_factory=set)
    complained: dict[str, float] = field(default_factory=dict)
    half_said: int = 0  # the last day on which the mirror was said to be one-way; 0: it is not
    gone: bool = False  # all interfaces are

    def run(self, sink: Sink, began: str) -> None:
        """Until it is stopped; `began` is said once packets are let in."""
        from sensor.packets.evidence_ring import EvidenceRing
        from sensor.read_cli import make_monitor
        from sensor.watch_now import Directions, Now

        self.indices = {socket.if_nametoindex(name): name for name in self.interfaces}
        if folder := self.settings.watch.evidence:
            self.ring = EvidenceRing(folder, self.settings.watch.evidence_bytes)
            if folder.stat().st_mode & 0o077:
                say(f"{folder}: others can look into this folder; the files in it are this user's alone")
        sealed = self.settings.sensor.names == "sealed" and not sink.seals
        self.monitor = make_monitor(
            self.settings, self.catalogue, _policy(self.settings), self.engine, self.everything, sealed
        )
        self.now, self.directions = Now(self.monitor.service), Directions()
        note(self.signals, *ENDS)
        with contextlib.ExitStack() as closed:
            closed.callback(self._farewell)
            closed.callback(sink.close)
            if self.ring:
                closed.callback(self.ring.close)
            self.live.start()
            try:
                say(began)
                sink.put(self._all_recorded())
                while self._take(sink):
                    self._look_around(sink)
            finally:
                self._finish(sink)

    def _take(self, sink: Sink) -> bool:
        """What came by. False: all was said."""
        facts = self.live.facts(_TURN)
        sink.put(self._events(facts or []))
        self._keep()
        return facts is not None

    def _finish(self, sink: Sink) -> None:
        """Whatever ended the run: open connections are reported, and the last statistics."""
        self.live.stop()
        while self._take(sink):
            pass
        sink.put(self._with_drops(self.monitor.finish()))

    def _keep(self) -> None:
        """Evidence is an extra: a disk that is full or slow does not stop the sensor."""
        if not self.ring:
            return
        packets, missed = self.live.kept()
        self.ring.lost += missed
        trouble = "they come faster than they are written" if missed else ""
        try:
            self.ring.write(packets)
        except OSError as error:
            trouble = why(error)
        if trouble:
            self._complain("evidence", f"{self.ring.lost:,} first packets not kept so far: {trouble}")

    def _events(self, facts: list[Fact]) -> Iterator[Event]:
        for fact in facts:
            events = self.monitor.observe(fact)
            self.now.add(fact)
            self.directions.add(fact)
            yield from self._with_drops(events)

    def _with_drops(self, events: list[Event]) -> Iterator[Event]:
        """The kernel's drops go into the next statistics, whichever worker's they are."""
        from sensor.delivery.event import SensorStats

        for event in events:
            if isinstance(event, SensorStats):
                _, total = self._counted()
                event, self.dropped = replace(event, dropped_kernel=total - self.dropped), total
                self.duplicates += event.duplicates
                self.read += event.packets + event.duplicates
            yield event

    def _counted(self) -> tuple[int, int]:
        counts = self.live.counts()
        return sum(received for received, _ in counts), sum(dropped for _, dropped in counts)

    def _look_around(self, sink: Sink) -> None:
        """Signals, troubles, and once a second the status line."""
        if signal.SIGHUP in self.signals:
            self.signals.discard(signal.SIGHUP)
            self._reload()
        if ENDS & self.signals:
            self.live.stop()
        for trouble in self.live.troubles():
            name = trouble.removesuffix(f": {os.strerror(errno.ENETDOWN)}")
            if name in self.interfaces and name not in self.down:
                self.down.add(name)
                say(trouble)
            else:
                self._complain(trouble, trouble)
        sink.put(self._mirror())
        if time.monotonic() - self.shown >= 1:
            self._status()
            self._look_after()

    def _look_after(self) -> None:
        """Another catalogue, and interfaces."""
        if self.changes.changed():
            self._reload()
        self._look_for_interfaces()

    def _look_for_interfaces(self) -> None:
        """Those that are up again, and those that were removed: one of the same name is another one."""
        from sensor.packets.live import is_up

        left = dict(socket.if_nameindex())
        self.removed |= {name for number, name in self.indices.items() if number not in left}
        for number, name in self.indices.items():
            # By the name it has now. One that comes back has our sockets no more.
            if name in self.down - self.removed and is_up(left[number]):
                self.down.discard(name)
                say(f"{name} is up")
        for name in self.removed:
            self._complain(
                f"{name} gone", f"{name} was removed: start again to watch another one of its name"
            )
        if len(self.removed) == len(self.indices) and not self.gone:
            self.gone = True
            self.live.stop()

    def _reload(self) -> None:
        try:
            catalogue = catalogue_of(self.settings)
        except (OSError, ValueError) as error:
            say(f"the catalogue stays as it is: {reason(error)}")
            return
        self.live.look(replace(catalogue.watch(), all=self.everything))
        self.monitor.reload(catalogue)
        self.catalogue = catalogue
        say(f"catalogue {catalogue.id}, {len(catalogue)} services")

    def _all_recorded(self) -> Iterator[Event]:
        from sensor.watch_now import finding

        if self.everything:
            title = f"aiscope watch --all on {', '.join(self.interfaces)}: every connection is reported"
            yield finding(self.settings.sensor.name, "watch-all", "info", title, time.time_ns(), ("audit",))

    def _mirror(self) -> Iterator[Event]:
        """Says when it becomes one-way, each day that it stays so, and when that is over."""
        from sensor.watch_now import finding

        one, of = self.directions.recent
        now, half = time.time_ns(), self.directions.one_way
        if half and self.half_said != now // _DAY:
            self.half_said = now // _DAY
            text = f"only one direction of {one} of the last {of} connections comes by: the mirror is one-way"
            say(f"{text}; their other direction is not guessed")
            yield finding(self.settings.sensor.name, "one-way-mirror", "high", text, now, ("blind-spot",))
        elif self.half_said and not half:
            self.half_said = 0
            say(f"both directions come by again: of the last {of} connections {one} had one only")

    def _complain(self, about: str, text: str) -> bool:
        """Say it, but not every second."""
        now = time.monotonic()
        if now - self.complained.get(about, -_SAID_AGAIN) < _SAID_AGAIN:
            return False
        self.complained[about] = now
        say(text)
        return True

    def _status(self) -> None:
        received, dropped = self._counted()
        seconds, self.shown = time.monotonic() - self.shown, time.monotonic()
        rate, self.packets = (received - self.packets) / seconds, received
        if dropped > self.dropped:
            self._complain("drops", f"{dropped:,} of {received:,} packets dropped by the kernel so far")
        services = self.now.services()
        names = ", ".join(services[:_NAMES]) + (" ..." if len(services) > _NAMES else "")
        status(f"{rate:9,.0f} packets/s  {dropped:,} dropped  {self.now.clients():,} AI clients  {names}")

    def _farewell(self) -> None:
        seen = self.directions
        parts = [
            f"{self.read:,} packets read",
            f"{self.duplicates:,} of them duplicates",
            f"{self.dropped:,} more dropped by the kernel",
        ]
        if self.ring and self.ring.lost:
            parts.append(f"{self.ring.lost:,} first packets not kept")
        if seen.one:
            parts.append(f"{seen.one:,} of {seen.one + seen.both:,} connections in one direction only")
        say(", ".join(parts))


def _policy(settings: Settings) -> Any:
    if not settings.policy.file:
        return None
    from sensor.knowledge.policy import load

    return load(settings.policy.file)
