"""The format: patterns in normal form, and a JSON Schema that agrees with what the loader takes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from sensor.knowledge.catalogue_files import PACKAGED, files
from sensor.knowledge.catalogue_model import CATEGORIES, Category, Service, Vendor, json_schema
from sensor.knowledge.catalogue_yaml import parse

VENDOR: dict[str, Any] = {
    "vendor": "acme",
    "name": "Acme",
    "services": [
        {
            "id": "acme",
            "name": "Acme",
            "category": "chat",
            "hosts": {"app": ["acme.example"]},
            "requests": [{"host": "shared.example", "path": "/acme/", "role": "api"}],
            "servers": [
                {"ports": [11434], "paths": ["/api/chat"], "response_headers": {"server": "x"}, "body": "x"}
            ],
            "sources": ["https://acme.example"],
            "checked": "2026-11-22",
            "fires": ["acme.example", {"request": "POST /api/chat", "port": 11434}, {"address": "192.0.2.1"}],
            "silent": ["x.example"],
            "facts": {"sso": {"value": True, "source": "https://acme.example", "checked": "2026-11-22"}},
        }
    ],
}


def test_the_published_schema_is_the_models() -> None:
    published = json.loads((PACKAGED / "schema" / "service.schema.json").read_text())
    assert published == json_schema(), "run: aiscope catalogue schema > signatures/schema/service.schema.json"
    Draft202012Validator.check_schema(published)


def test_categories_are_named_once() -> None:
    assert set(CATEGORIES) == set(Category.__args__)
    assert len(CATEGORIES) == 17


def agree(value: Any) -> bool:
    """Whether model and schema both take a value; they must not differ."""
    try:
        Vendor.model_validate(value)
        model = True
    except ValidationError:
        model = False
    assert Draft202012Validator(json_schema()).is_valid(value) is model
    return model


def test_a_good_vendor_is_good_for_both() -> None:
    assert agree(VENDOR)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("vendor",), "Acme Inc"),
        (("country",), "Germany"),
        (("nmae",), "x"),
        (("services",), []),
        (("services", 0, "category"), "chatt"),
        (("services", 0, "hosts"), {"ap": ["acme.example"]}),
        (("services", 0, "name"), "a\x1bb"),
        (("services", 0, "sources"), []),
        (("services", 0, "sources"), ["acme.example"]),
        (("services", 0, "fires"), []),
        (("services", 0, "silent"), []),
        (("services", 0, "servers", 0, "ports"), [70000]),
        (("services", 0, "servers", 0, "port"), 1),
        (("services", 0, "facts"), {"beauty": {"value": True}}),
        (("services", 0, "facts", "sso"), {"value": True}),
    ],
)
def test_what_is_wrong_is_wrong_for_both(path: tuple[str | int, ...], value: Any) -> None:
    wrong = copy.deepcopy(VENDOR)
    at: Any = wrong
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert not agree(wrong)


def test_the_schema_takes_every_file() -> None:
    validator = Draft202012Validator(json_schema())
    for path, data in files(PACKAGED / "services"):
        value = numbers(parse(data)[0])
        assert [error.message for error in validator.iter_errors(value)] == [], path.name


def numbers(value: Any) -> Any:
    """The loader's text as an editor sees it: ports are numbers."""
    if isinstance(value, dict):
        return {
            k: [int(p) for p in v] if k == "ports" else PORTS.get(k, numbers)(v) for k, v in value.items()
        }
    return [numbers(item) for item in value] if isinstance(value, list) else value


def fact(value: Any) -> Any:
    return {**value, "value": int(value["value"])}


PORTS: dict[str, Any] = {"port": int, "retention_days": fact}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ChatGPT.com.", "chatgpt.com"),
        ("=API.x.com", "=api.x.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("Bedrock.*.AWS.com", None),
        ("bedrock.*.aws.com", "bedrock.*.aws.com"),
        ("_dmarc.x.com", "_dmarc.x.com"),
        ("a..b", None),
        ("a.b:443", None),
        ("https://a.b", None),
        ("a-.b", None),
        ("x" * 64 + ".com", None),
        (".".join(["abcdefgh"] * 30), None),
        ("*.*.*.*.a.b", "*.*.*.*.a.b"),
        ("x*y*.a.b", None),
    ],
)
def test_host_patterns(text: str, normal: str | None) -> None:
    row = {**VENDOR["services"][0], "hosts": {"app": [text]}}
    if normal is None:
        with pytest.raises(ValidationError):
            Service.model_validate(row)
    else:
        assert Service.model_validate(row).hosts == {"app": (normal,)}
