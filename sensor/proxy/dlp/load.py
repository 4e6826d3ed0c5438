"""Detector files to detectors. Everything that is wrong is said at once, with file, line and key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sensor.knowledge.catalogue_files import Problem
from sensor.knowledge.catalogue_yaml import Lines, UnreadableError, parse
from sensor.proxy.dlp.detector import Detector, DetectorFile
from sensor.proxy.dlp.samples import UnknownFieldError, expand
from sensor.proxy.dlp.validators import UnknownCheckError, check

PACKAGED = Path(__file__).parents[3] / "signatures" / "detectors"
MAX_DETECTORS = 5_000


class DetectorError(ValueError):
    """Detector files that cannot be used."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load(folders: Iterable[Path] = (PACKAGED,)) -> tuple[Detector, ...]:
    """The detectors of all `*.yaml` in these folders; of two with one id the later folder's counts.

    Raises DetectorError, and OSError when a folder cannot be read.
    """
    problems: list[Problem] = []
    found: dict[str, Detector] = {}
    for folder in folders:
        here: dict[str, str] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix == ".yaml":
                _take(path, found, here, problems)
    if len(found) > MAX_DETECTORS:
        problems.append(Problem(str(folder), 0, "", f"more than {MAX_DETECTORS} detectors"))
    if problems:
        raise DetectorError(problems)
    return tuple(found.values())


def _take(path: Path, found: dict[str, Detector], here: dict[str, str], problems: list[Problem]) -> None:
    """Add a file's detectors; `here` knows which ids this folder has already."""
    try:
        value, lines = parse(path.read_bytes())
        value = _with_defaults(value)
        file = DetectorFile.model_validate(value)
    except UnreadableError as error:
        problems.append(Problem(path.name, error.line, "", str(error)))
        return
    except ValidationError as error:
        problems.extend(_explained(path.name, error, lines, value))
        return
    for index, detector in enumerate(file.detectors):
        line = lines.get(("detectors", index), 0)
        problems += [Problem(path.name, line, f"{detector.id}.{key}", text) for key, text in _wrong(detector)]
        if detector.id in here:
            problems.append(Problem(path.name, line, detector.id, f"also in {here[detector.id]}"))
        here[detector.id] = path.name
        found[detector.id] = detector


def _with_defaults(value: Any) -> Any:
    """`defaults` merged into every detector; what is not of that shape is left for the schema to refuse."""
    if not isinstance(value, dict) or not isinstance(value.get("defaults"), dict):
        return value
    rest = {key: item for key, item in value.items() if key != "defaults"}
    if isinstance(rest.get("detectors"), list):
        rest["detectors"] = [
            {**value["defaults"], **item} if isinstance(item, dict) else item for item in rest["detectors"]
        ]
    return rest


def _explained(file: str, error: ValidationError, lines: Lines, value: Any) -> Iterator[Problem]:
    """Pydantic's findings with the detector's id and the line of the nearest key that is in the file."""
    for item in error.errors():
        path = tuple(item["loc"])
        near = path
        while near and near not in lines:
            near = near[:-1]
        name = ".".join(map(str, path))
        if len(path) > 1 and path[0] == "detectors" and isinstance(path[1], int):
            entry = value["detectors"][path[1]]
            known = entry.get("id") if isinstance(entry, dict) else None
            name = ".".join(map(str, (known or f"detectors.{path[1]}", *path[2:])))
        yield Problem(file, lines.get(near, 0), name, item["msg"].removeprefix("Value error, "))


def _wrong(detector: Detector) -> Iterator[tuple[str, str]]:
    """What the schema cannot say: unknown checks, unknown fields in cases."""
    for entry in detector.validate_:
        try:
            check(entry, ("US",))
        except UnknownCheckError as error:
            yield "validate", str(error)
    for key in ("fires", "silent"):
        for case in getattr(detector, key):
            try:
                expand(case)
            except UnknownFieldError as error:
                yield key, str(error)
