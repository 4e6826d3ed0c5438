"""The commands of `aiscope catalogue` that make signed bundles and take them."""

from __future__ import annotations

from pathlib import Path

import click

from sensor.knowledge import catalogue_bundle as bundles
from sensor.knowledge.catalogue_files import PACKAGED
from sensor.knowledge.catalogue_terminal import FOLDER, Places, or_end

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=FILE)
def keygen(file: Path) -> None:
    """Make a key for signing bundles in the new FILE, and print the public key to pin."""
    click.echo(or_end(lambda: bundles.keygen(file)))


@click.command()
@click.option("--key", required=True, type=FILE, help="The private key, as keygen made it.")
@click.option("--from", "folder", type=FOLDER, default=PACKAGED, help="The catalogue's folder.")
@click.argument("out", type=FILE)
def bundle(key: Path, folder: Path, out: Path) -> None:
    """Pack a catalogue that is without findings into the signed file OUT."""
    data = or_end(lambda: bundles.pack(folder, bundles.private_key(key.read_text("ascii"))))
    or_end(lambda: out.write_bytes(data))
    click.echo(f"{len(data)} bytes")


@click.command()
@click.argument("source")
@click.option("--pin", help="The public key that bundles must be signed with.")
@click.pass_obj
def update(places: Places, source: str, pin: str | None) -> None:
    """Install the signed bundle SOURCE, a URL or a file, if it is newer than what is in use.

    Whatever is wrong with it: one line, exit code 2, and the old catalogue stays in use.
    """
    text = pin or places.key
    if not text:
        raise click.UsageError("no key to trust: set catalogue.key, or give --pin")
    key = or_end(lambda: bundles.public_key(text))
    click.echo(or_end(lambda: bundles.install(bundles.fetch(source), key, places.home)))
