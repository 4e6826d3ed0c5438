"""The packaged detectors: that every case does what it says, and that there are as many kinds as promised."""

import json
from pathlib import Path

import jsonschema
import yaml

from sensor.proxy import dlp
from sensor.proxy.dlp.check import check_folder, wrong_cases
from sensor.proxy.dlp.detector import json_schema
from sensor.proxy.dlp.load import PACKAGED, load

SCHEMA = Path(__file__).parents[4] / "signatures" / "schema" / "detector.schema.json"


def test_every_case_of_every_packaged_detector():
    assert check_folder(PACKAGED) == []


def test_kinds():
    detectors = load()
    by_class = {name: [d for d in detectors if d.data_class == name] for name in dlp.DATA_CLASSES}
    assert len(by_class["credentials"]) >= 60
    countries = {d.id.partition("-")[0] for d in by_class["national-id"] if d.validate_}
    assert len(countries) >= 40
    assert len(by_class["source-code"]) >= 12
    assert all(d.heuristic for d in by_class["prompt-injection"] + by_class["jailbreak"])


def test_the_schema_file_is_made_from_the_types_and_fits_the_files():
    schema = json.loads(SCHEMA.read_text("utf-8"))
    assert schema == json_schema()
    for path in PACKAGED.glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text("utf-8")), schema)


def test_wrong_cases_are_said():
    detectors = [
        d.model_copy(update={"fires": ("nothing",), "silent": ("a@corp.com",)})
        for d in load()
        if d.id == "email"
    ]
    assert list(wrong_cases(dlp.Config(detectors))) == [
        "email: fires: is silent on 'nothing'",
        "email: silent: fires on 'a@corp.com'",
    ]
