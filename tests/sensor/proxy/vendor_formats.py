"""Answers in the vendors' formats: what `vendors.py` serves. Pure, and always the same for the same request.

Every model repeats the last text it was asked: "You said: ...". Asked to "use the tool", it calls the first
one offered. Tokens are one per four characters. A stream comes in portions of five characters, so that words
span them.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

PORTION = 5
CREATED = 1_790_000_000
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    )
).decode()


@dataclass
class Reply:
    """A response: a body, or the portions of a stream."""

    body: Any = None
    events: list[bytes] = field(default_factory=list)
    kind: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def last_text(node: Any) -> str:
    """The last text of a conversation, in any format."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return next((text for item in reversed(node) if (text := last_text(item))), "")
    if isinstance(node, dict):
        if node.get("type") in (
            "image_url",
            "input_image",
            "input_file",
            "file",
            "image",
            "document",
            "input_audio",
        ):
            return ""
        names = (
            "contents",
            "messages",
            "input",
            "inputs",
            "content",
            "parts",
            "prompt",
            "message",
            "text",
            "inputText",
        )
        return next((text for name in names if name in node and (text := last_text(node[name]))), "")
    return ""


def tokens(text: str) -> int:
    return max(1, len(text) // 4)


def portions(text: str) -> list[str]:
    return [text[at : at + PORTION] for at in range(0, len(text), PORTION)]


def sse(*events: Any, named: bool = False, done: bool = False) -> list[bytes]:
    out = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        out.append(f"{name}data: {json.dumps(event)}\n\n".encode())
    return [*out, b"data: [DONE]\n\n"] if done else out


def aws(name: str, payload: Any) -> bytes:
    """One message of an Amazon event stream."""
    headers = b""
    for key, value in (
        (":event-type", name),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ):
        headers += bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    data = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(data), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    message = prelude + headers + data
    return message + struct.pack(">I", zlib.crc32(message))


@dataclass
class Asked:
    """What the answer depends on."""

    path: str
    query: dict[str, str]
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def said(self) -> str:
        return "You said: " + last_text(self.body)

    @property
    def sizes(self) -> tuple[int, int]:
        return tokens(json.dumps(self.body.get("messages") or self.body)), tokens(self.said)

    @property
    def model(self) -> str:
        found = re.search(r"/(?:models|deployments|model)/([^/:]+(?:%3A\d+)?)", self.path)
        return str(self.body.get("model") or (unquote(found[1]) if found else "model-x"))

    @property
    def tool(self) -> str:
        """The tool to call, "" for none."""
        if "use the tool" not in last_text(self.body):
            return ""
        found = re.search(
            r'"name": "([\w-]+)"', json.dumps(self.body.get("tools") or self.body.get("toolConfig") or {})
        )
        return found[1] if found else ""

    @property
    def arguments(self) -> dict[str, str]:
        return {"text": last_text(self.body)}


# -- OpenAI


def openai_chat(asked: Asked) -> Reply:
    sent, got = asked.sizes
    usage = {"prompt_tokens": sent, "completion_tokens": got, "total_tokens": sent + got}
    head = {"id": "chatcmpl-1", "created": CREATED, "model": asked.model}
    function = {"name": asked.tool, "arguments": json.dumps(asked.arguments)}
    finish = "tool_calls" if asked.tool else "stop"
    if not asked.body.get("stream"):
        message: dict[str, Any] = {"role": "assistant", "content": None if asked.tool else asked.said}
        if asked.tool:
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return Reply({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def chunk(delta: Any, finish: str | None = None) -> dict[str, Any]:
        return {
            **head,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    events = [chunk({"role": "assistant", "content": ""})]
    mistral = "mistral" in asked.headers.get("host", "")
    if asked.tool:
        call = {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": asked.tool, "arguments": ""},
        }
        parts = [{"index": 0, "function": {"arguments": part}} for part in portions(function["arguments"])]
        if mistral:  # whole, in one event
            call, parts = {**call, "function": function}, []
        events += [chunk({"tool_calls": [part]}) for part in (call, *parts)]
    else:
        events += [chunk({"content": part}) for part in portions(asked.said)]
    events.append(chunk({}, finish) | ({"usage": usage} if mistral else {}))
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        events.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return Reply(events=sse(*events, done=True), kind="text/event-stream")


def openai_responses(asked: Asked) -> Reply:
    sent, got = asked.sizes
    item: dict[str, Any]
    if asked.tool:
        arguments = json.dumps(asked.arguments)
        item = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": asked.tool,
            "arguments": arguments,
            "status": "completed",
        }
    else:
        part = {"type": "output_text", "text": asked.said, "annotations": []}
        item = {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    usage = {
        "input_tokens": sent,
        "output_tokens": got,
        "total_tokens": sent + got,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "model": asked.model,
        "output": [item],
        "usage": usage,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }
    if not asked.body.get("stream"):
        return Reply(whole)
    place = {"item_id": item["id"], "output_index": 0}
    events: list[dict[str, Any]] = [
        {
            "type": "response.created",
            "response": {**whole, "status": "in_progress", "output": [], "usage": None},
        },
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress"}
            | ({"arguments": ""} if asked.tool else {"content": []}),
        },
    ]
    if asked.tool:
        name = "response.function_call_arguments"
        events += [{"type": f"{name}.delta", **place, "delta": part} for part in portions(item["arguments"])]
        events.append({"type": f"{name}.done", **place, "arguments": item["arguments"]})
    else:
        name, place = "response.output_text", {**place, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        events.append({"type": "response.content_part.added", **place, "part": empty})
        events += [
            {"type": f"{name}.delta", **place, "delta": part, "logprobs": []} for part in portions(asked.said)
        ]
        events.append({"type": f"{name}.done", **place, "text": asked.said, "logprobs": []})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    events.append({"type": "response.completed", "response": whole})
    numbered = [{**event, "sequence_number": i} for i, event in enumerate(events)]
    return Reply(events=sse(*numbered, named=True), kind="text/event-stream")


def openai_completions(asked: Asked) -> Reply:
    sent, got = asked.sizes
    head = {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": asked.model}
    if not asked.body.get("stream"):
        choice = {"index": 0, "text": asked.said, "finish_reason": "stop", "logprobs": None}
        return Reply(
            {
                **head,
                "choices": [choice],
                "usage": {"prompt_tokens": sent, "completion_tokens": got, "total_tokens": sent + got},
            }
        )
    parts = [
        {"index": 0, "text": part, "finish_reason": None, "logprobs": None} for part in portions(asked.said)
    ]
    parts.append({"index": 0, "text": "", "finish_reason": "stop", "logprobs": None})
    return Reply(
        events=sse(*({**head, "choices": [part]} for part in parts), done=True), kind="text/event-stream"
    )


def openai_embeddings(asked: Asked) -> Reply:
    given = asked.body.get("input")
    vectors = [[0.25, 0.5]] * (len(given) if isinstance(given, list) else 1)
    coded: list[Any] = vectors
    if asked.body.get("encoding_format") == "base64":
        coded = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in vectors]
    data = [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(coded)]
    sent = tokens(json.dumps(given))
    usage = {"prompt_tokens": sent, "total_tokens": sent}
    return Reply(
        {"object": "list", "data": data, "model": asked.model, "usage": usage, "id": "e", "created": CREATED}
    )


def openai_other(asked: Asked) -> Reply:
    """Images, audio, files, batches, moderation, assistants."""
    path = asked.path
    if "/images/" in path:
        return Reply({"created": CREATED, "data": [{"b64_json": PIXEL, "revised_prompt": asked.said}]})
    if path.endswith("/speech"):
        return Reply(b"ID3\x04" + bytes(200), kind="audio/mpeg")
    if "/audio/" in path:
        return Reply(
            {
                "text": "spoken words",
                "usage": {"type": "tokens", "input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
            }
        )
    if path.endswith("/moderations"):
        result = {
            "flagged": False,
            "categories": {},
            "category_scores": {},
            "category_applied_input_types": {},
        }
        return Reply({"id": "modr-1", "model": asked.model, "results": [result]})
    if path.endswith("/batches"):
        return Reply(
            {
                "id": "batch_1",
                "object": "batch",
                "endpoint": "/v1/chat/completions",
                "status": "validating",
                "input_file_id": "file-1",
                "completion_window": "24h",
                "created_at": CREATED,
            }
        )
    if path.endswith("/messages"):
        return Reply(
            {
                "id": "msg_1",
                "object": "thread.message",
                "created_at": CREATED,
                "thread_id": "thread_1",
                "role": "user",
                "content": [],
                "attachments": [],
                "metadata": {},
                "status": "completed",
            }
        )
    if path.endswith("/threads"):
        return Reply({"id": "thread_1", "object": "thread", "created_at": CREATED, "metadata": {}})
    if path.endswith("/assistants"):
        return Reply(
            {
                "id": "asst_1",
                "object": "assistant",
                "created_at": CREATED,
                "model": asked.model,
                "tools": [],
                "instructions": asked.body.get("instructions"),
                "metadata": {},
            }
        )
    return Reply(
        {
            "id": "file-1",
            "object": "file",
            "bytes": 1,
            "created_at": CREATED,
            "filename": "f",
            "purpose": "batch",
            "status": "processed",
            "type": "file",
            "size_bytes": 1,
            "mime_type": "text/plain",
            "downloadable": False,
            "sample_type": "batch_request",
            "source": "upload",
        }
    )


# -- Anthropic


def anthropic(asked: Asked) -> Reply:
    sent, got = asked.sizes
    if asked.path.endswith("/count_tokens"):
        return Reply({"input_tokens": sent})
    if asked.path.endswith("/batches"):
        counts = {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        when = "2026-11-22T00:00:00Z"
        return Reply(
            {
                "id": "msgbatch_1",
                "type": "message_batch",
                "processing_status": "in_progress",
                "created_at": when,
                "request_counts": counts,
                "expires_at": when,
                "ended_at": None,
                "archived_at": None,
                "cancel_initiated_at": None,
                "results_url": None,
            }
        )
    block: dict[str, Any] = {"type": "text", "text": asked.said}
    if asked.tool:
        block = {"type": "tool_use", "id": "toolu_1", "name": asked.tool, "input": asked.arguments}
    finish = "tool_use" if asked.tool else "end_turn"
    usage = {
        "input_tokens": sent,
        "output_tokens": got,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [block],
        "stop_reason": finish,
        "stop_sequence": None,
        "usage": usage,
    }
    headers = {"anthropic-organization-id": "00000000-0000-4000-8000-000000000001"}
    if not asked.body.get("stream"):
        return Reply(whole, headers=headers)
    events: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}},
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {**block, **({"input": {}} if asked.tool else {"text": ""})},
        },
        {"type": "ping"},
    ]
    if asked.tool:
        deltas = [
            {"type": "input_json_delta", "partial_json": part}
            for part in portions(json.dumps(block["input"]))
        ]
    else:
        deltas = [{"type": "text_delta", "text": part} for part in portions(asked.said)]
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    events.append({"type": "content_block_stop", "index": 0})
    end = {"stop_reason": finish, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": got}})
    events.append({"type": "message_stop"})
    return Reply(events=sse(*events, named=True), kind="text/event-stream", headers=headers)


# -- Google


def google(asked: Asked) -> Reply:
    sent, got = asked.sizes
    if "mbedContent" in asked.path:
        many = asked.body.get("requests", [1])
        vector = {"values": [0.25, 0.5]}
        return Reply({"embeddings": [vector] * len(many)} if "batch" in asked.path else {"embedding": vector})
    if asked.path.endswith(":countTokens"):
        return Reply({"totalTokens": sent})
    if asked.path.endswith(":predict"):
        return Reply({"predictions": [{"bytesBase64Encoded": PIXEL, "mimeType": "image/png"}]})
    usage = {"promptTokenCount": sent, "candidatesTokenCount": got, "totalTokenCount": sent + got}

    def chunk(part: dict[str, Any], last: bool) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
        tail = {"usageMetadata": usage} if last else {}
        candidate |= {"finishReason": "STOP"} if last else {}
        return {"candidates": [candidate], "modelVersion": asked.model, "responseId": "r1", **tail}

    call = {"functionCall": {"name": asked.tool, "args": asked.arguments}}
    if not asked.path.endswith(":streamGenerateContent"):
        return Reply(chunk(call if asked.tool else {"text": asked.said}, last=True))
    parts: list[dict[str, Any]] = [call] if asked.tool else [{"text": part} for part in portions(asked.said)]
    events = [chunk(part, part is parts[-1]) for part in parts]
    if asked.query.get("alt") == "sse":
        return Reply(events=sse(*events), kind="text/event-stream")
    # Go's and Google's encoders write < and > as escapes.
    text = json.dumps(events).replace("<", "\\u003c").replace(">", "\\u003e")
    return Reply(events=[text.encode()])


def google_upload(asked: Asked) -> Reply:
    """Two requests: the first is answered with the address of the second."""
    if asked.headers.get("x-goog-upload-command") == "start":
        host = asked.headers.get("host", "")
        scheme = asked.headers.get("x-served-as", "https")
        url = f"{scheme}://{host}{asked.path}?upload_id=1"
        return Reply({}, headers={"x-goog-upload-url": url, "x-goog-upload-status": "active"})
    file = {
        "name": "files/f1",
        "uri": "https://generativelanguage.googleapis.com/v1beta/files/f1",
        "mimeType": "text/plain",
        "sizeBytes": "1",
        "state": "ACTIVE",
    }
    return Reply({"file": file}, headers={"x-goog-upload-status": "final"})


# -- Bedrock


def bedrock(asked: Asked) -> Reply:
    sent, got = asked.sizes
    usage = {"inputTokens": sent, "outputTokens": got, "totalTokens": sent + got}
    stream = "application/vnd.amazon.eventstream"
    if asked.path.endswith("/converse"):
        content: dict[str, Any] = {"text": asked.said}
        if asked.tool:
            content = {"toolUse": {"toolUseId": "t1", "name": asked.tool, "input": asked.arguments}}
        output = {"message": {"role": "assistant", "content": [content]}}
        return Reply(
            {"output": output, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
        )
    if asked.path.endswith("/converse-stream"):
        events = [aws("messageStart", {"role": "assistant"})]
        if asked.tool:
            start = {"toolUse": {"toolUseId": "t1", "name": asked.tool}}
            events.append(aws("contentBlockStart", {"contentBlockIndex": 0, "start": start}))
        for part in portions(json.dumps(asked.arguments) if asked.tool else asked.said):
            delta = {"toolUse": {"input": part}} if asked.tool else {"text": part}
            events.append(aws("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}))
        events += [
            aws("contentBlockStop", {"contentBlockIndex": 0}),
            aws("messageStop", {"stopReason": "end_turn"}),
            aws("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
        ]
        return Reply(events=events, kind=stream)
    asked.body["stream"] = asked.path.endswith("-stream")
    inner = anthropic(asked)
    if not inner.events:
        return inner
    documents = [event.partition(b"data: ")[2].strip() for event in inner.events]
    events = [aws("chunk", {"bytes": base64.b64encode(document).decode()}) for document in documents]
    return Reply(events=events, kind=stream)


# -- Cohere


def cohere(asked: Asked) -> Reply:
    sent, got = asked.sizes
    billed = {
        "billed_units": {"input_tokens": sent, "output_tokens": got},
        "tokens": {"input_tokens": sent, "output_tokens": got},
    }
    if asked.path.endswith("/rerank"):
        results = [{"index": i, "relevance_score": 0.5} for i, _ in enumerate(asked.body["documents"])]
        return Reply({"id": "r", "results": results, "meta": {"billed_units": {"search_units": 1}}})
    if asked.path.endswith("/embed"):
        texts = asked.body.get("texts") or [""]
        vectors = {"float": [[0.25, 0.5]] * len(texts)}
        return Reply(
            {
                "id": "e",
                "response_type": "embeddings_by_type",
                "embeddings": vectors,
                "texts": texts,
                "meta": {"billed_units": {"input_tokens": sent}},
            }
        )
    if asked.path.endswith("/v1/chat"):
        whole = {"text": asked.said, "generation_id": "g", "finish_reason": "COMPLETE", "meta": billed}
        if not asked.body.get("stream"):
            return Reply(whole)
        events: list[Any] = [{"event_type": "stream-start", "generation_id": "g", "is_finished": False}]
        events += [
            {"event_type": "text-generation", "text": part, "is_finished": False}
            for part in portions(asked.said)
        ]
        events.append(
            {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": whole, "is_finished": True}
        )
        lines = [json.dumps(event).encode() + b"\n" for event in events]
        return Reply(events=lines, kind="application/stream+json")
    message: dict[str, Any] = {"role": "assistant", "content": [{"type": "text", "text": asked.said}]}
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": asked.tool, "arguments": json.dumps(asked.arguments)},
    }
    if asked.tool:
        message = {"role": "assistant", "tool_calls": [call]}
    finish = "TOOL_CALL" if asked.tool else "COMPLETE"
    if not asked.body.get("stream"):
        return Reply({"id": "m", "finish_reason": finish, "message": message, "usage": billed})
    return Reply(
        events=sse(*_cohere_stream(asked, call, finish, billed), named=True), kind="text/event-stream"
    )


def _cohere_stream(asked: Asked, call: Any, finish: str, billed: Any) -> Iterator[dict[str, Any]]:
    yield {
        "type": "message-start",
        "id": "m",
        "delta": {
            "message": {
                "role": "assistant",
                "content": [],
                "tool_plan": "",
                "tool_calls": [],
                "citations": [],
            }
        },
    }
    if asked.tool:
        first = {**call, "function": {"name": asked.tool, "arguments": ""}}
        yield {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": first}}}
        for part in portions(call["function"]["arguments"]):
            calls = {"function": {"arguments": part}}
            yield {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": calls}}}
        yield {"type": "tool-call-end", "index": 0}
    else:
        start = {"type": "text", "text": ""}
        yield {"type": "content-start", "index": 0, "delta": {"message": {"content": start}}}
        for part in portions(asked.said):
            yield {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": part}}}}
        yield {"type": "content-end", "index": 0}
    yield {"type": "message-end", "delta": {"finish_reason": finish, "usage": billed}}


# -- Ollama, Hugging Face


def ollama(asked: Asked) -> Reply:
    sent, got = asked.sizes
    if asked.path.endswith("/embed"):
        return Reply({"model": asked.model, "embeddings": [[0.25, 0.5]], "prompt_eval_count": sent})
    head = {"model": asked.model, "created_at": "2026-11-22T00:00:00Z"}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": sent, "eval_count": got}
    chat = asked.path.endswith("/chat")

    def piece(text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}} if chat else {"response": text}

    call = {
        "message": {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": asked.tool, "arguments": asked.arguments}}],
        }
    }
    if asked.body.get("stream") is False:
        return Reply({**head, **(call if asked.tool else piece(asked.said)), **end})
    events = [{**head, **call, "done": False}] if asked.tool else []
    events += [] if asked.tool else [{**head, **piece(part), "done": False} for part in portions(asked.said)]
    lines = [json.dumps(event) for event in [*events, {**head, **piece(""), **end}]]
    escaped = [line.replace("<", "\\u003c").replace(">", "\\u003e").encode() + b"\n" for line in lines]
    return Reply(events=escaped, kind="application/x-ndjson")


def generation(asked: Asked) -> Reply:
    """text-generation-inference."""
    _, got = asked.sizes
    details = {"finish_reason": "eos_token", "generated_tokens": got, "seed": None}
    if not (asked.body.get("stream") or asked.path.endswith("_stream")):
        return Reply([{"generated_text": asked.said}])
    events: list[dict[str, Any]] = [
        {
            "index": i,
            "token": {"id": i, "text": part, "logprob": 0, "special": False},
            "generated_text": None,
            "details": None,
        }
        for i, part in enumerate(portions(asked.said))
    ]
    events[-1] |= {"generated_text": asked.said, "details": details}
    return Reply(events=sse(*events), kind="text/event-stream")


# -- MCP, both generations

TOOL = {
    "name": "echo",
    "description": "Says it again",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
}


def mcp(message: dict[str, Any]) -> Reply:
    """One JSON-RPC request. Answers to `tools/call` are SSE, all others JSON."""
    method, params = message.get("method"), message.get("params") or {}
    if "id" not in message:
        return Reply(b"", status=202)
    modern = "io.modelcontextprotocol/protocolVersion" in (params.get("_meta") or {})
    said = json.dumps(params.get("arguments", {}))
    cached = {"ttlMs": 0, "cacheScope": "private"}
    results: dict[Any, dict[str, Any]] = {
        "initialize": {
            "protocolVersion": params.get("protocolVersion"),
            "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
            "serverInfo": {"name": "vendors", "version": "1"},
        },
        "server/discover": {
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
            **cached,
            "serverInfo": {"name": "vendors", "version": "1"},
        },
        "ping": {},
        "tools/list": {"tools": [TOOL], **cached},
        "tools/call": {"content": [{"type": "text", "text": f"You said: {said}"}], "isError": False},
        "resources/read": {
            "contents": [{"uri": params.get("uri", ""), "text": "a document", "mimeType": "text/plain"}],
            **cached,
        },
        "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": said}}]},
    }
    head = {"jsonrpc": "2.0", "id": message["id"]}
    if method not in results:
        return Reply(
            {**head, "error": {"code": -32601, "message": "Method not found"}}, status=404 if modern else 200
        )
    result = {**results[method], **({"resultType": "complete"} if modern else {})}
    if method == "tools/call":
        data = json.dumps({**head, "result": result})
        return Reply(events=[f"event: message\ndata: {data}\n\n".encode()], kind="text/event-stream")
    return Reply({**head, "result": result})


# -- Applications in a browser: as far as public knowledge goes


def chatgpt(asked: Asked) -> Reply:
    message = {
        "id": "m1",
        "author": {"role": "assistant"},
        "content": {"content_type": "text", "parts": [""]},
    }
    events: list[Any] = [{"v": {"message": message, "conversation_id": "c1"}, "c": 0, "o": "add", "p": ""}]
    first, *rest = portions(asked.said)
    events.append({"p": "/message/content/parts/0", "o": "append", "v": first})
    events += [{"v": part} for part in rest]
    return Reply(events=sse(*events, done=True), kind="text/event-stream")


def deepseek_web(asked: Asked) -> Reply:
    first, *rest = portions(asked.said)
    events: list[Any] = [
        {"v": first, "p": "response/content", "o": "APPEND"},
        *({"v": part} for part in rest),
    ]
    return Reply(events=sse(*events), kind="text/event-stream")


def grok(asked: Asked) -> Reply:
    lines = [
        json.dumps({"result": {"response": {"token": part}}}).encode() + b"\n"
        for part in portions(asked.said)
    ]
    return Reply(events=lines)


def perplexity(asked: Asked) -> Reply:
    asked.body["prompt"] = asked.body.get("query_str", "")
    return Reply(events=sse({"text": asked.said, "final": True}), kind="text/event-stream")


def claude_web(asked: Asked) -> Reply:
    asked.body["stream"] = True
    return anthropic(asked)


def error(path: str, status: int) -> Reply:
    """The vendor fails."""
    if path.endswith(("/messages", ":generateContent")):
        return Reply({"type": "error", "error": {"type": "api_error", "message": "try again"}}, status=status)
    return Reply({"error": {"message": "try again", "type": "server_error", "code": None}}, status=status)


ROUTES: tuple[tuple[re.Pattern[str], Callable[[Asked], Reply]], ...] = tuple(
    (re.compile(path), answer)
    for path, answer in (
        (r"^/backend-(?:api|anon)/(?:f/)?conversation$", chatgpt),
        (r"/chat_conversations/[^/]+/completion$", claude_web),
        (r"^/api/v0/chat/completion$", deepseek_web),
        (r"^/rest/app-chat/conversations/", grok),
        (r"^/rest/sse/perplexity_ask$", perplexity),
        (r"/threads/[^/]+/messages$", openai_other),
        (r"/v1/messages", anthropic),
        (r"/chat/completions$", openai_chat),
        (r"/responses$", openai_responses),
        (r"^/api/(?:chat|generate|embed)$", ollama),
        (r"^/model/", bedrock),
        (r":(?:\w*[gG]enerateContent|\w*mbedContents?|countTokens|predict)$", google),
        (r"^/upload/v1\w*/files", google_upload),
        (r"/v[12]/(?:chat|embed|rerank)$", cohere),
        (r"/embeddings$", openai_embeddings),
        (r"/v1/completions$|/fim/completions$", openai_completions),
        (r"/generate(?:_stream)?$|/models/|^/$", generation),
        (r"/(?:images|audio|moderations|files|batches|threads|assistants)", openai_other),
    )
)


def answer(asked: Asked) -> Reply:
    """The vendor's answer. A model named `flaky` fails unless the request is a retry."""
    if "flaky" in asked.model and asked.headers.get("x-stainless-retry-count", "0") == "0":
        return error(asked.path, 500)
    for path, format_ in ROUTES:
        if path.search(asked.path):
            return format_(asked)
    return Reply({"error": {"message": "no such route", "type": "invalid_request_error"}}, status=404)


# -- WebSocket: OpenAI realtime, Gemini live, Copilot


def websocket(path: str, message: dict[str, Any], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The server's messages for one of the client's; `before` are those it sent earlier."""
    if "event" in message:  # copilot.microsoft.com
        said = portions("You said: " + last_text(message))
        return [{"event": "appendText", "messageId": "m", "text": part} for part in said] + [
            {"event": "done"}
        ]
    if "clientContent" in message:
        said = portions("You said: " + last_text(message["clientContent"].get("turns")))
        turns = [{"serverContent": {"modelTurn": {"parts": [{"text": part}]}}} for part in said]
        return [
            *turns,
            {
                "serverContent": {"turnComplete": True},
                "usageMetadata": {"promptTokenCount": 3, "responseTokenCount": 4},
            },
        ]
    if message.get("type") != "response.create":
        return []
    items = [one["item"] for one in before if one.get("type") == "conversation.item.create"]
    said_all = "You said: " + last_text(items)
    place = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
    out: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "r1", "status": "in_progress"}}
    ]
    out += [{"type": "response.output_text.delta", **place, "delta": part} for part in portions(said_all)]
    out.append({"type": "response.output_text.done", **place, "text": said_all})
    content = [{"type": "output_text", "text": said_all}]
    done = {
        "id": "r1",
        "object": "realtime.response",
        "status": "completed",
        "output": [{"id": "i1", "type": "message", "role": "assistant", "content": content}],
        "usage": {"input_tokens": 7, "output_tokens": 9, "total_tokens": 16},
    }
    out.append({"type": "response.done", "response": done})
    return [{**event, "event_id": f"e{i}"} for i, event in enumerate(out)]
