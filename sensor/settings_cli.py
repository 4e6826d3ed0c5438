"""`aiscope settings`: what is in effect and where it comes from."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import click


@click.command()
@click.option("--markdown", is_flag=True, help="The table of all settings, as in docs/settings.md.")
def settings(markdown: bool) -> None:
    """Print the settings in effect, each with its origin: flag, environment, a file, or default."""
    from sensor import config

    if markdown:
        click.echo(config.markdown(), nl=False)
        return
    effective, origins = config.resolve()
    for name, *_ in config.table():
        section, key = name.split(".")
        value = _shown(getattr(getattr(effective, section), key))
        click.echo(f"{name:24} {value:44} # {origins.get(name, 'default')}")


def _shown(value: object) -> str:
    """As TOML writes it, or JSON, which is the same for these; nothing for what is left out. No passwords."""
    if isinstance(value, str) and "@" in value and (parts := urlsplit(value)).password:
        value = parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}").geturl()
    elif isinstance(value, str) and value.startswith(("ldap:", "ldaps:")):  # proxy.auth
        value = re.sub(r":[^:]*:([^:]*)$", r":***:\1", value)
    return "" if value is None else json.dumps(value, default=str)
