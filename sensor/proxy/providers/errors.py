"""Refusals in the vendors' own formats, so that their SDKs raise their own errors: a permission error for a
refusal, which no SDK tries again, and a rate-limit error for a limit.

Sources: the error pages of the vendors' API references, and what their SDKs were seen to raise
(tests/sensor/proxy/vendors.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sensor.proxy.providers import document
from sensor.proxy.providers.model import Answer, Request
from sensor.proxy.providers.shapes import clean

CODE = "blocked_by_policy"
_JSON = ("content-type", "application/json")
_STATUS = {403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}  # google.rpc.Code
JSON_RPC = -32_000  # of the range for servers' own errors (JSON-RPC 2.0, 5.1)


def _openai(status: int, message: str, verdict: str) -> Any:
    kind = "rate_limit_error" if status == 429 else "permission_error"
    code = "rate_limit_exceeded" if status == 429 else CODE
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _anthropic(status: int, message: str, verdict: str) -> Any:
    kind = "rate_limit_error" if status == 429 else "permission_error"
    return {"type": "error", "error": {"type": kind, "message": message}}


def _google(status: int, message: str, verdict: str) -> Any:
    return {"error": {"code": status, "message": message, "status": _STATUS[status]}}


def _mistral(status: int, message: str, verdict: str) -> Any:
    kind = "rate_limited" if status == 429 else "forbidden"
    return {"object": "error", "message": message, "type": kind, "param": None, "code": CODE}


def _message(status: int, message: str, verdict: str) -> Any:
    return {"message": message}


def _error(status: int, message: str, verdict: str) -> Any:
    return {"error": message}


def _chatgpt(status: int, message: str, verdict: str) -> Any:
    return {"detail": {"message": message, "code": CODE}}


FORMATS: dict[str, Callable[[int, str, str], Any]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "google": _google,
    "bedrock": _message,
    "mistral": _mistral,
    "cohere": _message,
    "ollama": _error,
    "huggingface": _error,
    "chatgpt": _chatgpt,
}


def answer(dialect: str, verdict: str, message: str, retry_after: int | None = None) -> Answer:
    """The whole response. `verdict` limit is 429, all others 403."""
    status = 429 if verdict == "limit" else 403
    headers = [_JSON]
    if dialect == "bedrock":
        headers.append(
            ("x-amzn-errortype", "ThrottlingException" if status == 429 else "AccessDeniedException")
        )
    if dialect == "huggingface":  # its client shows this header rather than the body
        headers.append(("x-error-message", clean(message).encode("ascii", "replace").decode()))
    if status == 403:
        headers.append(("x-should-retry", "false"))  # OpenAI's and Anthropic's SDKs ask for it first
    elif retry_after is not None:
        headers.append(("retry-after", str(retry_after)))
    return Answer(status, tuple(headers), document.dump(FORMATS[dialect](status, message, verdict)))


def rpc(request: Request, verdict: str, message: str) -> Answer:
    """MCP: an error of the call (JSON-RPC 2.0, 5.1), which leaves the session whole."""
    found = document.load(request.body)
    calls = found.tree if found and isinstance(found.tree, list) else [found.tree if found else {}]
    out = [
        {
            "jsonrpc": "2.0",
            "id": call["id"],
            "error": {"code": JSON_RPC, "message": message, "data": {"verdict": verdict}},
        }
        for call in calls
        if isinstance(call, dict) and isinstance(call.get("id"), str | int)
    ]
    if not out:  # a notification has no answer
        return Answer(202, (), b"")
    batch = found is not None and isinstance(found.tree, list)
    return Answer(200, (_JSON,), document.dump(out if batch else out[0]))
