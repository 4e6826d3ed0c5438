"""`aiscope collect`: the embedded store behind ClickHouse's HTTP interface, and its users."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import click

from sensor.listen import address

USERS = click.option(
    "--users",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The users file; default collect/users.json beside the store.",
)


def _hours(ctx: click.Context, option: click.Parameter, value: float) -> float:
    if not 0 <= value <= 8760:  # nan neither, which click's own range lets through
        raise click.BadParameter(f"{value} is not in the range 0 to 8760.", ctx, option)
    return value


@click.group(invoke_without_command=True)
@click.option("--store", metavar="DIR", help="The store's directory; default from the settings.")
@click.option("--listen", default="127.0.0.1:8123", show_default=True, metavar="HOST:PORT")
@click.option(
    "--owner",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Instead: an instance on DIR, on loopback, where any SQL may run.",
)
@click.option(
    "--certificate", type=click.Path(exists=True, path_type=Path), help="TLS certificate chain (PEM)."
)
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="Its private key (PEM).")
@click.option(
    "--client-ca",
    type=click.Path(exists=True, path_type=Path),
    help="Clients need a certificate of this authority, and log in as well.",
)
@click.option(
    "--insecure-listen", is_flag=True, help="Plain HTTP on other than loopback addresses: passwords in clear."
)
@USERS
@click.pass_context
def collect(
    ctx: click.Context,
    store: str | None,
    listen: str,
    owner: Path | None,
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    insecure_listen: bool,
    users: Path | None,
) -> None:
    """Serve the store over ClickHouse's HTTP interface."""
    if ctx.invoked_subcommand:
        return
    from collector import confine
    from collector.serve import Serving, serve

    host, port = _address(listen)
    if owner and not _loopback(host):
        raise click.UsageError("--owner listens on loopback only: any SQL may run there")
    if not (certificate or insecure_listen or _loopback(host)):
        raise click.UsageError(
            f"{host} is not loopback: give --certificate and --key, or --insecure-listen to send passwords in clear"
        )
    if (client_ca or key) and not certificate:
        raise click.UsageError("--client-ca and --key need --certificate")
    directory = _store(str(owner) if owner else store).resolve()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if owner is None:
        confine.migrate(directory)
        users = _users(users, directory)
        users.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    serve(Serving(directory, host, port, None if owner else users, certificate, key, client_ca))


@collect.group()
def user() -> None:
    """Users of the collector: names, roles, secrets. Changes count at once, without a restart."""


@user.command()
@click.argument("name")
@click.option(
    "--role", required=True, type=click.Choice(["sensor", "reader", "analyst", "investigator", "admin"])
)
@click.option("--sensor", default="", help="For the role sensor: what its rows are called; default its name.")
@click.option("--password", is_flag=True, help="Ask for a password instead of making a token.")
@USERS
def add(name: str, role: str, sensor: str, password: bool, users: Path | None) -> None:
    """Make the user NAME and print its token, which is shown this once."""
    from collector.users import add as made

    _show(made(_users(users, _store(None)), name, role, _asked(password), sensor))


@user.command()
@click.argument("name")
@click.option(
    "--overlap",
    default=24.0,
    show_default=True,
    callback=_hours,
    help="Hours that the old secret goes on, at most 8760.",
)
@click.option("--password", is_flag=True, help="Ask for a password instead of making a token.")
@USERS
def rotate(name: str, overlap: float, password: bool, users: Path | None) -> None:
    """Give NAME a new token and print it, this once."""
    from collector.users import rotate as rotated

    _show(rotated(_users(users, _store(None)), name, overlap * 3600, _asked(password)))


@user.command()
@click.argument("name")
@click.option("--per-second", type=click.FloatRange(min=0.1), help="Requests a second.")
@click.option("--at-once", type=click.IntRange(min=1), help="Requests at the same time.")
@click.option("--role", type=click.Choice(["sensor", "reader", "analyst", "investigator", "admin"]))
@USERS
def change(name: str, users: Path | None, **values: Any) -> None:
    """Change NAME's role or limits."""
    from collector.users import change as changed

    changed(
        _users(users, _store(None)),
        name,
        **{key: value for key, value in values.items() if value is not None},
    )


@user.command()
@click.argument("name")
@USERS
def remove(name: str, users: Path | None) -> None:
    """Take NAME away."""
    from collector.users import remove as removed

    removed(_users(users, _store(None)), name)


@user.command("list")
@USERS
def listed(users: Path | None) -> None:
    """All users with role, limits and secrets (without their values)."""
    import datetime as dt

    from collector.users import load

    for found in load(_users(users, _store(None))).users.values():
        until = [
            dt.datetime.fromtimestamp(s.expires, dt.UTC).isoformat("T", "minutes") if s.expires else ""
            for s in found.secrets
        ]
        kinds = ", ".join(
            f"{s.kind}{f' until {end}' if end else ''}" for s, end in zip(found.secrets, until, strict=True)
        )
        click.echo(f"{found.name}\t{found.role}\t{found.per_second:g}/s, {found.at_once} at once\t{kinds}")


def _asked(wanted: bool) -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True)) if wanted else ""


def _show(token: str) -> None:
    if token:
        click.echo(token)


def _store(given: str | None) -> Path:
    """The directory that is served: as given, or the settings' store when that is a directory."""
    from collector.store import as_url, directory
    from sensor.config import load, user_data

    if given is None:
        return directory(load().store.url) or user_data() / "store"
    if found := directory(as_url(given)):
        return found
    raise click.UsageError(f"--store {given}: a directory is served")


def _users(given: Path | None, store: Path) -> Path:
    from sensor.config import expanded

    return expanded(given or store.parent / "collect" / "users.json").resolve()


def _address(listen: str) -> tuple[str, int]:
    try:
        host, port = address(listen)
    except ValueError as error:
        raise click.UsageError(f"--listen {error}") from None
    if not host:
        raise click.UsageError(f"--listen {listen}: HOST:PORT is wanted")
    return host, port


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
