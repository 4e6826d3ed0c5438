"""What the commands of `aiscope catalogue` share: where catalogues are, and how text reaches a terminal."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sensor.knowledge.catalogue import Catalogue, load
from sensor.knowledge.catalogue_files import CatalogueError, newest
from sensor.reason import reason

T = TypeVar("T")
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclasses.dataclass(frozen=True)
class Places:
    """Where catalogues are, and whom to believe: from the settings."""

    home: Path
    overrides: Path | None
    key: str  # public key that updates must be signed with; "" when none is pinned

    def load(self) -> Catalogue:
        """The catalogue in use; what is wrong ends the command."""
        return read(or_end(lambda: newest(self.home)), self.overrides)


def read(root: Path, overrides: Path | None = None) -> Catalogue:
    """A folder's catalogue; what is wrong is said, all of it, and ends the command."""
    try:
        return load(root, overrides)
    except CatalogueError as error:
        for problem in error.problems:
            click.echo(printable(str(problem)), err=True)
    except (OSError, UnicodeDecodeError) as error:
        click.echo(f"{printable(str(root))}: cannot be read: {printable(reason(error))}", err=True)
    raise SystemExit(2)


def printable(text: str) -> str:
    """Text for a terminal: what is not printable becomes an escape."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def as_json(value: Any) -> str:
    """One line of JSON without control characters."""
    return json.dumps(value, default=str).replace("\x7f", "\\u007f")


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Aligned columns, without lines around them; as wide as they need when not on a terminal."""
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    grid = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold" if console.is_terminal else ""
    )
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(str(value))) for value in row))
    with console.capture() as capture:
        console.print(grid)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def or_end(step: Callable[[], T]) -> T:
    """What a step returns; when it cannot be done, one line, and nothing has changed."""
    try:
        return step()
    except (ValueError, OSError) as error:
        click.echo(printable(str(error)), err=True)
        raise SystemExit(2) from None
