"""Requests as the vendors' SDKs send them (`requests.jsonl`, see README.md), and bytes cut anywhere."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from sensor.proxy.providers import Provider, Request, recognise
from tests.sensor.proxy.vendor_formats import Asked, Reply, answer, mcp

SERVICES = {
    "openai": ("openai-api", "api.openai.com"),
    "azure": ("azure-openai", "res1.openai.azure.com"),
    "realtime": ("openai-api", "api.openai.com"),
    "anthropic": ("claude-api", "api.anthropic.com"),
    "genai": ("gemini-api", "generativelanguage.googleapis.com"),
    "mistral": ("mistral-api", "api.mistral.ai"),
    "cohere": ("cohere", "api.cohere.com"),
    "ollama": ("ollama", "ollama.example.com"),
    "litellm": ("litellm", "llm.example.com"),
    "bedrock": ("amazon-bedrock", "bedrock-runtime.us-east-1.amazonaws.com"),
    "hugging": ("hugging-face-inference", "router.huggingface.co"),
    "groq": ("groq", "api.groq.com"),
    "mcp": ("mcp-server", "mcp.example.com"),
    "node": ("", "llm.example.com"),
}
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "requests.jsonl").read_text("utf-8").splitlines()
]


def name(row: dict[str, Any]) -> str:
    return f"{ROWS.index(row)}-{row['client']}-{row['path'].rpartition('/')[2]}"


def request(row: dict[str, Any]) -> tuple[Request, str]:
    """The request, and its service."""
    service, host = SERVICES[row["client"]]
    body = row["text"].encode() if "text" in row else base64.b64decode(row["base64"])
    return Request(
        row["method"], "https", host, 443, row["path"], row["query"], row["headers"], body
    ), service


def provider(row: dict[str, Any]) -> tuple[Provider, Request]:
    asked, service = request(row)
    found = recognise(asked, service)
    assert found
    return found, asked


def reply(row: dict[str, Any]) -> tuple[Reply, Asked]:
    """What the vendor would say."""
    body = json.loads(row.get("text", "{}")) if row.get("text", "").startswith("{") else {}
    asked = Asked(row["path"], row["query"], body, row["headers"])
    return (mcp(body) if row["client"] == "mcp" else answer(asked)), asked


def post(path: str, body: Any, **headers: str) -> Request:
    """A request of our own."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = {"content-type": "application/json"} | {
        key.replace("_", "-"): value for key, value in headers.items()
    }
    return Request("POST", "https", "x.example.com", 443, path, {}, found, data)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in portions; places beyond its end do nothing."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


places = st.lists(st.integers(0, 1 << 20), max_size=12)
# Members and words that mean something to some vendor, in places where they do not belong.
# fmt: off
WORDS = (
    "messages", "role", "content", "type", "text", "user", "assistant", "tool_calls", "function",
    "arguments", "name", "input", "output", "parts", "contents", "candidates", "choices", "delta", "index",
    "message", "usage", "usageMetadata", "prompt_tokens", "error", "response", "tools",
    "functionDeclarations", "toolConfig", "toolUse", "model", "stream", "system", "params", "result",
    "method", "tools/call", "requests", "v", "p", "token", "generated_text", "message_start",
    "response.output_text.delta", "content_block_delta", "partial_json", "modelTurn", "serverContent",
    "parts", "source", "data", "image_url", "url", "file_id", "jsonrpc", "id", "author", "thinking",
    "details", "promptTokensDetails", "cache_creation", "service_tier", "billed_units", "finish_reason",
    "event", "item", "functionCall", "args", "f.req", "attachments", "files", "<CARD_1>", "<CARD", "_1>",
    "<", "data:image/png;base64,AAAA", "metadata", "meta", "tokens", "contentBlockIndex", "start", "bytes",
    "query_str",
)
# fmt: on
words = st.sampled_from(WORDS)
trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 1 << 70)
    | st.floats(allow_nan=False)
    | words
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5),
    max_leaves=25,
)
