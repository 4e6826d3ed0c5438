"""Model Context Protocol over HTTP, both generations: sessions with `initialize` (2024-11-05 to 2025-11-25;
the oldest posts to an address of its own and is answered on a GET stream), and stateless requests that name
method and tool in their headers (2026-07-28).

Source: modelcontextprotocol.io/specification, "Transports" of each revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sensor.proxy.providers import body as bodies
from sensor.proxy.providers import errors, shapes
from sensor.proxy.providers.model import Answer, Call, Request, Text
from sensor.proxy.providers.provider import Provider
from sensor.proxy.providers.reader import Reader

# What moves content. Lists, pings and notifications do not.
METHODS = {
    "tools/call": "tool_call",
    "resources/read": "resource",
    "prompts/get": "prompt",
    "completion/complete": "prompt",
}
_HEADERS = ("mcp-protocol-version", "mcp-session-id", "mcp-method")


class Mcp(Provider):
    """A call's arguments are texts of the role `tool_call`; results are texts of the answer."""

    @staticmethod
    def spoken(request: Request) -> bool:
        """Whether a request is MCP, by its headers or its JSON-RPC."""
        if any(name in request.headers for name in _HEADERS):
            return True
        return request.method == "POST" and b'"jsonrpc"' in request.body[:65_536]

    def operation(self, request: Request, tree: Any, shape: shapes.Shape) -> str:
        """That of the first message that moves content; an answer of the client's does (sampling)."""
        for message in _messages(tree):
            if found := METHODS.get(str(message.get("method"))):
                return found
            if "result" in message:
                return "sampling"
        return ""

    def read(self, body: bodies.Body) -> shapes.Shape:
        """Arguments are what is sent; answers of the client's are a model's or a person's."""
        shape = shapes.Shape()
        for place, message in enumerate(_messages(body.tree)):
            at = (str(place),) if isinstance(body.tree, list) else ()
            for path, role in ((("params",), "tool_call"), (("result",), "tool")):
                if isinstance(message.get(path[0]), dict):
                    shape.roles[*at, *path] = shape.messages[*at, *path] = role
            shape.roles[*at, "params", "_meta"] = shape.roles[*at, "params", "name"] = "other"
            if tool := _tool(message):
                shape.called[tool] = None
        return shape

    def call(self, request: Request, body: bodies.Body, shape: shapes.Shape, operation: str) -> Call:
        """With the parameters that go in headers as well (`Mcp-Param-*`)."""
        call = super().call(request, body, shape, operation)
        mirrored = [
            Text(None, value, "tool_call")
            for key, value in request.headers.items()
            if key.startswith("mcp-param-")
        ]
        return replace(call, stream=None, texts=(*call.texts, *mirrored))

    def response(self, status: int, headers: Mapping[str, str]) -> Reader:
        """All strings of results are texts."""
        return Reader(status, headers, everything="tool")

    def error(self, verdict: str, message: str, request: Request, retry_after: int | None = None) -> Answer:
        """An error of the call, so that the session lives on."""
        return errors.rpc(request, verdict, message)


def _messages(tree: Any) -> list[dict[str, Any]]:
    """One message, or a batch (2025-03-26 only)."""
    return [part for part in (tree if isinstance(tree, list) else [tree]) if isinstance(part, dict)]


def _tool(message: dict[str, Any]) -> str:
    params = message.get("params")
    called = message.get("method") == "tools/call" and isinstance(params, dict)
    return shapes.clean(params.get("name")) if called and isinstance(params, dict) else ""
