"""`aiscope store`: backup and restore, checks, and the rows of one person."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pyarrow as pa

from collector.cli import STORE, _settings
from sensor.cli import printable

if TYPE_CHECKING:
    from collector.backup import Checked
    from collector.subject import Person

PERSON = click.argument("words", metavar="PERSON...", nargs=-1, required=True)
SEALED = click.option(
    "--names-key", metavar="FILE", type=click.Path(path_type=Path), help="Also as sealed with this key."
)


@click.group()
def store() -> None:
    """Look after a store: backups, checks, what it knows of a person."""


@store.command()
@click.argument("name", required=False)
@click.option("--base", metavar="NAME", default="", help="Only what came in since this backup.")
@STORE
def backup(name: str | None, base: str, store: str | None) -> None:
    """Back the store up, while it runs, under NAME (default: the time).

    Of a store in a directory the backup is a folder DIR/backups/NAME: copy it to another machine. A server
    writes it where its own configuration says.
    """
    from collector.backup import backup as write
    from collector.store import Store, existing

    name = name or time.strftime("aiscope-%Y%m%dT%H%M%SZ", time.gmtime())
    with Store(existing(_settings(store).store.url)) as opened:
        write(opened, name, base)
        click.echo(str(opened.directory / "backups" / name) if opened.directory else name)


@store.command()
@click.argument("source", metavar="NAME|DIR")
@STORE
def restore(source: str, store: str | None) -> None:
    """Fill an empty store from the backup NAME|DIR, and bring its schema to this version."""
    from collector.backup import offer
    from collector.backup import restore as read
    from collector.migrate import migrate
    from collector.store import Store

    settings = _settings(store)
    with Store(settings.store.url) as opened:
        folder = Path(source)
        name = offer(folder, opened.directory) if opened.directory and folder.is_dir() else source
        read(opened, name)
        migrate(opened, asdict(settings.retention))
        rows = opened.rows("SELECT count() AS rows FROM connections")[0]["rows"]
    click.echo(f"restored; {rows:,} connection rows", err=True)


@store.command()
@click.argument("folder", metavar="[BACKUP]", required=False, type=click.Path(exists=True, path_type=Path))
@STORE
def verify(folder: Path | None, store: str | None) -> None:
    """Read everything again, checksum by checksum: of the store, or of a BACKUP's folder.

    A backup is restored into a directory beside it that is removed afterwards. Exit code 1 when something is
    damaged.
    """
    from collector.backup import offer, restore
    from collector.backup import verify as read_again
    from collector.store import Store, as_url, existing

    if folder is None:
        with Store(existing(_settings(store).store.url)) as opened:
            _checked(list(read_again(opened)))
    else:
        with tempfile.TemporaryDirectory(dir=folder.resolve().parent, prefix=".verify-") as scratch:
            with Store(as_url(scratch)) as opened:
                restore(opened, offer(folder, Path(scratch)))
                found = list(read_again(opened))
            _checked(found)


def _checked(tables: Sequence[Checked]) -> None:
    for table in tables:
        state = f"damaged: {table.problem}" if table.problem else "sound"
        click.echo(printable(f"{table.table:20} {table.rows:>14,} rows {table.parts:6,} parts  {state}"))
    sys.exit(1 if not tables or any(table.problem for table in tables) else 0)


@store.command()
@click.argument("sensor", required=False)
@click.argument("rank", required=False, type=click.IntRange(0, 65_535))
@STORE
def vantages(sensor: str | None, rank: int | None, store: str | None) -> None:
    """List sensors that may see the same connections, or give SENSOR its RANK; 0 takes it off the list.

    A connection that several of them saw counts at the one with the lowest rank.
    """
    from collector.store import existing, open_store

    if (sensor is None) != (rank is None):
        raise click.UsageError("give a sensor and its rank, or neither")
    with open_store(existing(_settings(store).store.url)) as opened:
        if sensor is not None:
            row = pa.table({"sensor": [sensor], "rank": pa.array([rank], pa.uint16())})
            opened.insert_arrow("vantages", row, token=uuid.uuid4().hex)
        for found in opened.rows(
            "SELECT sensor, rank FROM vantages FINAL WHERE rank > 0 ORDER BY rank, sensor"
        ):
            click.echo(printable(f"{found['rank']:5} {found['sensor']}"))


@store.command()
@STORE
def doctor(store: str | None) -> None:
    """What is wrong with a store, or soon will be. Exit code 1 when something is."""
    from collector.health import checks
    from collector.store import Store, existing

    settings = _settings(store)
    problems = 0
    with Store(existing(settings.store.url)) as opened:
        for check in checks(opened, asdict(settings.retention)):
            problems += not check.good
            click.echo(printable(f"{'ok ' if check.good else '!! '} {check.name:14} {check.state}"))
    sys.exit(1 if problems else 0)


@store.command()
@PERSON
@SEALED
@STORE
def export(words: Sequence[str], names_key: Path | None, store: str | None) -> None:
    """Print every row of a PERSON as JSON: names (user, host, MAC) and addresses.

    Names that sensors seal are found with the key they were sealed with.
    """
    from collector.store import existing, open_store
    from collector.subject import export as rows

    who = _person(words, names_key)
    with open_store(existing(_settings(store).store.url)) as opened:
        _audit(opened, "export", "")
        for row in rows(opened, who):
            click.echo(json.dumps(row, default=str))


@store.command()
@PERSON
@SEALED
@click.option("--yes", is_flag=True, help="Do not ask.")
@STORE
def forget(words: Sequence[str], names_key: Path | None, yes: bool, store: str | None) -> None:
    """Take the rows of a PERSON out of the store, for good: events, rollups and what hangs on them.

    Nothing may come in meanwhile: stop `aiscope collect` and name its directory; sensors keep their rows.
    Backups and spools are not touched. The audit trail says that it was done, not to whom.
    """
    from collector.store import existing, open_store
    from collector.subject import forget as take_out

    who = _person(words, names_key)
    if not yes:
        click.confirm(f"Forget {', '.join(words)}?", abort=True)
    with open_store(existing(_settings(store).store.url)) as opened:
        counted = take_out(opened, who)
        _audit(opened, "forget", f"{sum(counted.values())} rows")
    for table, rows in counted.items():
        click.echo(f"{table:20} {rows:>10,} rows")
    if not counted:
        click.echo("no rows", err=True)


def _person(words: Sequence[str], key: Path | None) -> Person:
    from collector.subject import person

    if key is None:
        return person(words)
    from sensor.knowledge.seal import load

    sealer = load(key)
    return person([*words, *map(sealer.seal, words)])


def _audit(opened: Any, action: str, detail: str) -> None:
    import getpass

    opened.command(
        "INSERT INTO aiscope.audit (time, actor, address, action, object, outcome, detail) "
        "VALUES (now64(6), {actor:String}, '::', {action:String}, 'person', 'done', {detail:String})",
        {"actor": getpass.getuser(), "action": action, "detail": detail},
    )
