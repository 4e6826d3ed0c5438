import pytest

from sensor.proxy.providers import Request, recognise
from tests.sensor.proxy.providers.samples import post


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("StreamUnifiedChatWithTools", "chat"),
        ("StreamCpp", "completion"),
        ("StreamComposer", "chat"),
        ("AvailableModels", None),
        ("CppConfig", None),
    ],
)
def test_cursor_is_named_and_not_read(method: str, operation: str | None) -> None:
    body = b"\x00\x00\x00\x00\x1a\x0a\x18the plans for the merger!\x10\x01"
    request = post(f"/aiserver.v1.ChatService/{method}", body, content_type="application/connect+proto")
    found = recognise(request, "cursor")
    assert found
    call = found.request(request)
    assert (call.operation if call else None) == operation
    if call:
        assert (call.shape, call.messages) == ("opaque", ())
        assert [(text.where, text.text) for text in call.texts] == [(None, "the plans for the merger!")]


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("api.individual.githubcopilot.com", "personal"),
        ("api.business.githubcopilot.com", "corporate"),
        ("api.enterprise.githubcopilot.com", "corporate"),
        ("api.githubcopilot.com", "unknown"),
    ],
)
def test_copilot_says_whose_plan(host: str, kind: str) -> None:
    body = b'{"model":"gpt-x","messages":[{"role":"user","content":"fix this"}]}'
    request = Request(
        "POST", "https", host, 443, "/chat/completions", {}, {"content-type": "application/json"}, body
    )
    found = recognise(request, "github-copilot")
    assert found
    call = found.request(request)
    assert call
    assert (call.operation, call.account.kind, call.shape) == ("chat", kind, "known")
