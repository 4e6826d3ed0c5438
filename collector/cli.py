"""`aiscope sql` and `aiscope migrate`."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from typing import Any

import click

STORE = click.option("--store", metavar="URL|DIR", help="Which store; default from the settings.")

_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def _settings(store: str | None) -> Any:
    from collector.store import as_url
    from sensor.config import load

    return load(flags={"store.url": None if store is None else as_url(store)})


@click.command(context_settings={"ignore_unknown_options": True})  # a statement may begin with a `-- comment`
@click.argument("text")
@STORE
@click.option(
    "--format", "form", metavar="NAME", help="Any of ClickHouse's output formats: TSV, CSV, JSON, ..."
)
def sql(text: str, store: str | None, form: str | None) -> None:
    """Run the statement TEXT (`-`: from standard input) on the store.

    A table on a terminal, tab-separated values with a header line otherwise, or what --format or its own FORMAT
    says. `aiscope` is the default database.
    """
    from collector.store import existing, open_store, own_format

    text = sys.stdin.read() if text == "-" else text
    if not _COMMENTS.sub("", text).strip(" \t\r\n;"):
        raise click.UsageError("no statement")
    with open_store(existing(_settings(store).store.url)) as opened:
        if form is None and sys.stdout.isatty() and not own_format(text):
            _table(opened.sql(text, "JSONCompact").read())
            return
        answer = opened.sql(text, form or "TabSeparatedWithNames")
        while chunk := answer.read(1 << 16):
            sys.stdout.buffer.write(chunk)


def _table(answer: bytes) -> None:
    """Rows for a terminal. Values come from the wire: they are shown as text, escaped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sensor.cli import printable

    if not answer.strip():  # a statement without rows
        return
    found = json.loads(answer)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in found["meta"]:
        number = column["type"].startswith(("UInt", "Int", "Float", "Decimal"))
        table.add_column(Text(printable(column["name"])), justify="right" if number else "left")
    for row in found["data"]:
        table.add_row(*(Text(printable(_cell(value))) for value in row))
    Console(highlight=False).print(table)


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


@click.command()
@STORE
@click.option("--cluster", metavar="NAME", default="", help="Replicated tables on a cluster of this name.")
@click.option("--check", is_flag=True, help="Only say whether migrations are missing: exit code 1.")
@click.option("--plan", is_flag=True, help="Only print the statements that would be run.")
def migrate(store: str | None, cluster: str, check: bool, plan: bool) -> None:
    """Bring the store's schema, retention and catalogue to this version and the settings. Forward only."""
    from collector import migrate as schema
    from collector.records import record_services
    from collector.store import Store, shown
    from sensor.knowledge.catalogue import load
    from sensor.knowledge.catalogue_files import newest

    settings = _settings(store)
    retention = asdict(settings.retention)
    with Store(settings.store.url) as opened:
        missing = schema.pending(opened)
        if plan:
            for migration in missing:
                for statement in schema.render(migration.text, cluster):
                    click.echo(f"{statement};\n")
            for statement in schema.retention_changes(opened, retention, cluster):
                click.echo(f"{statement};\n")
        elif not check:
            schema.migrate(opened, retention, cluster)
            catalogue = load(newest(settings.catalogue.home), settings.catalogue.overrides)
            record_services(opened, catalogue.id, catalogue.rows())
    for migration in missing:
        click.echo(f"{migration.number:04} {migration.name}", err=True)
    state = "missing" if check or plan else "applied"
    click.echo(f"{shown(settings.store.url)}: {len(missing)} migrations {state}", err=True)
    sys.exit(1 if check and missing else 0)
