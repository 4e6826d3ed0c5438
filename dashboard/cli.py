"""`aiscope dashboard`: the pages on a store, in a browser."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from sensor.cli import printable
from sensor.config import load
from sensor.listen import address, bind

APP = Path(__file__).with_name("app.py")
PAGES = ("overview", "findings", "content", "service", "client", "visibility")
OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "theme.base": "light",
    "theme.primaryColor": "#0072B2",
}


@click.command()
@click.option("--store", metavar="URL|DIR", help="Which store; default from the settings.")
@click.option("--listen", metavar="HOST:PORT", help="Where to serve; default 127.0.0.1:8501.")
@click.option(
    "--check", is_flag=True, help="Draw every page once without a browser, say what they show, and end."
)
def dashboard(store: str | None, listen: str | None, check: bool) -> None:
    """Who uses which AI services, in a browser."""
    if store is not None:
        from collector.store import as_url

        os.environ["AISCOPE_STORE_URL"] = as_url(store)
    if check:
        sys.exit(draw_all())
    host, port = address(load(flags={"dashboard.listen": listen}).dashboard.listen)
    host = host or "127.0.0.1"
    bind(host, port).close()  # Streamlit would say it with a traceback
    options = OPTIONS | {"server.address": host, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *flags]
    os.execv(sys.executable, command)  # noqa: S606  # this process becomes it: a signal to one is to both


def one_page(name: str) -> None:
    """One page's script, for `--check`: Streamlit's test frame knows no navigation."""
    import importlib

    from dashboard.app import asked, page

    page(importlib.import_module(f"dashboard.views.{name}").show, name, asked())()


def draw_all() -> int:
    """Run every page's script and report; 1 when one of them fails, shows an error or has no rows."""
    logging.disable(logging.WARNING)  # Streamlit's, about running without a server
    from streamlit.testing.v1 import AppTest

    from dashboard.parts import unmarked

    failed = False
    for name in PAGES:
        shown = AppTest.from_function(one_page, args=(name,), default_timeout=60).run()
        problems = [*(e.message for e in shown.exception), *(unmarked(e.value) for e in shown.error)]
        rows = sum(len(frame.value) for frame in shown.dataframe)
        failed |= bool(problems) or not (rows or shown.info)
        state = "; ".join(problems) or f"{len(shown.metric)} numbers, {rows:,} rows"
        click.echo(printable(f"  {name:<12}{state}"))
    return int(failed)
