"""Verdicts on a monitor's events, sums in windows, findings once a day."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from sensor.delivery.event import Connection, Event, Finding
from sensor.knowledge import policy_judge
from sensor.knowledge.catalogue import Catalogue, load
from sensor.knowledge.policy import Policy, read
from sensor.knowledge.policy_judge import Judge, Meter
from sensor.packets.facts import Limits
from tests.collector.conftest import START, connection, exchange

S = 1_000_000_000


@cache
def catalogue() -> Catalogue:
    return load()


def policy_of(*rules: str) -> Policy:
    text = 'version: "1"\nrules:\n' + "".join(f"  - {rule}\n" for rule in rules)
    policy, _, problems = read(text.encode(), "policy.yaml")
    assert policy, problems
    return policy


def judge(policy: Policy) -> Judge:
    return Judge(policy, catalogue(), Limits())


def slice_(end: float, **values: Any) -> Connection:
    """A slice that ends at second `end`."""
    return connection(
        **{"time": START, "end_time": START + int(end * S), "bytes_up": 100, "bytes_down": 0} | values
    )


def verdicts(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.flow_id, event.policy) for event in events if isinstance(event, Connection)]


def test_only_use_is_judged() -> None:
    rows = [
        connection(role=role)
        for role in ("app", "api", "upload", "realtime", "", "cdn", "auth", "telemetry", "relay")
    ]
    rows.append(connection(service="", role=""))
    found = [
        e for e in judge(policy_of("{id: all, verdict: allow}")).judge(rows) if isinstance(e, Connection)
    ]
    assert [event.verdict for event in found] == ["allow"] * 5 + [""] * 5


def test_what_the_catalogue_knows_is_in_the_case() -> None:
    policy = policy_of(
        "{id: china, match: {country: CN}, verdict: block}",
        "{id: unscored, match: {score: {min: 100, unknown: true}}, verdict: coach}",
        "{id: scored, match: {score: {}}, verdict: allow}",
    )
    rows = [
        connection(service="deepseek", vendor="deepseek"),
        connection(service="ollama", vendor="ollama"),
        connection(service="chatgpt", vendor="openai"),
        connection(service="mine-alone"),
    ]
    assert [p for _, p in verdicts(list(judge(policy).judge(rows)))] == [
        "china",
        "unscored",
        "scored",
        "unscored",
    ]


def test_findings_are_one_per_client_service_rule_and_day() -> None:
    day = 86_400 * S
    rows = [
        connection(), connection(), connection(client_ip="10.0.0.6"), connection(service="claude"),
        connection(time=START + day, start_time=START + day, end_time=START + day),
        exchange(service="openai-api"),
    ]  # fmt: skip
    policy = policy_of("{id: look, verdict: alert, severity: high}")
    found = [event for event in judge(policy).judge(rows) if isinstance(event, Finding)]
    assert [(f.client_ip, f.service, f.time - START) for f in found] == [
        ("10.0.0.5", "openai-api", 0),
        ("10.0.0.6", "openai-api", 0),
        ("10.0.0.5", "claude", 0),
        ("10.0.0.5", "openai-api", day),
    ]
    assert len({f.id for f in found}) == 4
    assert found[0].title == "openai-api: alert by policy rule look"
    assert (found[0].rule, found[0].severity, found[0].tags) == ("policy:look", "high", ("policy", "alert"))
    again = [event for event in judge(policy).judge(rows[:1]) if isinstance(event, Finding)]
    assert again[0].id == found[0].id  # the same finding after a restart


def test_allowed_and_tolerated_are_no_finding() -> None:
    for verdict in ("allow", "tolerate"):
        events = list(judge(policy_of(f"{{id: fine, verdict: {verdict}}}")).judge([connection()]))
        assert not any(isinstance(event, Finding) for event in events)


VOLUME = "{id: much, match: {volume: {over: 250, per: minute}}, verdict: alert}"


def test_slices_wait_until_nothing_earlier_can_come() -> None:
    judging = judge(policy_of(VOLUME))
    early, late = slice_(10, flow_id="early"), slice_(20, flow_id="late")
    assert list(judging.judge([late, early])) == []
    assert verdicts(list(judging.judge([slice_(82, flow_id="next")]))) == [("early", "default")]
    assert verdicts(list(judging.finish())) == [("late", "default"), ("next", "default")]


def test_sums_are_in_the_order_of_ends_and_per_window() -> None:
    judging = judge(policy_of(VOLUME))
    # 22:13:20 is START: the minute ends 40 s later
    rows = [slice_(end, flow_id=f"at{end}") for end in (30, 10, 41, 20, 42)]
    assert list(judging.judge(rows)) == []
    assert verdicts(list(judging.finish())) == [
        ("at10", "default"), ("at20", "default"), ("at30", "much"), ("at41", "default"), ("at42", "default"),
    ]  # fmt: skip


def test_slices_of_one_moment_count_each_other_and_empty_ones_do_not_wait() -> None:
    judging = judge(policy_of(VOLUME))
    rows = [slice_(10, flow_id=name) for name in "abc"]
    assert list(judging.judge(rows)) == []
    assert verdicts(list(judging.judge([slice_(11, flow_id="empty", bytes_up=0)]))) == [("empty", "default")]
    assert verdicts([e for e in judging.finish() if isinstance(e, Connection)]) == [
        (n, "much") for n in "abc"
    ]


def test_other_clients_services_and_roles_have_sums_of_their_own() -> None:
    judging = judge(policy_of(VOLUME))
    rows = [slice_(n, flow_id=f"f{n}") for n in (1, 2)]
    rows += [slice_(3, client_ip="10.0.0.6"), slice_(4, service="claude"), slice_(5, role="cdn")]
    assert list(judging.judge([*rows, slice_(6, flow_id="third")])) == []
    found = [event for event in judging.finish() if isinstance(event, Connection)]
    assert [event.flow_id for event in found if event.policy == "much"] == ["third"]


def test_a_meter_forgets_what_was_not_used_longest() -> None:
    meter = Meter({("day", "up"), ("day", "both")}, limit=2)
    for client in ("a", "b", "a", "c"):
        meter.add(client, "s", START, 10, 1)
    assert meter.volumes("a", "s") == {("day", "up"): 20, ("day", "both"): 22}
    assert meter.volumes("b", "s") == {("day", "up"): 0, ("day", "both"): 0}


def test_an_older_slice_counts_in_the_running_window() -> None:
    meter = Meter({("day", "up")})
    meter.add("a", "s", START + 86_400 * S, 10, 0)
    meter.add("a", "s", START, 5, 0)
    assert meter.volumes("a", "s") == {("day", "up"): 15}


def test_findings_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_judge, "REMEMBERED", 2)
    judging = judge(policy_of("{id: look, verdict: alert}"))
    rows = [connection(client_ip=f"10.0.0.{n}") for n in (1, 2, 3, 1)]
    assert sum(isinstance(event, Finding) for event in judging.judge(rows)) == 4
