"""`aiscope watch`: interfaces to rows, for as long as it runs.

interfaces -> engine -> monitor -> here -> spool or store. Once the sockets are open privileges are given
away: no packet is looked at with them.
"""

from __future__ import annotations

import importlib
import os
import pwd
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor.watch_run import ENDS, Watching, catalogue_of, note
from sensor.watch_terminal import say

if TYPE_CHECKING:
    from sensor.config import Settings
    from sensor.knowledge.catalogue import Catalogue
    from sensor.packets.live import Live
    from sensor.watch_sink import Sink


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
    note(signals, signal.SIGHUP)  # before anything that takes time
    from sensor.config import SENSOR_FILES, load, present
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
    present(settings, *SENSOR_FILES)
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
    catalogue = catalogue_of(settings)
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


def _stored_in(settings: Settings, store: str) -> Settings:
    from collector.store import as_url

    return replace(settings, store=replace(settings.store, url=as_url(store)))


def _sink(settings: Settings, catalogue: Catalogue, spooled: bool, as_json: bool, signals: set[int]) -> Sink:
    from sensor.watch_sink import JsonSink, SpoolSink, StoreSink

    if as_json:
        return JsonSink(sys.stdout.fileno(), settings.sensor.name, lambda: bool(ENDS & signals))
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
