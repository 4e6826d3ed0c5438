"""`aiscope watch`: interfaces to rows, for as long as it runs.

interfaces -> engine -> monitor -> here -> spool or store. Once the sockets are open privileges are given
away: no packet is looked at with them.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import pwd
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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

_TURN = 0.2  # seconds between two looks at signals
_SAID_AGAIN = 60.0  # seconds between two lines about drops
_DAY = 86_400_000_000_000  # nanoseconds
_ENDS = frozenset((signal.SIGINT, signal.SIGTERM))
_NAMES = 6  # services on the status line


@click.command(epilog="Exit codes: 0 stopped by SIGINT or SIGTERM, with nothing lost; 1 it could not go on.")
@click.argument("interfaces", nargs=-1, required=True, metavar="IFACE...")
@click.option("--workers", type=click.IntRange(1, 64), help="Threads that capture; the native engine's.")
@click.option("--engine", type=click.Choice(["auto", "native", "portable"]), help="Which packet engine.")
@click.option("--filter", "expression", metavar="EXPRESSION", help="What the kernel lets in: pcap-filter(7).")
@click.option("--store", metavar="URL|DIR", help="Where rows go; default from the settings.")
@click.option(
    "--spool", metavar="FILE", type=click.Path(path_type=Path), help="Keep rows there for the store."
)
@click.option("--json", "as_json", is_flag=True, help="Rows on standard output, and nowhere else.")
@click.option(
    "--all", "everything", is_flag=True, help="Every connection, where `watch.allow_all` permits it."
)
@click.option("--no-promiscuous", is_flag=True, help="Only what is addressed to this machine.")
@click.option(
    "--user", metavar="NAME", help="Whom to become; as root, default who called sudo, or `aiscope`."
)
@click.option("--policy", metavar="FILE", help="A policy: rows get its verdicts, and findings are made.")
def watch(
    interfaces: tuple[str, ...],
    store: str | None,
    spool: Path | None,
    as_json: bool,
    everything: bool,
    no_promiscuous: bool,
    user: str | None,
    **flags: Any,
) -> None:
    """Watch network interfaces: who uses which AI services, with what data, until SIGINT or SIGTERM.

    Rows go to a spool and from there to the store, or straight into a store of this machine. A catalogue that
    was updated is used from then on, after SIGHUP at once.
    """
    signals: set[int] = set()
    _note(signals, signal.SIGHUP)  # before anything that takes time
    from sensor.config import load
    from sensor.knowledge.catalogue_bundle import Changes
    from sensor.watch_privileges import drop, user_to_be

    interfaces = _each_once(interfaces)
    become = user_to_be(user)
    if become:
        os.environ["HOME"] = become.pw_dir  # has the data
    settings = load(flags={_FLAGS[name]: value for name, value in flags.items()} | {"spool.path": spool})
    if everything and not settings.watch.allow_all:
        raise click.ClickException(
            "--all on live traffic reports every connection of everybody: allow it first "
            "with `allow_all = true` in [watch] of the settings"
        )
    changes = Changes(settings.catalogue.home, settings.catalogue.overrides)
    live, engine, catalogue = _opened(settings, interfaces, everything, not no_promiscuous)
    if store is not None:
        settings = _stored_in(settings, store)
    spooled = spool is not None or (store is None and bool(settings.ship.urls))
    spooled |= settings.store.url.startswith("http")
    _load(settings, as_json, spooled)
    drop(become)
    watching = Watching(live, settings, catalogue, changes, engine, interfaces, everything, signals)
    sink = _sink(settings, catalogue, spooled, as_json, signals)
    watching.run(sink, f"watching {', '.join(interfaces)}: {engine} engine, {_whom(become)}")
    if watching.gone:
        raise click.ClickException("no interface is left")


def _each_once(interfaces: tuple[str, ...]) -> tuple[str, ...]:
    """One that is named twice, or by two names of its own, is one."""
    if "" in interfaces:
        raise click.UsageError("an interface's name is empty")
    found: dict[int | str, str] = {}
    for name in interfaces:
        try:
            found.setdefault(socket.if_nametoindex(name), name)
        except OSError:
            found[name] = name  # what is wrong is said when it is opened
    return tuple(found.values())


def _note(came: set[int], *numbers: signal.Signals) -> None:
    """Signals that come from here on are noted, and looked at between two lots of facts."""
    for number in numbers:
        signal.signal(number, lambda number, _: came.add(number))


_FLAGS = {
    "workers": "watch.workers",
    "expression": "watch.filter",
    "engine": "read.engine",
    "policy": "policy.file",
}


def _opened(
    settings: Settings, interfaces: tuple[str, ...], everything: bool, promiscuous: bool
) -> tuple[Live, str, Catalogue]:
    """Sockets on all interfaces, the engine's name, and the catalogue they were told to watch."""
    from sensor.packets.engine import select
    from sensor.packets.live import Options, open_live

    engine, why = select(settings.read.engine)
    if engine == "portable" and why != "asked for":
        say(f"{why}: the portable engine takes some 10,000 packets a second")
    catalogue = _catalogue(settings)
    mine = settings.watch
    evidence = mine.evidence_packets if mine.evidence else 0
    options = Options(mine.workers, mine.ring, promiscuous, mine.filter, evidence)
    told = replace(catalogue.watch(), all=everything)
    try:
        return open_live(engine, interfaces, told, settings.limits, options), engine, catalogue
    except PermissionError as error:
        reason = "capturing needs root or the capability CAP_NET_RAW"
        raise click.ClickException(f"{error.filename}: {reason}") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def _load(settings: Settings, as_json: bool, spooled: bool) -> None:
    """Imported now rather than when it is needed: whom we become may not be able to read it.

    No thread may be started meanwhile, it would keep its capabilities; so chdb is left out, whose engine has many.
    """
    os.environ.update(_NO_THREADS)
    names = [*_LOADED]
    if settings.policy.file:
        names += ["sensor.knowledge.policy", "sensor.knowledge.policy_judge"]
    if not as_json:
        names += _SPOOL if spooled else _STORE
    for name in names:
        importlib.import_module(name)


_LOADED = (
    "encodings.unicode_escape",  # what is not printable becomes that
    "sensor.knowledge.catalogue_yaml",
    "sensor.knowledge.inventory",
    "sensor.knowledge.place",
    "sensor.knowledge.seal",
    "sensor.monitor",
    "sensor.packets.evidence_ring",
    "sensor.read_cli",
    "sensor.watch_now",
    "sensor.watch_sink",
)
_SPOOL = (
    "encodings.idna",
    "pyarrow.compute",
    "sensor.delivery.ship",
    "sensor.delivery.spool",
    "sensor.ship_cli",
)
_STORE = ("pyarrow.compute", "collector.migrate", "collector.records", "collector.store")
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}  # of pyarrow


def _catalogue(settings: Settings) -> Catalogue:
    from sensor.knowledge.catalogue import load
    from sensor.knowledge.catalogue_files import newest

    return load(newest(settings.catalogue.home), settings.catalogue.overrides)


def _stored_in(settings: Settings, store: str) -> Settings:
    from collector.store import as_url

    return replace(settings, store=replace(settings.store, url=as_url(store)))


def _sink(settings: Settings, catalogue: Catalogue, spooled: bool, as_json: bool, signals: set[int]) -> Sink:
    from sensor.watch_sink import JsonSink, SpoolSink, StoreSink

    if as_json:
        return JsonSink(sys.stdout.fileno(), settings.sensor.name, lambda: bool(_ENDS & signals))
    if spooled:
        from sensor.ship_cli import log_to_stderr, open_spool

        log_to_stderr()
        return SpoolSink(open_spool(settings), settings)
    from sensor.read_cli import open_store

    return StoreSink(open_store(settings, catalogue), settings.sensor.name)


def _whom(user: pwd.struct_passwd | None) -> str:
    if user:
        return f"as {user.pw_name}, without capabilities"
    name = "root, for there is no user `aiscope`," if os.geteuid() == 0 else "this user,"
    return f"as {name} without capabilities"


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
        _note(self.signals, *_ENDS)
        with contextlib.ExitStack() as closed:
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
        self._farewell()

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
        """Evidence is an extra: a disk that is full does not stop the sensor."""
        if self.ring:
            try:
                self.ring.write(self.live.kept())
            except OSError as error:
                self._complain("evidence", f"{self.ring.lost:,} first packets not kept so far: {error}")

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
        if _ENDS & self.signals:
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
        for name in [name for name in self.down if is_up(name)]:
            self.down.discard(name)
            say(f"{name} is up")
        missing = [name for number, name in self.indices.items() if left.get(number) is None]
        for name in missing:
            self._complain(
                f"{name} gone", f"{name} was removed: start again to watch another one of its name"
            )
        if len(missing) == len(self.indices) and not self.gone:
            self.gone = True
            self.live.stop()

    def _reload(self) -> None:
        try:
            catalogue = _catalogue(self.settings)
        except (OSError, ValueError) as error:
            say(f"the catalogue stays as it is: {error}")
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
