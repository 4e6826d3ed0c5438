"""What `aiscope watch` says on standard error. A message that nobody can read ends nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

import click

from sensor.cli import printable


def say(message: str) -> None:
    """A line of its own, in place of the status line."""
    with _heard():
        start = "\r\x1b[K" if sys.stderr.isatty() else ""
        click.echo(f"{start}aiscope: {printable(message)}", err=True)


def status(line: str) -> None:
    """The one line on a terminal that changes."""
    with _heard():
        if sys.stderr.isatty():
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            click.echo(f"\r\x1b[K{printable(line)[:width]}", nl=False, err=True)


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """A terminal or a reader that is gone stays gone; a full pipe or disk takes the next line perhaps."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EIO, errno.EPIPE):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
