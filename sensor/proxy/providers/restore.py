"""Puts originals back for placeholders (`<CARD_1>`) in an answer as it passes, also where one spans several
events.

What may be the beginning of a placeholder is held back until the next event of its channel decides; nothing
else waits. A channel's rest that never became one goes out in a copy of its last event, before the event that
ends it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sensor.proxy.providers import answers, document
from sensor.proxy.providers.coding import Decoder
from sensor.proxy.providers.framing import AwsFrame, Frame, Framing, Pieces, framing

LONGEST = 64  # characters of a placeholder
HELD = 256  # channels with something held back
HOLDABLE = 65_536  # bytes of an event that may be held
STRINGS = 100_000  # of one event
LINES = 100_000
Lookup = Callable[[str], str | None]

PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{0,50}_[0-9]{1,8}>")
_ESCAPED = re.compile(r"(?:<|\\u003[cC])([A-Z][A-Z0-9_]{0,50}_[0-9]{1,8})(?:>|\\u003[eE])")
_BEGUN = re.compile(r"<(?:[A-Z][A-Z0-9_]{0,60})?$")
_BEGUN_ESCAPED = re.compile(
    r"(?:(?:<|\\u003[cC])(?:[A-Z][A-Z0-9_]{0,60}(?:\\(?:u(?:0(?:0(?:3)?)?)?)?)?)?|\\(?:u(?:0(?:0(?:3)?)?)?)?)$"
)


@dataclass(slots=True)
class _Held:
    """The beginning of a placeholder, and the event it came in."""

    text: str
    spot: answers.Spot
    frame: Frame
    event: Any


class Restorer:
    """`feed` returns the bytes to send on instead, `finish` what was still held."""

    def __init__(self, status: int, headers: Mapping[str, str], lookup: Lookup) -> None:
        """`lookup("<CARD_1>")` is the original, or None for what is no placeholder of ours."""
        self._lookup = lookup
        kind = headers.get("content-type", "").lower()
        self._framing: Framing = framing(status, kind) if not kind.startswith("text/html") else Pieces()
        self._decoder = Decoder(headers.get("content-encoding", ""))
        self._text = _PlainText(lookup) if kind.startswith(("text/plain", "text/markdown")) else None
        self.plain = not self._decoder.cut  # the coding can be taken off: drop its header, and the length
        self._held: dict[answers.Channel, _Held] = {}

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the body; unchanged where its coding is unknown."""
        if not self.plain:
            return data
        if self._text:
            return b"".join(map(self._text.feed, self._decoder.feed(data)))
        return b"".join(
            self._frame(frame) for plain in self._decoder.feed(data) for frame in self._framing.feed(plain)
        )

    def finish(self) -> bytes:
        """The body is over."""
        if self._text:
            return self._text.finish()
        out = b"".join(self._frame(frame) for frame in self._framing.finish())
        return out + b"".join(self._released())

    def messages(self, data: bytes) -> list[bytes]:
        """WebSocket: the messages to send instead of one."""
        return [out for frame in self._framing.feed(data) for out in self._parts(frame)]

    def _frame(self, frame: Frame) -> bytes:
        return b"".join(self._parts(frame))

    def _parts(self, frame: Frame) -> list[bytes]:
        inner, wrapped = _inner(frame)
        found = document.load(inner) if inner else None
        if found is None:
            return [*(self._released() if inner else ()), self._raw(frame)]
        spots = list(answers.spots(found.tree))
        before = self._released() if not spots and not _idle(found.tree) else []
        if not self._spots(spots, frame, found.tree) | self._strings(found.tree):
            return [*before, frame.raw]
        return [*before, _outer(frame, found.tree, wrapped)]

    def _raw(self, frame: Frame) -> bytes:
        """JSON lines under another name, or what is no JSON."""
        if type(self._framing) is not Framing or frame.data is None or frame.data.count(b"\n") > LINES:
            return frame.raw
        return b"".join(self._line(line) for line in frame.data.splitlines(keepends=True))

    def _line(self, line: bytes) -> bytes:
        found = document.load(line)
        if found is None or not self._strings(found.tree):
            return line
        return document.dump(found.tree) + b"\n"

    def _spots(self, spots: list[answers.Spot], frame: Frame, event: Any) -> bool:
        """Read and write the portions of texts; whether any changed."""
        changed = False
        if type(self._framing) is Framing and isinstance(event, list):
            return self._listed(spots)
        if type(self._framing) is Framing:  # a whole document holds whole texts
            for spot in spots:
                changed |= self._whole(spot)
            return changed
        for spot in spots:
            held = self._held.pop(spot.channel, None)
            text = (held.text if held else "") + spot.text
            out, rest = self._replaced(text, spot.json)
            if rest and len(self._held) < HELD and len(frame.raw) <= HOLDABLE:
                self._held[spot.channel] = _Held(rest, spot, frame, event)
            else:
                out += rest
            changed |= out != spot.text
            spot.put(out)
        return changed

    def _listed(self, spots: list[answers.Spot]) -> bool:
        """A document that lists what else were events: Gemini's stream without `alt=sse`."""
        before, rests = [spot.text for spot in spots], dict[answers.Channel, tuple[answers.Spot, str]]()
        for spot in spots:
            _, rest = rests.pop(spot.channel, (spot, ""))
            out, rest = self._replaced(rest + spot.text, spot.json)
            rests[spot.channel] = spot, rest
            spot.put(out)
        for spot, rest in rests.values():
            spot.put(spot.text + rest)
        return before != [spot.text for spot in spots]

    def _whole(self, spot: answers.Spot) -> bool:
        before = spot.text
        spot.put(self._put_back(before, spot.json))
        return spot.text != before

    def _replaced(self, text: str, inside_json: bool) -> tuple[str, str]:
        """The text to send on, and what may be the beginning of a placeholder."""
        begun = (_BEGUN_ESCAPED if inside_json else _BEGUN).search(text, max(0, len(text) - LONGEST - 16))
        at = begun.start() if begun else len(text)
        return self._put_back(text[:at], inside_json), text[at:]

    def _put_back(self, text: str, inside_json: bool) -> str:
        if inside_json:
            return _ESCAPED.sub(lambda found: self._json(found), text)
        return PLACEHOLDER.sub(lambda found: _or(self._lookup(found[0]), found[0]), text)

    def _json(self, found: re.Match[str]) -> str:
        original = self._lookup(f"<{found[1]}>")
        return found[0] if original is None else json.dumps(original, ensure_ascii=False)[1:-1]

    def _strings(self, tree: Any) -> bool:
        """Whole texts beside the portions: final events, tools' arguments."""
        changed, waiting, left = False, [tree], STRINGS
        while waiting and left:
            node = waiting.pop()
            if not isinstance(node, dict | list):
                continue
            for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
                left -= left > 0
                if isinstance(value, str) and ("<" in value or "\\u003" in value):
                    text = self._put_back(value, inside_json=key == "arguments" and value[:1] == "{")
                    changed, node[key] = changed or text != value, text
                elif isinstance(value, dict | list):
                    waiting.append(value)
        return changed

    def _released(self) -> list[bytes]:
        """What was held, as events of their own."""
        out = []
        for channel, held in self._held.items():
            for spot in answers.spots(held.event):
                spot.put(held.text if spot.channel == channel else "")
            held.spot.put(held.text)
            out.append(_outer(held.frame, held.event, _inner(held.frame)[1]))
        self._held.clear()
        return out


class _PlainText:
    """A text as it is, byte by byte: placeholders are ASCII, whatever is around them."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._rest = ""

    def feed(self, data: bytes) -> bytes:
        text = self._rest + data.decode("latin-1")
        begun = _BEGUN.search(text, max(0, len(text) - LONGEST))
        at = begun.start() if begun else len(text)
        text, self._rest = text[:at], text[at:]
        return PLACEHOLDER.sub(self._original, text).encode("latin-1")

    def finish(self) -> bytes:
        return self._rest.encode("latin-1")

    def _original(self, found: re.Match[str]) -> str:
        return _or(self._lookup(found[0]), found[0]).encode("utf-8", "replace").decode("latin-1")


def _or(found: str | None, otherwise: str) -> str:
    return otherwise if found is None else found


def _idle(event: Any) -> bool:
    """Whether an event without a text ends nothing: pings, and choices with nothing new."""
    if not isinstance(event, dict):
        return False
    choices = event.get("choices")
    if isinstance(choices, list) and choices:
        return not any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)
    return event.get("type") == "ping"


def _inner(frame: Frame) -> tuple[bytes, dict[str, Any] | None]:
    """An event's document; Bedrock wraps the model's own one in base64."""
    if isinstance(frame, AwsFrame) and frame.data:
        found = document.load(frame.data)
        if found and isinstance(found.tree, dict) and isinstance(found.tree.get("bytes"), str):
            try:
                return base64.b64decode(found.tree["bytes"]), found.tree
            except ValueError:
                return frame.data, None
    return frame.data or b"", None


def _outer(frame: Frame, event: Any, wrapped: dict[str, Any] | None) -> bytes:
    data = document.dump(event)
    if wrapped is not None:
        data = document.dump({**wrapped, "bytes": base64.b64encode(data).decode()})
    return frame.encode(data)
