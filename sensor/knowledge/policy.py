"""A policy: what is to be done with which use. One meaning for the sensor, the proxy and the store.

    policy = load(Path("policy.yaml"))
    policy.decide(Case(service="chatgpt", user="anna"))     # Decision(verdict="coach", rule=..., ...)

Rules are asked in the file's order and the first that matches decides. A key that a rule gives does not hold
where the event does not say: unknown matches only what asks for `unknown`. `collector/backtest.py` says the
same in SQL, and a property test holds the two against each other.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from sensor.knowledge.catalogue_files import MAX_BYTES, Problem
from sensor.knowledge.catalogue_load import parse
from sensor.knowledge.catalogue_yaml import Lines
from sensor.knowledge.policy_model import (
    DAYS,
    UNKNOWN,
    VERDICTS,
    WINDOWS,
    Match,
    PolicyFile,
    Rate,
    Rule,
    Score,
    Span,
    Volume,
)

__all__ = [
    "DAYS",
    "DEFAULT",
    "FINDING",
    "LISTS",
    "TEXTS",
    "UNKNOWN",
    "VERDICTS",
    "WEEK_OFFSET",
    "WINDOWS",
    "Case",
    "Decision",
    "Match",
    "Policy",
    "PolicyError",
    "Rate",
    "Rule",
    "Score",
    "Span",
    "Volume",
    "load",
    "network_range",
    "read",
    "window",
]

DEFAULT = "default"  # the rule that is named where none matches
FINDING = VERDICTS.index("alert")  # this verdict and above are worth a finding
WEEK_OFFSET = 4 * 86_400  # 1970-01-05 was a Monday
_CACHE = 65_536
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# Keys of Match that are one text of the event, and where the event says it.
TEXTS = (
    "service", "vendor", "category", "review", "country", "server_country", "user", "evidence",
    "channel", "operation", "account", "account_type",
)  # fmt: skip
LISTS = {"group": "groups", "data_class": "data_classes"}


class PolicyError(ValueError):
    """A policy that cannot be used. `problems` has everything that is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Case:
    """An event as a policy sees it. What is left out is not known, and no rule that asks for it matches.

    `volumes` are bytes by window and direction, as `sensor.knowledge.policy_judge.Meter` counts them.
    """

    service: str = ""
    vendor: str = ""
    category: str = ""
    review: str = ""  # "": what the policy's `reviews` say
    score: int | None = None
    country: str = ""  # of the vendor
    server_country: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    client_ip: str = ""
    evidence: str = ""
    channel: str = ""
    operation: str = ""
    data_classes: tuple[str, ...] = ()
    account: str = ""
    account_type: str = ""
    time: int | None = None  # ns since the epoch
    volumes: Mapping[tuple[str, str], int] = field(default_factory=dict)  # ("day", "up") -> bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done. `rate` is there for `limit` only; `message` is what the person is told, or ""."""

    verdict: str
    rule: str
    rate: Rate | None = None
    message: str = ""
    severity: str = "info"

    @property
    def finding(self) -> bool:
        """Whether a person should look at it."""
        return VERDICTS.index(self.verdict) >= FINDING


Test = Callable[[Case], bool]
_SEVERITY = {"alert": "low", "coach": "low", "limit": "medium", "redact": "medium", "block": "high"}


class Policy:
    """A policy made ready. It never changes: a new one is loaded beside it."""

    def __init__(self, file: PolicyFile, id: str = "") -> None:
        self.file = file
        self.id = id or file.version
        self._rules = [(_tests(rule.match, file.timezone), _decision(rule)) for rule in file.rules]
        self._default = Decision(file.default, DEFAULT, severity=_SEVERITY.get(file.default, "info"))

    @property
    def volumes(self) -> frozenset[tuple[str, str]]:
        """The windows and directions that the rules ask for."""
        asked = (rule.match.volume for rule in self.file.rules)
        return frozenset((volume.per, volume.of) for volume in asked if volume)

    def decide(self, case: Case) -> Decision:
        """The verdict of the first rule that matches, else the default."""
        case = self._reviewed(case)
        for tests, decision in self._rules:
            if all(test(case) for _, test in tests):
                return decision
        return self._default

    def explain(self, case: Case) -> list[tuple[str, tuple[str, ...]]]:
        """Every rule up to the one that decides, and the keys that keep it from matching."""
        found = []
        for rule, failing in self.steps(case):
            found.append((rule.id, failing))
            if not failing:
                return found
        return [*found, (DEFAULT, ())]

    def steps(self, case: Case) -> Iterator[tuple[Rule, tuple[str, ...]]]:
        """All rules in their order, and the keys of each that do not hold."""
        case = self._reviewed(case)
        for rule, (tests, _) in zip(self.file.rules, self._rules, strict=True):
            yield rule, tuple(key for key, test in tests if not test(case))

    def _reviewed(self, case: Case) -> Case:
        if case.review or case.service not in self.file.reviews:
            return case
        return replace(case, review=self.file.reviews[case.service])


def _decision(rule: Rule) -> Decision:
    severity = rule.severity or _SEVERITY.get(rule.verdict, "info")
    return Decision(rule.verdict, rule.id, rule.rate, rule.message or "", severity)


def _tests(match: Match, zone: str) -> list[tuple[str, Test]]:
    """A test for each key that is given."""
    tests: list[tuple[str, Test]] = []
    for key in match.given:
        value = getattr(match, key)
        if key in TEXTS:
            tests.append((key, _text(key, value)))
        elif key in LISTS:
            tests.append((key, _list(LISTS[key], value)))
        elif key == "subnet":
            tests.append((key, _subnet(value)))
        elif key == "score":
            tests.append((key, _score(value)))
        elif key == "volume":
            tests.append((key, _volume(value)))
        else:
            tests.append((key, _time(value, zone)))
    return tests


def holds(wanted: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a text is one of these. `*` is any characters, `unknown` also nothing."""
    exact = {text for text in wanted if "*" not in text}
    if UNKNOWN in exact:
        exact.add("")
    globs = [re.escape(text).replace(r"\*", ".+" if text == "*" else ".*") for text in wanted if "*" in text]
    regex = re.compile("|".join(globs), re.DOTALL) if globs else None
    return lambda text: text in exact or bool(regex and text and regex.fullmatch(text))


def _text(key: str, wanted: tuple[str, ...]) -> Test:
    one_of = holds(wanted)
    return lambda case: one_of(getattr(case, key))


def _list(name: str, wanted: tuple[str, ...]) -> Test:
    one_of = holds(wanted)
    return lambda case: any(map(one_of, getattr(case, name) or ("",)))


def network_range(network: str) -> tuple[int, int]:
    """First and last address of a CIDR as IPv6; an IPv4 network as IPv4-mapped (RFC 4291 2.5.5.2)."""
    found = ipaddress.ip_network(network)
    base = 0xFFFF << 32 if found.version == 4 else 0
    return base + int(found.network_address), base + int(found.broadcast_address)


@lru_cache(_CACHE)
def _address(ip: str) -> int:
    """An address as IPv6; -1 for what is none."""
    try:
        found = ipaddress.ip_address(ip)
    except ValueError:
        return -1
    return int(found) + (0xFFFF << 32 if found.version == 4 else 0)


def _subnet(networks: tuple[str, ...]) -> Test:
    ranges = [network_range(network) for network in networks]
    return lambda case: any(low <= _address(case.client_ip) <= high for low, high in ranges)


def _score(wanted: Score) -> Test:
    return lambda case: wanted.unknown if case.score is None else wanted.min <= case.score <= wanted.max


def _volume(wanted: Volume) -> Test:
    key = (wanted.per, wanted.of)
    return lambda case: case.volumes.get(key, -1) > wanted.over


def _time(spans: tuple[Span, ...], name: str) -> Test:
    zone = dt.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)  # which a bare system may not have

    def test(case: Case) -> bool:
        if case.time is None:
            return False
        moment = (_EPOCH + dt.timedelta(microseconds=case.time // 1000)).astimezone(zone)
        day, minute = moment.weekday(), moment.hour * 60 + moment.minute
        return any(_within(span, day, minute) for span in spans)

    return test


def _within(span: Span, day: int, minute: int) -> bool:
    if span.start < span.end:
        return DAYS[day] in span.days and span.start <= minute < span.end
    late, early = DAYS[day] in span.days, DAYS[day - 1] in span.days
    return (late and minute >= span.start) or (early and minute < span.end)


def window(time: int, per: str) -> int:
    """The number of the window of UTC that a time in ns is in. Weeks begin on Monday."""
    offset = WEEK_OFFSET if per == "week" else 0
    return (time // 1_000_000_000 - offset) // WINDOWS[per]


def read(data: bytes, name: str) -> tuple[Policy | None, Lines, list[Problem]]:
    """A policy from the bytes of a file, the lines of its values, and everything that is wrong."""
    file, lines, problems = parse(data, name, PolicyFile)
    if file is None:
        return None, lines, problems
    first: dict[str, int] = {}
    for number, rule in enumerate(file.rules):
        if first.setdefault(rule.id, number) != number:
            key = f"rules[{number}].id"
            text = f"{rule.id!r} is the id of rules[{first[rule.id]}] already"
            problems.append(Problem(name, lines.get(("rules", number, "id"), 0), key, text))
    digest = hashlib.sha256(data).hexdigest()[:12]
    return (None if problems else Policy(file, f"{file.version}-{digest}")), lines, problems


def load(path: Path) -> Policy:
    """The policy of a file. Raises `PolicyError` with everything that is wrong, `OSError`."""
    with path.open("rb") as file:
        policy, _, problems = read(file.read(MAX_BYTES + 1), str(path))
    if policy is None:
        raise PolicyError(problems)
    return policy
