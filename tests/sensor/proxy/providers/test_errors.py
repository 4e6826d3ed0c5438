"""The formats as the SDKs take them: each raises its own error, and tries no refusal again."""

import json

import pytest

from sensor.proxy.providers import recognise
from tests.sensor.proxy.providers.samples import post

PATHS = {
    "openai-api": "/v1/chat/completions",
    "azure-openai": "/openai/deployments/d/chat/completions",
    "groq": "/openai/v1/responses",
    "claude-api": "/v1/messages",
    "claude": "/api/organizations/o/chat_conversations/c/completion",
    "gemini-api": "/v1beta/models/m:generateContent",
    "amazon-bedrock": "/model/m/converse",
    "mistral-api": "/v1/chat/completions",
    "cohere": "/v2/chat",
    "ollama": "/api/chat",
    "hugging-face-inference": "/models/m",
    "chatgpt": "/backend-api/conversation",
}


@pytest.mark.parametrize("service", PATHS)
@pytest.mark.parametrize(("verdict", "status"), [("block", 403), ("coach", 403), ("limit", 429)])
def test_refusals(service: str, verdict: str, status: int) -> None:
    request = post(PATHS[service], {})
    found = recognise(request, service)
    assert found
    answer = found.error(verdict, 'not "here"\r\nx', request, 5 if verdict == "limit" else None)
    headers = dict(answer.headers)
    assert answer.status == status
    assert headers["content-type"] == "application/json"
    assert 'not \\"here\\"' in answer.body.decode()
    assert not any("\n" in value or "\r" in value for value in headers.values())
    assert headers.get("x-should-retry") == ("false" if status == 403 else None)
    assert headers.get("retry-after") == ("5" if status == 429 else None)


@pytest.mark.parametrize(
    ("service", "block", "limit"),
    [
        ("openai-api", ("error", "type", "permission_error"), ("error", "type", "rate_limit_error")),
        ("claude-api", ("error", "type", "permission_error"), ("error", "type", "rate_limit_error")),
        ("gemini-api", ("error", "status", "PERMISSION_DENIED"), ("error", "status", "RESOURCE_EXHAUSTED")),
        ("chatgpt", ("detail", "code", "blocked_by_policy"), ("detail", "code", "blocked_by_policy")),
    ],
)
def test_kinds(service: str, block: tuple[str, str, str], limit: tuple[str, str, str]) -> None:
    request = post(PATHS[service], {})
    found = recognise(request, service)
    assert found
    for verdict, (outer, inner, kind) in (("block", block), ("limit", limit)):
        assert json.loads(found.error(verdict, "no", request).body)[outer][inner] == kind


def test_amazon_s_kind_is_a_header() -> None:
    request = post("/model/m/converse", {})
    found = recognise(request, "amazon-bedrock")
    assert found
    assert dict(found.error("block", "no", request).headers)["x-amzn-errortype"] == "AccessDeniedException"
    assert dict(found.error("limit", "no", request).headers)["x-amzn-errortype"] == "ThrottlingException"
