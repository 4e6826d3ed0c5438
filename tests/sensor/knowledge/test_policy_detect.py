"""Rules for what watches."""

from __future__ import annotations

import re

import pytest

from sensor.knowledge.policy_export import plan
from sensor.knowledge.policy_targets import WATCH, export
from tests.sensor.knowledge.test_policy_export import ACME, RULES, catalogue, packaged, policy_of, service

ALL = policy_of("{id: all, verdict: alert}")


def body(target: str) -> list[str]:
    text = export(target, plan(policy_of(*RULES), ACME, WATCH)).text
    return [line for line in text.splitlines() if not line.startswith("# ")]


def test_suricata_rules() -> None:
    lines = body("suricata")
    assert len(lines) == 3 * 3
    form = re.compile(
        r'alert (dns|tls|quic) any any -> any any \(msg:"aiscope [a-z0-9-]+: [a-z]+"; '
        r"(dns\.query|tls\.sni|quic\.sni); "
        r"[^()]*(\([^()]*\)[^()]*)*classtype:policy-violation; metadata:[^;]+; sid:\d+; rev:1;\)"
    )
    assert all(form.fullmatch(line) for line in lines)
    suffix = next(line for line in lines if '".bad.example"' in line and line.startswith("alert tls"))
    assert 'tls.sni; dotprefix; content:".bad.example"; endswith; nocase;' in suffix
    assert ' content:!".exact.bad.example"; startswith; endswith; nocase;' in suffix
    assert ' content:!".good.bad.example"; endswith; nocase;' in suffix
    assert any('content:"one.example"; startswith; endswith;' in line for line in lines)


def test_suricata_numbers_are_unique_and_stay() -> None:
    def sids(services: str) -> dict[str, str]:
        policy = policy_of(f"{{id: some, match: {{vendor: {services}}}, verdict: alert}}")
        text = export("suricata", plan(policy, packaged(), WATCH)).text
        return {
            re.sub("sid:.*", "", line): line.partition("sid:")[2]
            for line in text.splitlines()
            if "sid:" in line
        }

    few, many = sids("[openai, mistral]"), sids('["*"]')
    assert len(set(many.values())) == len(many) > 1000
    assert few.items() <= many.items()
    assert all(1_500_000_000 <= int(sid.split(";")[0]) < 2_000_000_000 for sid in many.values())


def test_zeek_intelligence_file() -> None:
    lines = [line.split("\t") for line in body("zeek")]
    assert lines[0] == ["#fields", "indicator", "indicator_type", "meta.source", "meta.desc"]
    assert ["bad.example", "Intel::DOMAIN", "aiscope", "bad block"] in lines
    assert all(len(line) == 4 for line in lines[1:])


def test_zeek_is_given_the_names_under_a_name_that_are_known() -> None:
    nested = catalogue(
        service("chat", hosts={"app": ["chat.example"], "api": ["=api.chat.example", "x-*.chat.example"]}),
        service("agent", hosts={"app": ["agent.chat.example"]}),
        service("good", hosts={"app": ["good.chat.example"], "cdn": ["cdn.chat.example"]}),
    )
    policy = policy_of("{id: ok, match: {service: good}, verdict: allow}", "{id: all, verdict: alert}")
    text = export("zeek", plan(policy, nested, WATCH)).text
    rows = [line.split("\t") for line in text.splitlines() if "Intel::" in line]
    assert [(row[0], row[3]) for row in rows] == [
        ("agent.chat.example", "agent alert"),
        ("api.chat.example", "chat alert"),
        ("chat.example", "chat alert"),
    ]


def test_sigma_rules_are_read_by_pysigma() -> None:
    collection = pytest.importorskip("sigma.collection", reason="pySigma is not installed")
    text = export("sigma", plan(ALL, packaged(), WATCH)).text
    rules = collection.SigmaCollection.from_yaml(text).rules
    assert not [rule.errors for rule in rules if rule.errors]
    assert len({rule.id for rule in rules}) == len(rules) > 500
    assert {rule.logsource.category for rule in rules} == {"dns", "proxy"}
    for rule in rules[:5]:
        assert rule.detection.parsed_condition[0].parse()


def test_sigma_leaves_exceptions_out() -> None:
    text = "\n".join(body("sigma"))
    assert "condition: 1 of selection_* and not 1 of filter_*" in text
    assert '      - "exact.bad.example"' in text
    assert '      - ".exact.bad.example"' not in text
