"""MCP in its generations: sessions, stateless requests, and the oldest with its GET stream."""

import json
from typing import Any

import pytest

from sensor.proxy.providers import Call, Reader, Request, listens, recognise
from tests.sensor.proxy.providers.samples import post
from tests.sensor.proxy.vendor_formats import mcp

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def read(body: Any, path: str = "/mcp", **headers: str) -> Call | None:
    request = post(path, body, **headers)
    found = recognise(request, "mcp-server")
    assert found
    return found.request(request)


@pytest.mark.parametrize(
    ("body", "operation", "tools", "texts"),
    [
        (
            message("tools/call", name="send", arguments={"to": "a@b.c", "n": 1, "deep": ["x"]}),
            "tool_call",
            ("send",),
            ["a@b.c", "x"],
        ),
        (
            message("tools/call", name="send", arguments={"to": "y"}, _meta=META),
            "tool_call",
            ("send",),
            ["y"],
        ),
        (message("resources/read", uri="file:///plans.txt"), "resource", (), ["file:///plans.txt"]),
        (message("prompts/get", name="review", arguments={"code": "z"}), "prompt", (), ["z"]),
        (
            [message("ping"), message("tools/call", name="a", arguments={"q": "w"})],
            "tool_call",
            ("a",),
            ["w"],
        ),
        (
            {
                "jsonrpc": "2.0",
                "id": 1,
                "result": {"role": "assistant", "content": {"type": "text", "text": "said"}},
            },
            "sampling",
            (),
            ["said"],
        ),
    ],
)
def test_what_moves_content(body: Any, operation: str, tools: tuple[str, ...], texts: list[str]) -> None:
    call = read(body)
    assert call
    assert (call.operation, call.tools_called, call.model, call.stream) == (operation, tools, "", None)
    found = [text.text for text in call.texts]
    assert [text for text in texts if text not in found] == []
    assert all(text.where for text in call.texts)


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "notifications/initialized",
        "ping",
        "tools/list",
        "resources/list",
        "server/discover",
        "subscriptions/listen",
    ],
)
def test_what_does_not(method: str) -> None:
    assert read(message(method, clientInfo={"name": "x"})) is None


def test_arguments_are_rewritten_in_place() -> None:
    request = post("/mcp", message("tools/call", name="send", arguments={"to": "a@b.c"}))
    found = recognise(request, "mcp-server")
    assert found
    assert json.loads(found.rewrite(request, {"/params/arguments/to": "<EMAIL_1>"}))["params"][
        "arguments"
    ] == {"to": "<EMAIL_1>"}


def test_parameters_mirrored_in_headers_are_seen() -> None:
    call = read(
        message("tools/call", name="q", arguments={"region": "eu"}),
        mcp_method="tools/call",
        mcp_param_region="eu",
    )
    assert call
    assert [(text.where, text.text) for text in call.texts if text.where is None] == [(None, "eu")]


def test_any_service_that_speaks_mcp_is_recognised() -> None:
    request = post("/v1/anything", message("tools/call", name="x"))
    found = recognise(request, "")
    assert found
    assert found.name == "mcp-server"
    found = recognise(request, "asana-mcp")
    assert found
    assert (found.name, type(found).__name__) == ("asana-mcp", "Mcp")


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/sse", "text/event-stream", True),
        ("/mcp/", "application/json, text/event-stream", True),
        ("/sse", "text/html", False),
        ("/news", "text/event-stream", False),
    ],
)
def test_get_streams(path: str, accept: str, expected: bool) -> None:
    assert listens(Request("GET", "https", "x", 443, path, {}, {"accept": accept})) == expected


@pytest.mark.parametrize(
    "body",
    [message("tools/call", arguments={"a": "b"}), message("tools/call", arguments={"a": "b"}, _meta=META)],
)
def test_results_are_texts(body: dict[str, Any]) -> None:
    request = post("/mcp", body)
    found = recognise(request, "mcp-server")
    assert found
    said = mcp(body)
    reading: Reader = found.response(200, {"content-type": said.kind})
    reading.feed(b"".join(said.events))
    texts = reading.finish().texts
    assert ('You said: {"a": "b"}', "tool") in [(text.text, text.role) for text in texts]


def test_refusals_answer_the_call() -> None:
    def refuse(body: Any) -> tuple[int, Any]:
        request = post("/mcp", body)
        found = recognise(request, "mcp-server")
        assert found
        answer = found.error("block", "not here", request)
        return answer.status, json.loads(answer.body) if answer.body else None

    status, body = refuse(message("tools/call"))
    assert (status, body["id"], body["error"]["message"], body["error"]["data"]) == (
        200,
        7,
        "not here",
        {"verdict": "block"},
    )
    assert -32_099 <= body["error"]["code"] <= -32_000
    status, body = refuse(
        [message("tools/call"), {**message("tools/call"), "id": "b"}, {"jsonrpc": "2.0", "method": "x"}]
    )
    assert [one["id"] for one in body] == [7, "b"]
    assert refuse({"jsonrpc": "2.0", "method": "notifications/x"}) == (202, None)
    assert refuse("no message") == (202, None)
