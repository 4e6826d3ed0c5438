"""`aiscope catalogue`: look into the catalogue, check it, and keep it up to date.

Exit codes: 0 fine, 1 there are findings, 2 wrong usage or something that cannot be read.
"""

from __future__ import annotations

from pathlib import Path

import click

from sensor.knowledge.catalogue_load import PACKAGED


@click.group()
def catalogue() -> None:
    """Look into the catalogue of AI services, check it, keep it up to date."""


@catalogue.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=PACKAGED)
def check(folder: Path) -> None:
    """Check a catalogue's files: format, duplicates, fires and silent cases, rules without effect."""
    from sensor.knowledge.catalogue_check import check as check_folder

    services = folder / "services" if (folder / "services").is_dir() else folder
    problems = check_folder(services, whole=services != folder)
    for problem in problems:
        click.echo(str(problem))
    click.echo(f"{len(problems)} findings" if problems else "no findings", err=True)
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    catalogue()
