"""`aiscope proxy`: inspection of requests to AI services. mitmproxy lives in an environment of its own,
which this starts."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor.cli import printable

if TYPE_CHECKING:
    from sensor.config import Settings
    from sensor.proxy.deliver import Delivery

ENVIRONMENT = ".venv-proxy"
# What it reads that nobody makes.
_FILES = (
    "policy.file",
    "inventory.csv",
    "catalogue.overrides",
    "proxy.upstream_ca",
    "proxy.seal_to",
    "dlp.key",
)


@click.group(invoke_without_command=True)
@click.option("--mode", metavar="MODE", help="regular, transparent, wireguard, socks5 or reverse:URL.")
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to listen; default 127.0.0.1:8080.")
@click.option(
    "--enforce/--observe", default=None, help="Do what the policy says, or only record what it would do."
)
@click.option("--policy", metavar="FILE", type=click.Path(path_type=Path), help="Which policy.")
@click.option("--store", metavar="URL", help="Ship to this store as well; without it `aiscope ship` does.")
@click.option(
    "--spool", metavar="FILE", type=click.Path(path_type=Path), help="Where events are kept until then."
)
@click.pass_context
def proxy(context: click.Context, /, **flags: Any) -> None:
    """Inspect requests to AI services; pass everything else through.

    Runs until SIGTERM or SIGINT. Without a policy file it only records.
    """
    if context.invoked_subcommand:
        return
    settings = _settings(flags)
    if importlib.util.find_spec("mitmproxy") is None:
        _elsewhere(settings)
    _serve(settings, bool(flags["store"]))


@proxy.command()
@click.argument("key", type=click.Path(path_type=Path))
def seal_key(key: Path) -> None:
    """Make a pair of keys to seal originals: KEY (private) and KEY.pub.

    The proxy needs KEY.pub only, setting `proxy.seal_to`. Keep KEY with the investigator, away from proxy
    and store.
    """
    from sensor.proxy import sealing

    private, public = sealing.make(key)
    click.echo(f"{private}: keep it off the proxy and the store\n{public}: for proxy.seal_to")


@proxy.command()
def trust() -> None:
    """How clients trust the proxy's certificates."""
    from sensor.proxy import ca, pages

    settings = _settings({}).proxy
    click.echo(pages.trust_text(settings.address or settings.listen, ca.fingerprint(settings.home)))


@proxy.command()
@click.option("--host", default="api.openai.com", show_default=True, help="An AI service to try.")
@click.option("--plain-host", default="example.com", show_default=True, help="A name that is no AI service.")
@click.option("--user", default="", metavar="NAME:PASSWORD", help="For a proxy that asks who it is.")
@click.option(
    "--client", is_flag=True, help="This machine is a client: all its runtimes have to trust the proxy."
)
def doctor(host: str, plain_host: str, user: str, client: bool) -> None:
    """Test a running proxy: its authority, what it listens at and reaches, what it decrypts and passes, and
    which runtimes here trust it.

    Exit code 1 when something is not as it should be.
    """
    from sensor.proxy.doctor import Doctor
    from sensor.proxy.runtimes import trusting

    settings, failed = _settings({}), False

    def say(name: str, state: str, good: bool | None) -> None:
        mark = {True: "ok", False: "!!", None: "--"}[good]
        click.echo(printable(f"{mark}  {name:24} {state}".rstrip()))

    for name, state, good in Doctor(settings, host, plain_host, user).run():
        failed |= good is False
        say(name, state, good)
    if (settings.proxy.home / "aiscope-ca.crt").exists():
        for name, remedy, trusts in trusting(settings.proxy.home):
            failed |= client and not trusts
            say(name, remedy or "trusts the proxy", trusts or (False if client else None))
    if failed:
        raise SystemExit(1)


@click.command()
@click.argument("key", type=click.Path(path_type=Path))
@click.argument("rows", type=click.File("r", encoding="utf-8"), default="-")
def unseal(key: Path, rows: Any) -> None:
    """Open originals that a proxy sealed. Works offline.

    ROWS are JSON lines with id, key_id and ciphertext, as `aiscope sql "SELECT * FROM sealed" --format JSONEachRow`
    prints.
    """
    import json

    from sensor.proxy.sealing import Unsealer, UnsealError

    opener = Unsealer(key)
    for number, line in enumerate(rows, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text = opener.unseal(row["id"], row["ciphertext"])
        except UnsealError as error:
            raise click.ClickException(f"line {number}: {error}") from None
        except (ValueError, TypeError, KeyError):
            raise click.ClickException(f"line {number}: not a row of `sealed`") from None
        click.echo(json.dumps({"id": row["id"], "text": text}))


def _settings(flags: dict[str, Any]) -> Settings:
    from sensor.config import load

    keys = {
        "mode": "proxy.mode",
        "listen": "proxy.listen",
        "enforce": "proxy.enforce",
        "policy": "policy.file",
        "store": "ship.urls",
        "spool": "spool.path",
    }
    return load(None, {keys[name]: value for name, value in flags.items()})


def _elsewhere(settings: Settings) -> None:
    """Run the same command with a Python that has mitmproxy."""
    root = Path(__file__).parents[2]
    if not settings.proxy.python and not (root / "Makefile").is_file():
        raise click.ClickException(
            "mitmproxy is not installed here: pip install 'aiscope[proxy]' in an environment of its own, "
            "and set proxy.python to its Python"
        )
    python = settings.proxy.python or root / ENVIRONMENT / "bin" / "python"
    if not python.is_file():
        raise click.ClickException(f"{python}: no such Python; `make proxy` makes it, or set proxy.python")
    os.execv(python, [str(python), "-m", "sensor.cli", *sys.argv[1:]])  # noqa: S606 - ourselves


def _serve(settings: Settings, ship: bool) -> None:
    import asyncio

    from sensor.config import present
    from sensor.proxy import ca, pages
    from sensor.proxy.run import WIREGUARD_CLIENT, names, open_catalogue, run

    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.WARNING)
    present(settings, *_FILES)
    home = settings.proxy.home
    made = ca.ensure(home, names(open_catalogue(settings), settings) if settings.proxy.constrained else ())
    where = settings.proxy.address or settings.proxy.listen
    if made:
        click.echo(f"A new authority: {home / ca.PUBLIC}\n{pages.trust_text(where, ca.fingerprint(home))}\n")

    def ready() -> None:
        doing = "enforces" if settings.proxy.enforce else "observes"
        about = f"{doing} {settings.policy.file}" if settings.policy.file else "observes, without a policy"
        if settings.proxy.mode == "wireguard":
            click.echo(f"for the client, `wg-quick up`: {home / WIREGUARD_CLIENT}")
        click.echo(
            f"{settings.proxy.mode} proxy at {settings.proxy.listen}, {about}; setup at http://{where}/"
        )

    if ship:
        _check_targets(settings)
    stop = threading.Event()
    shipping = threading.Thread(target=_ship, args=(settings, stop), daemon=True)
    try:
        if ship:
            shipping.start()
        errors = asyncio.run(run(settings, lambda: _delivery(settings), ready))
    finally:
        stop.set()
        if ship:
            shipping.join(30)
    if errors:
        click.echo(f"aiscope: {errors} failures of its own, see the log", err=True)
    if settings.proxy.mode == "wireguard":
        sys.stdout.flush()
        # All is written. mitmproxy's network stack has threads that crash when Python takes itself down.
        os._exit(0)


def _delivery(settings: Settings) -> Delivery:
    from sensor.proxy.deliver import Delivery
    from sensor.ship_cli import open_spool

    return Delivery(lambda: open_spool(settings))


def _check_targets(settings: Settings) -> None:
    """Raises ValueError before there is traffic, for a thread can tell nobody."""
    from sensor.delivery.ship import Options, Target

    for url in settings.ship.urls:
        Target(url, Options(ca=settings.ship.ca, plain=settings.ship.plain)).close()


def _ship(settings: Settings, stop: threading.Event) -> None:
    """What `aiscope ship` does, in a thread."""
    from sensor.delivery.outbox import Outbox
    from sensor.ship_cli import shipper

    while not settings.spool.path.exists() and not stop.wait(0.2):
        pass
    while not stop.is_set():
        with Outbox(settings.spool.path) as outbox:
            shipping = shipper(settings, outbox)
            try:
                shipping.run(stop)
            finally:
                shipping.close()
