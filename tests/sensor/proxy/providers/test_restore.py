"""Originals come back in every format, whole and in streams, in any portions, and nothing else changes."""

import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor.proxy.providers import Reader, Restorer
from tests.sensor.proxy.providers.samples import ROWS, cut, name, places, provider, reply, trees
from tests.sensor.proxy.vendor_formats import aws, sse, websocket

ORIGINALS = {"<CARD_1>": '4111 "1111"\n1111', "<PERSON_NAME_12>": "Zoë <Q&A>"}
HELD = [row for row in ROWS if "<CARD_1>" in row.get("text", "") and row["method"] == "POST" and row["call"]]
HELD = [row for row in HELD if row["call"]["operation"] in ("chat", "completion", "tool_call")]
STREAM = "text/event-stream"


def restore(data: bytes, kind: str, portions: list[int] | None = None) -> bytes:
    found = Restorer(200, {"content-type": kind}, ORIGINALS.get)
    return b"".join(found.feed(portion) for portion in cut(data, portions or [])) + found.finish()


def texts(data: bytes, kind: str) -> list[str]:
    reading = Reader(200, {"content-type": kind})
    reading.feed(data)
    return [text.text for text in reading.finish().texts]


def deltas(*parts: str) -> bytes:
    return b"".join(
        sse(*({"choices": [{"index": 0, "delta": {"content": part}}]} for part in parts), done=True)
    )


@pytest.mark.parametrize("row", HELD, ids=name)
@given(portions=places)
@settings(max_examples=6)
def test_every_vendor_s_answer_is_restored(row: dict[str, Any], portions: list[int]) -> None:
    found, _ = provider(row)
    said, _ = reply(row)
    data = b"".join(said.events) or said.data
    headers = {"content-type": said.kind}
    restorer = found.restorer(said.status, headers, ORIGINALS.get)
    out = b"".join(restorer.feed(portion) for portion in cut(data, portions)) + restorer.finish()
    assert b"CARD_1" not in out
    before, after = (found.response(200, headers) for _ in range(2))
    before.feed(data)
    after.feed(out)
    was, now = before.finish(), after.finish()
    for old, new in zip(was.texts, now.texts, strict=True):
        if old.text.startswith("{"):  # arguments are JSON, and stay so
            assert json.loads(new.text)["text"] == json.loads(old.text)["text"].replace(
                "<CARD_1>", ORIGINALS["<CARD_1>"]
            )
        else:
            assert new.text == old.text.replace("<CARD_1>", ORIGINALS["<CARD_1>"])
    assert (was.model, was.tokens_in, was.tokens_out, was.finish, was.tools_called) == (
        now.model,
        now.tokens_in,
        now.tokens_out,
        now.finish,
        now.tools_called,
    )


@given(
    st.lists(
        st.sampled_from(
            ["<", ">", "<CARD", "_1>", "<CARD_1>", "a<b", "<PERSON_NAME", "_12", "<X_9>", "text ", "<CARD_1"]
        ),
        max_size=12,
    ),
    places,
)
@settings(max_examples=200)
def test_a_placeholder_may_span_events_anywhere(parts: list[str], portions: list[int]) -> None:
    whole = "".join(parts)
    for placeholder, original in ORIGINALS.items():
        whole = whole.replace(placeholder, original)
    got = restore(deltas(*parts), STREAM, portions)
    assert "".join(texts(got, STREAM)) == whole
    assert got.endswith(b"data: [DONE]\n\n")


def test_text_without_a_placeholder_is_not_touched() -> None:
    for row in ROWS:
        if row["call"] and row["method"] == "POST" and "<CARD_1>" not in row.get("text", ""):
            said, _ = reply(row)
            data = b"".join(said.events) or said.data
            assert restore(data, said.kind) == data


def test_nothing_waits_but_what_may_be_a_placeholder() -> None:
    found = Restorer(200, {"content-type": STREAM}, ORIGINALS.get)
    events = sse(
        *(
            {"choices": [{"index": 0, "delta": {"content": part}}]}
            for part in ("one ", "two <CA", "RD_1> three")
        )
    )
    assert [texts(found.feed(event), STREAM) for event in events] == [
        ["one "],
        ["two "],
        [ORIGINALS["<CARD_1>"] + " three"],
    ]


def test_choices_that_take_turns_do_not_disturb_each_other() -> None:
    said = [(0, "a <CAR"), (1, "b <CAR"), (0, "D_1> c"), (1, "D_2> d")]
    data = b"".join(
        sse(*({"choices": [{"index": i, "delta": {"content": text}}]} for i, text in said), done=True)
    )
    assert texts(restore(data, STREAM), STREAM) == [f"a {ORIGINALS['<CARD_1>']} c", "b <CARD_2> d"]


def test_empty_chunks_and_pings_end_nothing() -> None:
    def chunk(text: str) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}

    data = b"".join(sse(chunk("<CARD"), chunk(""), {"type": "ping"}, chunk("_1>"), done=True))
    assert texts(restore(data, STREAM), STREAM) == [ORIGINALS["<CARD_1>"]]
    data = data.replace(b"\n\ndata: {", b"\n\n: keep-alive\n\ndata: {")
    assert texts(restore(data, STREAM), STREAM) == [ORIGINALS["<CARD_1>"]]


def test_what_never_became_a_placeholder_comes_before_the_end_of_its_block() -> None:
    data = b"".join(
        sse(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x <CARD"}},
            {"type": "content_block_stop", "index": 0},
            named=True,
        )
    )
    got = restore(data, STREAM)
    assert texts(got, STREAM) == ["x <CARD"]
    assert got.index(b'"<CARD"') < got.index(b"content_block_stop")
    assert got.count(b"event: content_block_delta") == 2


def test_arguments_keep_being_json() -> None:
    def chunk(text: str) -> dict[str, Any]:
        return {
            "choices": [
                {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}}
            ]
        }

    for parts in (['{"to": "<CA', 'RD_1>"}'], ['{"to": "\\u00', "3cCARD_1\\u003", 'E"}']):
        got = texts(restore(b"".join(sse(*map(chunk, parts), done=True)), STREAM), STREAM)
        assert json.loads(got[0]) == {"to": ORIGINALS["<CARD_1>"]}


def test_arguments_are_restored_in_the_event_that_has_them_whole() -> None:
    done = {"type": "response.function_call_arguments.done", "arguments": '{"to": "\\u003cCARD_1\\u003e"}'}
    got = json.loads(restore(sse(done)[0], STREAM)[6:])
    assert json.loads(got["arguments"]) == {"to": ORIGINALS["<CARD_1>"]}


def test_texts_of_tools_are_no_json() -> None:
    call = {"type": "custom_tool_call", "name": "patch", "input": "to <CARD_1>"}
    events = [{"type": "response.custom_tool_call_input.delta", "delta": p} for p in ("to <CARD", "_1>")]
    out = restore(
        b"".join(sse(*events, {"type": "response.completed", "response": {"output": [call]}})), STREAM
    )
    got = [json.loads(line[6:]) for line in out.splitlines() if line]
    assert "".join(event.get("delta", "") for event in got) == "to " + ORIGINALS["<CARD_1>"]
    whole = restore(json.dumps({"output": [call]}).encode(), "application/json")
    assert json.loads(whole)["output"][0]["input"] == "to " + ORIGINALS["<CARD_1>"]
    named = {"content": [{"type": "tool_use", "input": {"command": "pay", "arguments": "to <CARD_1>"}}]}
    got = json.loads(restore(json.dumps(named).encode(), "application/json"))
    assert got["content"][0]["input"]["arguments"] == "to " + ORIGINALS["<CARD_1>"]


@example(["<CA", "RD", "_1", ">"])
@given(parts=st.lists(st.sampled_from(["<CA", "RD", "_1", ">", "<", "x", ""])))
def test_a_document_that_lists_the_events_of_a_stream(parts: list[str]) -> None:
    events = [{"candidates": [{"content": {"parts": [{"text": part}]}}]} for part in parts]
    out = json.loads(restore(json.dumps(events).encode(), "application/json"))
    said = "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in out)
    assert said == "".join(parts).replace("<CARD_1>", ORIGINALS["<CARD_1>"])


def test_mistral_s_agents_are_read_and_restored() -> None:
    events = [{"type": "message.output.delta", "output_index": 0, "content": p} for p in ("to <CARD", "_1>")]
    events += [
        {"type": "function.call.delta", "output_index": 1, "arguments": p} for p in ('{"a": "<C', 'ARD_1>"}')
    ]
    said, arguments = texts(restore(b"".join(sse(*events)), STREAM), STREAM)
    assert said == "to " + ORIGINALS["<CARD_1>"]
    assert json.loads(arguments) == {"a": ORIGINALS["<CARD_1>"]}


def test_amazon_s_checksums_hold() -> None:
    said = [
        aws("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": part}})
        for part in ("a <CARD_", "1> b")
    ]
    out = restore(b"".join(said), "application/vnd.amazon.eventstream")
    count = 0
    while out:
        total, _, crc = struct.unpack_from(">III", out)
        message, out = out[:total], out[total:]
        assert zlib.crc32(message[:8]) == crc
        assert zlib.crc32(message[:-4]) == struct.unpack(">I", message[-4:])[0]
        count += 1
    assert count == 2


def test_websocket_messages_are_restored() -> None:
    found = Restorer(101, {}, ORIGINALS.get)
    before = [{"type": "conversation.item.create", "item": {"content": [{"text": "my <CARD_1>"}]}}]
    out = [
        json.loads(message)
        for event in websocket("/v1/realtime", {"type": "response.create"}, before)
        for message in found.messages(json.dumps(event).encode())
    ]
    said = "You said: my " + ORIGINALS["<CARD_1>"]
    assert "".join(event["delta"] for event in out if "delta" in event) == said
    assert [event["text"] for event in out if event["type"] == "response.output_text.done"] == [said]
    assert out[-1]["response"]["output"][0]["content"][0]["text"] == said


def test_json_lines_under_another_name_are_restored() -> None:
    lines = b'{"result":{"response":{"token":"<CARD_1>"}}}\n{"x":1}\n'
    assert texts(restore(lines, "application/json"), "application/json") == [ORIGINALS["<CARD_1>"]]


def test_a_long_event_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.proxy.providers.framing.FRAME", 1_000)
    data = (
        b'data: {"choices":[{"index":0,"delta":{"content":"'
        + b"x" * 2_000
        + b'<CARD_1>"}}]}\n\n'
        + deltas("<CARD_1>")
    )
    got = restore(data, STREAM, list(range(0, 3_000, 11)))
    assert got.startswith(data[:2_050])
    assert texts(got[-300:].partition(b"\n\n")[2], STREAM) == [ORIGINALS["<CARD_1>"]]


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            "application/json",
            STREAM,
            "application/x-ndjson",
            "text/html",
            "application/vnd.amazon.eventstream",
        ]
    ),
    places,
)
@settings(max_examples=200)
def test_other_bytes_pass_unchanged(data: bytes, kind: str, portions: list[int]) -> None:
    assert restore(data, kind, portions) == data


@given(st.lists(trees, max_size=5), places)
@settings(max_examples=150)
def test_any_events_pass_in_any_portions(of: list[Any], portions: list[int]) -> None:
    for data, kind in (
        (b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in of), STREAM),
        (b"".join(aws("chunk", event) for event in of), "application/vnd.amazon.eventstream"),
        (json.dumps(of).encode(), "application/json"),
    ):
        assert restore(data, kind, portions) == restore(data, kind)


@given(
    st.lists(st.sampled_from(["<CARD", "_1>", "<CARD_1>", "a < b", "ü", "<X_9>", "\n"]), max_size=9), places
)
@settings(max_examples=100)
def test_plain_text_streams(parts: list[str], portions: list[int]) -> None:
    whole = "".join(parts)
    got = restore(whole.encode(), "text/plain; charset=utf-8", portions).decode()
    assert got == whole.replace("<CARD_1>", ORIGINALS["<CARD_1>"])


@pytest.mark.parametrize("kind", ["audio/mpeg", "text/html", "application/octet-stream"])
def test_what_is_no_text_does_not_wait(kind: str) -> None:
    found = Restorer(200, {"content-type": kind}, ORIGINALS.get)
    assert found.feed(b"ID3 <CARD_1>") == b"ID3 <CARD_1>"
    assert found.finish() == b""


def test_a_coding_we_do_not_know_passes() -> None:
    found = Restorer(200, {"content-type": STREAM, "content-encoding": "br"}, ORIGINALS.get)
    assert not found.plain
    assert found.feed(b"\x0b\x02") + found.finish() == b"\x0b\x02"
