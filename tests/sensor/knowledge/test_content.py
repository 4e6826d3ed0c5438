import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.knowledge.content import KEPT, Call, Kept, Usage, read_call, read_usage


def kept(body: Any) -> Kept:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    out = Kept()
    out.add(data, len(data))
    return out


PROMPT = [{"role": "user", "content": "quarterly figures"}]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/chat/completions", {"messages": PROMPT, "model": "gpt-x"}, Call("chat", "gpt-x")),
        ("/v1/chat/completions?a=b", {"model": "m", "stream": True}, Call("chat", "m", True)),
        ("/v1/responses", {"model": "m", "stream": False}, Call("chat", "m", False)),
        ("/v1/messages", {"model": "claude-x", "messages": PROMPT}, Call("chat", "claude-x")),
        ("/v1/completions", {"model": "m", "prompt": "x"}, Call("completion", "m")),
        ("/v1/embeddings", {"model": "m", "input": "x"}, Call("embedding", "m")),
        ("/api/chat", {"model": "llama3"}, Call("chat", "llama3")),
        ("/api/generate", {"model": "llama3", "prompt": "x"}, Call("completion", "llama3")),
        ("/api/embed", {"model": "e"}, Call("embedding", "e")),
        ("/embed", {"inputs": "x"}, Call("embedding")),
        ("/embed_sparse", {"inputs": "x"}, Call("embedding")),
        ("/v1beta/models/gemini-x:streamGenerateContent", {"contents": []}, Call("chat", "gemini-x", True)),
        ("/v1beta/models/gemini-x:generateContent", {"contents": []}, Call("chat", "gemini-x")),
        ("/v1beta/models/e:embedContent", {}, Call("embedding", "e")),
        ("/openai/deployments/prod/chat/completions", {"messages": PROMPT}, Call("chat", "prod")),
        ("/generate_stream", {"inputs": "x"}, Call("completion", "", True)),
        ("/v1/images/generations", {"prompt": "x"}, Call("image")),
        ("/prompt", {"prompt": {}}, Call("image")),
        ("/v1/audio/transcriptions", b"--b\r\nform", Call("audio")),
        ("/v1/files", b"--b\r\nform", Call("upload")),
        ("/v1/rerank", {"model": "r"}, Call("rerank", "r")),
        ("/my/own/route", {"model": "m", "messages": PROMPT}, Call("chat", "m")),
        ("/my/own/route", {"prompt": "x"}, Call("completion")),
        ("/v1/chat/completions", {"model": ["not text"], "stream": "yes"}, Call("chat")),
        ("/v1/chat/completions", b"not json", Call("chat")),
        ("/v1/chat/completions", {"model": "a\nb\x1b"}, Call("chat", "a\\nb\\x1b")),
    ],
)
def test_calls(path: str, body: Any, expected: Call) -> None:
    assert read_call("POST", path, kept(body)) == expected


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/tags", b""),
        ("POST", "/v1/chat/completions", b""),
        ("GET", "/v1/chat/completions", b"{}"),
        ("POST", "/api/show", b'{"model": "llama3"}'),
        ("POST", "/api/pull", b'{"model": "llama3"}'),
        ("POST", "/tokenize", b'{"content": "x"}'),
        (
            "POST",
            "/v1/messages/count_tokens",
            b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}',
        ),
        ("POST", "/v1/responses/input_tokens", b'{"model": "m", "input": "x", "prompt": {"id": "p"}}'),
        ("POST", "/v1beta/models/gemini-x:countTokens", b'{"contents": [{"parts": [{"text": "x"}]}]}'),
        ("POST", "/tokenize", b'{"model": "m", "prompt": "x"}'),
        ("POST", "/apply-template", b'{"messages": [{"role": "user", "content": "x"}]}'),
        ("POST", "/login", b"user=a&prompt=b"),
    ],
)
def test_polls_and_management_are_no_use(method: str, path: str, body: bytes) -> None:
    assert read_call(method, path, kept(body)) is None


def rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rpc("tools/call", name="search", arguments={"q": "payroll"}), Call("tool_call", tools=("search",))),
        (rpc("tools/call", arguments={}), Call("tool_call")),
        (
            [rpc("ping"), rpc("tools/call", name="a"), rpc("tools/call", name="b")],
            Call("tool_call", tools=("a", "b")),
        ),
        (rpc("resources/read", uri="file:///x"), Call("resource")),
        (rpc("prompts/get", name="review"), Call("prompt")),
        (rpc("tools/list"), None),
        (rpc("initialize"), None),
        ({"jsonrpc": "2.0", "method": ["tools/call"]}, None),
        ({"jsonrpc": "2.0", "method": "tools/call", "params": []}, Call("tool_call")),
    ],
)
def test_mcp(body: Any, expected: Call | None) -> None:
    assert read_call("POST", "/mcp", kept(body)) == expected


def test_a_long_body_is_read_by_its_beginning_and_end() -> None:
    text = 'so "model": "no", and \\"model\\": "no" ' * 5_000
    body = kept({"messages": [{"content": text}], "model": "gpt-x", "stream": True})
    assert not body.whole
    assert len(body.data) <= 3 * KEPT + 1
    assert read_call("POST", "/v1/chat/completions", body) == Call("chat", "gpt-x", True)
    call = kept(rpc("tools/call", name="search", arguments={"q": text}))
    assert read_call("POST", "/mcp", call) == Call("tool_call", tools=("search",))
    listed = kept(rpc("tools/list", x=text))
    assert read_call("POST", "/mcp", listed) is None
    assert read_call("POST", "/my/own/route", kept({"messages": [text], "model": "m"})) == Call("chat", "m")


def test_bytes_that_were_not_seen_are_counted_and_not_read_across() -> None:
    body = Kept()
    body.add(b'{"mod', 5)
    body.add(b"", 100)
    body.add(b'el": "x"}', 9)
    assert body.length == 114
    assert not body.whole
    assert read_call("POST", "/v1/completions", body) == Call("completion")


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (
            "application/json",
            {"model": "m", "usage": {"prompt_tokens": 7, "completion_tokens": 9}},
            Usage("m", False, 7, 9),
        ),
        (
            "application/json; charset=utf-8",
            {"usage": {"input_tokens": 7, "output_tokens": 9}},
            Usage("", False, 7, 9),
        ),
        (
            "application/json",
            {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 9}},
            Usage("", False, 7, 9),
        ),
        (
            "text/event-stream",
            b'data: {"model":"m","usage":{"input_tokens":25,"output_tokens":1}}\n\n'
            b'data: {"usage":{"output_tokens":15}}\n\n',
            Usage("m", True, 25, 15),
        ),
        (
            "application/x-ndjson",
            b'{"model":"llama3","done":false}\n'
            b'{"model":"llama3","done":true,"prompt_eval_count":26,"eval_count":290}\n',
            Usage("llama3", True, 26, 290),
        ),
        (
            "text/event-stream",  # llama.cpp
            b'data: {"content":"word","stop":false,"tokens_predicted":1,"tokens_evaluated":9}\n\n'
            b'data: {"content":"","stop":true,"tokens_predicted":12,"tokens_evaluated":9}\n\n',
            Usage("", True, 9, 12),
        ),
        (
            "application/json",
            {"generated_text": "x", "details": {"generated_tokens": 9}},
            Usage("", False, None, 9),
        ),
        ("application/json", {"error": "no"}, Usage()),
        ("text/html", b"<html>", Usage()),
        ("application/json", {"text": 'the "prompt_tokens": 99 of it'}, Usage()),
    ],
)
def test_usage(kind: str, body: Any, expected: Usage) -> None:
    assert read_usage(kind, kept(body)) == expected


def test_usage_at_the_end_of_a_long_stream() -> None:
    body = Kept()
    for _ in range(3_000):
        body.add(line := b'data: {"delta": {"content": "word "}}\n\n', len(line))
    body.add(line := b'data: {"usage": {"prompt_tokens": 7, "completion_tokens": 3000}}\n\n', len(line))
    assert read_usage("text/event-stream", body) == Usage("", True, 7, 3000)


@pytest.mark.parametrize(("coding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_content_codings(coding: str, squeeze: Any) -> None:
    text = json.dumps({"model": "m", "messages": PROMPT}).encode()
    assert read_call("POST", "/v1/messages", kept(squeeze(text)).decoded(coding)) == Call("chat", "m")
    assert kept(text).decoded(coding).data == text  # it only says so
    assert kept(squeeze(text)).decoded("br").data == squeeze(text)


def test_a_bomb_is_read_as_far_as_the_limit() -> None:
    bomb = kept(gzip.compress(bytes(100_000_000)))
    plain = bomb.decoded("gzip")
    assert not plain.whole
    assert len(plain.data) <= 3 * KEPT + 1


@given(st.text(max_size=40), st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_any_body_is_a_call_or_none(path: str, parts: list[bytes], missing: bool) -> None:
    body = Kept()
    for part in parts:
        body.add(part, len(part) + missing)
    assert body.length == sum(map(len, parts)) + len(parts) * missing
    assert isinstance(read_call("POST", "/v1/completions" + path, body), Call | None)
    assert isinstance(read_usage("text/event-stream", body.decoded("gzip")), Usage)


@pytest.mark.parametrize("body", [b"[" * 30_000, b'{"a":' * 6_000, b'{"model": ' + b"9" * 30_000 + b"}"])
def test_json_bombs(body: bytes) -> None:
    assert read_call("POST", "/v1/completions", kept(body)) == Call("completion")
