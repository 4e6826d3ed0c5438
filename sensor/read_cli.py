"""`aiscope read`: capture files to rows, a summary on the terminal, rows in the store.

frames -> engine -> monitor -> here: batches go to the store as they come, so that memory does not grow with
the file.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from sensor.cli import printable

if TYPE_CHECKING:
    from collector.store import Store
    from sensor.config import Settings
    from sensor.delivery.event import Event
    from sensor.knowledge.catalogue import Catalogue
    from sensor.knowledge.policy import Policy
    from sensor.knowledge.policy_judge import Judge
    from sensor.knowledge.seal import Sealer
    from sensor.monitor import Monitor
    from sensor.packets.facts import Limits
    from sensor.summary import Summary

BATCH = 10_000  # rows per insert; they are some 2 kB each while they wait
LONG = 64 << 20  # bytes of a file that is worth a progress bar
NOT_A_CAPTURE, DAMAGED = 2, 3

Form = Literal["table", "json", "csv"]


@dataclass(slots=True)
class Run:
    """One invocation: what all files share."""

    settings: Settings
    catalogue: Catalogue
    policy: Policy | None
    store: Store | None
    form: Form
    everything: bool
    sensor: str | None
    replace: bool
    applied: list[str]  # flags whose effect is in the rows
    summary: Summary
    stored: int = 0
    read: int = 0
    codes: set[int] = field(default_factory=set)


@click.command(
    epilog="Exit codes: 0 all was read; 1 the store or a setting failed; 2 wrong usage, or a file is no "
    "capture; 3 a file is damaged (what could be read was read)."
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path),
)
@click.option("--json", "form", flag_value="json", help="One JSON object per row, on standard output.")
@click.option("--csv", "form", flag_value="csv", help="The whole summary as CSV, on standard output.")
@click.option(
    "--all", "everything", is_flag=True, help="Every connection and lookup, also of no known service."
)
@click.option("--store", metavar="URL|DIR", help="Where rows go; default: a directory of your own.")
@click.option("--no-store", is_flag=True, help="Keep nothing.")
@click.option(
    "--replace", is_flag=True, help="Take out the rows of files already stored and read them again."
)
@click.option(
    "--sensor", metavar="NAME", help="The `sensor` of the rows; default file:SHA256 (first 16 digits)."
)
@click.option("--engine", type=click.Choice(["auto", "native", "portable"]), help="Which packet engine.")
@click.option("--workers", type=click.IntRange(1, 64), help="Threads for a file; the native engine's.")
@click.option("--inventory", metavar="CSV", help="Who clients are: address,from,until,host,user,groups.")
@click.option("--policy", metavar="FILE", help="A policy: rows get its verdicts, and findings are made.")
@click.option("--country-db", metavar="MMDB", help="Countries of servers, a MaxMind DB file.")
@click.option("--asn-db", metavar="MMDB", help="Networks of servers, a MaxMind DB file.")
def read(
    files: tuple[Path, ...],
    form: Form | None,
    everything: bool,
    store: str | None,
    no_store: bool,
    replace: bool,
    sensor: str | None,
    **flags: str | int | None,
) -> None:
    """Read capture FILES (pcap, pcapng, also gzip or zstd; `-` is standard input).

    Prints who uses which AI service with how much data, and keeps the rows in the store for
    `aiscope dashboard` and `aiscope sql`. A file the store already has is shown, and not stored again.
    """
    # Modules, a catalogue and many flows are many objects and no cycles: the collector would look at them for nothing.
    gc.set_threshold(100_000, 20, 100)
    atexit.register(gc.freeze)  # at the end as well
    from sensor.config import SENSOR_FILES, load, present
    from sensor.knowledge.catalogue import load as load_catalogue
    from sensor.knowledge.catalogue_files import newest, unused
    from sensor.summary import Summary

    settings = load(flags={_FLAGS[name]: value for name, value in flags.items()} | {"store.url": _url(store)})
    present(settings, *SENSOR_FILES)
    if problem := unused(settings.catalogue.overrides):
        _say(f"catalogue.overrides: {problem}")
    catalogue = load_catalogue(newest(settings.catalogue.home), settings.catalogue.overrides)
    policy = _policy(settings.policy.file) if settings.policy.file else None
    with contextlib.ExitStack() as stack:
        opened = None if no_store else stack.enter_context(open_store(settings, catalogue))
        form = form or "table"
        applied = [f"--{name}" for name in ("inventory", "policy") if flags[name]]
        run = Run(settings, catalogue, policy, opened, form, everything, sensor, replace, applied, Summary())
        for file in files:
            _read(run, file)
    _report(run)
    sys.exit(max(run.codes, default=0))


_FLAGS = {
    "engine": "read.engine",
    "workers": "read.workers",
    "inventory": "inventory.csv",
    "policy": "policy.file",
    "country_db": "place.country_db",
    "asn_db": "place.asn_db",
}


def _url(store: str | None) -> str | None:
    if store is None:
        return None
    from collector.store import as_url

    return as_url(store)


def open_store(settings: Settings, catalogue: Catalogue) -> Store:
    """The store, with the catalogue's services in it."""
    from collector.records import record_services
    from collector.store import open_store

    store = open_store(settings.store.url, retention=asdict(settings.retention))
    record_services(store, catalogue.id, catalogue.rows())
    return store


def _read(run: Run, file: Path) -> None:
    """One file: from the question whether the store has it to its last row."""
    from sensor.packets.errors import Damaged, NotACapture

    sensor, sha256 = _identity(run, file)
    sink = _Sink(run.store, sensor, sha256, str(file)) if run.store else None
    if sink and not _wanted(run, sink):
        sink = None  # it is read and shown, and stays in the store as it is
    try:
        for event in _events(run, file):
            run.summary.add(event)
            if run.form == "json":
                _print_json(event, sensor)
            if sink:
                sink.put(event)
    except NotACapture as error:
        _say(str(error))
        run.codes.add(NOT_A_CAPTURE)
        return
    except Damaged as error:
        _say(f"{error}; what comes before was read")
        run.codes.add(DAMAGED)
    run.read += 1
    if sink:
        run.stored += sink.close()


def _identity(run: Run, file: Path) -> tuple[str, str]:
    """The rows' sensor, and the file's SHA-256 when it is to be stored. What can be read only once has none."""
    if str(file) == "-" or (run.store and not file.is_file()):
        return run.sensor or f"stdin:{os.urandom(8).hex()}", ""
    if run.store is None:
        return run.sensor or f"file:{file.name}", ""
    with file.open("rb") as data:
        sha256 = hashlib.file_digest(data, "sha256").hexdigest()
    return run.sensor or f"file:{sha256[:16]}", sha256


def _wanted(run: Run, sink: _Sink) -> bool:
    """Whether the file's rows are to be stored. Those of a replaced or interrupted reading are taken out."""
    from collector.records import forget_sensor, inputs

    for known in inputs(sink.store, sink.sha256) if sink.sha256 else ():
        if known.complete and not run.replace:
            has = f"already stored as {known.sensor}, {known.rows:,} rows"
            what = f"brings {' and '.join(run.applied)} to these" if run.applied else "stores it again"
            _say(f"{sink.path}: {has}; --replace {what}")
            return False
        forget_sensor(sink.store, known.sensor, known.sha256)
    return True


class _Sink:
    """A file's rows on their way into the store, in batches."""

    def __init__(self, store: Store, sensor: str, sha256: str, path: str) -> None:
        self.store, self.sensor, self.sha256, self.path = store, sensor, sha256, path
        self._token = os.urandom(16).hex()  # a file read again is not a batch sent again
        self._waiting: list[Event] = []
        self._batch = self._rows = 0

    def put(self, event: Event) -> None:
        """Take one row."""
        self._waiting.append(event)
        if len(self._waiting) >= BATCH:
            self._flush()

    def close(self) -> int:
        """After the last row; the number of rows."""
        self._flush()
        self._record(complete=True)
        return self._rows

    def _flush(self) -> None:
        if not self._batch:
            self._record(complete=False)
        token = f"{self._token}:{self._batch}"
        self._rows += self.store.insert(self._waiting, sensor=self.sensor, batch=self._batch, token=token)
        self._batch += 1
        self._waiting.clear()

    def _record(self, complete: bool) -> None:
        from collector.records import Input, record_input

        record_input(self.store, Input(self.sha256, self.path, self.sensor, self._rows, complete))


def _events(run: Run, file: Path) -> Iterator[Event]:
    """What the monitor makes of a capture. Raises as `packets.capture.Capture` does, after the last event."""
    from dataclasses import replace

    from sensor.packets.engine import facts, select
    from sensor.packets.errors import Damaged

    settings = run.settings
    watch = replace(run.catalogue.watch(), all=run.everything)
    engine, run.summary.why = select(settings.read.engine)
    sealed = settings.sensor.names == "sealed"
    broken: Damaged | None = None
    with _progress(file) as progress:
        batches = facts(file, watch, settings.limits, engine, progress, settings.read.workers)
        # While this is imported and made, the engine's threads are at work.
        monitor = make_monitor(settings, run.catalogue, run.policy, engine, run.everything, sealed)
        try:
            for batch in batches:
                for fact in batch:
                    yield from monitor.observe(fact)
        except Damaged as error:
            broken = error
    yield from monitor.finish()
    if broken:
        raise broken


@contextlib.contextmanager
def _progress(file: Path) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error, for a person who waits for a long file."""
    if not sys.stderr.isatty() or str(file) == "-" or file.stat().st_size < LONG:
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(printable(file.name)), total=file.stat().st_size)
        yield lambda position, _: bar.update(task, completed=position)


def make_monitor(
    settings: Settings,
    catalogue: Catalogue,
    policy: Policy | None,
    engine: str,
    everything: bool,
    sealed: bool,
) -> Monitor:
    """The monitor that the settings ask for."""
    from sensor.knowledge import inventory
    from sensor.knowledge.identity import Identities
    from sensor.knowledge.place import Place
    from sensor.monitor import Monitor

    databases = [path for path in (settings.place.country_db, settings.place.asn_db) if path]
    return Monitor(
        catalogue,
        identities=Identities(inventory.load(settings.inventory.csv) if settings.inventory.csv else None),
        place=Place(databases) if databases else None,
        sealer=_sealer(settings.sensor.names_key) if sealed else None,
        relays=settings.sensor.relays,
        judge=_judge(policy, catalogue, settings.limits) if policy else None,
        all=everything,
        engine=engine,
        limits=settings.limits,
    )


def _policy(file: Path) -> Policy:
    from sensor.knowledge.policy import load

    return load(file)


def _sealer(key: Path) -> Sealer:
    from sensor.knowledge.seal import load

    return load(key, create=True)


def _judge(policy: Policy, catalogue: Catalogue, limits: Limits) -> Judge:
    from sensor.knowledge.policy_judge import Judge

    return Judge(policy, catalogue, limits)


def _print_json(event: Event, sensor: str) -> None:
    from sensor.delivery.event import as_json

    sys.stdout.write(json.dumps({**as_json(event), "sensor": sensor}) + "\n")


def _report(run: Run) -> None:
    if run.form == "csv":
        run.summary.write_csv(sys.stdout)
    if run.form != "table":
        return
    if run.read:
        terminal = sys.stdout.isatty()
        for line in run.summary.lines(*(_screen() if terminal else (140, 48)), styled=terminal):
            click.echo(line)
    if run.store:
        from collector.store import shown

        _say(f"{run.stored:,} rows stored in {shown(run.settings.store.url)}")


def _screen() -> tuple[int, int]:
    from shutil import get_terminal_size  # brings all kinds of archives with it

    return get_terminal_size()


def _say(message: str) -> None:
    click.echo(printable(message), err=True)
