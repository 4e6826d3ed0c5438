"""`aiscope dlp`: try detectors on a text, check detector files, make hashed lists and document fingerprints.

Exit codes: 0 nothing found or no findings, 1 something found, 2 wrong usage or something that cannot be read.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sensor.reason import reason

if TYPE_CHECKING:  # the extra `dlp`, which --help does without
    from sensor.proxy import dlp

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_READ = 64 << 20
T = TypeVar("T")


@click.group("dlp")
def command() -> None:
    """Try the detectors of sensitive data, check your own, and make hashed lists.

    Exit codes: 0 nothing found, 1 something found, 2 wrong usage or unreadable.
    """


def _or_end(work: Callable[[], T]) -> T:
    try:
        return work()
    except (OSError, ValueError) as error:
        raise click.UsageError(reason(error)) from None


@command.command("test")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path), default="-"
)
@click.option(
    "--detectors", multiple=True, type=_FOLDER, help="A folder of your own detectors. May be repeated."
)
@click.option(
    "--region",
    multiple=True,
    default=("US",),
    help="Country of numbers written without one.",
    show_default=True,
)
@click.option("--names", multiple=True, type=_FILE, help="A dictionary of people's names, one a line.")
@click.option("--words", multiple=True, type=_FILE, help="A list of words, one a line.")
@click.option("--list", "hashed", multiple=True, type=_FILE, help="A hashed list or document.")
@click.option("--key", type=_FILE, help="The key that hashed lists were made with.")
@click.option("--json", "json_", is_flag=True, help="One JSON object per hit.")
def test(
    file: Path,
    detectors: tuple[Path, ...],
    region: tuple[str, ...],
    json_: bool,
    key: Path | None,
    **site: Any,
) -> None:
    """Say what would be found in FILE (text, JSON, PDF, Office, archive), or in standard input. Values are redacted."""
    from sensor.proxy import dlp
    from sensor.proxy.dlp.load import PACKAGED
    from sensor.proxy.dlp.site import read_key

    secret = _or_end(lambda: read_key(key)) if key else b""
    config = _or_end(
        lambda: dlp.open_config((PACKAGED, *detectors), dlp.open_site(region, **site, key=secret))
    )
    if str(file) == "-":
        data, where = sys.stdin.buffer.read(_READ), "stdin"
    else:
        with file.open("rb") as opened:
            data, where = opened.read(_READ), file.name
    found = dlp.extract(data, where=where)
    hits = (*dlp.scan(found.texts, config).hits, *found.problems)
    _show(hits, found.texts, json_)
    raise SystemExit(1 if hits else 0)


def _show(hits: Iterable[dlp.Hit], texts: tuple[dlp.Text, ...], json_: bool) -> None:
    by_place: dict[str, list[str]] = {}
    for text in texts:
        by_place.setdefault(text.where, []).append(text.text)
    for hit in hits:
        only = by_place.get(hit.where, [])
        shown = redacted(only[0][hit.start : hit.end]) if len(only) == 1 else ""
        if json_:
            row = {name: getattr(hit, name) for name in hit.__slots__}
            click.echo(json.dumps({**row, "redacted": shown}, ensure_ascii=True))
            continue
        sign = " (heuristic)" if hit.heuristic else ""
        place = f"{hit.where}:{hit.start}-{hit.end}"
        line = (
            f"{hit.data_class:22} {hit.confidence:6} {hit.severity:8} {hit.detector}{sign}  {place}  {shown}"
        )
        click.echo("".join(c if c.isprintable() else "?" for c in line))


def redacted(value: str) -> str:
    """Enough of a value to find it again: two characters at each end of long ones, and how long it is."""
    ends = f"{value[:2]}…{value[-2:]}" if len(value) >= 12 else "…"
    return f"{ends} ({len(value)})"


@command.command("check")
@click.argument("folder", type=_FOLDER, required=False)
def check(folder: Path | None) -> None:
    """Check detector files: format, patterns, and that every case fires or stays silent."""
    from sensor.proxy.dlp.check import check_folder
    from sensor.proxy.dlp.load import PACKAGED

    problems = check_folder(folder or PACKAGED)
    for problem in problems:
        click.echo("".join(c if c.isprintable() else "?" for c in problem))
    click.echo(f"{len(problems)} findings" if problems else "no findings", err=True)
    raise SystemExit(1 if problems else 0)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a detector file, for editors."""
    from sensor.proxy.dlp.detector import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@command.command("hash-list")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Key file; made when missing.",
)
def hash_list(name: str, file: Path, key: Path) -> None:
    """Hash the values in FILE, one a line, for exact matching; print the list. NAME is lower case with hyphens."""
    from sensor.proxy.dlp import site as lists

    path = Path("/dev/stdin") if str(file) == "-" else file
    secret = _or_end(lambda: _key(key))
    hashes, left_out = [], []
    for number, line in enumerate(_or_end(lambda: lists.read_lines(path)), 1):
        try:
            hashes.append(lists.hash_value(secret, line))
        except lists.ListError as error:
            left_out.append(f"value {number}: {error}")
    for why in left_out:
        click.echo(f"left out: {why}", err=True)
    if not hashes:
        raise click.UsageError("no value that could be used")
    click.echo(_or_end(lambda: lists.write_list(name, hashes)), nl=False)


@command.command("hash-document")
@click.argument("name")
@click.argument("file", type=_FILE)
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Key file; made when missing.",
)
@click.option(
    "--similarity",
    type=click.FloatRange(0.05, 1),
    default=0.5,
    show_default=True,
    help="Share of the document that makes a hit.",
)
def hash_document(name: str, file: Path, key: Path, similarity: float) -> None:
    """Fingerprint a document (text, PDF, Office), so that parts of it are found again; print the fingerprint."""
    from sensor.proxy import dlp
    from sensor.proxy.dlp import site as lists
    from sensor.proxy.dlp.written import one_way

    secret = _or_end(lambda: _key(key))
    texts = dlp.extract(file.read_bytes(), where=file.name).texts
    hashes = {
        hashed
        for text in texts
        for _, hashed in lists.shingles(one_way(text.text).encode("utf-8", "replace"), secret)
    }
    if len(hashes) < lists.MIN_SHINGLES:
        raise click.UsageError(f"{file}: too little text to tell it from others")
    click.echo(_or_end(lambda: lists.write_document(name, hashes, similarity)), nl=False)


def _key(path: Path) -> bytes:
    """The key in a file, which is made, readable for its owner only, when it is missing."""
    from sensor.proxy.dlp.site import read_key

    if path.exists():
        return read_key(path)
    key = secrets.token_bytes(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
    return key
