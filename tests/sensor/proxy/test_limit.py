from __future__ import annotations

from sensor.knowledge.policy import Rate
from sensor.proxy.limit import Limiter

KEY = ("anna", "openai-api", "model-x")


def test_requests_fill_up_again_evenly() -> None:
    limiter, rate = Limiter(), Rate(2, 60)
    assert [limiter.ask(KEY, rate, 10, 0.0) for _ in range(3)] == [0, 0, 30]
    assert limiter.ask(KEY, rate, 10, 29.0) == 1
    assert limiter.ask(KEY, rate, 10, 30.0) == 0
    assert limiter.ask(("berta", *KEY[1:]), rate, 10, 30.0) == 0


def test_rules_with_different_rates_do_not_use_up_each_other() -> None:
    limiter, uploads, chats = Limiter(), Rate(1, 3600), Rate(100, 3600)
    assert [limiter.ask(KEY, rate, 0, 0.0) for rate in (uploads, chats, chats)] == [0, 0, 0]
    assert limiter.ask(KEY, uploads, 0, 0.0) == 3600
    assert [limiter.ask(KEY, chats, 0, 0.0) for _ in range(98)] == [0] * 98
    assert limiter.ask(KEY, chats, 0, 0.0) == 36


def test_a_refused_request_uses_nothing() -> None:
    limiter = Limiter(upload_per_hour=100)
    assert limiter.ask(KEY, Rate(5, 60), 80, 0.0) == 0
    assert limiter.ask(KEY, Rate(5, 60), 80, 0.0) > 0
    assert limiter.ask(KEY, Rate(5, 60), 20, 0.0) == 0


def test_more_than_a_whole_bucket_goes_when_it_is_full() -> None:
    limiter = Limiter(upload_per_hour=100)
    assert limiter.ask(KEY, None, 1000, 0.0) == 0
    assert limiter.ask(KEY, None, 1, 1.0) > 3600


def test_what_passed_as_a_stream_is_known_afterwards() -> None:
    limiter = Limiter(upload_per_hour=3600)
    assert limiter.ask(KEY, None, 3600, 0.0) == 0
    limiter.used(KEY, 0, 400, 0.0)
    assert limiter.ask(KEY, None, 0, 0.0) == 401


def test_tokens_are_known_afterwards() -> None:
    limiter = Limiter(tokens_per_hour=3600)
    assert limiter.ask(KEY, None, 0, 0.0) == 0
    limiter.used(KEY, 4000, 10**9, 0.0)
    assert limiter.ask(KEY, None, 0, 0.0) == 401
    assert limiter.ask(KEY, None, 0, 401.0) == 0
