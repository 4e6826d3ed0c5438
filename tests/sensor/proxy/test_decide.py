from __future__ import annotations

from sensor.knowledge.catalogue import load
from sensor.proxy.decide import Gaps, Targets

KEY = ("10.0.0.1", "api.openai.com", "t13d")


def test_names_decide_and_either_of_two_is_enough() -> None:
    targets = Targets(load(), ["mcp.corp.example"], ["=login.microsoftonline.com"])
    assert targets.match("api.openai.com", "").service == "openai-api"  # type: ignore[union-attr]
    assert targets.match("innocent.example", "api.openai.com").service == "openai-api"  # type: ignore[union-attr]
    assert targets.match("tools.mcp.corp.example").role == "api"  # type: ignore[union-attr]
    assert targets.match("login.microsoftonline.com").role == "auth"  # type: ignore[union-attr]
    assert targets.match("www.example.com", "192.0.2.1") is None
    assert targets.match("", "") is None


def test_a_failed_handshake_lasts_for_a_while() -> None:
    gaps = Gaps(lasting=100)
    assert not gaps.passes(KEY, 0)
    gaps.failed(KEY, 0)
    assert gaps.passes(KEY, 99)
    assert not gaps.passes(KEY, 100)
    assert not gaps.passes(("10.0.0.2", *KEY[1:]), 1)


def test_leaving_without_a_request_tells_only_of_those_that_never_sent_one() -> None:
    gaps = Gaps(lasting=100)
    assert not gaps.left(KEY, 60, after=60), "idle for a minute: no pin"
    gaps.trusted(KEY, 0)
    assert not gaps.left(KEY, 1, after=0.1), "a browser's spare connection"
    other = (*KEY[:2], "another program")
    assert gaps.left(other, 1, after=0.1)
    assert gaps.passes(other, 2)
    assert not gaps.passes(KEY, 2)
