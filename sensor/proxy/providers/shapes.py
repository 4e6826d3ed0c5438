"""What the members of a request mean: the conversation, the tools, the model. One reader for every dialect.

The vendors' formats differ in names, not in ideas, and their servers copy each other: OpenAI's appear on
Bedrock, Anthropic's on Vertex and Azure. So members are read by their name wherever they are allowed, and a
body may mix dialects. Sources: the vendors' API references as of 2026-11 (docs/providers.md lists them).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ITEMS = 10_000  # messages, tools, lines of a batch
NAME = 200

Path = tuple[str, ...]
# fmt: off
_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "model": "assistant", "chatbot": "assistant", "bot": "assistant", "ai": "assistant", "tool": "tool",
    "function": "tool", "ipython": "tool", "observation": "tool",
}
_SYSTEM = ("system", "systemInstruction", "system_instruction", "instructions", "preamble", "system_prompt")
_PROMPTS = (
    "prompt", "input", "inputs", "inputText", "message", "query", "documents", "texts", "text", "instances",
    "content", "suffix", "negative_prompt", "input_prefix", "input_suffix", "variables", "images",
    "template", "question", "query_str", "extracted_content", "attachments", "examples", "arguments",
)
_CONVERSATIONS = (
    "messages", "contents", "input", "inputs", "chat_history", "additional_messages", "turns", "history",
)
_DEFINITIONS = (
    "tools", "functions", "toolConfig", "response_format", "responseSchema", "output_config",
    "generationConfig",
)
# Members whose value is a request of its own, or a list of them.
_WRAPPERS = (
    "requests", "params", "body", "request", "thread", "session", "response", "item", "config", "batch",
    "input_config", "inputConfig", "setup", "clientContent", "client_content",
)
# fmt: on


@dataclass(slots=True)
class Shape:
    """Regions of a tree by path, and what was named in it."""

    roles: dict[Path, str] = field(default_factory=dict)
    messages: dict[Path, str] = field(default_factory=dict)
    offered: dict[str, None] = field(default_factory=dict)
    called: dict[str, None] = field(default_factory=dict)
    model: str = ""
    stream: bool | None = None

    @property
    def known(self) -> bool:
        return bool(self.messages)


def clean(value: Any, size: int = NAME) -> str:
    """A name for tables and logs: bounded, without control characters; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    text = value[:size]
    return text if text.isprintable() else text.encode("unicode_escape").decode()[:size]


def read(tree: Any) -> Shape:
    """The shape of a document, or of JSON lines."""
    shape = Shape()
    if isinstance(tree, list):
        for i, item in enumerate(tree[:ITEMS]):
            _read(shape, item, (str(i),), 0)
    else:
        _read(shape, tree, (), 0)
    return shape


def read_fields(names: list[str], values: list[Any]) -> Shape:
    """The shape of a form, whose places are numbers."""
    places = {name: str(place) for place, name in enumerate(names)}
    node = {name: values[int(place)] for name, place in places.items()}
    if isinstance(said := node.get("stream"), str):
        node["stream"] = said.lower() in ("true", "1")
    shape = read(node)
    shape.roles = {(places[path[0]], *path[1:]): role for path, role in shape.roles.items()}
    shape.messages = {(places[path[0]], *path[1:]): role for path, role in shape.messages.items()}
    return shape


def _read(shape: Shape, node: Any, at: Path, depth: int) -> None:
    if not isinstance(node, dict):
        return
    shape.model = shape.model or clean(
        node.get("model") or node.get("modelId") or node.get("modelName")
    ).removeprefix("models/")
    if isinstance(node.get("stream"), bool):
        shape.stream = node["stream"]
    for name in _SYSTEM:
        if isinstance(node.get(name), str | list | dict) and node[name]:
            _region(shape, (*at, name), "system")
    for name in _DEFINITIONS:
        if name in node:
            shape.roles[*at, name] = "definition"
            shape.offered.update((tool, None) for tool in _tools(node[name]) if tool)
    _conversations(shape, node, at)
    if depth < 4:
        for path, inner in _wrapped(node, at):
            _read(shape, inner, path, depth + 1)


def _conversations(shape: Shape, node: dict[str, Any], at: Path) -> None:
    for name in _CONVERSATIONS:
        value = node.get(name)
        if isinstance(value, list) and any(isinstance(item, dict) for item in value[:ITEMS]):
            for i, item in enumerate(value[:ITEMS]):
                _message(shape, item, (*at, name, str(i)))
        elif isinstance(value, dict) and name == "contents":
            _message(shape, value, (*at, name))
    role = _ROLES.get(str(node.get("role")).lower())
    if role and "content" in node:  # a message is the whole request: threads, realtime items
        return _message(shape, node, at)
    for name in _PROMPTS:
        if isinstance(node.get(name), str | list | dict) and node[name] and not _has(shape, (*at, name)):
            _region(shape, (*at, name), "user")
    return None


def _has(shape: Shape, path: Path) -> bool:
    return path in shape.messages or (*path, "0") in shape.messages


def _region(shape: Shape, path: Path, role: str) -> None:
    shape.roles[path] = shape.messages[path] = role


def _message(shape: Shape, message: Any, at: Path) -> None:
    if not isinstance(message, dict):
        return _region(shape, at, "user")
    said = message.get("role") or message.get("author")
    said = said.get("role") if isinstance(said, dict) else said
    kind = str(message.get("type"))
    if kind.endswith(
        ("_call", "_call_output", "_call_result")
    ):  # Responses API: calls are items among messages
        role = "tool" if kind.endswith(("output", "result")) else "tool_call"
        _called(shape, message.get("name") or (kind if role == "tool_call" else ""))
    else:
        role = _ROLES.get(str(said).lower(), "other") if said else "user"
    _region(shape, at, role)
    _blocks(shape, message, at)
    return None


def _blocks(shape: Shape, message: dict[str, Any], at: Path) -> None:
    """Tool calls and their results within a message."""
    for i, call in enumerate(_list(message.get("tool_calls"))):
        shape.roles[*at, "tool_calls", str(i)] = "tool_call"
        _called(shape, _named(call))
    if isinstance(message.get("function_call"), dict):
        shape.roles[*at, "function_call"] = "tool_call"
        _called(shape, message["function_call"].get("name"))
    for name in ("content", "parts"):
        for i, block in enumerate(_list(message.get(name))):
            if isinstance(block, dict):
                _block(shape, block, (*at, name, str(i)))


def _block(shape: Shape, block: dict[str, Any], at: Path) -> None:
    kind = str(block.get("type"))
    if kind.endswith("tool_use"):
        shape.roles[at] = "tool_call"
        _called(shape, block.get("name"))
    elif kind.endswith("tool_result"):
        shape.roles[at] = "tool"
    for name in ("functionCall", "function_call", "toolUse"):
        if isinstance(block.get(name), dict):
            shape.roles[*at, name] = "tool_call"
            _called(shape, block[name].get("name"))
    for name in ("functionResponse", "function_response", "toolResult"):
        if name in block:
            shape.roles[*at, name] = "tool"


def _called(shape: Shape, name: Any) -> None:
    if name := clean(name):
        shape.called[name] = None


def _named(tool: Any) -> Any:
    """A tool's name: OpenAI nests it, Anthropic does not, built-in ones have only a type."""
    if not isinstance(tool, dict):
        return tool
    inner = tool.get("function") or tool.get("toolSpec") or tool.get("custom")
    if isinstance(inner, dict):
        return inner.get("name")
    return tool.get("name") or tool.get("server_label") or tool.get("type")


def _tools(value: Any) -> Iterator[str]:
    if isinstance(value, dict):  # toolConfig
        value = value.get("tools")
    for tool in _list(value):
        members = tool if isinstance(tool, dict) else {}
        declared = members.get("functionDeclarations") or members.get("function_declarations")
        if declared:
            yield from (clean(_named(one)) for one in _list(declared))
        elif named := clean(_named(tool)):
            yield named
        else:
            yield from (clean(name) for name in list(members)[:10])  # Gemini: {"googleSearch": {}}


def _list(value: Any) -> list[Any]:
    return value[:ITEMS] if isinstance(value, list) else []


def _wrapped(node: dict[str, Any], at: Path) -> Iterator[tuple[Path, Any]]:
    for name in _WRAPPERS:
        inner = node.get(name)
        if isinstance(inner, dict):
            yield (*at, name), inner
        for i, item in enumerate(_list(inner)):
            yield (*at, name, str(i)), item
