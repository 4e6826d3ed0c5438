"""Chat applications, as far as public knowledge goes; bodies written after published descriptions."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from sensor.proxy.providers import Attachment, Call, Message, Provider, Request, recognise
from tests.sensor.proxy.providers.samples import post


def jwt(claims: dict[str, Any]) -> str:
    return "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".c2ln"


def find(service: str, path: str, body: Any, **headers: str) -> tuple[Provider, Request, Call | None]:
    request = post(path, body, **headers)
    found = recognise(request, service)
    assert found
    assert found.name == service
    return found, request, found.request(request)


CHATGPT = {
    "action": "next",
    "model": "auto",
    "parent_message_id": "p",
    "conversation_mode": {"kind": "primary_assistant"},
    "messages": [
        {
            "id": "m",
            "author": {"role": "user"},
            "content": {"content_type": "text", "parts": ["my question"]},
            "metadata": {
                "attachments": [
                    {"id": "file-1", "name": "plan.pdf", "size": 99, "mime_type": "application/pdf"}
                ]
            },
        }
    ],
}
CLAUDE = {
    "prompt": "my question",
    "timezone": "UTC",
    "files": ["f1"],
    "attachments": [
        {"file_name": "n.txt", "file_type": "txt", "file_size": 9, "extracted_content": "the notes"}
    ],
}


@pytest.mark.parametrize(
    ("service", "path", "body", "model"),
    [
        ("chatgpt", "/backend-api/f/conversation", CHATGPT, "auto"),
        ("chatgpt", "/backend-anon/conversation", CHATGPT, "auto"),
        (
            "claude",
            "/api/organizations/00000000-0000-4000-8000-000000000001/chat_conversations/c/completion",
            CLAUDE,
            "",
        ),
        (
            "deepseek",
            "/api/v0/chat/completion",
            {"prompt": "my question", "ref_file_ids": [], "chat_session_id": "x"},
            "",
        ),
        (
            "grok",
            "/rest/app-chat/conversations/new",
            {"message": "my question", "modelName": "grok-4"},
            "grok-4",
        ),
        ("grok", "/rest/app-chat/conversations/abc/responses", {"message": "my question"}, ""),
        (
            "perplexity",
            "/rest/sse/perplexity_ask",
            {"query_str": "my question", "params": {"language": "en"}},
            "",
        ),
    ],
)
def test_prompts(service: str, path: str, body: Any, model: str) -> None:
    found, request, call = find(service, path, body)
    assert call
    assert (call.operation, call.model, call.shape) == ("chat", model, "known")
    (prompt,) = [text for text in call.texts if text.text == "my question"]
    assert (prompt.role, prompt.where is not None) == ("user", True)
    assert b"<X_1>" in found.rewrite(request, {str(prompt.where): "<X_1>"})


def test_files_named_in_a_message() -> None:
    _, _, call = find("chatgpt", "/backend-api/conversation", CHATGPT)
    assert call
    assert Attachment("plan.pdf", "application/pdf", 99) in call.attachments
    _, _, call = find("claude", "/api/organizations/o/chat_conversations/c/completion", CLAUDE)
    assert call
    assert Attachment("n.txt", "txt", 9) in call.attachments
    assert "the notes" in [text.text for text in call.texts if text.role == "user"]


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ("free", "personal"),
        ("plus", "personal"),
        ("team", "corporate"),
        ("enterprise", "corporate"),
        ("", "unknown"),
        (7, "unknown"),
    ],
)
def test_a_chatgpt_token_tells_the_plan(plan: Any, kind: str) -> None:
    token = jwt({"https://api.openai.com/auth": {"chatgpt_plan_type": plan, "chatgpt_account_id": "w-1"}})
    _, _, call = find("chatgpt", "/backend-api/conversation", CHATGPT, authorization=f"Bearer {token}")
    assert call
    assert (call.account.kind, call.account.organisation) == (kind, "w-1")
    assert token not in repr(call)


@pytest.mark.parametrize(
    "token", ["", "a.b.c", "e30.e30.x", "x" * 40_000, "e30." + "A" * 50 + ".x", "e30.W10.x"]
)
def test_other_tokens_tell_nothing(token: str) -> None:
    _, _, call = find("chatgpt", "/backend-api/conversation", CHATGPT, authorization=f"Bearer {token}")
    assert call
    assert call.account.kind == "unknown"


def test_claude_s_organisation() -> None:
    organisation = "00000000-0000-4000-8000-000000000001"
    _, _, call = find("claude", f"/api/organizations/{organisation}/chat_conversations/c/completion", CLAUDE)
    assert call
    assert call.account.organisation == organisation


def test_gemini_holds_json_in_json_in_a_form() -> None:
    inner = json.dumps([["my question", 0, None, [], None, None, 0], ["en"], ["", "", ""]])
    body = urlencode({"f.req": json.dumps([None, inner]), "at": "token"}).encode()
    path = "/_/BardChatUi/data/assistant.lamda.BardFrontendService/StreamGenerate"
    found, request, call = find(
        "gemini", path, body, content_type="application/x-www-form-urlencoded;charset=utf-8"
    )
    assert call
    assert (call.operation, call.shape, call.messages) == ("chat", "known", (Message("user", 11),))
    (prompt,) = [text for text in call.texts if text.text == "my question"]
    again = Request(
        "POST",
        "https",
        "x",
        443,
        path,
        {},
        request.headers,
        found.rewrite(request, {str(prompt.where): 'a "b"\n'}),
    )
    after = found.request(again)
    assert after
    assert [text.text for text in after.texts][:1] == ['a "b"\n']
    assert [text.text for text in after.texts][1:] == [text.text for text in call.texts][1:]


def test_copilot_speaks_over_websockets() -> None:
    upgrade = Request("GET", "wss", "copilot.microsoft.com", 443, "/c/api/chat")
    found = recognise(upgrade, "microsoft-copilot")
    assert found
    assert found.request(upgrade) is None
    sent = {
        "event": "send",
        "conversationId": "c",
        "content": [{"type": "text", "text": "my question"}],
        "mode": "chat",
    }
    turn = found.turn(upgrade, json.dumps(sent).encode())
    call = found.request(turn)
    assert call
    assert (call.operation, [text.text for text in call.texts if text.role == "user"]) == (
        "chat",
        ["my question"],
    )
    assert found.request(found.turn(upgrade, b'{"event":"ping"}')) is None


def test_signalr_messages_end_with_a_record_separator() -> None:
    upgrade = Request("GET", "wss", "substrate.office.com", 443, "/m365Copilot/Chathub/u@t")
    found = recognise(upgrade, "m365-copilot")
    assert found
    sent = {
        "arguments": [{"message": {"author": "user", "text": "my question"}}],
        "target": "chat",
        "type": 4,
    }
    turn = found.turn(upgrade, json.dumps(sent).encode() + b'\x1e{"type":6}\x1e')
    call = found.request(turn)
    assert call
    (prompt,) = [text for text in call.texts if text.text == "my question"]
    out = found.rewrite(turn, {str(prompt.where): "<X_1>"})
    assert [json.loads(part) for part in out.split(b"\x1e")[:-1]][1] == {"type": 6}
    assert b"<X_1>" in out


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("chatgpt", "/backend-api/sentinel/chat-requirements"),
        ("chatgpt", "/ces/v1/t"),
        ("claude", "/api/event_logging/batch"),
        ("gemini", "/_/BardChatUi/data/batchexecute"),
        ("perplexity", "/rest/event/analytics"),
    ],
)
def test_housekeeping_is_no_exchange(service: str, path: str) -> None:
    assert find(service, path, {"text": "some words"})[2] is None


def test_what_nobody_described_is_unknown() -> None:
    _, _, call = find("chatgpt", "/backend-api/new_feature", {"q": "some words", "n": 1})
    assert call
    assert (call.operation, call.shape, [text.text for text in call.texts]) == (
        "other",
        "unknown",
        ["some words"],
    )
    assert find("chatgpt", "/backend-api/settings", {"on": True})[2] is None


def test_uploads() -> None:
    form = (
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="n.txt"\r\n\r\nthe notes\r\n--b--\r\n'
    )
    _, _, call = find("claude", "/api/org/upload", form, content_type="multipart/form-data; boundary=b")
    assert call
    assert (call.operation, call.shape, [(one.name, one.size) for one in call.attachments]) == (
        "upload",
        "known",
        [("n.txt", 9)],
    )
    blob = Request(
        "PUT",
        "https",
        "files.oaiusercontent.com",
        443,
        "/file-abc",
        {},
        {"content-type": "image/png"},
        b"\x89PNG" * 9,
    )
    found = recognise(blob, "chatgpt")
    assert found
    call = found.request(blob)
    assert call
    assert (call.operation, [(one.name, one.type, one.size) for one in call.attachments]) == (
        "upload",
        [("file-abc", "image/png", 36)],
    )
    picture = base64.b64encode(bytes(300)).decode()
    _, _, call = find(
        "grok",
        "/rest/app-chat/upload-file",
        {"fileName": "p.png", "fileMimeType": "image/png", "content": picture},
    )
    assert call
    assert (call.operation, call.shape) == ("upload", "known")


def test_gemini_s_answers_are_read_and_pass_as_they_are() -> None:
    found, _, _ = find(
        "gemini", "/x/StreamGenerate", b"f.req=x", content_type="application/x-www-form-urlencoded"
    )
    inner = json.dumps([None, ["c_1"], None, None, [["rc_1", ["my <CARD_1> answer"]]]])
    chunk = json.dumps([["wrb.fr", None, inner]])
    data = f")]}}'\n\n{len(chunk) + 1}\n{chunk}\n".encode()
    restorer = found.restorer(200, {"content-type": "application/json"}, {"<CARD_1>": "4111"}.get)
    assert restorer.feed(data) + restorer.finish() == data


@pytest.mark.parametrize(
    ("service", "path", "query", "expected"),
    [
        ("chatgpt", "/", {"q": "my question is"}, "my question is"),
        ("perplexity", "/search", {"q": "my question is"}, "my question is"),
        ("chatgpt", "/", {"q": "x", "model": "auto"}, None),
        ("chatgpt", "/c/abc", {}, None),
    ],
)
def test_a_prompt_in_an_address(service: str, path: str, query: dict[str, str], expected: str | None) -> None:
    request = Request("GET", "https", "x.example.com", 443, path, query)
    found = recognise(request, service)
    assert found
    call = found.request(request)
    assert ([(text.where, text.text) for text in call.texts] if call else None) == (
        [(None, expected)] if expected else None
    )
