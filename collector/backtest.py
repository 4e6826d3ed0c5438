"""A policy on stored history: its rules as SQL, with the meaning `sensor.knowledge.policy` gives them.

Texts of a policy are bound parameters, never part of a statement. What the catalogue says of a service is
what the store last heard. Live volumes and these are the same sums: by sensor, client, service and window of
UTC, over slices in the order of their end.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from collector.store import Store
from sensor.knowledge.policy import (
    DAYS,
    DEFAULT,
    FINDING,
    LISTS,
    TEXTS,
    UNKNOWN,
    VERDICTS,
    WEEK_OFFSET,
    WINDOWS,
    Match,
    Policy,
    Score,
    Span,
    Volume,
    network_range,
)

ROWS = 1_000  # of each list in a report
_FILES = Path(__file__).parent / "policy"
_EVER = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2262, 1, 1, tzinfo=dt.UTC)
_WIDEST = dt.timedelta(seconds=max(WINDOWS.values()))
_BYTES = {"up": "bytes_up", "down": "bytes_down", "both": "bytes_up + bytes_down"}

Seal = Callable[[str], str]


class SealedError(ValueError):
    """A rule that sealed names cannot answer."""


@dataclass(frozen=True, slots=True)
class Report:
    """Rows as dictionaries. `changes` is None without another version to hold against."""

    rules: list[dict[str, Any]]
    who: list[dict[str, Any]]
    changes: list[dict[str, Any]] | None


@dataclass(slots=True)
class _Rules:
    """A policy as SQL. `prefix` keeps the parameters of two policies apart."""

    policy: Policy
    prefix: str
    seal: Seal | None
    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: str | list[str]) -> str:
        """A placeholder for a text or several."""
        name = f"{self.prefix}{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{'String' if isinstance(value, str) else 'Array(String)'}}}"

    def rule(self) -> str:
        """An expression for the id of the rule that decides."""
        cases = [f"{self._match(rule.match)}, {self.bind(rule.id)}" for rule in self.policy.file.rules]
        return f"multiIf({', '.join(cases)}, '{DEFAULT}')" if cases else f"'{DEFAULT}'"

    def verdict(self, rule: str) -> str:
        """An expression for the verdict of a rule by its id."""
        file = self.policy.file
        ids, verdicts = [r.id for r in file.rules], [str(r.verdict) for r in file.rules]
        return self._transform(rule, ids, verdicts, file.default)

    def _transform(self, value: str, keys: list[str], values: list[str], otherwise: str) -> str:
        if not keys:
            return f"'{otherwise}'"
        return f"transform(toString({value}), {self.bind(keys)}, {self.bind(values)}, '{otherwise}')"

    def _match(self, match: Match) -> str:
        keys = [self._key(key, getattr(match, key)) for key in match.given]
        return f"({' AND '.join(keys)})" if keys else "true"

    def _key(self, key: str, wanted: Any) -> str:
        if key == "review":
            reviews = self.policy.file.reviews
            said = self._transform("service", list(reviews), [str(v) for v in reviews.values()], "")
            return self._text(said, wanted)
        if key == "user" and self.seal:
            return self._text("user", (*wanted, *_sealed(wanted, self.seal)))
        if key in TEXTS:
            return self._text(f"toString({key})", wanted)
        if key in LISTS:
            texts = f"if(empty({LISTS[key]}), [''], arrayMap(t -> toString(t), {LISTS[key]}))"
            return f"arrayExists(x -> {self._text('x', wanted)}, {texts})"
        if key == "subnet":
            return _any(self._subnet(network) for network in wanted)
        if key == "score":
            return self._score(wanted)
        return self._volume(wanted) if key == "volume" else _any(self._span(span) for span in wanted)

    def _text(self, value: str, wanted: tuple[str, ...]) -> str:
        exact = [text for text in wanted if "*" not in text] + ([""] if UNKNOWN in wanted else [])
        tests = [f"has({self.bind(exact)}, {value})"] if exact else []
        tests += [f"({value} != '' AND {value} LIKE {self.bind(_like(t))})" for t in wanted if "*" in t]
        return _any(tests)

    def _subnet(self, network: str) -> str:
        low, high = (str(ipaddress.IPv6Address(address)) for address in network_range(network))
        return f"(client_ip >= toIPv6({self.bind(low)}) AND client_ip <= toIPv6({self.bind(high)}))"

    def _score(self, wanted: Score) -> str:
        return f"ifNull(score >= {wanted.min:d} AND score <= {wanted.max:d}, {wanted.unknown!s})"

    def _volume(self, wanted: Volume) -> str:
        return f"ifNull({_column(wanted.per, wanted.of)} > {wanted.over:d}, false)"

    def _span(self, span: Span) -> str:
        local = (
            f"toTimeZone(time, '{self.policy.file.timezone}')"  # of a fixed list: the type wants a literal
        )
        minute = f"toHour({local}) * 60 + toMinute({local})"
        days = [DAYS.index(day) for day in span.days]
        today = f"has({days}, toDayOfWeek({local}) - 1)"
        if span.start < span.end:
            return f"({today} AND {minute} >= {span.start:d} AND {minute} < {span.end:d})"
        yesterday = f"has({days}, (toDayOfWeek({local}) + 5) % 7)"
        return f"(({today} AND {minute} >= {span.start:d}) OR ({yesterday} AND {minute} < {span.end:d}))"


def _sealed(wanted: tuple[str, ...], seal: Seal) -> Iterator[str]:
    for text in wanted:
        if text.strip("*") and "*" in text:
            raise SealedError(f"match.user: {text!a}: the store's names are sealed, and those have no parts")
        if "*" not in text and text != UNKNOWN:
            yield seal(text)


def _any(tests: Iterator[str] | list[str]) -> str:
    return "(" + " OR ".join(tests) + ")"


def _like(glob: str) -> str:
    escaped = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def _column(per: str, of: str) -> str:
    return f"volume_{per}_{of}"


def _volumes(asked: frozenset[tuple[str, str]]) -> tuple[str, str]:
    """Columns of the volumes asked for: of connections, and of exchanges, which have none."""
    columns, nothing = [], []
    for per, of in sorted(asked):
        offset = WEEK_OFFSET if per == "week" else 0
        window = f"intDiv(toInt64(toUnixTimestamp(end_time)) - {offset}, {WINDOWS[per]})"
        frame = f"PARTITION BY sensor, client_ip, service, {window} ORDER BY toUnixTimestamp64Micro(end_time)"
        total = f"sum({_BYTES[of]}) OVER ({frame} RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        columns.append(f", if(bytes_up + bytes_down = 0, NULL, {total}) AS {_column(per, of)}")
        nothing.append(f", NULL AS {_column(per, of)}")
    return "".join(columns), "".join(nothing)


class Backtest:
    """One policy, and another version of it where there is one, over a time of a store.

    `seal` makes tokens of names where the store has tokens. Raises SealedError for rules they cannot answer.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        against: Policy | None = None,
        *,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        seal: Seal | None = None,
    ) -> None:
        self._store = store
        self._rules = _Rules(policy, "new", seal)
        self._old = _Rules(against, "old", seal) if against else None
        asked = policy.volumes | (against.volumes if against else frozenset())
        volumes, nothing = _volumes(asked)
        begin = start or _EVER[0]
        self._bounds = {
            "start": begin,
            "end": end or _EVER[1],
            "counted": max(begin - _WIDEST, _EVER[0]) if asked else begin,
        }
        self._judged = self._with_rules(_text("events", volumes=volumes, nothing=nothing))

    def _with_rules(self, events: str) -> str:
        columns = f"{self._rules.rule()} AS rule, {self._rules.verdict('rule')} AS verdict"
        if self._old:
            columns += f", {self._old.rule()} AS old_rule, {self._old.verdict('old_rule')} AS old_verdict"
        return f"SELECT *, {columns} FROM ({events}) AS events"

    def _ask(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        old = self._old.parameters if self._old else {}
        return self._store.rows(sql, {**self._bounds, **self._rules.parameters, **old, **parameters})

    def events(self) -> list[dict[str, Any]]:
        """Every judged event: what the policy says, and what was said live (`told`, `told_by`)."""
        return self._ask(self._judged)

    def report(self) -> Report:
        """How often each rule decides, whom it concerns, and what another version says otherwise."""
        limits = {"verdicts": list(VERDICTS[FINDING:]), "rows": ROWS}
        return Report(
            self._ask(_text("rules", judged=self._judged)),
            self._ask(_text("who", judged=self._judged), **limits),
            self._ask(_text("changes", judged=self._judged), **limits | {"verdicts": list(VERDICTS)})
            if self._old
            else None,
        )

    def sealed(self) -> bool:
        """Whether the store's names are sealed and the policy asks for names it was not given a key for."""
        asks = any(rule.match.user for rule in self._rules.policy.file.rules)
        if self._rules.seal or not asks:
            return False
        return bool(
            self._ask(f"SELECT 1 AS sealed FROM ({self._judged}) WHERE startsWith(user, '~') LIMIT 1")
        )


@cache
def _file(name: str) -> Template:
    return Template((_FILES / f"{name}.sql").read_text("utf-8"))


def _text(name: str, **parts: str) -> str:
    return _file(name).substitute(parts)
