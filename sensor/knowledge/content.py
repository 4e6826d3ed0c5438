"""What a request in clear asks of an AI service, and what its response says was used. Never what was written.

Formats: OpenAI and its many compatible servers, Anthropic, Gemini, Ollama, llama.cpp,
text-generation-inference, Stable Diffusion's web interfaces, and MCP's JSON-RPC. Bodies come bounded
(`Kept`), so one that was cut is read by its beginning and its end: a member's quote is never escaped,
while the same text inside a prompt always is.
"""

from __future__ import annotations

import json
import re
import zlib
from functools import cache
from typing import Any

from sensor.frozen import dataclass

KEPT = 32_768  # bytes kept of a body's beginning, and as many of its end
DECODED = 1_048_576  # bytes a compressed one may become
_STREAMS = ("text/event-stream", "application/x-ndjson", "application/jsonl")

# By the end of the path. Polls and management (`/api/show`) are left out on purpose; "" is management too, though
# its body looks like a prompt.
_OPERATIONS = (
    (r"/(?:count_tokens|input_tokens|tokenize|apply-template)|:(?:count|compute)Tokens", ""),
    (r"/chat/completions|/v1/messages|/responses|/api/chat|:(?:g|streamG)enerateContent", "chat"),
    (r"/completions?|/generate|/generate_stream|/infill|/v1/complete|/invocations", "completion"),
    (r"/embeddings?|/embed(?:_sparse)?|:(?:e|batchE)mbedContents?", "embedding"),
    (r"/rerank", "rerank"),
    (r"/moderations", "moderation"),
    (
        r"/images/(?:generations|edits|variations)|/sdapi/v1/(?:txt2img|img2img)|^(?:/api)?/prompt",
        "image",
    ),
    (r"/audio/(?:transcriptions|translations|speech)|/inference|/asr", "audio"),
    (r"/v1/files|/upload/v1(?:beta)?/files|/uploads/[^/]+/parts", "upload"),
)
# MCP (2025-06-18, "Server features"): what moves content. Lists, pings and notifications do not.
_MCP = {"tools/call": "tool_call", "resources/read": "resource", "prompts/get": "prompt"}

_IN = ("prompt_eval_count", "prompt_tokens", "input_tokens", "promptTokenCount", "tokens_evaluated")
_OUT = (
    "eval_count",
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "tokens_predicted",
    "generated_tokens",
)


@cache
def _operations() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(f"(?:{ends})$"), operation) for ends, operation in _OPERATIONS)


@cache  # and made when a body is read: many captures have none in clear
def _member(value: str, *names: str) -> re.Pattern[bytes]:
    return re.compile(rf'(?<!\\)"(?:{"|".join(names)})"\s{{0,8}}:\s{{0,8}}{value}'.encode())


_COUNT = r"(\d{1,12})"
_TEXT = r'"([^"\\]{1,200})"'
_TEXTS = dict.fromkeys(("jsonrpc", "method", "name", "model"), _TEXT)
_TEXTS |= {"stream": "(true|false)"} | dict.fromkeys(("messages", "contents", "prompt"), "(.)")
_PATH_MODEL = re.compile(r"/(?:models|deployments|model)/([^/:?]{1,200}(?::\d+)?)[/:]")


class Kept:
    """The beginning and the end of a body, and its length."""

    __slots__ = ("_head", "_tail", "length", "whole")

    def __init__(self) -> None:
        self._head, self._tail = bytearray(), bytearray()
        self.length = 0
        self.whole = True  # nothing was left out

    def add(self, data: bytes, size: int) -> None:
        """The next `size` bytes, of which `data` were seen."""
        self.length += size
        if size > len(data):
            data, self.whole = data + b"\0", False
        room = KEPT - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * KEPT:
            del self._tail[:-KEPT]
            self.whole = False

    def drop(self) -> None:
        """Let the bytes go, not their number."""
        self._head, self._tail, self.whole = bytearray(), bytearray(), False

    @property
    def data(self) -> bytes:
        """What was kept, with a NUL where bytes were left out, so that nothing is read across the gap."""
        return bytes(self._head + (b"" if self.whole else b"\0") + self._tail)

    def decoded(self, encoding: str) -> Kept:
        """Without its content coding (RFC 9110 8.4), where that is gzip or deflate; else as it is."""
        if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
            return self
        plain, decoder = Kept(), zlib.decompressobj(wbits=47)  # 32 + 15: zlib's or gzip's header
        try:
            text = decoder.decompress(self.data, DECODED)
        except zlib.error:
            return self
        plain.add(text, len(text) + (0 if self.whole and decoder.eof else 1))
        return plain


@dataclass(frozen=True, slots=True)
class Call:
    """A request that uses a service. `stream` is None when the request does not say."""

    operation: str
    model: str = ""
    stream: bool | None = None
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a response says of itself; None when it does not."""

    model: str = ""
    stream: bool = False
    tokens_in: int | None = None
    tokens_out: int | None = None


def read_call(method: str, path: str, body: Kept) -> Call | None:
    """The use a request makes, or None for page loads, polls and management."""
    if method not in ("POST", "PUT") or not body.length:
        return None
    data, path = body.data, path.partition("?")[0]
    parts = _objects(data) if body.whole else [_glimpse(data)]
    if any("jsonrpc" in part for part in parts):
        return _rpc(parts)
    part = parts[0] if parts else {}
    operation = next((op for ends, op in _operations() if ends.search(path)), None)
    operation = _shape(part) if operation is None else operation
    if not operation:
        return None
    model, stream = part.get("model"), part.get("stream")
    if not isinstance(model, str) or not model:
        model = found[1] if (found := _PATH_MODEL.search(path)) else ""
    if not isinstance(stream, bool):
        stream = True if ":stream" in path or path.endswith("/generate_stream") else None
    return Call(operation, _clean(model), stream)


def _shape(part: dict[str, Any]) -> str:
    """The operation of a body on a path nobody documented, by its members."""
    if "messages" in part or "contents" in part:
        return "chat"
    return "completion" if "prompt" in part else ""


def _rpc(parts: list[dict[str, Any]]) -> Call | None:
    """The JSON-RPC requests of MCP that move content, as one use."""
    operation, tools = "", []
    for part in parts:
        method, params = part.get("method"), part.get("params")
        found = _MCP.get(method, "") if isinstance(method, str) else ""
        operation = operation or found
        if found == "tool_call" and isinstance(params, dict) and isinstance(name := params.get("name"), str):
            tools.append(_clean(name))
    return Call(operation, tools=tuple(tools)) if operation else None


def _objects(data: bytes) -> list[dict[str, Any]]:
    """A JSON object, or those of a list (a JSON-RPC batch). Depth and digits are a stranger's choice."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return []
    return [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, dict)]


def _glimpse(data: bytes) -> dict[str, Any]:
    """The same members of an object of which not every byte is there."""
    found: dict[str, Any] = {name: _text(_member(value, name), data) for name, value in _TEXTS.items()}
    found["stream"] = {"true": True, "false": False}.get(found["stream"])
    found["params"] = {"name": found.pop("name")}
    return {name: value for name, value in found.items() if value}


def _clean(text: str) -> str:
    """Bounded, and without control characters: it goes into tables and logs."""
    return text[:200] if text.isprintable() else text.encode("unicode_escape").decode()[:200]


def _text(pattern: re.Pattern[bytes], data: bytes) -> str:
    found = pattern.search(data)
    return found[1].decode("utf-8", "replace") if found else ""


def read_usage(content_type: str, body: Kept) -> Usage:
    """What a response reports; of a stream's reports the last counts."""
    data = body.data
    stream = content_type.partition(";")[0].strip().lower() in _STREAMS
    model, counts = (
        _text(_member(_TEXT, "model"), data),
        [_last(_member(_COUNT, *n), data) for n in (_IN, _OUT)],
    )
    return Usage(_clean(model), stream, *counts)


def _last(pattern: re.Pattern[bytes], data: bytes) -> int | None:
    found = pattern.findall(data)
    return int(found[-1]) if found else None
