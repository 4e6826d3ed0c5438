"""The score: reasons add up, weights can be changed, unknown is neither good nor a number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensor.knowledge.catalogue_files import PACKAGED
from sensor.knowledge.catalogue_model import Facts, Vendor
from sensor.knowledge.catalogue_score import Rubric, Score, score
from sensor.knowledge.catalogue_side import read_side

RUBRIC = Rubric.model_validate(
    {
        "version": 3,
        "exempt": ["self-hosted"],
        "criteria": [
            {"fact": "trains_business", "weight": 50, "why": "w", "values": {"true": 1, "false": 0}},
            {
                "fact": "retention_days",
                "weight": 30,
                "why": "w",
                "steps": [{"upto": 0, "risk": 0}, {"upto": 30, "risk": 0.5}],
            },
            {"fact": "regions", "weight": 10, "why": "w", "values": {"EU": 0}},
            {"fact": "country", "weight": 10, "why": "w", "values": {"DE": 0, "US": 0.5}},
        ],
    }
)


def scored(
    country: str | None = None, category: str = "chat", rubric: Rubric = RUBRIC, **facts: Any
) -> Score:
    stated = {k: {"value": v, "source": "https://e.org", "checked": "2026-11-22"} for k, v in facts.items()}
    vendor = Vendor.model_validate(
        {
            "vendor": "v",
            "name": "V",
            "country": country,
            "services": [
                {
                    "id": "s",
                    "name": "S",
                    "category": category,
                    "hosts": {"app": ["s.example"]},
                    "sources": ["https://e.org"],
                    "checked": "2026-11-22",
                    "fires": ["s.example"],
                    "silent": ["x.example"],
                    "facts": stated,
                }
            ],
        }
    )
    return score(vendor.services[0], vendor, rubric)


def test_all_known() -> None:
    best = scored("DE", trains_business=False, retention_days=0, regions=["US", "EU"])
    assert (best.score, best.low, best.high, best.known) == (0, 0, 0, 1.0)
    worst = scored("XX", trains_business=True, retention_days=365, regions=[])
    assert (worst.score, worst.low, worst.high) == (100, 100, 100)
    some = scored("US", trains_business=False, retention_days=30, regions=["US"])
    assert some.score == round(0 + 30 * 0.5 + 10 + 10 * 0.5)


def test_unknown_is_not_good() -> None:
    found = scored("DE", trains_business=False)
    assert (found.low, found.score, found.high) == (0, 20, 40)
    assert found.known == 0.6
    unknown = [reason for reason in found.reasons if reason.risk is None]
    assert [reason.fact for reason in unknown] == ["retention_days", "regions"]


def test_too_little_known_is_no_score() -> None:
    found = scored("DE")
    assert found.score is None
    assert (found.low, found.high, found.known) == (0, 90, 0.1)


def test_a_vendors_promises_say_nothing_about_ones_own_machine() -> None:
    assert scored("DE", "self-hosted", trains_business=False).score is None


def test_reasons_carry_their_source() -> None:
    reason = scored("US", trains_business=True).reasons[0]
    assert (reason.value, reason.risk, reason.source, reason.checked) == (
        True,
        1.0,
        "https://e.org",
        "2026-11-22",
    )


def test_weights_can_be_changed() -> None:
    heavy = RUBRIC.model_copy(update={"criteria": RUBRIC.criteria[:1], "unknown": 1.0})
    assert scored("US", rubric=heavy, trains_business=True).score == 100
    assert scored("US", rubric=heavy).high == 100


FACTS = st.fixed_dictionaries(
    {},
    optional={
        "trains_business": st.booleans(),
        "retention_days": st.integers(0, 400),
        "regions": st.lists(st.sampled_from(["EU", "US"])),
    },
)


@given(st.sampled_from([None, "DE", "US", "XX"]), FACTS)
def test_the_score_is_within_its_range(country: str | None, facts: dict[str, Any]) -> None:
    found = scored(country, **facts)
    assert 0 <= found.low <= found.high <= 100
    assert found.score is None or found.low <= found.score <= found.high
    if facts.keys() == {"trains_business", "retention_days", "regions"} and country:
        assert found.low == found.high


@pytest.mark.parametrize(
    ("criterion", "error"),
    [
        ({"fact": "beauty", "values": {"true": 1}}, "no such fact"),
        ({"fact": "sso"}, "either values or steps"),
        ({"fact": "sso", "values": {"true": 2}}, "less than or equal to 1"),
        ({"fact": "incidents", "steps": [{"upto": 5, "risk": 1}, {"upto": 1, "risk": 1}]}, "steps must rise"),
        ({"fact": "sso", "weight": 0, "values": {"true": 1}}, "greater than 0"),
    ],
)
def test_a_wrong_rubric(criterion: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        Rubric.model_validate({"criteria": [{"weight": 1, "why": "w", **criterion}]})


def test_a_fact_counts_once() -> None:
    one = {"fact": "sso", "weight": 1, "why": "w", "values": {"true": 0}}
    with pytest.raises(ValidationError, match="counts once"):
        Rubric.model_validate({"criteria": [one, one]})


def test_the_published_rubric() -> None:
    rubric = read_side(PACKAGED, "rubric.yaml", Rubric)
    assert rubric.version >= 1
    assert sum(criterion.weight for criterion in rubric.criteria) == 100
    assert {criterion.fact for criterion in rubric.criteria} == {*Facts.model_fields, "country"}
    country = next(criterion for criterion in rubric.criteria if criterion.fact == "country")
    assert country.risk("NO") == 0
