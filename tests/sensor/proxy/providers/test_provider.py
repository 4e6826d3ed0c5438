"""Requests of real SDKs, recorded: every field that `Call` has."""

import base64
import dataclasses
import json
import pickle
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.proxy.providers import SERVICES, Message, Provider, Request, Secret, recognise
from sensor.proxy.providers.body import decode64
from tests.sensor.proxy.providers.samples import ROWS, name, post, provider, trees, words

ALL = sorted(SERVICES)


def read(path: str, body: Any, service: str = "openai-api", **headers: str) -> Any:
    request = post(path, body, **headers)
    found = recognise(request, service)
    assert found
    return found.request(request)


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_what_an_sdk_sent_is_read(row: dict[str, Any]) -> None:
    found, request = provider(row)
    call = found.request(request)
    if row["call"] is None:
        assert call is None
        return
    assert call
    assert {
        "operation": call.operation,
        "model": call.model,
        "stream": call.stream,
        "messages": [[message.role, message.size] for message in call.messages],
        "attachments": [[one.name, one.type, one.size] for one in call.attachments],
        "offered": list(call.tools_offered),
        "called": list(call.tools_called),
        "retry": call.retry,
        "texts": [[text.role, text.text] for text in call.texts if text.role not in ("other", "definition")],
    } == row["call"]
    assert call.shape == "known"
    assert not call.flaws


@pytest.mark.parametrize("row", [row for row in ROWS if row["call"]], ids=name)
def test_every_text_can_be_rewritten_and_nothing_else_changes(row: dict[str, Any]) -> None:
    found, request = provider(row)
    call = found.request(request)
    assert call
    assert all(text.where is not None for text in call.texts)
    body = found.rewrite(request, {str(text.where): f"{text.text}\u2028ü" for text in call.texts})
    again = found.request(dataclasses.replace(request, body=body))
    assert again
    assert [text.text for text in again.texts] == [f"{text.text}\u2028ü" for text in call.texts]
    if call.operation != "upload":  # there the text is the file
        assert [one.sha256 for one in again.attachments] == [one.sha256 for one in call.attachments]
    assert (again.operation, again.stream, again.messages and 1) == (
        call.operation,
        call.stream,
        call.messages and 1,
    )
    if "text" in row and row["text"].startswith("{"):
        assert json.loads(found.rewrite(request, {})) == json.loads(row["text"])


def test_the_account_is_seen_and_the_key_is_not() -> None:
    call = read(
        "/v1/chat/completions",
        {"messages": []},
        authorization="Bearer sk-proj-abc",
        openai_organization="org-1",
    )
    assert call.account.organisation == "org-1"
    assert call.account.key.fingerprint(b"site") == Secret("sk-proj-abc").fingerprint(b"site") != ""
    assert call.account.key.fingerprint(b"other") != call.account.key.fingerprint(b"site")
    assert "sk-proj" not in repr(call) + str(call.account.key)
    with pytest.raises(TypeError):
        pickle.dumps(call)


@pytest.mark.parametrize(
    ("service", "path", "operation"),
    [
        ("openai-api", "/v1/uploads/u1/parts", "upload"),
        ("openai-api", "/v1/embeddings", "embedding"),
        ("openai-api", "/v1/vector_stores", "other"),
        ("openai-api", "/v1/threads/t/runs/r/submit_tool_outputs", "chat"),
        ("openai-api", "/v1/realtime/client_secrets", "realtime"),
        ("claude-api", "/v1/messages/count_tokens", "tokens"),
        ("gemini-api", "/v1beta/models/imagen-4:predict", "image"),
        (
            "vertex-ai",
            "/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict",
            "embedding",
        ),
        ("mistral-api", "/v1/agents/completions", "chat"),
        ("cohere", "/v1/classify", "moderation"),
        ("amazon-bedrock", "/guardrail/g/version/1/apply", "moderation"),
        ("ollama", "/api/generate", "completion"),
        ("hugging-face-inference", "/hf-inference/models/a/b/pipeline/feature-extraction", "embedding"),
        ("hugging-face-inference", "/models/owner/model", "completion"),
    ],
)
def test_operations(service: str, path: str, operation: str) -> None:
    assert read(path, {"prompt": "some text"}, service).operation == operation


@pytest.mark.parametrize(
    ("service", "path"),
    [("ollama", "/api/show"), ("ollama", "/api/pull"), ("chatgpt", "/ces/v1/t"), ("jasper", "/v1/events")],
)
def test_management_and_telemetry_are_no_exchange(service: str, path: str) -> None:
    assert read(path, {"name": "llama3", "text": "some words"}, service) is None


def test_pages_polls_and_empty_bodies_are_no_exchange() -> None:
    page = Request("GET", "https", "api.openai.com", 443, "/v1/models")
    found = recognise(page, "openai-api")
    assert found
    assert found.request(page) is None
    assert read("/v1/chat/completions", b"") is None
    assert read("/v1/threads", {}, "openai-api") is not None  # a thread without messages is still one
    assert read("/v1/containers", {}, "openai-api") is None


@pytest.mark.parametrize(
    ("service", "path", "kind", "named"),
    [
        ("groq", "/openai/v1/chat/completions", "OpenAI", "groq"),
        ("openrouter", "/api/v1/messages", "Anthropic", "openrouter"),
        ("deepseek-api", "/anthropic/v1/messages", "Anthropic", "deepseek-api"),
        ("amazon-bedrock", "/openai/v1/chat/completions", "OpenAI", "amazon-bedrock"),
        (
            "vertex-ai",
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
            "Google",
            "vertex-ai",
        ),
        ("vllm", "/v1/completions", "OpenAI", "vllm"),
        ("some-new-service", "/v1/chat/completions", "OpenAI", "some-new-service"),
        ("some-new-service", "/ask", "Unknown", "some-new-service"),
        ("", "/v1/chat/completions", "OpenAI", "openai-compatible"),
        ("", "/v1/messages", "Anthropic", "anthropic"),
    ],
)
def test_the_path_says_which_dialect_and_the_service_who(
    service: str, path: str, kind: str, named: str
) -> None:
    found = recognise(post(path, {}), service)
    assert (type(found).__name__, found.name if found else "") == (kind, named)


def test_nobody_is_recognised_without_a_sign() -> None:
    assert recognise(post("/submit", {"text": "hello"}), "") is None


def test_unknown_services_are_read_as_far_as_text_is_found() -> None:
    call = read("/ask", {"question": "what is <this>?", "flags": [1, 2]}, "some-new-service")
    assert (call.operation, call.shape, [text.text for text in call.texts]) == (
        "other",
        "unknown",
        ["what is <this>?"],
    )
    call = read(
        "/rpc",
        b"\x0a\x1fthe merger closes on the first\x12\x04\x00\x01\x02\x03",
        "some-new-service",
        content_type="application/grpc-web+proto",
    )
    assert (call.shape, [text.text for text in call.texts], call.cut) == (
        "unknown",
        ["the merger closes on the first"],
        True,
    )
    assert [text.where for text in call.texts] == [None]


def test_models_come_from_the_body_the_path_or_the_query() -> None:
    assert (
        read("/v1/x/models/gemini-2.0:generateContent", {"contents": []}, "gemini-api").model == "gemini-2.0"
    )
    assert (
        read("/model/arn%3Aaws%3Amodel%2Fx/converse", {"messages": []}, "amazon-bedrock").model
        == "arn:aws:model/x"
    )
    assert read("/v1/chat/completions", {"model": "a\x1b[31m" + "b" * 500}).model.startswith("a\\x1b[31m")


def test_conversations_have_roles_and_sizes() -> None:
    messages = [
        {"role": "developer", "content": "rules"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "12345"},
                {"type": "input_audio", "input_audio": {"data": "A" * 200}},
            ],
        },
        {"role": "martian", "content": "x"},
        "not a message",
        {"role": 7, "content": None},
    ]
    call = read("/v1/chat/completions", {"messages": messages})
    assert call.messages == (
        Message("system", 5),
        Message("user", 5),
        Message("other", 1),
        Message("user", 13),
        Message("other", 0),
    )
    assert call.system == "rules"
    assert [one.size for one in call.attachments] == [150]


def test_batches_hold_requests() -> None:
    body = {
        "requests": [
            {"params": {"model": "m", "system": "s", "messages": [{"role": "user", "content": "one"}]}}
        ]
    }
    call = read("/v1/messages/batches", body, "claude-api")
    assert (call.operation, call.model, call.system) == ("batch", "m", "s")
    lines = b"".join(
        b'{"body": {"messages": [{"role": "user", "content": "%s"}]}}\n' % text for text in (b"one", b"two")
    )
    call = read("/v1/batches", lines, "openai-api", content_type="application/jsonl")
    assert [text.where for text in call.texts] == ["/0/body/messages/0/content", "/1/body/messages/0/content"]


def test_repeated_names_are_a_flaw_that_rewriting_heals() -> None:
    body = (
        b'{"messages":[{"role":"user","content":"secret"}],"messages":[{"role":"user","content":"nothing"}]}'
    )
    call = read("/v1/chat/completions", body)
    assert call.flaws == ("repeated name",)
    found = recognise(post("/v1/chat/completions", body), "openai-api")
    assert found
    assert b"secret" not in found.rewrite(post("/v1/chat/completions", body), {})


def test_what_is_too_deep_or_too_much_is_cut_and_bounded() -> None:
    deep = b'{"messages":[{"role":"user","content":' + b"[" * 150 + b'"x"' + b"]" * 150 + b"}]}"
    assert read("/v1/chat/completions", deep).cut
    assert read("/v1/chat/completions", b"[" * 100_000).cut
    assert read("/v1/chat/completions", b'{"a":' * 100_000 + b"1" + b"}" * 100_000).cut
    assert read("/v1/chat/completions", b"[" + b"{}," * 600_000 + b"{}]").cut
    many = read("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}] * 30_000})
    assert many.cut
    assert len(many.texts) <= 20_000


@given(
    trees,
    st.sampled_from(ALL),
    st.sampled_from(["/v1/chat/completions", "/mcp", "/x", "/api/chat", "/model/m/invoke"]),
)
@settings(max_examples=150)
def test_any_document_is_read_without_an_error(tree: Any, service: str, path: str) -> None:
    request = post(path, tree)
    found = recognise(request, service)
    assert isinstance(found, Provider)
    call = found.request(request)
    for text in call.texts if call else ():
        if text.where is not None:
            found.rewrite(request, {text.where: "y"})
    for verdict in ("block", "coach", "limit"):
        assert found.error(verdict, "no", request).status in (200, 202, 403, 429)


planted = st.recursive(
    words | st.just("the plan"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(words | st.just("the plan"), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(
    planted,
    st.sampled_from(ALL),
    st.sampled_from(["/v1/chat/completions", "/v1/responses", "/x", "/api/chat"]),
)
@settings(max_examples=150)
def test_no_text_is_missed_or_left(tree: Any, service: str, path: str) -> None:
    request = post(path, tree)
    found = recognise(request, service)
    call = found.request(request) if found else None
    if not found or call is None:
        return
    assert sum("the plan" in text.text for text in call.texts) == json.dumps(tree).count("the plan")
    places = {
        text.where: "<X_1>" for text in call.texts if text.where is not None and text.text == "the plan"
    }
    left = [text for text in call.texts if text.where is None and text.text == "the plan"]
    assert found.rewrite(request, places).count(b"the plan") == len(left)


@given(
    st.binary(max_size=300),
    st.sampled_from(ALL),
    st.sampled_from(
        [
            "application/json",
            "multipart/form-data; boundary=b",
            "application/x-www-form-urlencoded",
            "application/x-ndjson",
            "text/plain",
            "application/octet-stream",
            "",
            "application/grpc",
        ]
    ),
)
@settings(max_examples=150)
def test_any_bytes_are_read_without_an_error(data: bytes, service: str, kind: str) -> None:
    request = post("/upload", data, content_type=kind)
    found = recognise(request, service)
    assert found
    found.request(request)
    found.rewrite(request, {})


@given(st.text())
def test_base64_is_decoded_or_refused(text: str) -> None:
    assert decode64(text) is None or isinstance(decode64(text), bytes)


LINES = base64.encodebytes(b"A plan of 200 bytes. " * 10).decode()


@pytest.mark.parametrize(
    ("service", "path", "part"),
    [
        ("claude-api", "/v1/messages", {"source": {"media_type": "text/plain", "data": LINES}}),
        ("openai-api", "/v1/chat/completions", {"file": {"file_data": f"DATA:text/plain;BASE64,{LINES}"}}),
        ("openai-api", "/v1/chat/completions", {"image_url": {"url": f"data:text/plain;base64, {LINES}"}}),
        ("vertex-ai", "/v1/models/m:predict", {"image": {"mimeType": "a/b", "bytesBase64Encoded": LINES}}),
        ("mistral-api", "/v1/chat/completions", {"type": "input_audio", "input_audio": LINES}),
        ("openai-api", "/v1/responses", {"type": "image_generation_call", "result": LINES}),
    ],
)
def test_files_in_base64_however_it_is_written(service: str, path: str, part: dict[str, Any]) -> None:
    call = read(path, {"messages": [{"role": "user", "content": [part]}], "instances": [part]}, service)
    assert [one.size for one in call.attachments] == [210, 210]


def test_a_short_file_says_its_type_beside_it_or_above() -> None:
    document = {"name": "d", "format": "txt", "source": {"bytes": "YSBjYXJkLg=="}}
    body = {"messages": [{"role": "user", "content": [{"document": document}]}]}
    call = read("/model/m/converse", body, "amazon-bedrock")
    assert [(one.name, one.data) for one in call.attachments] == [("d", b"a card.")]
    assert decode64("four Four four") is None  # words
    assert not read("/v1/chat", {"documents": [{"data": "word"}]}, "cohere-api").attachments


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"image_url": {"url": "https://b.example/a.png?X-Amz-Signature=5a1f"}}, "https://b.example/a.png"),
        ({"type": "url", "url": "https://jo:pw@mcp.example/sse#k"}, "https://mcp.example/sse"),
        ({"file_url": "https://b.example/@a/b.pdf"}, "https://b.example/@a/b.pdf"),
        ({"file_id": "file-1"}, "file-1"),
        ({"document_url": "data:text/plain;base64,dGhlIHBsYW4="}, ""),
    ],
)
def test_names_of_references_tell_no_secret_and_no_content(part: dict[str, Any], name: str) -> None:
    call = read("/v1/chat/completions", {"messages": [{"role": "user", "content": [part]}]})
    assert [one.name for one in call.attachments] == [name]


def test_text_of_an_address_without_base64_is_read_and_put_back_whole() -> None:
    part = {"file": {"file_data": "data:text/plain;charset=utf-8,Dear%20Jane%2C"}}
    call = read("/v1/chat/completions", {"messages": [{"role": "user", "content": [part]}]})
    assert [text.text for text in call.texts] == ["data:text/plain;charset=utf-8,Dear Jane,"]


def test_texts_can_always_be_encoded() -> None:
    call = read("/v1/chat/completions", rb'{"messages":[{"role":"user","content":"\ud83d\ude00 \ud800 x"}]}')
    assert [text.text for text in call.texts] == ["\U0001f600 \ufffd x"]


def test_lines_without_end_are_bounded() -> None:
    call = read("/v1/batches", b"\n" * 3_000_000, "openai-api", content_type="application/x-ndjson")
    assert call is None or call.cut


@pytest.mark.parametrize(
    ("kind", "body", "cut"),
    [
        ("application/x-www-form-urlencoded", b'[{"prompt": "the plan"}]', False),
        ("application/x-www-form-urlencoded", b"the+plan+for+the+merger", True),
        ("multipart/form-data; boundary=b", b'{"prompt": "the plan"}', True),
        ("text/plain", b'{"prompt": "the plan"}', False),
        ("application/json", b'{"prompt": "the plan"', True),
        ("text/plain", b"[" * 5_000, True),
        ("", b'{"prompt": "the plan"', True),
    ],
)
def test_labels_are_not_believed(kind: str, body: bytes, cut: bool) -> None:
    call = read("/v1/batches", body, content_type=kind)
    assert call.cut == cut
    assert cut or [text.text for text in call.texts] == ["the plan"]


def test_long_numbers_are_texts() -> None:
    request = post("/v1/chat/completions", {"metadata": {"card": 4111111111111111, "n": 17, "ok": True}})
    found = recognise(request, "openai-api")
    assert found
    call = found.request(request)
    assert call
    assert [(text.where, text.text) for text in call.texts] == [("/metadata/card", "4111111111111111")]
    changed = json.loads(found.rewrite(request, {"/metadata/card": "<CARD_1>"}))
    assert changed == {"metadata": {"card": "<CARD_1>", "n": 17, "ok": True}}


def test_lines_that_are_no_json_stay_as_they_are() -> None:
    request = post("/v1/batches", b'{"a":"x"}\n\nplain "text"\n', content_type="application/x-ndjson")
    found = recognise(request, "openai-api")
    assert found
    assert found.rewrite(request, {"/0/a": "y"}) == b'{"a":"y"}\n\nplain "text"\n'
    assert found.rewrite(request, {"/2": "z"}) == b'{"a":"x"}\n\nz\n'


def test_documents_in_documents_in_forms_are_bounded() -> None:
    inner = "x"
    for _ in range(4):
        inner = json.dumps(["[" * 40 + json.dumps(inner) + "]" * 40])
    call = read(
        "/x", f"f={quote(inner)}".encode(), "jasper", content_type="application/x-www-form-urlencoded"
    )
    assert call.texts
    deep = "[" * 190 + "]" * 190
    assert (
        read("/x", f"f={quote(deep)}".encode(), "jasper", content_type="application/x-www-form-urlencoded")
        is None
    )
