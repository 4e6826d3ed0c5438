"""The format as a JSON Schema, which is what editors complete by."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from sensor.delivery.event import EVIDENCE
from sensor.knowledge.catalogue_files import PACKAGED
from sensor.knowledge.policy_model import RUNGS, GivenVolume, PolicyFile, json_schema

EXAMPLE = Path(__file__).parents[3] / "deploy" / "policy.example.yaml"


def test_the_schema_in_the_repository_is_this_ones() -> None:
    assert json.loads((PACKAGED / "schema" / "policy.schema.json").read_text()) == json_schema()


def test_the_example_fits_the_schema() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text()), schema)


def test_the_rungs_are_those_of_events() -> None:
    assert RUNGS == EVIDENCE


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        (7, 7),
        ("7B", 7),
        ("1kB", 1_000),
        ("1KiB", None),
        ("1kiB", 1_024),
        ("1.5MB", 1_500_000),
        ("1.5 GiB", 1_610_612_736),
        ("2T", 2_000_000_000_000),
        ("0.0001kB", 0),
        ("-1", None),
        ("1e6", None),
        ("MB", None),
        ("", None),
        (None, None),
        ("9" * 30, None),
    ],
)
def test_sizes(text: object, size: int | None) -> None:
    if size is None:
        with pytest.raises(ValidationError, match="a size is"):
            GivenVolume.model_validate({"up": text})
    else:
        assert GivenVolume.model_validate({"up": text}).up == size


@pytest.mark.parametrize("version", ["", "1\n2", "1\u20282", "1\u20292", "1\x852", "语" * 101])
def test_a_version_is_a_short_line(version: str) -> None:
    assert PolicyFile.model_validate({"version": "语" * 100, "rules": []})
    with pytest.raises(ValidationError, match="version"):
        PolicyFile.model_validate({"version": version, "rules": []})


def test_rules_are_bounded() -> None:
    rules = [{"id": f"r{number}", "verdict": "allow"} for number in range(1_001)]
    with pytest.raises(ValidationError, match="at most 1000"):
        PolicyFile.model_validate({"version": "1", "rules": rules})
