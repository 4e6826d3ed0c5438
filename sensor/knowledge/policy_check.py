"""What can be wrong with a policy beyond its form, and its own test cases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

from sensor.knowledge.catalogue import Catalogue
from sensor.knowledge.catalogue_files import Problem
from sensor.knowledge.catalogue_model import CATEGORIES
from sensor.knowledge.catalogue_yaml import Lines
from sensor.knowledge.policy import TEXTS, UNKNOWN, Case, Decision, Match, Policy, holds
from sensor.knowledge.policy_model import WINDOWS, DataClass, Given, Test

_NS = 1_000_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Values of events that no catalogue lists.
_VALUES = {
    "data_class": frozenset(get_args(DataClass)),
    "channel": frozenset(("web", "api", "cli", "ide", "agent", "mcp")),
    "account_type": frozenset(("corporate", "personal", "unknown")),
}


@dataclass(frozen=True, slots=True)
class Result:
    """A test case and what came of it. `wrong` is "" when it is as expected."""

    name: str
    decision: Decision
    wrong: str


def check(policy: Policy, catalogue: Catalogue, file: str, lines: Lines) -> list[Problem]:
    """Names and values that there are not, and rules that nothing reaches."""
    found = [*_unknown_names(policy, catalogue), *_unreachable(policy)]
    return [Problem(file, _line(lines, path), _dotted(path), text) for path, text in found]


Path = tuple[str | int, ...]


def _unknown_names(policy: Policy, catalogue: Catalogue) -> Iterator[tuple[Path, str]]:
    entries = catalogue.services.values()
    known = {
        "service": set(catalogue.services),
        "vendor": {entry.vendor.vendor for entry in entries},
        "category": set(CATEGORIES),
        **_VALUES,
    }
    for service in policy.file.reviews:
        if service not in known["service"]:
            yield ("reviews", service), "the catalogue has no such service"
    for number, rule in enumerate(policy.file.rules):
        for key, names in known.items():
            for i, text in enumerate(getattr(rule.match, key) or ()):
                if text != UNKNOWN and not any(map(holds((text,)), names)):
                    whose = "there is" if key in _VALUES else "the catalogue has"
                    yield ("rules", number, "match", key, i), f"{whose} no {key} {text!r}"
    for number, test in enumerate(policy.file.tests):
        if test.given.service and test.given.service not in known["service"]:
            yield ("tests", number, "given", "service"), "the catalogue has no such service"
        for i, text in enumerate(test.given.data_class):
            if text not in known["data_class"]:
                yield ("tests", number, "given", "data_class", i), f"there is no data_class {text!r}"


def _unreachable(policy: Policy) -> Iterator[tuple[Path, str]]:
    """Rules behind one that matches all they match."""
    rules = policy.file.rules
    for number, rule in enumerate(rules):
        for before in rules[:number]:
            if _covers(before.match, rule.match):
                yield ("rules", number, "match"), f"never reached: {before.id!r} matches all of it before"
                break


def _covers(wide: Match, narrow: Match) -> bool:
    """Whether each key of `wide` is in `narrow` with nothing more, as far as can be seen in the texts."""
    for key in wide.given:
        mine, theirs = getattr(wide, key), getattr(narrow, key)
        if theirs is None:
            return False
        if key in TEXTS:
            if not all(text in mine or (_is_text(text) and holds(mine)(text)) for text in theirs):
                return False
        elif mine != theirs:
            return False
    return True


def _is_text(wanted: str) -> bool:
    """Whether it stands for itself alone: no pattern, nor `unknown`, which is also for what no pattern matches."""
    return "*" not in wanted and wanted != UNKNOWN


def _line(lines: Lines, path: Path) -> int:
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 0)


def _dotted(path: Path) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)[1:]


def case(given: Given, catalogue: Catalogue) -> Case:
    """An event of a test case, with what the catalogue knows of its service."""
    volumes = {}
    if moved := given.volume:
        sums = {"up": moved.up, "down": moved.down, "both": moved.up + moved.down}
        volumes = {(per, of): size for per in WINDOWS for of, size in sums.items()}
    found = Case(
        service=given.service,
        vendor=given.vendor or "",
        category=given.category or "",
        review=given.review or "",
        score=given.score if isinstance(given.score, int) else None,
        country=given.country or "",
        server_country=given.server_country,
        user=given.user,
        groups=given.group,
        client_ip=given.client_ip,
        evidence=given.evidence,
        channel=given.channel,
        operation=given.operation,
        data_classes=given.data_class,
        account=given.account,
        account_type=given.account_type,
        time=_ns(given.time) if given.time else None,
        volumes=volumes,
    )
    entry = catalogue.services.get(given.service)
    if entry is None:
        return found
    return replace(
        found,
        vendor=found.vendor if given.vendor is not None else entry.vendor.vendor,
        category=found.category if given.category is not None else entry.service.category,
        country=found.country if given.country is not None else entry.vendor.country or "",
        score=found.score if given.score is not None else catalogue.score(given.service).score,
    )


def _ns(moment: dt.datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def run(policy: Policy, catalogue: Catalogue) -> Iterable[Result]:
    """The policy's own test cases."""
    for number, test in enumerate(policy.file.tests):
        decision = policy.decide(case(test.given, catalogue))
        yield Result(test.name or f"tests[{number}]", decision, _wrong(test, decision))


def _wrong(test: Test, decision: Decision) -> str:
    expected = test.expect
    if expected.verdict not in (None, decision.verdict):
        return f"expected {expected.verdict}, got {decision.verdict} by {decision.rule}"
    if expected.rule not in (None, decision.rule):
        return f"expected rule {expected.rule}, got {decision.rule}"
    return ""
