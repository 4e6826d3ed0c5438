"""Whether a command line in a file that we ship is one that `aiscope` has."""

from __future__ import annotations

import click

from sensor.cli import aiscope


def check_options(words: list[str]) -> None:
    """Every subcommand and option in `words` exists. Values are not looked at."""
    command: click.Command = aiscope
    context = click.Context(command)
    for word in words:
        if word.startswith("--"):
            known = {option for parameter in command.params for option in parameter.opts}
            assert word.partition("=")[0] in known, f"{command.name}: {word}"
        elif isinstance(command, click.Group) and (found := command.get_command(context, word)):
            command = found
    assert command is not aiscope, f"no command in {words}"
