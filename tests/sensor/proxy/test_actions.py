from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from sensor.knowledge import policy as policies
from sensor.knowledge.catalogue import load
from sensor.proxy import analyse, workers
from sensor.proxy.actions import Actions, Outcome
from sensor.proxy.analyse import Job, Options, Setting
from sensor.proxy.coach import Grants
from sensor.proxy.limit import Limiter
from sensor.proxy.people import Client
from sensor.proxy.providers import Request
from sensor.proxy.rows import Seen
from sensor.proxy.workers import ScanFailed, whole

CATALOGUE = load()
SETTING = Setting(Options())
KEY = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"  # in the shape of a token, and none
RULES = """
version: t
default: allow
rules:
  - {id: keys, match: {data_class: credentials}, verdict: VERDICT}
  - {id: claude, match: {service: claude-api}, verdict: alert}
"""


class Inline:
    """Workers without processes; `broken` ones fail like them."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    async def run(self, size: int, function: Any, *arguments: Any) -> Any:
        if self.broken:
            raise ScanFailed("TimeoutError")
        made = function(*arguments, SETTING)
        return whole(made) if isinstance(made, Generator) else made


def openai() -> Seen:
    match = CATALOGUE.match("api.openai.com")
    assert match
    return Seen("id", 10**18, Client("10.0.0.1", "anna"), match, "api.openai.com")


def judge(
    verdict: str,
    text: str,
    *,
    broken: bool = False,
    enforce: bool = True,
    closed: tuple[str, ...] = ("block",),
    body: bytes = b"",
) -> tuple[Outcome, Seen]:
    policy, _, problems = policies.read(RULES.replace("VERDICT", verdict).encode(), "p")
    assert not problems
    actions = Actions(
        policy,
        CATALOGUE,
        Inline(broken),
        enforce=enforce,
        closed=closed,
        limiter=Limiter(),
        grants=Grants(60),  # type: ignore[arg-type]
    )
    seen = openai()
    match = seen.match
    body = body or json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"content-type": "application/json"}
    request = Request(
        "POST", "https", "api.openai.com", 443, "/v1/chat/completions", headers=headers, body=body
    )
    return asyncio.run(actions.judge(seen, Job("id", request, match.service, b"k"), len(body))), seen


def test_blocked_only_when_enforced() -> None:
    outcome, seen = judge("block", KEY)
    assert (outcome.refused, outcome.rule) == ("block", "keys")
    outcome, seen = judge("block", KEY, enforce=False)
    assert not outcome.refused
    assert seen.decision
    assert seen.decision.verdict == "block"


def test_redacted_and_the_original_is_only_in_the_outcome() -> None:
    outcome, seen = judge("redact", f"is {KEY} good?")
    assert outcome.body
    assert KEY.encode() not in outcome.body
    assert outcome.originals == {"<CREDENTIAL_1>": KEY}
    assert KEY not in repr((outcome, seen))


@pytest.mark.parametrize(
    ("verdict", "closed", "refused"),
    [
        ("block", ("block",), "block"),
        ("block", (), ""),
        ("redact", ("block",), ""),
        ("redact", ("block", "redact"), "block"),
    ],
)
def test_what_could_not_be_looked_at(verdict: str, closed: tuple[str, ...], refused: str) -> None:
    """Refused only if a rule of a verdict that fails closed might have held."""
    outcome, seen = judge(verdict, "harmless", broken=True, closed=closed)
    assert outcome.refused == refused
    assert seen.problems == ["failed"]
    assert not judge(verdict, "harmless", broken=True, closed=closed, enforce=False)[0].refused


def unread(rules: str, times: int = 1) -> list[str]:
    """What becomes of requests of 100 bytes that could not be read, while nothing fails closed."""
    policy, _, problems = policies.read(f"version: t\nrules:\n{rules}".encode(), "p")
    assert not problems
    actions = Actions(
        policy,
        CATALOGUE,
        Inline(),  # type: ignore[arg-type]
        enforce=True,
        closed=(),
        limiter=Limiter(upload_per_hour=250),
        grants=Grants(60),
    )
    outcomes = []
    for _ in range(times):
        seen = openai()
        seen.up, seen.problems = 50, ["too-large"]
        outcomes.append(actions.unread(seen).refused)
        seen.up = 100  # as much has come when it is over
        actions.used(seen)
    return outcomes


@pytest.mark.parametrize("verdict", ["block", "coach"])
def test_what_is_certain_without_the_content_is_done(verdict: str) -> None:
    """A coding that nobody reads, or a body too large to be held, is no way around."""
    rule = f" - {{id: all, match: {{service: openai-api}}, verdict: {verdict}}}"
    assert unread(rule) == [verdict]
    maybe = " - {id: ours, match: {account_type: corporate}, verdict: allow}\n"
    assert unread(maybe + rule) == [""]


def test_what_could_not_be_read_counts_for_limits_and_volumes() -> None:
    limit = " - {id: slow, match: {service: openai-api}, verdict: limit, rate: 30/hour}"
    assert unread(limit, 4) == ["", "", "", "limit"]
    volume = " - {id: much, match: {volume: {over: 160, per: day}}, verdict: block}\n"
    assert unread(volume + " - {id: rest, verdict: allow}", 3) == ["", "", "block"]


def test_a_body_that_was_not_read_wholly_is_not_trusted() -> None:
    deep = b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert judge("block", "", body=deep)[0].refused == "block"
    assert not judge("block", "", body=deep, closed=())[0].refused


def test_a_body_that_two_readers_read_differently_is_written_anew() -> None:
    twice = b'{"model": "m", "messages": [{"role": "user", "content": "one", "content": "two"}]}'
    outcome, _ = judge("block", "", body=twice)
    assert outcome.body
    assert b"one" not in outcome.body


def test_no_text_of_a_prompt_is_in_what_analysis_returns() -> None:
    _, seen = judge("block", f"my {KEY} and jane.roe@corp-mail.com")
    assert seen.asked
    assert set(seen.asked.data_classes) == {"credentials", "email"}
    assert KEY not in repr(seen.asked)
    assert "jane" not in repr(seen.asked)


def test_an_excerpt_is_redacted(tmp_path: Path) -> None:
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": f"is {KEY}\x1b good?"}]}
    ).encode()
    request = Request("POST", "https", "api.openai.com", 443, "/v1/chat/completions", body=body)
    asked = whole(analyse.ask(Job("id", request, "openai-api", b"k"), Setting(Options(excerpt=100))))
    assert asked
    assert asked.excerpt == "is <CREDENTIAL_1>  good?"


def _hang(setting: object) -> None:
    import time

    time.sleep(60)


def _die(setting: object) -> None:
    import os

    os._exit(1)


def _alive(setting: object) -> bool:
    return setting is not None


@pytest.mark.parametrize("harm", [_hang, _die])
def test_a_worker_that_hangs_or_dies_is_replaced(harm: Any) -> None:
    async def work() -> bool:
        held = workers.Workers(Options(), 1, timeout=2.0)
        try:
            await held.warm()
            with pytest.raises(ScanFailed):
                await held.run(1 << 20, harm)
            held._timeout = 30.0
            return await held.run(1 << 20, _alive)
        finally:
            held.close()

    assert asyncio.run(work())
