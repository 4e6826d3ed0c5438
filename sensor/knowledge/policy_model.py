"""The policy file's format as types, and their JSON Schema. `docs/policy.md` explains it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import zoneinfo
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

VERDICTS = ("allow", "tolerate", "alert", "coach", "limit", "redact", "block")  # mildest first
RUNGS = ("dns", "ip", "sni", "flow", "inferred", "decrypted")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOWS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}  # seconds
UNKNOWN = "unknown"  # in a list of texts: where it is not known

Verdict = Literal["allow", "tolerate", "alert", "coach", "limit", "redact", "block"]
Rung = Literal["dns", "ip", "sni", "flow", "inferred", "decrypted"]
Review = Literal["approved", "tolerated", "restricted", "rejected", "pending"]
ReviewOrNone = Literal["approved", "tolerated", "restricted", "rejected", "pending", "unknown"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Window = Literal["minute", "hour", "day", "week"]
Direction = Literal["up", "down", "both"]
# What the proxy finds in texts; `docs/dlp.md` says what each is.
DataClass = Literal[
    "credentials",
    "payment-card",
    "iban",
    "national-id",
    "email",
    "phone",
    "address",
    "health",
    "person-name",
    "source-code",
    "financial-document",
    "classification-marking",
    "exact-match",
    "fingerprint-match",
    "custom",
    "prompt-injection",
    "jailbreak",
]
Severity = Literal["info", "low", "medium", "high", "critical"]

_SIZE = re.compile(r"(\d{1,15})(?:\.(\d{1,6}))? ?([kMGT]i?)?B?\Z")
_RATE = re.compile(r"(\d{1,9})/(minute|hour|day)\Z")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_NOT_TIMES = {"Factory", "localtime", "posixrules"}  # of this machine, not places


def _listed(item: Any) -> BeforeValidator:
    """One value stands for a list of one."""
    return BeforeValidator(
        lambda value: value if isinstance(value, list | tuple) else [value],
        json_schema_input_type=item | tuple[item, ...],
    )


def _size(value: Any) -> Any:
    """`50MB`, `1.5 GiB` or a number, in bytes."""
    found = _SIZE.match(str(value)) if isinstance(value, str | int) else None
    if found is None:
        raise ValueError("a size is a number of bytes, or like 50MB or 1.5GiB")
    number, part, unit = found[1], found[2] or "", found[3] or ""
    base = 1024 if unit.endswith("i") else 1000
    factor = base ** " kMGT".index(unit[0]) if unit else 1
    return (int(number + part) * factor) // 10 ** len(part)


def _clock(value: Any) -> Any:
    """`08:30` as minutes since midnight."""
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a time of day is like "08:30", in quotes')
    return 1440 if found[1] is None else int(found[1]) * 60 + int(found[2])


def _moment(value: dt.datetime) -> dt.datetime:
    if not 1970 <= value.year <= 2261:
        raise ValueError("a time is of the years 1970 to 2261, as those of events")
    return value


def _zone(value: str) -> str:
    if value != "UTC" and (value in _NOT_TIMES or value not in zoneinfo.available_timezones()):
        raise ValueError("no time zone of the IANA database, like Europe/Berlin")
    return value


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value))


def _glob(value: str) -> str:
    if value.count("*") > 2:
        raise ValueError("at most two * in a text")
    return value


Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
# Also no line of what reads Unicode: to JavaScript, a comment of an export would end at U+2028.
Line = Annotated[
    str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$")
]
Glob = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    AfterValidator(_glob),
]
Globs = Annotated[tuple[Glob, ...], _listed(str), Field(min_length=1)]
Country = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2}|unknown)$")]
Countries = Annotated[tuple[Country, ...], _listed(Country), Field(min_length=1)]
Subnet = Annotated[str, AfterValidator(_network)]
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=str | int)]
Clock = Annotated[int, BeforeValidator(_clock, json_schema_input_type=str)]
Zone = Annotated[str, AfterValidator(_zone)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Score(_Model):
    """A range of the catalogue's risk score, both ends in it. A service without a score is in no range."""

    min: Annotated[int, Field(ge=0, le=100)] = 0
    max: Annotated[int, Field(ge=0, le=100)] = 100
    unknown: bool = Field(default=False, description="services without a score as well")

    @model_validator(mode="after")
    def _some_score(self) -> Score:
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class Volume(_Model):
    """What a client moved to or from a service in a window of UTC, up to and with this event."""

    over: Size = Field(description="bytes that are not enough yet: 50MB, 1.5GiB")
    per: Window
    of: Direction = "up"


class Span(_Model):
    """A time of day on some days. One that ends before it begins goes over midnight."""

    days: Annotated[tuple[Day, ...], _listed(Day), Field(min_length=1)] = DAYS  # type: ignore[assignment]
    start: Clock = Field(default=0, alias="from")
    end: Clock = Field(default=1440, alias="until", description="not in it")

    @model_validator(mode="after")
    def _some_time(self) -> Span:
        if self.start == self.end or self.start == 1440:
            raise ValueError("no time between from and until")
        return self


class Match(_Model):
    """What an event must be. Every key that is given must hold; a list holds if one of its values does."""

    service: Globs | None = Field(default=None, description="ids of the catalogue; * for any characters")
    vendor: Globs | None = None
    category: Globs | None = None
    review: Annotated[tuple[ReviewOrNone, ...], _listed(ReviewOrNone), Field(min_length=1)] | None = Field(
        default=None, description="what `reviews` says of the service; unknown: nothing"
    )
    score: Score | None = Field(default=None, description="the catalogue's risk score")
    country: Countries | None = Field(default=None, description="of the vendor's seat")
    server_country: Countries | None = Field(default=None, description="where the server's address is")
    user: Globs | None = None
    group: Globs | None = None
    subnet: Annotated[tuple[Subnet, ...], _listed(str), Field(min_length=1)] | None = Field(
        default=None, description="networks the client's address is in"
    )
    evidence: Annotated[tuple[Rung, ...], _listed(Rung), Field(min_length=1)] | None = None
    channel: Globs | None = Field(default=None, description="web, api, cli, ide, agent, mcp")
    operation: Globs | None = Field(default=None, description="of an exchange: chat, upload, tool_call, ...")
    data_class: Globs | None = Field(default=None, description="found by inspection")
    account: Globs | None = Field(default=None, description="account or organisation, where it was read")
    account_type: Globs | None = Field(default=None, description="corporate, personal, unknown")
    volume: Volume | None = None
    time: Annotated[tuple[Span, ...], _listed(Span), Field(min_length=1)] | None = Field(
        default=None, description="in the policy's time zone"
    )

    @property
    def given(self) -> tuple[str, ...]:
        """The keys that are given."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many requests in so many seconds."""

    count: int
    seconds: int

    def __str__(self) -> str:
        names = {seconds: name for name, seconds in WINDOWS.items()}
        return f"{self.count}/{names[self.seconds]}"


def _rate(value: Any) -> Any:
    if isinstance(value, Rate):
        return value
    found = _RATE.match(value) if isinstance(value, str) else None
    if found is None or not int(found[1]):
        raise ValueError("a rate is like 20/minute, 100/hour or 500/day")
    return Rate(int(found[1]), WINDOWS[found[2]])


class Rule(_Model):
    """What is to be done with which events. The first rule that matches decides."""

    id: Id
    description: Line | None = None
    match: Match = Match()
    verdict: Verdict
    rate: Annotated[Rate, BeforeValidator(_rate, json_schema_input_type=str)] | None = Field(
        default=None, description="of `limit`: 20/minute, 100/hour, 500/day"
    )
    severity: Severity | None = Field(default=None, description="of the finding; left out: by the verdict")
    message: Line | None = Field(default=None, description="what the person is told")

    @model_validator(mode="after")
    def _sound(self) -> Rule:
        if (self.verdict == "limit") != (self.rate is not None):
            raise ValueError("`limit` needs a rate, and only `limit` has one")
        if self.id == "default":
            raise ValueError("`default` is the name of what no rule matches")
        return self


class GivenVolume(_Model):
    """What was moved in the window so far."""

    up: Size = 0
    down: Size = 0


class Given(_Model):
    """An event as a test case. What the catalogue knows of a service need not be said."""

    service: str = ""
    vendor: str | None = None
    category: str | None = None
    review: ReviewOrNone | None = None
    score: Annotated[int, Field(ge=0, le=100)] | Literal["unknown"] | None = None
    country: str | None = None
    server_country: str = ""
    user: str = ""
    group: Annotated[tuple[str, ...], _listed(str)] = ()
    client_ip: Annotated[str, AfterValidator(lambda text: str(ipaddress.ip_address(text)))] = ""
    evidence: Rung | Literal[""] = ""
    channel: str = ""
    operation: str = ""
    data_class: Annotated[tuple[str, ...], _listed(str)] = ()
    account: str = ""
    account_type: str = ""
    volume: GivenVolume | None = Field(default=None, description="in whichever window a rule asks for")
    time: Annotated[dt.datetime, AfterValidator(_moment)] | None = Field(
        default=None, description="ISO 8601; without an offset: UTC"
    )


class Expect(_Model):
    """What the policy must say."""

    verdict: Verdict | None = None
    rule: Id | None = None

    @model_validator(mode="after")
    def _something(self) -> Expect:
        if self.verdict is None and self.rule is None:
            raise ValueError("expect a verdict, a rule, or both")
        return self


class Test(_Model):
    """A case of `aiscope policy test`."""

    name: Line | None = None
    given: Given
    expect: Expect


class PolicyFile(_Model):
    """A policy."""

    version: Annotated[Line, Field(max_length=100)] = Field(  # dnsmasq reads lines of 1,024 bytes
        description="yours; every export and backtest carries it"
    )
    description: Line | None = None
    timezone: Zone = Field(default="UTC", description="of the IANA database; for `time`")
    default: Literal["allow", "tolerate", "alert", "coach", "redact", "block"] = Field(
        default="tolerate", description="the verdict where no rule matches"
    )
    reviews: dict[Id, Review] = Field(default={}, description="what was decided about services, by id")
    rules: Annotated[tuple[Rule, ...], Field(max_length=1000)]
    tests: tuple[Test, ...] = ()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | PolicyFile.model_json_schema(mode="validation", by_alias=True)
