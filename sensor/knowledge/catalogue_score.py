"""The risk score of a service: a rubric in a file, facts with sources, and the reasons shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensor.knowledge.catalogue_model import Category, Facts, Service, Text, Vendor

Risk = Annotated[float, Field(ge=0, le=1)]
Value = str | bool | int | tuple[str, ...]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Model):
    """Numbers up to `upto` have this risk."""

    upto: int
    risk: Risk


class Criterion(_Model):
    """How one fact counts."""

    fact: str
    weight: Annotated[float, Field(gt=0, le=1000)]
    why: Text
    values: dict[str, Risk] = {}
    steps: tuple[Step, ...] = ()
    otherwise: Risk = 1.0

    @model_validator(mode="after")
    def _sound(self) -> Criterion:
        if self.fact != "country" and self.fact not in Facts.model_fields:
            raise ValueError(f"no such fact: {self.fact!r}")
        if bool(self.values) == bool(self.steps):
            raise ValueError("give either values or steps")
        if [step.upto for step in self.steps] != sorted({step.upto for step in self.steps}):
            raise ValueError("steps must rise")
        return self

    def risk(self, value: Value) -> float:
        """0 to 1."""
        if self.steps:
            number = len(value) if isinstance(value, tuple) else int(value)
            return next((step.risk for step in self.steps if number <= step.upto), self.otherwise)
        said = (
            value
            if isinstance(value, tuple)
            else (str(value).lower() if isinstance(value, bool) else str(value),)
        )
        return min((self.values.get(text, self.otherwise) for text in said), default=self.otherwise)


class Rubric(_Model):
    """`rubric.yaml`."""

    version: int = 0
    unknown: Risk = 0.5
    least_known: Risk = 0.25
    exempt: tuple[Category, ...] = ()
    criteria: tuple[Criterion, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Rubric:
        if len({criterion.fact for criterion in self.criteria}) != len(self.criteria):
            raise ValueError("a fact counts once")
        return self


@dataclass(frozen=True, slots=True)
class Reason:
    """What one criterion adds. `risk` and `value` are None when the fact is unknown."""

    fact: str
    why: str
    weight: float
    value: Value | None
    risk: float | None
    source: str
    checked: str


@dataclass(frozen=True, slots=True)
class Score:
    """0 (least risk) to 100, and the range that unknown facts leave open. None: too little is known."""

    service: str
    rubric: int
    score: int | None
    low: int
    high: int
    known: float  # share of the weight, 0 to 1
    reasons: tuple[Reason, ...]


def score(service: Service, vendor: Vendor, rubric: Rubric) -> Score:
    """A service's score by a rubric."""
    reasons = tuple(_reason(criterion, service, vendor) for criterion in rubric.criteria)
    total = sum(reason.weight for reason in reasons)
    known = sum(reason.weight for reason in reasons if reason.risk is not None)
    share = known / total if total else 0.0
    enough = total > 0 and share >= rubric.least_known and service.category not in rubric.exempt
    low, middle, high = (_sum(reasons, unknown) for unknown in (0.0, rubric.unknown, 1.0))
    return Score(service.id, rubric.version, middle if enough else None, low, high, round(share, 3), reasons)


def _sum(reasons: Sequence[Reason], unknown: float) -> int:
    total = sum(reason.weight for reason in reasons)
    risk = sum(reason.weight * (unknown if reason.risk is None else reason.risk) for reason in reasons)
    return round(100 * risk / total) if total else 0


def _reason(criterion: Criterion, service: Service, vendor: Vendor) -> Reason:
    value: Value | None
    if criterion.fact == "country":
        value, source, checked = vendor.country, service.sources[0], str(service.checked)
    else:
        fact = getattr(service.facts, criterion.fact)
        value, source, checked = (fact.value, fact.source, str(fact.checked)) if fact else (None, "", "")
    risk = None if value is None else criterion.risk(value)
    return Reason(criterion.fact, criterion.why, criterion.weight, value, risk, source, checked)
