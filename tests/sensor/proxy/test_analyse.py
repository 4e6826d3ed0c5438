"""What is known of one request, of its redacted form and of its answer, without a proxy."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sensor.proxy import analyse
from sensor.proxy.analyse import Asked, Job, Options, Setting
from sensor.proxy.dlp.model import Hit
from sensor.proxy.providers import Request
from sensor.proxy.workers import whole

CARD = "4539 1488 0343 6467"  # passes Luhn and is nobody's test number
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting(Options())


def job(text: str, path: str = "/v1/chat/completions", key: bytes = b"k") -> Job:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    body = json.dumps({"model": "gpt-4o", "messages": turns}).encode()
    headers = JSON | {"authorization": "Bearer sk-proj-" + "a1B2" * 10}
    request = Request("POST", "https", "api.openai.com", 443, path, headers=headers, body=body)
    return Job("id", request, "openai-api", key)


def asked(one: Job, setting: Setting) -> Asked:
    found = whole(analyse.ask(one, setting))
    assert found is not None
    return found


def test_what_a_request_asks(setting: Setting) -> None:
    found = asked(job(f"my card is {CARD}, please pay"), setting)
    assert (found.operation, found.model) == ("chat", "gpt-4o")
    assert found.messages == ("system;9", f"user;{len(f'my card is {CARD}, please pay')}")
    assert found.data_classes == ("payment-card",)
    assert CARD not in repr(found)


def test_hashes_are_keyed(setting: Setting) -> None:
    one, same, other = (asked(job("hello", key=key), setting) for key in (b"k", b"k", b"other"))
    assert one.prompt_hash == same.prompt_hash != other.prompt_hash
    assert one.system_hash == same.system_hash != other.system_hash
    assert "a1B2" not in repr(one)


def test_what_may_not_leave_is_replaced_and_can_be_put_back(setting: Setting) -> None:
    one = job(f"my card is {CARD}, please pay")
    redacted = analyse.redact(one, asked(one, setting), ["payment-card"], setting)
    assert redacted is not None
    assert CARD.encode() not in redacted.body
    ((placeholder, original),) = redacted.originals.items()
    assert original == CARD
    assert json.loads(redacted.body)["messages"][1]["content"] == f"my card is {placeholder}, please pay"


def test_a_placeholder_is_none_of_the_request_s_own_however_that_is_escaped(setting: Setting) -> None:
    """Go and .NET write `<` as an escape in JSON."""
    one = job(f"what does <CARD_1> stand for in {CARD}?")
    body = one.request.body.replace(b"<", b"\\u003c").replace(b">", b"\\u003e")
    one = replace(one, request=replace(one.request, body=body))
    redacted = analyse.redact(one, asked(one, setting), ["payment-card"], setting)
    assert redacted is not None
    assert redacted.originals == {"<CARD_2>": CARD}


def test_an_answer_is_scanned_and_its_text_is_gone(setting: Setting) -> None:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": f"your card is {CARD}"},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 12, "completion_tokens": 7}
    body = json.dumps({"id": "c", "model": "gpt-4o", "choices": [choice], "usage": usage}).encode()
    found = whole(analyse.told(job("hello"), 200, JSON, [body[:30], body[30:]], setting))
    assert (found.result.tokens_in, found.result.tokens_out) == (12, 7)
    assert found.data_classes == ("payment-card",)
    assert CARD not in repr(found)


def test_a_weak_sign_makes_no_class() -> None:
    hits = [Hit("email", "d", "0", 0, 1, "low", "low"), Hit("iban", "d", "0", 2, 3, "high", "low")]
    assert analyse.classes(hits) == ("iban",)
    assert analyse.classes([Hit("oversized", "d", "0", 0, 1, "high", "low")]) == ()
