"""Answers in every format, in any portions."""

import gzip
import json
import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.proxy.providers import Reader, Result, framing, reader, recognise
from tests.sensor.proxy.providers.samples import ROWS, cut, name, places, post, provider, reply, trees
from tests.sensor.proxy.vendor_formats import aws, sse, tokens, websocket

TALKS = [row for row in ROWS if row["call"] and row["call"]["operation"] in ("chat", "completion")]
TALKS = [
    row
    for row in TALKS
    if row["method"] == "POST" and not any(part in row["path"] for part in ("/threads", "/assistants"))
]
TALKS = [row for row in TALKS if not (row["call"]["model"].startswith("flaky") and not row["call"]["retry"])]
KINDS = (
    "application/json",
    "text/event-stream",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "text/plain",
    "",
    "application/stream+json",
    "audio/mpeg",
)


def read(
    data: bytes,
    kind: str = "application/json",
    status: int = 200,
    portions: list[int] | None = None,
    **headers: str,
) -> Result:
    found = Reader(
        status, {"content-type": kind} | {key.replace("_", "-"): value for key, value in headers.items()}
    )
    for portion in cut(data, portions or []):
        found.feed(portion)
    return found.finish()


def events(*of: Any) -> Result:
    return read(b"".join(sse(*of, done=True)), "text/event-stream")


@pytest.mark.parametrize("row", TALKS, ids=name)
def test_what_a_vendor_says_is_read(row: dict[str, Any]) -> None:
    found, _ = provider(row)
    said, asked = reply(row)
    reading = found.response(said.status, {"content-type": said.kind, **said.headers})
    reading.feed(b"".join(said.events) or said.data)
    result = reading.finish()
    calls = [text.text for text in result.texts if text.role == "tool_call"]
    if asked.tool:
        assert result.tools_called == (asked.tool,)
        assert len(calls) == 1
        assert asked.arguments["text"] in calls[0]
    else:
        assert [text.text for text in result.texts] == [asked.said]
        assert result.texts[0].role == "assistant"
    assert reading.began
    assert result.stream == (said.kind != "application/json")
    assert not result.cut
    assert result.finish
    assert result.error == ""
    if result.tokens_in is not None:
        assert (result.tokens_in, result.tokens_out) == (asked.sizes[0], tokens(asked.said))


@pytest.mark.parametrize("row", TALKS, ids=name)
@given(portions=places)
@settings(max_examples=8)
def test_portions_do_not_matter(row: dict[str, Any], portions: list[int]) -> None:
    said, _ = reply(row)
    data = b"".join(said.events) or said.data
    assert read(data, said.kind, portions=portions) == read(data, said.kind)


@given(st.sampled_from(TALKS), places, st.sampled_from(["gzip", "deflate", "zstd"]))
@settings(max_examples=40)
def test_content_codings_do_not_matter(row: dict[str, Any], portions: list[int], coding: str) -> None:
    said, _ = reply(row)
    data = b"".join(said.events) or said.data
    coded = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}[coding](data)
    assert read(coded, said.kind, portions=portions, content_encoding=coding) == read(data, said.kind)


def test_a_coding_we_do_not_know_is_cut() -> None:
    assert read(b"\x0b\x02\x80", content_encoding="br").cut
    assert read(b"not gzip", content_encoding="gzip").cut
    assert read(gzip.compress(b"{}"), content_encoding="gzip, gzip").cut


@given(st.binary(max_size=400), st.sampled_from(KINDS), st.sampled_from([101, 200, 429]), places)
@settings(max_examples=200)
def test_any_bytes_in_any_portions(data: bytes, kind: str, status: int, portions: list[int]) -> None:
    if status == 101:
        read(data, kind, status, portions)  # messages are what their sender made of them
    else:
        assert read(data, kind, status, portions) == read(data, kind, status)


@given(st.lists(trees, max_size=4), places)
@settings(max_examples=150)
def test_any_events_in_any_portions(of: list[Any], portions: list[int]) -> None:
    for data, kind in (
        (b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in of), "text/event-stream"),
        (b"".join(json.dumps(event).encode() + b"\n" for event in of), "application/x-ndjson"),
        (b"".join(aws("chunk", event) for event in of), "application/vnd.amazon.eventstream"),
        (json.dumps(of).encode(), "application/json"),
    ):
        assert read(data, kind, portions=portions) == read(data, kind)


def test_errors_say_their_kind_and_not_their_message() -> None:
    openai = read(b'{"error":{"message":"you said 4111","type":"invalid_request_error"}}', status=400)
    assert (openai.error, openai.texts) == ("invalid_request_error", ())
    assert (
        read(b'{"error":{"code":403,"message":"m","status":"PERMISSION_DENIED"}}', status=403).error == "403"
    )
    assert (
        read(b'{"message":"m"}', status=403, x_amzn_errortype="AccessDeniedException").error
        == "AccessDeniedException"
    )
    assert read(b'{"error":"model not found"}', status=404).error == "error"
    assert (
        events({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}).error
        == "overloaded_error"
    )
    thrown = aws("throttlingException", {"message": "slow"})
    assert read(thrown, "application/vnd.amazon.eventstream").error == "throttlingException"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
            (9, 3, 4, None, True),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 3,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 2,
            },
            (15, 3, 4, 2, True),
        ),
        (
            {"input_tokens": 9, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}},
            (9, 3, 4, None, True),
        ),
        (
            {"inputTokens": 9, "outputTokens": 3, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 2},
            (15, 3, 4, 2, True),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"audio_tokens": 4}},
            (9, 3, None, None, False),
        ),
        ({"input_tokens": 1, "output_tokens": 2, "service_tier": "priority"}, (1, 2, None, None, False)),
        (
            {"input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 5}},
            (1, None, None, None, False),
        ),
        (
            {"billed_units": {"input_tokens": 3.0}, "tokens": {"input_tokens": 5.0, "output_tokens": 2.0}},
            (5, 2, None, None, True),
        ),
        ({"prompt_tokens": True, "completion_tokens": -1}, (None, None, None, None, True)),
        ({"prompt_tokens": 1 << 60, "completion_tokens": "3"}, (None, None, None, None, True)),
    ],
)
def test_usage(usage: dict[str, Any], expected: tuple[Any, ...]) -> None:
    got = read(json.dumps({"usage": usage}).encode())
    assert (got.tokens_in, got.tokens_out, got.tokens_cached, got.tokens_written, got.listed) == expected


def test_gemini_counts_thoughts_beside() -> None:
    usage = {
        "promptTokenCount": 5,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 10,
        "cachedContentTokenCount": 2,
    }
    got = read(json.dumps({"usageMetadata": usage, "candidates": []}).encode())
    assert (got.tokens_in, got.tokens_out, got.tokens_cached) == (5, 13, 2)


def test_of_a_stream_s_reports_the_last_counts() -> None:
    got = events(
        {
            "type": "message_start",
            "message": {"model": "m", "usage": {"input_tokens": 7, "output_tokens": 1}},
        },
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 30}},
    )
    assert (got.tokens_in, got.tokens_out, got.finish, got.model) == (7, 30, "end_turn", "m")


def test_several_choices_and_reasoning_are_texts_of_their_own() -> None:
    def delta(index: int, **said: str) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": said}]}

    got = events(
        delta(0, reasoning_content="hm"), delta(0, content="a"), delta(1, content="x"), delta(0, content="b")
    )
    assert [text.text for text in got.texts] == ["hm", "ab", "x"]


def test_pictures_and_sound_are_attachments() -> None:
    picture = "A" * 400
    got = read(json.dumps({"data": [{"b64_json": picture, "revised_prompt": "a cat"}]}).encode())
    assert [(one.size, text.text) for one, text in zip(got.attachments, got.texts, strict=True)] == [
        (300, "a cat")
    ]
    assert [(one.type, one.size) for one in read(b"ID3" + bytes(9), "audio/mpeg").attachments] == [
        ("audio/mpeg", 12)
    ]


def test_embeddings_are_no_text() -> None:
    got = read(json.dumps({"data": [{"embedding": "A" * 400}], "usage": {"prompt_tokens": 3}}).encode())
    assert (got.texts, got.attachments, got.tokens_in) == ((), (), 3)


def test_a_websocket_s_turn_ends() -> None:
    found = Reader(101, {})
    before = [
        {"type": "conversation.item.create", "item": {"content": [{"type": "input_text", "text": "hello"}]}}
    ]
    for event in websocket("/v1/realtime", {"type": "response.create"}, before):
        assert not found.over
        found.feed(json.dumps(event).encode())
    assert found.over
    got = found.finish()
    assert ([text.text for text in got.texts], got.tokens_in, got.tokens_out) == (["You said: hello"], 7, 9)


def test_gemini_live_and_copilot_turns_end() -> None:
    for message in (
        {"clientContent": {"turns": [{"parts": [{"text": "hello"}]}]}},
        {"event": "send", "content": [{"type": "text", "text": "hello"}]},
    ):
        found = Reader(101, {})
        for event in websocket("/ws", message, []):
            found.feed(json.dumps(event).encode())
        assert found.over
        assert [text.text for text in found.finish().texts] == ["You said: hello"]


@pytest.mark.parametrize(
    ("service", "path", "body"),
    [
        (
            "chatgpt",
            "/backend-api/conversation",
            {"messages": [{"author": {"role": "user"}, "content": {"parts": ["hello"]}}]},
        ),
        ("claude", "/api/organizations/o/chat_conversations/c/completion", {"prompt": "hello"}),
        ("deepseek", "/api/v0/chat/completion", {"prompt": "hello"}),
        ("grok", "/rest/app-chat/conversations/new", {"message": "hello"}),
        ("perplexity", "/rest/sse/perplexity_ask", {"query_str": "hello"}),
    ],
)
def test_applications(service: str, path: str, body: Any) -> None:
    found = recognise(post(path, body), service)
    assert found
    said, _ = reply({"client": service, "path": path, "query": {}, "headers": {}, "text": json.dumps(body)})
    reading = found.response(200, {"content-type": said.kind})
    reading.feed(b"".join(said.events))
    assert [text.text for text in reading.finish().texts] == ["You said: hello"]


def test_long_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "FRAME", 2_000)
    monkeypatch.setattr(reader, "TEXT", 500)
    long = json.dumps({"model": "m", "x": "y" * 3_000, "usage": {"prompt_tokens": 7}}).encode()
    got = [read(long, portions=where) for where in ([], [1, 5, 900, 2_500], list(range(0, 3_000, 7)))]
    assert got[0] == got[1] == got[2]
    assert (got[0].cut, got[0].tokens_in, got[0].model) == (True, 7, "m")
    endless = b"data: " + b"z" * 10_000
    assert read(endless, "text/event-stream", portions=list(range(0, 9_999, 13))).cut
    many = events(*({"choices": [{"index": 0, "delta": {"content": "w" * 100}}]} for _ in range(9)))
    assert (len(many.texts[0].text), many.cut) == (500, True)


def test_endless_streams_hold_nothing() -> None:
    found = Reader(200, {"content-type": "text/event-stream"})
    for _ in range(300):
        found.feed(b"x" * 65_536)
    assert len(found._framing._buffer) < framing.FRAME + 65_536
    assert found.finish().cut


def test_bombs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensor.proxy.providers import coding

    monkeypatch.setattr(coding, "DECODED", 1 << 20)
    for bomb, name_ in (
        (gzip.compress(bytes(64 << 20)), "gzip"),
        (zstandard.compress(bytes(64 << 20)), "zstd"),
    ):
        decoder = coding.Decoder(name_)
        passed = sum(len(piece) for piece in decoder.feed(bomb))
        assert (passed, decoder.cut) == (1 << 20, True)


def test_a_document_with_too_much_in_it_still_tells_its_tokens() -> None:
    numbers = b"[" + b"0.1," * 2_100_000 + b"0.1]"
    got = read(
        b'{"data":[{"embedding":' + numbers + b'}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}'
    )
    assert (got.cut, got.tokens_in, got.texts) == (True, 8, ())


def test_characters_that_span_events_are_joined() -> None:
    chunk = '{"choices":[{"index":0,"delta":{"content":"PART"}}]}'
    data = "".join(f"data: {chunk.replace('PART', part)}\n\n" for part in ("\\ud83d", "\\ude00!")).encode()
    assert [text.text for text in read(data, "text/event-stream").texts] == ["\U0001f600!"]


def test_many_lines_are_bounded() -> None:
    assert read(b'{"a":1}\n' * 20_000).cut
    assert read(b"data: {}\n" * 20_000 + b"\n", "text/event-stream").cut


def test_long_files_are_hashed_and_not_held() -> None:
    found = Reader(200, {"content-type": "audio/mpeg"})
    for _ in range(100):
        found.feed(bytes(65_536))
    (sound,) = found.finish().attachments
    assert (sound.size, len(sound.data), len(found._framing._buffer)) == (6_553_600, 1 << 20, 0)
    assert len(sound.sha256) == 64


def test_events_that_are_no_json_are_text() -> None:
    got = read(b"data: one \n\ndata: two\n\n", "text/event-stream")
    assert ([text.text for text in got.texts], got.cut) == (["onetwo"], False)


def test_pictures_of_an_answer_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FRAME", 1_000)
    got = read(json.dumps({"data": [{"b64_json": "A" * 800} for _ in range(300)]}).encode())
    assert (len(got.attachments), got.cut) == (200, True)
    assert sum(len(one.data) for one in got.attachments) <= 1_000
    assert {one.size for one in got.attachments} == {600}
