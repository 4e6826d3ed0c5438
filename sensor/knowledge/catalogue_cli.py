"""`aiscope catalogue`: look into the catalogue, check it, and keep it up to date.

Exit codes: 0 fine, 1 there are findings, 2 wrong usage or something that cannot be read.
"""

from __future__ import annotations

import csv
import dataclasses
import ipaddress
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sensor import config
from sensor.knowledge import catalogue_bundle_cli
from sensor.knowledge.catalogue import Catalogue, Entry, Match
from sensor.knowledge.catalogue_files import PACKAGED, CatalogueError
from sensor.knowledge.catalogue_match import Names
from sensor.knowledge.catalogue_model import CATEGORIES, USE, json_schema
from sensor.knowledge.catalogue_terminal import FOLDER, Places, as_json, or_end, printable, read, table

FIELDS = tuple(field.name for field in dataclasses.fields(Match))


@click.group()
@click.option("--home", help="Where updates are installed.", metavar="DIR")
@click.option("--overrides", help="Your own services, over those of aiscope.", metavar="DIR")
@click.pass_context
def catalogue(context: click.Context, home: str | None, overrides: str | None) -> None:
    """Look into the catalogue of AI services, check it, keep it up to date.

    Exit codes: 0 fine, 1 there are findings, 2 wrong usage or unreadable.
    """
    flags = {"catalogue.home": home, "catalogue.overrides": overrides}
    settings = or_end(lambda: config.load(flags=flags)).catalogue
    context.obj = Places(settings.home, settings.overrides, settings.key)


@catalogue.command("list")
@click.option("--category", type=click.Choice(CATEGORIES), help="Only this category.")
@click.option("--json", "json_", is_flag=True, help="One JSON object per service.")
@click.pass_obj
def list_(places: Places, category: str | None, json_: bool) -> None:
    """List the services."""
    entries = [e for e in _sorted(places.load()) if category in (None, e.service.category)]
    if json_:
        for entry in entries:
            click.echo(as_json(_row(entry)))
        return
    table(
        ("SERVICE", "NAME", "VENDOR", "CATEGORY", "COUNTRY"),
        (
            (e.service.id, e.service.name, e.vendor.name, e.service.category, e.vendor.country or "-")
            for e in entries
        ),
    )


def _sorted(found: Catalogue) -> list[Entry]:
    return sorted(found.services.values(), key=lambda entry: entry.service.id)


def _row(entry: Entry) -> dict[str, Any]:
    """A service as one object: its own keys, and its vendor's."""
    vendor = {
        "vendor": entry.vendor.vendor,
        "vendor_name": entry.vendor.name,
        "country": entry.vendor.country,
    }
    return {**entry.service.model_dump(mode="json", exclude={"fires", "silent"}), **vendor}


@catalogue.command()
@click.argument("folder", type=FOLDER, default=PACKAGED)
def check(folder: Path) -> None:
    """Check a catalogue's files, or a folder of your own ones.

    Format, duplicates, fires and silent cases, rules without effect, categories without a service.
    """
    from sensor.knowledge.catalogue_check import check_folder

    problems = check_folder(folder)
    for problem in problems:
        click.echo(printable(str(problem)))
    click.echo(f"{len(problems)} findings" if problems else "no findings", err=True)
    raise SystemExit(1 if problems else 0)


@catalogue.command()
@click.argument("names", nargs=-1)
@click.option("--json", "json_", is_flag=True, help="One JSON object per name.")
@click.pass_obj
def explain(places: Places, names: tuple[str, ...], json_: bool) -> None:
    """Say what NAMES (host names or addresses) belong to, and why; without any, from standard input."""
    found = places.load()
    for name in _lines() if names in ((), ("-",)) else names:
        match = found.match_address(name) if _is_address(name) else found.match(name)
        if json_:
            row = dataclasses.asdict(match) if match else dict.fromkeys(FIELDS)
            click.echo(as_json({"name": name, **row}))
        else:
            click.echo(printable(_why(found, name, match)))


def _lines() -> Iterator[str]:
    """Names from standard input, one a line; bytes that are not UTF-8 are replaced and match nothing."""
    for line in sys.stdin.buffer:
        if name := line.decode("utf-8", "replace").strip():
            yield name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _why(found: Catalogue, name: str, match: Match | None) -> str:
    """The decision in words."""
    if match is None:
        paths = ", ".join(_paths(found, name))
        said = (
            f"no rule for the name; by a path: {paths}" if paths else "no rule for it or for a name above it"
        )
        return f"{name}: {said}"
    entry = found.services[match.service]
    kind = "network" if not match.role else "the name and all under it"
    if match.rule.startswith("="):
        kind = "exactly this name"
    elif "*" in match.rule:
        kind = "glob within labels"
    use = "" if not match.role else f", {match.role} ({'use' if match.role in USE else 'a weaker sign'})"
    who = f"{entry.service.name} ({match.service}) of {entry.vendor.name}"
    return f"{name}: {who}, {match.category}{use}, by {match.rule}: {kind}"


def _paths(found: Catalogue, name: str) -> list[str]:
    """The rules on paths of a host that others share; of its own pattern only, as in matching."""
    services = [entry.service for entry in found.services.values()]
    rules = [(request.host, request.path, s.id) for s in services for request in s.requests if request.host]
    owner = Names((host, Match("", "", "", "", host)) for host, *_ in rules).match(name)
    return [f"{path} ({service})" for host, path, service in rules if owner and host == owner.rule]


@catalogue.command()
@click.argument("old", type=FOLDER)
@click.argument("new", type=FOLDER)
def diff(old: Path, new: Path) -> None:
    """Say what changed between two catalogues: services, and the rules that name them.

    Exit code 1 when there is a difference.
    """
    before, after = ({rule: at for at, rule in _rules(read(folder))} for folder in (old, new))
    lines = [f"- {text}  {before[text]}" for text in before.keys() - after.keys()]
    lines += [f"+ {text}  {after[text]}" for text in after.keys() - before.keys()]
    lines += [
        f"~ {text}  {before[text]} -> {after[text]}"
        for text in before.keys() & after.keys()
        if before[text] != after[text]
    ]
    for line in sorted(lines, key=lambda text: text[2:]):
        click.echo(printable(line))
    raise SystemExit(1 if lines else 0)


def _rules(found: Catalogue) -> Iterator[tuple[str, str]]:
    """(service and role, rule) of everything, and (vendor and category, service)."""
    for entry in _sorted(found):
        service = entry.service
        yield f"{entry.vendor.vendor} {service.category}", f"service {service.id}"
        for kind, role, rule in entry.rules():
            yield f"{service.id} {role}".strip(), f"{kind} {rule}"


@catalogue.command()
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_obj
def stats(places: Places, json_: bool) -> None:
    """Count what the catalogue has."""
    found = places.load()
    entries = list(found.services.values())
    kinds = Counter(kind for entry in entries for kind, _, _ in entry.rules())
    counts: dict[str, Any] = {
        "catalogue": found.id,
        "services": len(entries),
        "vendors": len({entry.vendor.vendor for entry in entries}),
        "countries": len({entry.vendor.country for entry in entries} - {None}),
        "rules": dict(sorted(kinds.items())),
        "categories": dict(sorted(Counter(entry.service.category for entry in entries).items())),
        "with_facts": sum(bool(entry.service.facts.model_fields_set) for entry in entries),
        "resolvers": len(found.contents.resolvers.names),
        "client_classes": len(found.contents.clients.classes),
    }
    if json_:
        click.echo(as_json(counts))
        return
    rows = []
    for name, value in counts.items():
        if isinstance(value, dict):
            rows += [(f"{name}: {key}", number) for key, number in value.items()]
        else:
            rows.append((name.replace("_", " "), value))
    table(("WHAT", "COUNT"), rows)


@catalogue.command()
@click.option("--format", "format_", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@click.pass_obj
def export(places: Places, format_: str) -> None:
    """Write everything out: JSON with whole services, or CSV with a row for each rule."""
    found = places.load()
    if format_ == "json":
        rows = [_row(entry) for entry in _sorted(found)]
        click.echo(json.dumps({"catalogue": found.id, "services": rows}, indent=1))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("service", "name", "vendor", "country", "category", "kind", "role", "rule"))
    for entry in _sorted(found):
        service, vendor = entry.service, entry.vendor
        for rule in entry.rules():
            writer.writerow(
                (service.id, service.name, vendor.vendor, vendor.country or "", service.category, *rule)
            )


@catalogue.command()
@click.argument("service")
@click.option(
    "--rubric", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Your own weights."
)
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
@click.pass_obj
def score(places: Places, service: str, rubric: Path | None, json_: bool) -> None:
    """Show a service's risk, 0 to 100, and the reasons."""
    from sensor.knowledge.catalogue_score import Rubric
    from sensor.knowledge.catalogue_score import score as work_out
    from sensor.knowledge.catalogue_side import read_side

    found = places.load()
    entry = found.services.get(service)
    if entry is None:
        raise click.UsageError(f"no service {printable(service)!r}")
    try:
        rules = read_side(rubric.parent, rubric.name, Rubric) if rubric else found.contents.rubric
    except CatalogueError as error:
        raise click.UsageError(printable(str(error))) from None
    result = work_out(entry.service, entry.vendor, rules)
    if json_:
        click.echo(as_json(dataclasses.asdict(result)))
        return
    number = "unknown" if result.score is None else f"{result.score} of 100"
    span = f"between {result.low} and {result.high}, {result.known:.0%} of the weight known"
    click.echo(f"{service}: risk {number} ({span}, rubric {result.rubric})")
    table(
        ("FACT", "VALUE", "RISK", "WEIGHT", "WHY", "SOURCE"),
        (
            (
                r.fact,
                _said(r.value),
                "-" if r.risk is None else f"{r.risk:.1f}",
                f"{r.weight:g}",
                r.why,
                r.source,
            )
            for r in result.reasons
        ),
    )


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


@catalogue.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def page(places: Places, out: Path) -> None:
    """Write the catalogue as one browsable HTML file OUT."""
    from sensor.knowledge.catalogue_page import render

    text = render(places.load())
    or_end(lambda: out.write_text(text, "utf-8"))


@catalogue.command()
def schema() -> None:
    """Print the JSON Schema of a vendor file."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


for _command in (catalogue_bundle_cli.keygen, catalogue_bundle_cli.bundle, catalogue_bundle_cli.update):
    catalogue.add_command(_command)

if __name__ == "__main__":
    catalogue()
