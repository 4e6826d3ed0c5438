"""`aiscope`: one command, whose subcommands are imported when they are called.

Whatever goes wrong is said in one line on standard error, without a traceback and without control characters.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click

from sensor import __version__
from sensor.reason import reason

# name: (module and attribute, what `aiscope --help` says of it)
COMMANDS = {
    "read": ("sensor.read_cli:read", "Read capture files: who uses which AI services, with what data."),
    "watch": ("sensor.watch_cli:watch", "Watch network interfaces, for as long as it runs."),
    "packets": ("sensor.packets_cli:packets", "The first packets of one connection, taken apart."),
    "dashboard": ("dashboard.cli:dashboard", "The same in a browser, from the store."),
    "sql": ("collector.cli:sql", "Ask the store in SQL."),
    "catalogue": ("sensor.knowledge.catalogue_cli:catalogue", "Look into the catalogue of services."),
    "proxy": ("sensor.proxy.cli:proxy", "Inspect requests to AI services before they leave."),
    "dlp": ("sensor.dlp_cli:command", "Try and check detectors of sensitive data; make hashed lists."),
    "unseal": ("sensor.proxy.cli:unseal", "Open originals that a proxy sealed."),
    "ship": ("sensor.ship_cli:ship", "Deliver what a sensor has kept to the store."),
    "spool": ("sensor.ship_cli:spool", "What a sensor has kept and the store does not have yet."),
    "policy": ("sensor.knowledge.policy_cli:policy", "What is allowed: check, test, try on history, export."),
    "collect": (
        "collector.collect_cli:collect",
        "Serve the store over ClickHouse's HTTP interface; its users.",
    ),
    "store": ("collector.store_cli:store", "Look after a store: backups, checks, the rows of one person."),
    "migrate": ("collector.cli:migrate", "Bring a store's schema to this version."),
    "settings": ("sensor.settings_cli:settings", "The settings in effect and where they come from."),
    "doctor": ("sensor.doctor_cli:doctor", "What is installed, what works, what is missing."),
}
# Whose modules need more than a sensor has; the longest name that fits says what to install.
EXTRAS = {
    "collector": "collector",
    "dashboard": "dashboard",
    "sensor.packets_cli": "packets",
    "sensor.proxy": "proxy",
    "sensor.dlp_cli": "dlp",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise click.ClickException(_missing(cmd_name, error)) from None
        _whole(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


def _whole(command: click.Command) -> None:
    """A list of commands says whole sentences, over two lines if need be: click cuts each to one."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            one.short_help = one.get_short_help_str(limit=1000)
            _whole(one)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aiscope")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings file; default ./aiscope.toml, then /etc/aiscope/aiscope.toml.",
)
def aiscope(config: Path | None) -> None:
    """Who uses which AI services, with what data: from network traffic."""
    if config:
        os.environ["AISCOPE_CONFIG"] = str(config)  # for this process and those it starts


def printable(text: str) -> str:
    """Text for a terminal: what is not printable becomes an escape, lines stay lines."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end with its exit code."""
    _streams()
    code: object
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except click.ClickException as error:
        _say(error.format_message())
        code = error.exit_code
    except ModuleNotFoundError as error:  # a command imports when it knows what it needs
        given = sys.argv[1:] if arguments is None else arguments
        _say(_missing(next(word for word in given if word in COMMANDS), error))
        code = 1
    except (click.Abort, KeyboardInterrupt, EOFError):
        code = 130
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (OSError, ValueError, ImportError) as error:  # the last: of a library that cannot be loaded
        _say(reason(error))
        code = 1
    sys.exit(code)  # type: ignore[arg-type]


def _streams() -> None:
    """What was closed (`>&-`) leads nowhere: the next file that is opened must not be standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115


def _run(arguments: list[str] | None) -> object:
    """The command's exit code. Not click's own `main`, which makes 1 of a reader that has seen enough."""
    try:
        with aiscope.make_context("aiscope", sys.argv[1:] if arguments is None else [*arguments]) as context:
            aiscope.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code
    return 0


def _missing(command: str, error: ModuleNotFoundError) -> str:
    if closed := next(filter(_is_closed, sys.path), None):
        return f"{command} needs {error.name}, which may be in {closed}: this user cannot read that"
    if (error.name or "").partition(".")[0] in sys.stdlib_module_names:
        return f"{command} needs {error.name}, which this Python was built without"
    module = COMMANDS[command][0]
    extra = max((name for name in EXTRAS if module.startswith(name)), key=len, default="")
    what = f"aiscope[{EXTRAS[extra]}]" if extra else "aiscope"
    return f"{command} needs {error.name}, which is not installed: pip install '{what}'"


def _is_closed(folder: str) -> bool:
    try:
        next(Path(folder).iterdir(), None)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _say(message: str) -> None:
    click.echo(printable(f"aiscope: {message}"), err=True)


if __name__ == "__main__":
    main()
