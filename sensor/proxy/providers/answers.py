"""What the members of an answer mean: text as it comes, tools called, tokens, why it ended. One reader for
every dialect.

`spots` gives the places of text in an event so that they can be read, and written when a placeholder is put
back. A channel is what a client would join to one text.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from sensor.proxy.providers.shapes import clean

ITEMS = 1_000
_INDEXES = ("index", "item_id", "output_index", "content_index", "contentBlockIndex")
Channel = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """`holder[key]` is a text of a channel. `json`: it is a portion of a JSON document."""

    holder: Any
    key: str
    channel: Channel
    role: str = "assistant"
    json: bool = False

    @property
    def text(self) -> str:
        text: str = self.holder[self.key]
        return text

    def put(self, text: str) -> None:
        self.holder[self.key] = text


def _list(value: Any) -> list[Any]:
    return value[:ITEMS] if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _label(value: Any) -> Hashable:
    return value[:64] if isinstance(value, str) else value if isinstance(value, int) else None


def _spot(holder: dict[str, Any], channel: Channel, *keys: str, json: bool = False) -> Iterator[Spot]:
    role = "tool_call" if json else "assistant"
    for key in keys:
        if isinstance(holder.get(key), str) and holder[key]:
            yield Spot(holder, key, (*channel, key), role, json)


def spots(event: Any) -> Iterator[Spot]:
    """The places of text in one event or document."""
    for item in event[:ITEMS] if isinstance(event, list) else (event,):
        if isinstance(item, dict):
            yield from _choices(item)
            yield from _typed(item)
            yield from _candidates(item)
            yield from _blocks(item)
            yield from _plain(item)


def _choices(event: dict[str, Any]) -> Iterator[Spot]:
    """OpenAI chat and completions, and everybody who speaks them."""
    for choice in _dicts(event.get("choices")):
        channel = ("choice", _label(choice.get("index")))
        yield from _spot(choice, channel, "text")
        for name in ("delta", "message"):
            yield from _message(_dict(choice.get(name)), channel)


def _message(message: dict[str, Any], channel: Channel) -> Iterator[Spot]:
    yield from _spot(
        message, channel, "content", "reasoning_content", "reasoning", "thinking", "refusal", "tool_plan"
    )
    yield from _content(message.get("content"), channel)
    calls = message.get("tool_calls")
    for place, call in enumerate(
        _dicts(calls if isinstance(calls, list) else [calls])
    ):  # Cohere's delta: one
        label = _label(call.get("index", place))
        yield from _spot(_dict(call.get("function")), (*channel, "call", label), "arguments", json=True)
    yield from _spot(_dict(message.get("function_call")), (*channel, "call"), "arguments", json=True)


def _content(content: Any, channel: Channel) -> Iterator[Spot]:
    """A list of blocks (Anthropic, Mistral, Cohere, Responses), or one block."""
    for place, block in enumerate(_dicts(content if isinstance(content, list) else [content])):
        at = (*channel, "block", _label(block.get("index", place)))
        yield from _spot(block, at, "text", "thinking", "refusal", "transcript")
        yield from _spot(_dict(block.get("text")), at, "value")  # Assistants API
        yield from _spot(_dict(block.get("reasoningContent")), at, "text")
        for place_2, part in enumerate(_dicts(block.get("thinking"))):
            yield from _spot(part, (*at, place_2), "text")


def _typed(event: dict[str, Any]) -> Iterator[Spot]:
    """Events that say their type: Responses and realtime, Anthropic, Cohere, Assistants, Mistral's agents."""
    kind = event.get("type") or event.get("object") or event.get("event_type") or ""
    kind = kind if isinstance(kind, str) else ""
    labels = tuple(_label(event.get(name)) for name in _INDEXES)
    delta = event.get("delta")
    if isinstance(delta, str) and kind.endswith(".delta"):
        if not kind.endswith(("audio.delta", "audio_data.delta")):
            yield from _spot(event, (kind, *labels), "delta", json="arguments" in kind)
    elif isinstance(delta, dict) and not isinstance(delta.get("message"), dict):
        yield from _spot(delta, ("delta", *labels), "text", "thinking")
        yield from _spot(delta, ("delta", *labels), "partial_json", json=True)
        yield from _content(delta.get("content"), ("delta", *labels))
    elif isinstance(delta, dict):
        yield from _message(delta["message"], ("delta", *labels))
    if kind == "message.output.delta":  # Mistral's agents
        yield from _spot(event, (kind, *labels), "content")
    if kind == "function.call.delta":
        yield from _spot(event, (kind, *labels), "arguments", json=True)
    if kind == "content_block_start":
        yield from _spot(_dict(event.get("content_block")), ("delta", *labels), "text", "thinking")


def _candidates(event: dict[str, Any]) -> Iterator[Spot]:
    """Gemini, also when live."""
    held = [_dict(one.get("content")) for one in _dicts(event.get("candidates"))]
    live = _dict(event.get("serverContent"))
    held.append(_dict(live.get("modelTurn")))
    for place, content in enumerate(held):
        for part in _dicts(content.get("parts")):
            yield from _spot(part, ("candidate", place, bool(part.get("thought"))), "text")
    for name in ("outputTranscription", "inputTranscription"):
        yield from _spot(_dict(live.get(name)), (name,), "text")


def _blocks(event: dict[str, Any]) -> Iterator[Spot]:
    """Whole answers in blocks, and Bedrock's events."""
    if event.get("type") not in ("message_start", "message_delta"):
        yield from _content(event.get("content"), ("content",))
    for place, item in enumerate(_dicts(event.get("output"))):
        yield from _message(item, ("output", place))
        yield from _content(item.get("summary"), ("summary", place))
        yield from _spot(item, ("output", place), "arguments", json=True)
        yield from _spot(item, ("output", place), "input")  # a custom tool's is a text
    yield from _message(_dict(_dict(event.get("output")).get("message")), ("output",))
    index = ("delta", _label(event.get("contentBlockIndex")))
    delta = _dict(event.get("delta"))
    yield from _spot(_dict(delta.get("toolUse")), index, "input", json=True)
    yield from _spot(_dict(delta.get("reasoningContent")), index, "text")
    for name in ("generations", "results", "outputs", "completions"):
        for place, item in enumerate(_dicts(event.get(name))):
            yield from _spot(item, (name, place), "text", "outputText")


def _plain(event: dict[str, Any]) -> Iterator[Spot]:
    """One text at the top: Ollama, Cohere v1, text-generation-inference, older models on Bedrock."""
    if event.get("event_type") != "stream-end" and not str(event.get("type")).endswith(".done"):
        yield from _spot(event, (), "text", "response", "generation", "outputText", "completion")
    if "choices" not in event and event.get("type") != "message_start":
        yield from _message(_dict(event.get("message")), ("message",))
    token = _dict(event.get("token"))
    if not token:  # else it is the whole of what the tokens said
        yield from _spot(event, (), "generated_text")
    if not token.get("special"):
        yield from _spot(token, ("token",), "text")
    yield from _spot(_dict(_dict(event.get("result")).get("response")), ("token",), "token")  # Grok
    yield from _patches(event)


def _patches(event: dict[str, Any]) -> Iterator[Spot]:
    """ChatGPT and DeepSeek on the web send JSON patches of one message; without a path they go on."""
    value = event.get("v")
    for patch in [event, *_dicts(value)]:
        path = patch.get("p", "")
        if isinstance(patch.get("v"), str) and (not path or "content" in path or "parts" in path):
            yield from _spot(patch, ("patch",), "v")


def tools(event: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tools an event calls: name, and arguments where they are whole ({} where they come as text)."""
    for item in event[:ITEMS] if isinstance(event, list) else (event,):
        for call in _calls(_dict(item)):
            if name := clean(call.get("name")):
                yield (
                    name,
                    next((_dict(call[key]) for key in ("args", "arguments", "input") if key in call), {}),
                )


def _calls(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    messages = [
        _dict(choice.get(name)) for choice in _dicts(event.get("choices")) for name in ("delta", "message")
    ]
    messages += [_dict(event.get("message")), _dict(_dict(event.get("delta")).get("message"))]
    for message in messages:
        calls = message.get("tool_calls")
        yield from (
            _dict(call.get("function")) for call in _dicts(calls if isinstance(calls, list) else [calls])
        )
        yield _dict(message.get("function_call"))
    blocks = [_dict(event.get("content_block")), *_dicts(event.get("content"))]
    yield from (block for block in blocks if str(block.get("type")).endswith("tool_use"))
    for candidate in [*_dicts(event.get("candidates")), _dict(event.get("serverContent"))]:
        content = candidate.get("content") or candidate.get("modelTurn")
        yield from (_dict(part.get("functionCall")) for part in _dicts(_dict(content).get("parts")))
    yield from _dicts(_dict(event.get("toolCall")).get("functionCalls"))
    yield _dict(_dict(event.get("start")).get("toolUse"))
    output = event.get("output")
    items = [
        _dict(event.get("item")) if event.get("type") == "response.output_item.added" else {},
        *_dicts(output),
    ]
    yield from (item if "name" in item else {"name": item.get("type")} for item in items if _is_call(item))
    blocks = _dicts(_dict(_dict(output).get("message")).get("content"))
    yield from (_dict(block.get("toolUse")) for block in blocks)
    yield from (call for call in _dicts(event.get("tool_calls")))


def _is_call(item: dict[str, Any]) -> bool:
    return str(item.get("type")).endswith("_call")
