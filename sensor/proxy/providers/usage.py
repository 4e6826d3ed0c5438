"""Tokens, model, end and error that an answer reports, by the members the vendors use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sensor.proxy.providers.shapes import clean

_IN = (
    "prompt_tokens", "input_tokens", "promptTokenCount", "prompt_eval_count", "inputTokens",
    "inputTokenCount", "inputTextTokenCount", "prompt_token_count",
)  # fmt: skip
_OUT = (
    "completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count", "outputTokens",
    "outputTokenCount", "generation_token_count", "generated_tokens", "responseTokenCount",
)  # fmt: skip
# Anthropic and Bedrock count what came from a cache, or went there, beside the input; the others within it.
_BESIDE = (
    "cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens",
    "cacheWriteInputTokens", "cacheReadInputTokenCount", "cacheWriteInputTokenCount",
)  # fmt: skip
_CACHED = (
    "cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount",
    "cachedContentTokenCount", "cached_tokens", "prompt_cache_hit_tokens",
)  # fmt: skip
_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount")
_UNLISTED = ("audio_tokens", "ephemeral_1h_input_tokens")
_ENDS = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason", "completionReason")
_INNER = ("message", "response", "delta", "metadata", "meta", "details", "result", "incomplete_details")
MOST = 1 << 48


@dataclass(slots=True)
class Report:
    """What was reported so far; a later number replaces an earlier one."""

    model: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_written: int | None = None
    listed: bool = True
    finish: str = ""
    error: str = ""

    def read(self, event: Any) -> None:
        """One event or document."""
        for item in event[:1_000] if isinstance(event, list) else (event,):
            if isinstance(item, dict):
                for place in _places(item):
                    self._tokens(place)
                    self._price(place)
                    self._end(place)
                    self.model = self.model or clean(place.get("model") or place.get("modelVersion"))
                self._error(item)

    def _tokens(self, usage: dict[str, Any]) -> None:
        tokens_in, tokens_out = _first(usage, _IN), _first(usage, _OUT)
        if tokens_in is not None:
            self.tokens_in = tokens_in + sum(_number(usage.get(name)) or 0 for name in _BESIDE)
        self.tokens_out = tokens_out if tokens_out is not None else self.tokens_out
        if (thoughts := _number(usage.get("thoughtsTokenCount"))) is not None:  # Gemini counts them beside
            self.tokens_out = (tokens_out or 0) + thoughts
        details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        cached = _first(usage, _CACHED)
        cached = (
            cached if cached is not None else _first(details if isinstance(details, dict) else {}, _CACHED)
        )
        self.tokens_cached = cached if cached is not None else self.tokens_cached
        written = _first(usage, _WRITTEN)
        self.tokens_written = written if written is not None else self.tokens_written

    def _price(self, usage: dict[str, Any]) -> None:
        """Tokens that the price list does not mean."""
        tier = usage.get("service_tier")
        self.listed &= tier is None or tier in ("default", "standard", "auto")
        for name in (
            "prompt_tokens_details",
            "completion_tokens_details",
            "input_token_details",
            "cache_creation",
        ):
            details = usage.get(name)
            if isinstance(details, dict):
                self.listed &= not any(_number(details.get(key)) for key in _UNLISTED)
        parts = usage.get("promptTokensDetails")
        for part in parts[:100] if isinstance(parts, list) else ():
            self.listed &= not (isinstance(part, dict) and part.get("modality") not in ("TEXT", "IMAGE"))

    def _end(self, place: dict[str, Any]) -> None:
        for name in _ENDS:
            self.finish = clean(place.get(name)) or self.finish
        if place.get("object") == "response":
            self.finish = clean(place.get("status")) or self.finish

    def _error(self, event: dict[str, Any]) -> None:
        inner = event.get("response")
        error = event.get("error") or (inner.get("error") if isinstance(inner, dict) else None)
        if isinstance(error, dict):
            said = error.get("type") or error.get("code") or error.get("status")
            self.error = clean(said if isinstance(said, str) else str(said)) or self.error
        elif error:
            self.error = self.error or "error"


def _places(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Where an event may keep its numbers: itself, known members, and their usage."""
    places = [event]
    places += [inner for name in _INNER if isinstance(inner := event.get(name), dict)]
    for name in ("choices", "candidates", "results"):
        listed = event.get(name)
        places += [one for one in listed[:100] if isinstance(one, dict)] if isinstance(listed, list) else []
    for place in places:
        yield place
        for name in ("usage", "usageMetadata", "amazon-bedrock-invocationMetrics", "x_groq"):
            usage = place.get(name)
            if isinstance(usage, dict):
                yield from (
                    usage,
                    *(usage[key] for key in ("billed_units", "tokens", "usage") if _is(usage.get(key))),
                )
        if _is(place.get("billed_units")) and "tokens" not in place:
            yield place["billed_units"]
        if _is(place.get("tokens")):
            yield place["tokens"]


def _is(value: Any) -> bool:
    return isinstance(value, dict)


def _first(usage: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((number for name in names if (number := _number(usage.get(name))) is not None), None)


def _number(value: Any) -> int | None:
    """Cohere reports 3.0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST:
        return None
    return int(value)
