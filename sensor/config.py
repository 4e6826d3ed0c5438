"""Settings, read: flags win over `AISCOPE_SECTION_KEY` environment variables, those over the file, the file
over the defaults.

The file is TOML: `--config`, else `AISCOPE_CONFIG`, else `./aiscope.toml`, else `/etc/aiscope/aiscope.toml`.
What is not in the table (`sensor.settings`) is refused, with the file or variable and the key.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from sensor.settings import PREFIX, SECTIONS, Settings, expanded, markdown, store_url, table, user_data

__all__ = [
    "Settings",
    "SettingsError",
    "expanded",
    "load",
    "markdown",
    "resolve",
    "store_url",
    "table",
    "user_data",
]

CONFIG = "AISCOPE_CONFIG"
# Read where there are no settings yet, by this module, by setup.py and by the tests.
OTHERS = {CONFIG, "AISCOPE_NATIVE", "AISCOPE_CLICKHOUSE_URL", "AISCOPE_GOLDEN"}
FILES = (Path("aiscope.toml"), Path("/etc/aiscope/aiscope.toml"))


class SettingsError(ValueError):
    """What is wrong with the settings, one `origin: key: reason` per line."""


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """The effective settings. `flags` are `section.key` to value; None is a flag that was not given.

    Raises SettingsError.
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
    made: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for section, values in merged.items():
        for key, value in values.items() if section in SECTIONS else [("", None)]:
            name = f"{section}.{key}".removesuffix(".")
            try:
                made.setdefault(section, {})[key] = _checked(name, value)
            except ValueError as error:
                origin = next(o for known, o in origins.items() if f"{known}.".startswith(f"{name}."))
                problems.append(_explained(origin, name, error))
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**{section: SECTIONS[section](**values) for section, values in made.items()}), origins


def configured(settings: Settings) -> dict[str, Path]:
    """`section.key` of every file and folder that somebody named and that nobody makes."""
    found: dict[str, Path] = {}
    for section, kind in SECTIONS.items():
        for key, hint in get_type_hints(kind).items():
            path = getattr(getattr(settings, section), key)
            if hint == Path | None and path is not None and f"{section}.{key}" != "watch.evidence":
                found[f"{section}.{key}"] = path
    return found


# What a sensor reads that nobody makes.
SENSOR_FILES = ("catalogue.overrides", "inventory.csv", "policy.file", "place.country_db", "place.asn_db")


def present(settings: Settings, *names: str) -> None:
    """Raise SettingsError when one of these is set and not there."""
    given = {name: operator.attrgetter(name)(settings) for name in names}
    absent = [
        f"{name}: {path}: no such file or folder"
        for name, path in given.items()
        if path and not path.exists()
    ]
    if absent:
        raise SettingsError("\n".join(absent))


def _layers(config: Path | None, flags: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sections by origin, weakest first."""
    named = config or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
    path = named or next((file for file in FILES if file.is_file()), None)
    if path:
        import tomllib

        try:
            yield str(path), tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from None
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
    found: dict[str, Any] = {}
    for name, value in os.environ.items():
        if name.startswith(PREFIX) and name not in OTHERS:
            section, _, key = name.removeprefix(PREFIX).lower().partition("_")
            if section not in SECTIONS or not key:
                raise SettingsError(f"environment: {name}: unknown setting")
            found.setdefault(section, {})[key] = value
    return found


# Of every number: no engine and no store holds more.
_BOUNDS: dict[Any, dict[str, Any]] = {int: {"le": 2**53}, float: {"allow_inf_nan": False}}


class _UnknownError(ValueError):
    """No such setting."""


def _checked(name: str, value: Any) -> Any:
    """The value of a setting as its type and bounds want it. Raises ValueError."""
    section, _, key = name.partition(".")
    entry = getattr(SECTIONS.get(section), "__dataclass_fields__", {}).get(key)
    if entry is None:
        raise _UnknownError
    kind = get_type_hints(SECTIONS[section])[key]
    bounds = {
        **_BOUNDS.get(kind, {}),
        **entry.metadata.get("bounds", {"ge": 1}),
    }  # the engine's limits have none
    if (given := _plainly(kind, value, bounds)) is None:
        from pydantic import Field, TypeAdapter  # most runs have little set, and need not wait for it

        if get_origin(kind) is tuple and isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        wanted: Any = Annotated[kind, Field(**bounds)]
        given = TypeAdapter(wanted).validate_python(value)
    if isinstance(given, Path):
        return Path(os.path.expanduser(given))  # noqa: PTH111 - an unknown user stays
    made = entry.metadata.get("made")
    return made(given) if made else given


def _plainly(kind: Any, value: Any, bounds: Mapping[str, Any]) -> Any:
    """A text where a text, a path or one of some words is wanted, a number in its bounds; None where more has to be
    looked at.
    """
    if type(value) is int and kind is int and bounds.keys() <= {"ge", "le"}:
        return value if bounds.get("ge", value) <= value <= bounds.get("le", value) else None
    if bounds or not isinstance(value, str):
        return None
    if kind is str or (get_origin(kind) is Literal and value in get_args(kind)):
        return value
    return Path(value) if kind in (Path, Path | None) else None


def _explained(origin: str, name: str, error: ValueError) -> str:
    where = f"{PREFIX}{name.replace('.', '_').upper()}" if origin == "environment" else name
    if isinstance(error, _UnknownError):
        import difflib

        close = difflib.get_close_matches(name, [key for key, *_ in table()], 1)
        return f"{origin}: {where}: unknown setting" + (f", did you mean {close[0]}?" if close else "")
    errors = getattr(error, "errors", None)  # pydantic's, in its words
    return f"{origin}: {where}: {errors()[0]['msg'] if errors else error}"
