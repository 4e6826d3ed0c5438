"""A request and its answer while they pass, without a proxy around them."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from typing import Any

import pytest
import zstandard

from sensor.knowledge.catalogue_match import Match
from sensor.proxy.passing import HELD, KEPT, REMEMBERED, Answering, Listening, Passing, decoded
from sensor.proxy.people import Client
from sensor.proxy.providers import Request, recognise
from sensor.proxy.rows import Seen

PLAIN = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
REQUEST = Request(
    "POST",
    "https",
    "api.openai.com",
    443,
    "/v1/chat/completions",
    headers={"content-type": "application/json"},
)
EVENTS = {"content-type": "text/event-stream"}


def seen() -> Seen:
    return Seen(
        "1",
        time.time_ns(),
        Client("10.0.0.1"),
        Match("openai-api", "openai", "llm-api", "api", ""),
        "api.openai.com",
    )


def passing() -> Passing:
    provider = recognise(REQUEST, "openai-api")
    assert provider
    return Passing(seen(), REQUEST, provider)


def delta(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


CODED = {
    "": PLAIN,
    "identity": PLAIN,
    "gzip": gzip.compress(PLAIN),
    "deflate": zlib.compress(PLAIN),
    "zstd": zstandard.compress(PLAIN),
    "x-gzip": gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:]),  # two members are one body
}


@pytest.mark.parametrize("coding", CODED)
def test_codings_come_off(coding: str) -> None:
    assert decoded(CODED[coding], coding, 1 << 20) == (PLAIN, False)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(PLAIN)[:-9], "gzip"),
        (zstandard.compress(PLAIN)[:-3], "zstd"),
        (gzip.compress(PLAIN) + b"more", "gzip"),
        (gzip.compress(b"") * 2_000, "gzip"),
        (PLAIN, "br"),
        (gzip.compress(gzip.compress(PLAIN)), "gzip, gzip"),
        (PLAIN, "gzip"),
    ],
)
def test_what_does_not_come_off_wholly_is_cut(body: bytes, coding: str) -> None:
    assert decoded(body, coding, 1 << 20)[1]


def test_a_bomb_is_given_up_at_the_limit() -> None:
    assert decoded(gzip.compress(bytes(8 << 20)), "gzip", 1 << 20) == (b"", True)


def test_an_answer_passes_and_its_first_text_is_timed() -> None:
    answer = passing().answering(200, EVENTS)
    assert answer(delta("")) == [delta("")]
    assert answer.first is None
    assert answer(delta("word")) == [delta("word")]
    assert answer.first is not None
    assert answer(b"") == [], "an empty chunk would end the body"
    assert [text.text for text in answer.reader.finish().texts] == ["word"]


def test_originals_come_back_across_portions() -> None:
    mine = passing()
    mine.originals = {"<EMAIL_1>": "jane@roe.com"}
    answer = mine.answering(200, EVENTS)
    out = b"".join(b"".join(answer(delta(part))) for part in ("to <EM", "AIL_", "1> now"))
    out += b"".join(answer(b""))
    texts = [json.loads(line[6:])["choices"][0]["delta"]["content"] for line in out.splitlines() if line]
    assert "".join(texts) == "to jane@roe.com now"


class _Broken:
    stream, began, over = True, False, False

    def feed(self, data: bytes) -> None:
        raise ZeroDivisionError

    take = feed


def test_an_answer_passes_when_our_reader_breaks(caplog: pytest.LogCaptureFixture) -> None:
    answer: Any = passing().answering(200, EVENTS)
    answer.reader = _Broken()
    assert answer(b"data") == [b"data"]
    assert answer(b"data") == [b"data"]
    assert answer.failed
    assert caplog.text.count("ZeroDivisionError") == 1
    listening = Listening(_Broken(), lambda texts: None)  # type: ignore[arg-type]
    assert listening(b"data") == [b"data"]


def test_of_an_answer_without_events_so_much_is_kept() -> None:
    answer: Answering = passing().answering(200, {"content-type": "application/json"})
    for _ in range(12):
        assert answer(bytes(1 << 20)) == [bytes(1 << 20)]
    assert sum(map(len, answer.chunks)) == HELD
    assert answer.size == 12 << 20


def test_of_a_request_what_the_answer_needs_stays() -> None:
    mine = passing()
    job = mine.held(bytes(1 << 20), b"k")
    assert len(job.request.body) == 1 << 20
    mine.let_go()
    assert len(mine.request.body) == len(mine.job.request.body) == KEPT


def test_an_upload_passes_even_when_its_reader_breaks() -> None:
    class Upload(_Broken):
        def finish(self) -> Any:
            raise AssertionError

    mine = passing()
    sent = mine.stream(Upload())  # type: ignore[arg-type]
    assert sent(b"one") == b"one"
    assert mine.uploaded(b"k").upload == ((), (), True)
    assert mine.seen.up == 3


def test_messages_before_an_answer_are_one_turn() -> None:
    mine = passing()
    first, second = passing(), passing()
    first.seen.up, second.seen.up = 10, 5
    second.seen.problems.append("cut")
    greeting = mine.next_answer()
    greeting.messages(json.dumps({"type": "response.output_text.delta", "delta": "hi"}).encode())
    assert greeting.first is not None
    mine.opened(first)
    assert (greeting.size, greeting.first) == (0, None), "a greeting is no part of the answer"
    mine.opened(second)
    assert mine.open_turn is first
    assert (first.seen.up, first.seen.problems) == (15, ["cut"])
    assert mine.next_answer() is greeting
    greeting.messages(b'{"type": "response.done"}')
    assert mine.next_answer() is not greeting


def test_placeholders_of_a_session_hold_and_are_bounded() -> None:
    mine = passing()
    answer = mine.next_answer()
    mine.remember({f"<EMAIL_{n}>": str(n) for n in range(REMEMBERED + 5)})
    assert len(mine.originals) == REMEMBERED
    assert "<EMAIL_4>" not in mine.originals
    message = json.dumps({"type": "response.output_text.delta", "delta": "to <EMAIL_9>!"}).encode()
    assert json.loads(b"".join(answer.messages(message)))["delta"] == "to 9!"
    turn = mine.turn(seen(), REQUEST, b"k")
    assert turn.job.known is mine.originals


def test_sizes_and_times() -> None:
    mine = passing()
    answer = mine.answering(200, EVENTS)
    answer(delta("word"))
    mine.count()
    assert mine.seen.down == len(delta("word"))
    assert mine.seen.ttfb_ms is not None
    assert mine.seen.duration_ms is not None
    assert 0 <= mine.seen.ttfb_ms <= mine.seen.duration_ms
