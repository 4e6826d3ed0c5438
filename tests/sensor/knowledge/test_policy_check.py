"""Lints against the catalogue, and test cases in the file."""

from __future__ import annotations

from functools import cache

import pytest

from sensor.knowledge.catalogue import Catalogue, load
from sensor.knowledge.policy import Policy, read
from sensor.knowledge.policy_check import case, check, run
from sensor.knowledge.policy_model import Given


@cache
def catalogue() -> Catalogue:
    return load()


def problems(text: str) -> list[str]:
    policy, lines, wrong = read(text.encode(), "my.yaml")
    assert policy, wrong
    return [str(problem) for problem in check(policy, catalogue(), "my.yaml", lines)]


def policy_of(text: str) -> Policy:
    policy, _, wrong = read(text.encode(), "my.yaml")
    assert policy, wrong
    return policy


def test_names_the_catalogue_does_not_have() -> None:
    text = (
        'version: "1"\nreviews: {chatgtp: approved}\nrules:\n'
        "  - {id: a, match: {service: [chatgpt, 'claud*', chatgtp], vendor: openia}, verdict: block}\n"
        "  - {id: b, match: {category: [chat, chats, unknown]}, verdict: block}\n"
        "tests:\n  - {given: {service: chatgtp}, expect: {verdict: block}}\n"
    )
    assert problems(text) == [
        "my.yaml:2: reviews.chatgtp: the catalogue has no such service",
        "my.yaml:4: rules[0].match.service[2]: the catalogue has no service 'chatgtp'",
        "my.yaml:4: rules[0].match.vendor[0]: the catalogue has no vendor 'openia'",
        "my.yaml:5: rules[1].match.category[1]: the catalogue has no category 'chats'",
        "my.yaml:7: tests[0].given.service: the catalogue has no such service",
    ]


def test_data_classes_that_inspection_does_not_have() -> None:
    text = (
        'version: "1"\nrules:\n'
        "  - {id: a, match: {data_class: [credentials, 'person-*', unknown, pii]}, verdict: block}\n"
        "tests:\n  - {given: {data_class: [iban, card]}, expect: {verdict: block}}\n"
    )
    assert problems(text) == [
        "my.yaml:3: rules[0].match.data_class[3]: there is no data_class 'pii'",
        "my.yaml:5: tests[0].given.data_class[1]: there is no data_class 'card'",
    ]


@pytest.mark.parametrize(
    ("first", "second", "reached"),
    [
        ("{}", "{user: anna}", False),
        ("{service: 'chat*'}", "{service: chatgpt}", False),
        ("{service: [chatgpt, claude]}", "{service: claude, user: anna}", False),
        ("{user: anna}", "{user: anna}", False),
        ("{subnet: 10.0.0.0/8}", "{subnet: 10.0.0.0/8, user: anna}", False),
        ("{user: [unknown, anna]}", "{user: unknown}", False),
        ("{service: chatgpt}", "{service: 'chat*'}", True),
        ("{user: '*'}", "{user: unknown}", True),
        ("{service: chatgpt}", "{service: [chatgpt, claude]}", True),
        ("{service: chatgpt, user: anna}", "{service: chatgpt}", True),
        ("{subnet: 10.0.0.0/9}", "{subnet: 10.0.0.0/8}", True),
    ],
)
def test_rules_that_nothing_reaches(first: str, second: str, reached: bool) -> None:
    text = (
        f'version: "1"\nrules:\n  - {{id: a, match: {first}, verdict: allow}}\n'
        f"  - {{id: b, match: {second}, verdict: block}}\n"
    )
    said = "my.yaml:4: rules[1].match: never reached: 'a' matches all of it before"
    assert problems(text) == ([] if reached else [said])


def test_the_catalogue_completes_a_case() -> None:
    found = case(Given(service="deepseek"), catalogue())
    assert (found.vendor, found.category, found.country) == ("deepseek", "chat", "CN")
    assert found.score == catalogue().score("deepseek").score
    said = case(Given(service="deepseek", country="unknown", score="unknown", vendor=""), catalogue())
    assert (said.vendor, said.country, said.score) == ("", "unknown", None)
    other = case(Given(service="not-known", score=7), catalogue())
    assert (other.vendor, other.score, other.time) == ("", 7, None)


def test_times_and_volumes_of_a_case() -> None:
    found = case(
        Given.model_validate({"time": "2026-11-22T10:00:00", "volume": {"up": "1kB", "down": 5}}), catalogue()
    )
    again = case(Given.model_validate({"time": "2026-11-22T11:00:00+01:00"}), catalogue())
    assert found.time == again.time == 1_795_341_600 * 10**9
    assert found.volumes["week", "both"] == 1005


def test_cases_say_what_is_wrong() -> None:
    policy = policy_of(
        'version: "1"\nrules:\n  - {id: a, match: {service: chatgpt}, verdict: allow}\n'
        "  - {id: b, match: {category: chat}, verdict: block}\ntests:\n"
        "  - {name: right, given: {service: chatgpt}, expect: {verdict: allow, rule: a}}\n"
        "  - {given: {service: claude}, expect: {verdict: allow}}\n"
        "  - {given: {service: claude}, expect: {rule: a}}\n"
    )
    assert [(result.name, result.wrong) for result in run(policy, catalogue())] == [
        ("right", ""),
        ("tests[1]", "expected allow, got block by b"),
        ("tests[2]", "expected rule a, got b"),
    ]
