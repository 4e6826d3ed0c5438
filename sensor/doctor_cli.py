"""`aiscope doctor`: what is installed, which engine is used and why, whether the store can be reached."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sensor import __version__
from sensor.cli import printable
from sensor.knowledge.catalogue_files import unused
from sensor.reason import reason

if TYPE_CHECKING:
    from sensor.config import Settings

# distribution: what is missing without it
PARTS = {
    "dpkt": "reading captures",
    "clickhouse-connect": "the store",
    "chdb": "the embedded store",
    "geoip2": "countries of servers",
    "streamlit": "the dashboard",
}
TOOLS = {"tshark": "packets of one connection"}


@click.command()
def doctor() -> None:
    """Check the installation. Exit code 1 when something that is configured does not work."""
    problems = 0
    for name, state, good in _checks():
        problems += not good
        click.echo(printable(f"{'ok ' if good else '!! '} {name:20} {state}"))
    sys.exit(1 if problems else 0)


def _checks() -> Iterator[tuple[str, str, bool]]:
    """Name, state, and whether it is as it should be."""
    yield "aiscope", f"{__version__}, Python {platform.python_version()}, {platform.platform()}", True
    for part, purpose in PARTS.items():
        try:
            yield part, metadata.version(part), True
        except metadata.PackageNotFoundError:
            yield part, f"not installed; it is for {purpose}", True
    for tool, purpose in TOOLS.items():
        yield tool, shutil.which(tool) or f"not found; it is for {purpose}", True
    yield _engine()
    yield "capture", _capture(), True
    yield from _configured()


def _engine() -> tuple[str, str, bool]:
    from sensor.packets.engine import select

    name, why = select()
    return "engine", f"{name}: {why}", True


def _capture() -> str:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except AttributeError:
        return "live capture needs Linux"
    except PermissionError:
        return "`aiscope watch` needs root or the capability CAP_NET_RAW"
    return "allowed"


def _configured() -> Iterator[tuple[str, str, bool]]:
    from sensor import config
    from sensor.packets.engine import select

    try:
        settings = config.load()
    except (OSError, ValueError) as error:
        yield "settings", reason(error).replace("\n", "; "), False
        return
    yield "settings", "sound", True
    if settings.read.engine == "native":
        yield _try("read.engine", lambda: ": ".join(select("native")))
    yield _try("catalogue", lambda: _catalogue(settings))
    yield _try("store", lambda: _store(settings))
    for name, path in config.configured(settings).items():
        yield _try(name, lambda name=name, path=path: _file(name, path))  # type: ignore[misc]
    if evidence := settings.watch.evidence:
        yield _try("watch.evidence", lambda: _folder(evidence))


def _try(name: str, check: Callable[[], str]) -> tuple[str, str, bool]:
    try:
        return name, check(), True
    except (OSError, ValueError, ImportError) as error:
        return name, reason(error).replace("\n", "; "), False


def _catalogue(settings: Settings) -> str:
    from sensor.knowledge.catalogue import load
    from sensor.knowledge.catalogue_files import newest

    catalogue = load(newest(settings.catalogue.home), settings.catalogue.overrides)
    return f"{catalogue.id}, {len(catalogue)} services"


def _file(name: str, path: Path) -> str:
    """Whether what is configured is there, and what is read at the start of every command can be read."""
    if name == "policy.file":
        from sensor.knowledge.policy import load

        return f"{path}: {len(load(path).file.rules)} rules"
    if name == "inventory.csv":
        from sensor.knowledge.inventory import load as inventory

        inventory(path)
    if name == "catalogue.overrides" and (problem := unused(path)):
        raise ValueError(problem)
    path.stat()
    return str(path)


def _folder(path: Path) -> str:
    """A folder that is made when it is missing."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"{path}: {there} is no folder that can be written to")
    return str(path)


def _store(settings: Settings) -> str:
    from collector.migrate import pending
    from collector.store import Store, directory, shown

    url = settings.store.url
    if (place := directory(url)) and not (place / "metadata").is_dir():
        return f"{url}: nothing stored yet"
    with Store(url) as store:
        version = store.rows("SELECT version() AS version")[0]["version"]
        missing = len(pending(store))
    state = f"{missing} migrations missing: run `aiscope migrate`" if missing else "schema current"
    return f"{shown(url)}: ClickHouse {version}, {state}"
