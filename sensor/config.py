"""Settings, read: flags win over `AISCOPE_SECTION_KEY` environment variables, those over the file, the file
over the defaults.

The file is TOML: `--config`, else `AISCOPE_CONFIG`, else `./aiscope.toml`, else `/etc/aiscope/aiscope.toml`.
What is not in the table (`sensor.settings`) is refused, with the file or variable and the key.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from sensor.settings import PREFIX, Settings, markdown, table, user_data

__all__ = ["Settings", "SettingsError", "load", "markdown", "resolve", "table", "user_data"]

CONFIG = "AISCOPE_CONFIG"
# Read where there are no settings yet, by this module, by setup.py and by the tests.
OTHERS = {CONFIG, "AISCOPE_NATIVE", "AISCOPE_CLICKHOUSE_URL", "AISCOPE_GOLDEN"}
FILES = (Path("aiscope.toml"), Path("/etc/aiscope/aiscope.toml"))


class SettingsError(ValueError):
    """What is wrong with the settings, one `origin: key: reason` per line."""


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """The effective settings. `flags` are `section.key` to value; None is a flag that was not given.

    Raises SettingsError, and OSError when `config` cannot be read.
    """
    return resolve(config, flags)[0]


def resolve(
    config: Path | None = None, flags: Mapping[str, Any] | None = None
) -> tuple[Settings, dict[str, str]]:
    """The effective settings and where each `section.key` comes from; what is not there is a default."""
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for origin, layer in _layers(config, flags or {}):
        for section, values in layer.items():
            if not isinstance(values, dict):
                raise SettingsError(f"{origin}: {section}: unknown setting outside a section")
            merged.setdefault(section, {}).update(values)
            origins.update({f"{section}.{key}": origin for key in values})
    try:
        return Settings(**merged), origins  # type: ignore[arg-type]  # unchecked input: that is what it is for
    except ValidationError as error:
        raise SettingsError("\n".join(_explained(error, origins))) from None


def _layers(config: Path | None, flags: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sections by origin, weakest first."""
    named = config or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
    path = named or next((file for file in FILES if file.is_file()), None)
    if path:
        try:
            yield str(path), tomllib.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise SettingsError(f"{path}: {error}") from None
    yield "environment", _environment()
    given: dict[str, Any] = {}
    for name, value in flags.items():
        if value is not None:
            section, key = name.split(".")
            given.setdefault(section, {})[key] = value
    yield "flag", given


def _environment() -> dict[str, Any]:
    sections = tuple(f"{PREFIX}{section.upper()}_" for section in Settings.model_fields)
    for name in os.environ:
        if name.startswith(PREFIX) and name not in OTHERS and not name.startswith(sections):
            raise SettingsError(f"environment: {name}: unknown setting")
    return EnvSettingsSource(Settings)()


def _explained(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    known = [key for key, *_ in table()]
    for item in error.errors():
        key = ".".join(map(str, item["loc"][:2]))
        origin = next(
            (o for name, o in origins.items() if name == key or name.startswith(f"{key}.")), "default"
        )
        where = f"{PREFIX}{key.replace('.', '_').upper()}" if origin == "environment" else key
        if item["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            close = difflib.get_close_matches(key, known, 1)
            yield f"{origin}: {where}: unknown setting" + (f", did you mean {close[0]}?" if close else "")
        else:
            yield f"{origin}: {where}: {item['msg']}"
