"""`aiscope policy`: check a policy, explain it, test it, try it on stored history, export it.

Exit codes: 0 fine, 1 findings, failed test cases or differences, 2 wrong usage or something unreadable.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from sensor import config
from sensor.knowledge.catalogue import Catalogue
from sensor.knowledge.catalogue_files import MAX_BYTES, Problem
from sensor.knowledge.catalogue_terminal import Places, as_json, or_end, printable, table
from sensor.knowledge.catalogue_yaml import Lines
from sensor.knowledge.policy import LISTS, VERDICTS, Policy, read
from sensor.knowledge.policy_model import Given, json_schema
from sensor.knowledge.policy_targets import TARGETS
from sensor.knowledge.policy_targets import export as write

if TYPE_CHECKING:
    from collector.backtest import Backtest

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SINCE = re.compile(r"(\d{1,4})([mhdw])\Z")
EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.group()
def policy() -> None:
    """What the organisation allows: check it, explain it, test it, try it, export it.

    FILE is left out where the setting `policy.file` names one.

    Exit codes: 0 fine, 1 findings, failed cases or differences, 2 wrong usage or unreadable.
    """


def _file(given: Path | None) -> Path:
    path = given or or_end(config.load).policy.file
    if path is None:
        raise click.UsageError("no policy: name a file, or set policy.file")
    return path


def _catalogue() -> Catalogue:
    settings = or_end(config.load).catalogue
    return Places(settings.home, settings.overrides, settings.key).load()


def _read(path: Path) -> tuple[Policy | None, Lines, list[Problem]]:
    def bounded() -> bytes:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    return read(or_end(bounded), str(path))


def _load(given: Path | None) -> Policy:
    """The policy; what is wrong is said, all of it, and ends the command."""
    found, _, problems = _read(_file(given))
    if found is None:
        _say(problems)
        raise SystemExit(2)
    return found


def _say(problems: list[Problem]) -> None:
    for problem in sorted(problems):
        click.echo(printable(str(problem)), err=True)


@policy.command()
@click.argument("file", type=FILE, required=False)
def check(file: Path | None) -> None:
    """Say everything that is wrong: format, names the catalogue does not have, rules nothing reaches."""
    from sensor.knowledge import policy_check

    path = _file(file)
    found, lines, problems = _read(path)
    if found:
        problems = policy_check.check(found, _catalogue(), str(path), lines)
    _say(problems)
    click.echo(f"{len(problems)} findings" if problems else "no findings", err=True)
    raise SystemExit(1 if problems else 0)


@policy.command()
@click.argument("file", type=FILE, required=False)
def test(file: Path | None) -> None:
    """Run the test cases in the file."""
    from sensor.knowledge import policy_check

    results = list(policy_check.run(_load(file), _catalogue()))
    failed = [result for result in results if result.wrong]
    for result in failed:
        click.echo(printable(f"{result.name}: {result.wrong}"))
    click.echo(f"{len(results)} cases, {len(failed)} failed", err=True)
    raise SystemExit(1 if failed else 0)


@policy.command()
@click.argument("facts", nargs=-1, metavar="KEY=VALUE...")
@click.option("--policy", "file", type=FILE, metavar="FILE", help="Which policy; default from the settings.")
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
def explain(facts: tuple[str, ...], file: Path | None, json_: bool) -> None:
    """Say what the policy makes of an event, and why not of the rules before.

    KEY=VALUE are the keys of `given` in a test case: service=chatgpt user=anna group=sales,it
    client_ip=10.0.0.7 time=2026-11-22T10:00 volume.up=60MB. What the catalogue knows need not be said.
    """
    from sensor.knowledge import policy_check

    found = _load(file)
    given, known = _given(facts), _catalogue()
    if given.service and given.service not in known.services:
        click.echo(
            printable(f"the catalogue has no service {given.service}{_close(given.service, known)}"), err=True
        )
    case = policy_check.case(given, known)
    decision, steps = found.decide(case), found.explain(case)
    if json_:
        row = dataclasses.asdict(decision) | {"rate": str(decision.rate) if decision.rate else None}
        click.echo(as_json({"policy": found.id, **row, "skipped": dict(steps[:-1])}))
        return
    for rule, failing in steps[:-1]:
        click.echo(f"{rule}: no, {', '.join(failing)} {'do' if len(failing) > 1 else 'does'} not hold")
    rate = f" {decision.rate}" if decision.rate else ""
    click.echo(printable(f"{decision.rule}: {decision.verdict}{rate} {decision.message}").rstrip())


def _close(service: str, known: Catalogue) -> str:
    found = difflib.get_close_matches(service, known.services, 1)
    return f", did you mean {found[0]}?" if found else ""


def _given(facts: tuple[str, ...]) -> Given:
    """The event that arguments describe."""
    values: dict[str, Any] = {}
    for fact in facts:
        key, equals, text = fact.partition("=")
        if not equals:
            raise click.UsageError(f"{printable(fact)!r} is not KEY=VALUE")
        outer, _, inner = key.partition(".")
        if inner:
            parts = values.setdefault(outer, {})
            if not isinstance(parts, dict):
                raise click.UsageError(f"{printable(outer)} is said twice, with parts and without")
            parts[inner] = text
        else:
            values[key] = text.split(",") if key in LISTS else text
    try:
        return Given.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise click.UsageError(printable(f"{key}: {first['msg']}")) from None


@policy.command()
@click.argument("file", type=FILE, required=False)
@click.option("--since", default="30d", show_default=True, help="How far back: 12h, 30d, 8w, or a date.")
@click.option("--against", type=FILE, help="Another version: what it says otherwise.")
@click.option("--store", metavar="URL|DIR", help="Which store; default from the settings.")
@click.option("--names-key", type=FILE, help="The sealing key, for rules on users where names are sealed.")
@click.option("--json", "json_", is_flag=True, help="As one JSON object.")
def backtest(
    file: Path | None,
    since: str,
    against: Path | None,
    store: str | None,
    names_key: Path | None,
    json_: bool,
) -> None:
    """Try a policy on stored history: who and what it would have concerned."""
    from collector.backtest import Backtest
    from collector.store import as_url, open_store
    from sensor.knowledge import seal

    new, old = _load(file), _load(against) if against else None
    settings = or_end(lambda: config.load(flags={"store.url": None if store is None else as_url(store)}))
    sealer = seal.load(names_key) if names_key else None
    with open_store(settings.store.url, readonly=True) as opened:
        tried = Backtest(opened, new, old, start=_start(since), seal=sealer.seal if sealer else None)
        _show(tried, new, old, json_)


def _start(since: str) -> dt.datetime:
    now = dt.datetime.now(dt.UTC)
    if found := _SINCE.match(since):
        return max(now - dt.timedelta(**{_UNITS[found[2]]: int(found[1])}), EARLIEST)
    try:
        moment = dt.datetime.fromisoformat(since)
    except ValueError:
        raise click.UsageError(
            f"--since: {printable(since)!r} is no time like 12h, 30d or 2026-11-22"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return max(moment, EARLIEST)  # the store has nothing older, and no way to say it


def _show(tried: Backtest, new: Policy, old: Policy | None, json_: bool) -> None:
    report = tried.report()
    if json_:
        row = {"policy": new.id, "against": old.id if old else None, **dataclasses.asdict(report)}
        click.echo(json.dumps(row, default=str))
        return
    if tried.sealed():
        click.echo("names in this store are sealed: rules on users need --names-key", err=True)
    _section(f"{new.id}: what its rules say", report.rules)
    _section("Whom it concerns: alert and above", report.who)
    if report.changes is not None and old:
        _section(f"What was otherwise in {old.id}", report.changes)


def _section(title: str, rows: list[dict[str, Any]]) -> None:
    click.echo(printable(title))
    if rows:
        table([name.upper() for name in rows[0]], [[_cell(value) for value in row.values()] for row in rows])
    else:
        click.echo("nothing")
    click.echo()


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, dt.datetime) else str(value)


@policy.command(epilog=f"TARGET is one of {', '.join(TARGETS)}.")
@click.argument("target", type=click.Choice(list(TARGETS)), metavar="TARGET")
@click.option("--policy", "file", type=FILE, metavar="FILE", help="Which policy; default from the settings.")
@click.option(
    "--verdict", "verdicts", multiple=True, type=click.Choice(VERDICTS), metavar="VERDICT",
    help="Export services with this verdict, several times if need be; default: block for what stops, "
    "alert and above for what watches.",
)  # fmt: skip
@click.option(
    "--diff", "before", type=FILE, metavar="FILE", help="Only say what changed since the export in FILE."
)
def export(target: str, file: Path | None, verdicts: tuple[str, ...], before: Path | None) -> None:
    """Write the policy for a control that sees names or addresses, on standard output.

    What that control cannot express is left out, and listed in comments or on standard error.
    """
    from sensor.knowledge.policy_export import plan

    found = plan(_load(file), _catalogue(), verdicts or TARGETS[target].verdicts)
    result = write(target, found)
    if not TARGETS[target].comment:
        for text in result.left_out:
            click.echo(printable(f"not here: {text}"), err=True)
    if before is None:
        click.echo(result.text, nl=False)
        return
    old = or_end(lambda: before.read_text("utf-8")).splitlines()
    lines = list(difflib.unified_diff(old, result.text.splitlines(), str(before), found.head, lineterm=""))
    for line in lines:
        click.echo(printable(line))
    raise SystemExit(1 if lines else 0)


@policy.command()
def schema() -> None:
    """Print the JSON Schema of a policy file."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    policy()
