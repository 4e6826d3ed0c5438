"""`aiscope ship` and `aiscope spool`: delivery of what a sensor has kept on its disk."""

from __future__ import annotations

import datetime as dt
import json
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor.cli import printable

if TYPE_CHECKING:
    from sensor.config import Settings
    from sensor.delivery.outbox import Outbox, Status
    from sensor.delivery.ship import Shipper
    from sensor.delivery.spool import Spool

SPOOL = click.option(
    "--spool", metavar="FILE", type=click.Path(path_type=Path), help="Which spool; default from the settings."
)
URLS = click.option(
    "--url", "urls", metavar="URL", multiple=True, help="Where to; several are replicas of one store."
)


def open_spool(settings: Settings, sensor: str | None = None) -> Spool:
    """The writing end, with names sealed unless the settings say `plain`: what ships is sealed here."""
    from sensor.delivery.spool import Spool
    from sensor.knowledge import seal

    plain = settings.sensor.names == "plain"
    sealer = None if plain else seal.load(settings.sensor.names_key, create=True)
    return Spool(
        settings.spool.path,
        sensor or settings.sensor.name,
        seal=sealer.seal if sealer else None,
        limit=settings.spool.limit,
    )


def shipper(settings: Settings, outbox: Outbox) -> Shipper:
    """What delivers an outbox where the settings say."""
    from sensor.delivery.ship import Options, Shipper

    ship, url = settings.ship, settings.store.url
    urls = ship.urls or ((url,) if url.startswith("http") else ())
    options = Options(ship.rows, ship.age, ship.tries, ship.ca, ship.certificate, ship.key, ship.plain)
    return Shipper(outbox, urls, options)


@click.command()
@SPOOL
@URLS
def ship(spool: Path | None, urls: tuple[str, ...]) -> None:
    """Deliver a spool to the store, for as long as this runs.

    Ends at SIGTERM or SIGINT, after the batch that is under way. Rows stay in the spool until the store has
    them.
    """
    from sensor.delivery.outbox import Outbox

    settings, stop = _settings(spool, urls), _stopped_by_signals()
    log_to_stderr()
    _until_there(settings.spool.path, stop)
    while not stop.is_set():
        with Outbox(settings.spool.path) as outbox:
            shipping = shipper(settings, outbox)
            try:
                shipping.run(stop)
            finally:
                shipping.close()


@click.group()
def spool() -> None:
    """Look into a sensor's spool: rows that the store does not have yet."""


@spool.command()
@SPOOL
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(spool: Path | None, as_json: bool) -> None:
    """Rows that wait, batches set aside, rows lost, and why nothing is delivered.

    Exit code 1 when batches were set aside or delivery has a problem.
    """
    from dataclasses import asdict

    from sensor.delivery.outbox import status as read_status

    path = _settings(spool).spool.path
    found = read_status(path)
    if as_json:
        click.echo(json.dumps({"spool": str(path), **asdict(found)}))
    else:
        for name, value in _described(path, found).items():
            click.echo(printable(f"{name:12} {value}"))
    sys.exit(1 if found.aside or found.problem else 0)


def _described(path: Path, found: Status) -> dict[str, str]:
    now = time.time()
    return {
        "spool": str(path),
        "size": f"{found.bytes / 1e6:,.1f} MB",
        "waiting": f"{found.rows:,} rows"
        + (f", the oldest for {max(0.0, now - found.oldest):,.0f} s" if found.oldest else ""),
        "set aside": f"{found.aside:,} batches, {found.aside_rows:,} rows",
        "lost": f"{found.lost:,} rows since the spool was made",
        "delivered": f"{dt.datetime.fromtimestamp(found.delivered, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        if found.delivered
        else "never",
        "clock": _clock(found.skew),
        "problem": found.problem or "none",
    }


def _clock(skew: float | None) -> str:
    """How far the store's clock is off. `Date` is exact to a second, and some servers make it once in one."""
    if skew is None:
        return "unknown"
    return f"the store's is {skew:+.0f} s against this one" if abs(skew) > 1 else "as the store's"


@spool.command()
@SPOOL
@URLS
@click.option("--aside", is_flag=True, help="Try batches again that were set aside.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds to try.")
def drain(spool: Path | None, urls: tuple[str, ...], aside: bool, timeout: float) -> None:
    """Deliver everything now, and end. Exit code 1 when rows remain."""
    from sensor.delivery.outbox import Outbox
    from sensor.delivery.outbox import status as read_status

    settings, stop = _settings(spool, urls), _stopped_by_signals()
    log_to_stderr()
    timer = threading.Timer(timeout, stop.set)
    timer.daemon = True
    timer.start()
    with Outbox(settings.spool.path) as outbox:
        if aside:
            click.echo(f"{outbox.again():,} batches tried again", err=True)
        shipping = shipper(settings, outbox)
        try:
            shipping.drain(stop)
        finally:
            shipping.close()
    left = read_status(settings.spool.path)
    click.echo(
        f"{shipping.shipped:,} rows delivered, {left.rows:,} wait, {left.aside_rows:,} set aside", err=True
    )
    sys.exit(1 if left.rows or left.aside else 0)


@spool.command()
@SPOOL
@click.argument("number", type=int, required=False)
def inspect(spool: Path | None, number: int | None) -> None:
    """List what waits, batch by batch; with the NUMBER of a batch its rows as JSON."""
    from sensor.delivery.outbox import waiting
    from sensor.delivery.spool import unpacked

    for batch in waiting(_settings(spool).spool.path):
        if number is None:
            error = f"{batch.tries} tries: {batch.error}" if batch.error else ""
            name = str(batch.number or "-")
            click.echo(
                printable(f"{name:>8} {batch.table:14} {batch.month} {batch.rows:8,} rows {error}").rstrip()
            )
        elif batch.number == number:
            for row in unpacked(batch.data).to_pylist():
                click.echo(json.dumps({"table": batch.table, **row}, default=_text))
            return
    if number is not None:
        raise click.ClickException(f"no batch {number}")


def _text(value: Any) -> str:
    return str(value.isoformat() if isinstance(value, dt.datetime) else value)


def _settings(spool: Path | None = None, urls: tuple[str, ...] = ()) -> Settings:
    from sensor.config import load

    return load(flags={"spool.path": spool, "ship.urls": urls or None})


def _stopped_by_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _until_there(path: Path, stop: threading.Event) -> None:
    """Wait for the sensor to make its spool: at boot either may be first."""
    if not path.exists():
        click.echo(printable(f"{path}: no spool yet; waiting for it"), err=True)
    while not path.exists() and not stop.wait(1):
        pass


def log_to_stderr() -> None:
    """What spool and shipper have to say, without control characters."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger("aiscope").addHandler(handler)
    logging.getLogger("aiscope").setLevel(logging.INFO)


class _Printable(logging.Formatter):
    """What a server answered is text from the network."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
