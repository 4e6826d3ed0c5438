"""Rules and what they decide; every error with its file, line and key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.knowledge.policy import (
    VERDICTS,
    Case,
    Policy,
    PolicyError,
    Rate,
    load,
    network_range,
    read,
    window,
)

NS = 1_000_000_000


def policy_of(match: str, head: str = "") -> Policy:
    text = f'version: "1"\n{head}\nrules: [{{id: hit, match: {match}, verdict: block}}]\n'
    policy, _, problems = read(text.encode(), "policy.yaml")
    assert policy, problems
    return policy


def hits(match: str, head: str = "", **values: object) -> bool:
    return policy_of(match, head).decide(Case(**values)).rule == "hit"  # type: ignore[arg-type]


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * NS


@pytest.mark.parametrize(
    ("match", "case", "expected"),
    [
        ("{service: chatgpt}", {"service": "chatgpt"}, True),
        ("{service: chatgpt}", {"service": "chatgpt2"}, False),
        ("{service: 'chat*'}", {"service": "chatgpt"}, True),
        ("{service: 'chat*'}", {"service": "xchat"}, False),
        ("{user: '*@a.example'}", {"user": "x@a.example"}, True),
        ("{user: '*@a.example'}", {"user": "x@aXexample"}, False),
        ("{user: '*'}", {"user": "anybody"}, True),
        ("{user: '*'}", {}, False),
        ("{user: unknown}", {}, True),
        ("{user: unknown}", {"user": "unknown"}, True),
        ("{user: unknown}", {"user": "anna"}, False),
        ("{user: Anna}", {"user": "anna"}, False),
        ("{group: [it, sales]}", {"groups": ("hr", "sales")}, True),
        ("{group: [it, sales]}", {"groups": ("hr",)}, False),
        ("{group: unknown}", {}, True),
        ("{group: unknown}", {"groups": ("hr",)}, False),
        ("{data_class: 'pi*'}", {"data_classes": ("secret", "pii")}, True),
        ("{data_class: pii}", {}, False),
        ("{vendor: openai, category: chat}", {"vendor": "openai", "category": "chat"}, True),
        ("{vendor: openai, category: chat}", {"vendor": "openai"}, False),
        ("{score: {min: 60}}", {"score": 60}, True),
        ("{score: {min: 60}}", {"score": 59}, False),
        ("{score: {max: 30}}", {"score": 30}, True),
        ("{score: {min: 60}}", {}, False),
        ("{score: {min: 60, unknown: true}}", {}, True),
        ("{subnet: 10.0.0.0/8}", {"client_ip": "10.255.0.1"}, True),
        ("{subnet: 10.0.0.0/8}", {"client_ip": "11.0.0.1"}, False),
        ("{subnet: 10.0.0.0/8}", {"client_ip": "::ffff:10.0.0.1"}, True),
        ("{subnet: '2001:db8::/32'}", {"client_ip": "2001:db8:1::1"}, True),
        ("{subnet: '2001:db8::/32'}", {"client_ip": "10.0.0.1"}, False),
        ("{subnet: '0.0.0.0/0'}", {"client_ip": "::1"}, False),
        ("{subnet: '0.0.0.0/0'}", {}, False),
        ("{subnet: 10.0.0.0/8}", {"client_ip": "no address"}, False),
        ("{evidence: [flow, decrypted]}", {"evidence": "decrypted"}, True),
        ("{evidence: [flow, decrypted]}", {"evidence": "sni"}, False),
        ("{account_type: unknown}", {"account_type": "unknown"}, True),
        ("{account_type: unknown}", {}, True),
        ("{country: CN}", {"country": "CN"}, True),
        ("{country: CN}", {"server_country": "CN"}, False),
        ("{volume: {over: 1kB, per: day}}", {"volumes": {("day", "up"): 1001}}, True),
        ("{volume: {over: 1kB, per: day}}", {"volumes": {("day", "up"): 1000}}, False),
        ("{volume: {over: 1kB, per: day}}", {"volumes": {("hour", "up"): 9999}}, False),
        ("{volume: {over: 0, per: day}}", {}, False),
        ("{}", {}, True),
    ],
)
def test_one_rule(match: str, case: dict[str, object], expected: bool) -> None:
    assert hits(match, **case) is expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-27T22:00:00+01:00", True),  # a Friday evening
        ("2026-03-27T21:59:59+01:00", False),
        ("2026-03-28T05:59:00+01:00", True),  # its night
        ("2026-03-28T06:00:00+01:00", False),
        ("2026-03-28T23:00:00+01:00", False),  # Saturday's night is not in it
        ("2026-03-29T03:30:00+02:00", False),
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_it_begins(moment: str, expected: bool) -> None:
    span = "{time: {days: [mon, tue, wed, thu, fri], from: '22:00', until: '06:00'}}"
    assert hits(span, "timezone: Europe/Berlin", time=at(moment)) is expected


def test_time_is_in_the_policys_zone_and_needs_to_be_known() -> None:
    span = "{time: [{days: sat}, {from: '12:00', until: '24:00'}]}"
    assert hits(span, time=at("2026-11-21T00:00:00+00:00"))
    assert not hits(span, "timezone: America/New_York", time=at("2026-11-20T16:59:00+00:00"))
    assert hits(span, "timezone: Asia/Tokyo", time=at("2026-11-20T15:00:00+00:00"))
    assert not hits(span)


def test_the_first_rule_that_matches_decides() -> None:
    policy, _, problems = read(
        b'version: "1"\ndefault: allow\nreviews: {kimi: rejected}\nrules:\n'
        b"  - {id: a, match: {review: rejected}, verdict: limit, rate: 20/minute, message: slowly}\n"
        b"  - {id: b, match: {service: kimi}, verdict: block}\n"
        b"  - {id: c, match: {service: [kimi, grok]}, verdict: alert, severity: critical}\n",
        "policy.yaml",
    )
    assert policy, problems
    decided = policy.decide(Case(service="kimi"))
    assert (decided.verdict, decided.rule, decided.rate, decided.message) == (
        "limit",
        "a",
        Rate(20, 60),
        "slowly",
    )
    assert str(decided.rate) == "20/minute"
    assert policy.decide(Case(service="kimi", review="approved")).rule == "b"
    grok = policy.decide(Case(service="grok"))
    assert (grok.rule, grok.severity, grok.finding) == ("c", "critical", True)
    nothing = policy.decide(Case(service="claude"))
    assert (nothing.verdict, nothing.rule, nothing.finding) == ("allow", "default", False)
    assert policy.explain(Case(service="grok")) == [("a", ("review",)), ("b", ("service",)), ("c", ())]
    assert policy.explain(Case())[-1] == ("default", ())


def test_without_rules_the_default_is_tolerate() -> None:
    policy, _, _ = read(b'version: "1"\nrules: []', "policy.yaml")
    assert policy
    assert policy.decide(Case()).verdict == "tolerate"
    assert policy.volumes == frozenset()


@pytest.mark.parametrize(
    ("rule", "key", "text"),
    [
        ("verdct: block, verdict: block", ".verdct", "extra inputs are not permitted"),
        ("verdict: forbid", ".verdict", "input should be 'allow'"),
        ("verdict: limit", "", "`limit` needs a rate"),
        ("verdict: block, rate: 5/minute", "", "only `limit` has one"),
        ("verdict: limit, rate: 0/minute", ".rate", "a rate is like"),
        ("verdict: limit, rate: 5/week", ".rate", "a rate is like"),
    ],
)
def test_errors_of_a_rule_have_file_line_and_key(rule: str, key: str, text: str) -> None:
    _, _, problems = read(f'version: "1"\nrules:\n  - {{id: a, {rule}}}\n'.encode(), "my.yaml")
    assert [(p.file, p.line, p.key) for p in problems] == [("my.yaml", 3, f"rules[0]{key}")]
    assert text in problems[0].text


@pytest.mark.parametrize(
    ("match", "key", "text"),
    [
        ("user: []", "user", "at least 1 item"),
        ("user: 'a*b*c*'", "user[0]", "at most two *"),
        ("subnet: 10.0.0.1/8", "subnet[0]", "host bits set"),
        ("country: China", "country[0]", "should match pattern"),
        ("review: maybe", "review[0]", "input should be"),
        ("evidence: seen", "evidence[0]", "input should be"),
        ("score: {min: 101}", "score.min", "less than or equal"),
        ("score: {min: 9, max: 8}", "score", "min is above max"),
        ("volume: {over: 5 parsecs, per: day}", "volume.over", "a size is"),
        ("volume: {over: 5MB, per: year}", "volume.per", "input should be"),
        ("time: {from: '25:00'}", "time[0].from", "a time of day is like"),
        ("time: {from: '08:00', until: '08:00'}", "time[0]", "no time between"),
        ("time: {days: monday}", "time[0].days[0]", "input should be"),
    ],
)
def test_errors_of_a_match_have_file_line_and_key(match: str, key: str, text: str) -> None:
    rule = f"{{id: a, verdict: block, match: {{{match}}}}}"
    _, _, problems = read(f'version: "1"\nrules:\n  - {rule}\n'.encode(), "my.yaml")
    assert [(p.file, p.line, p.key) for p in problems] == [("my.yaml", 3, f"rules[0].match.{key}")]
    assert text in problems[0].text


@pytest.mark.parametrize("id", ["A b", "default", "", "a--b", "a" * 65])
def test_ids_that_are_none(id: str) -> None:
    policy, _, problems = read(f'version: "1"\nrules: [{{id: "{id}", verdict: block}}]'.encode(), "my.yaml")
    assert policy is None
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "my.yaml: should be a mapping"),
        (b"rules: []", "version: field required"),
        (b'version: "1"\nrules: []\ntimezone: Mars/Base', "timezone: no time zone"),
        (b'version: "1"\nrules: []\ntimezone: ../../etc/passwd', "timezone: no time zone"),
        (b'version: "1"\nrules: []\ntimezone: localtime', "timezone: no time zone"),
        (b'version: "1"\nrules: []\ndefault: limit', "default: input should be"),
        (b'version: "a\\nb"\nrules: []', "version: string should match"),
        (b'version: "1"\nrules: [&x {id: a, verdict: block}, *x]', "anchors and aliases are not allowed"),
        (b'version: "1"\nversion: "2"', "key 'version' twice"),
        (b"\xff", "not UTF-8"),
        (
            b'version: "1"\nrules: [{id: a, verdict: block}, {id: a, verdict: allow}]',
            "rules[1].id: 'a' is the id",
        ),
    ],
)
def test_a_file_that_is_no_policy(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(text)
    with pytest.raises(PolicyError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert said.removeprefix("my.yaml: ") in str(caught.value)


def test_the_id_says_version_and_content(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text('version: "7"\nrules: []')
    first = load(path).id
    path.write_text('version: "7"\nrules: []\n')
    assert load(path).id != first
    assert first.startswith("7-")


def test_windows_begin_where_utc_does() -> None:
    monday = at("2026-11-23T00:00:00+00:00")
    assert window(monday, "week") == window(monday - 1, "week") + 1
    assert window(monday, "day") == window(monday - 1, "day") + 1
    assert window(monday + 1, "week") == window(monday + 7 * 86_400 * NS - 1, "week")


@given(st.ip_addresses())
def test_an_address_is_its_own_network(address: object) -> None:
    low, high = network_range(str(address))
    assert low == high


def test_verdicts_rise() -> None:
    assert VERDICTS == ("allow", "tolerate", "alert", "coach", "limit", "redact", "block")
