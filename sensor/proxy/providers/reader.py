"""Reads an answer as it passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sensor.knowledge.content import Kept, read_usage
from sensor.proxy.providers import answers, body, document
from sensor.proxy.providers.coding import Decoder
from sensor.proxy.providers.form import Part
from sensor.proxy.providers.framing import FRAME, STREAMS, AwsFrame, Frame, Pieces, framing
from sensor.proxy.providers.model import Attachment, Result, Text
from sensor.proxy.providers.shapes import clean
from sensor.proxy.providers.usage import Report

TEXT = 1 << 20  # characters kept of all texts of an answer
CHANNELS = 1_000  # choices, blocks and tool calls
TOOLS = 200
LINES = 10_000
KEEP = 1 << 20  # bytes of a file's beginning
_OVER = ("response.done", "done", "generationComplete", "turnComplete")


class Reader:
    """`feed` any portions of the body, then `finish`. Over a WebSocket a `feed` is one message."""

    def __init__(self, status: int, headers: Mapping[str, str], everything: str = "") -> None:
        """Header names in lower case. `everything`: all strings of events count, and this is their role."""
        self.began = False  # the first text of the answer came: the time to first token is now
        self.over = False  # a WebSocket's turn has ended: `finish`, and go on with a new reader
        self._status, self._headers = status, headers
        self._framing = framing(status, headers.get("content-type", ""))
        self._decoder = Decoder(headers.get("content-encoding", ""))
        self._report = Report()
        self._everything = everything
        self._texts: dict[answers.Channel, list[str]] = {}
        self._roles: dict[answers.Channel, str] = {}
        self._room = TEXT
        self._tools: dict[str, None] = {}
        self._whole: list[Text] = []
        self._attachments: list[Attachment] = []
        self._file = Part()
        self._cut = False
        self._passed: Kept | None = None

    @property
    def stream(self) -> bool:
        """The answer comes in events."""
        return isinstance(self._framing, STREAMS)

    def feed(self, data: bytes) -> None:
        """The next bytes, as they came."""
        for plain in self._decoder.feed(data):
            for frame in self._framing.feed(plain):
                self._frame(frame)

    def take(self) -> tuple[Text, ...]:
        """Of a stream that does not end: the texts of its events so far, which are forgotten."""
        texts, self._whole, self._room = tuple(self._whole), [], TEXT
        return texts

    def finish(self) -> Result:
        """What the answer said."""
        for frame in self._framing.finish():
            self._frame(frame)
        report, file = self._report, self._file
        if file.size:
            kind = body.media_type(self._headers)
            self._attachments.append(Attachment("", kind, file.size, file.hash.hexdigest(), bytes(file.data)))
        if self._passed is not None:  # too long to be read as a whole: its ends tell
            usage = read_usage(self._headers.get("content-type", ""), self._passed)
            report.model = report.model or usage.model
            report.tokens_in = usage.tokens_in if report.tokens_in is None else report.tokens_in
            report.tokens_out = usage.tokens_out if report.tokens_out is None else report.tokens_out
        joined = [
            Text(None, body.whole_characters("".join(parts)), self._roles[channel])
            for channel, parts in self._texts.items()
        ]
        return Result(
            self._status,
            report.model,
            self.stream,
            tuple(joined + self._whole),
            tuple(self._attachments),
            tuple(self._tools),
            report.tokens_in,
            report.tokens_out,
            report.tokens_cached,
            report.tokens_written,
            report.listed,
            report.finish,
            report.error or (clean(self._headers.get("x-amzn-errortype")) if self._status >= 400 else ""),
            clean(self._headers.get("openai-organization") or self._headers.get("anthropic-organization-id")),
            self._cut or self._decoder.cut,
        )

    def _frame(self, frame: Frame) -> None:
        if isinstance(self._framing, Pieces):
            self._file.add(frame.raw, KEEP)
        elif frame.data is None:
            if not frame.raw.strip() or frame.raw.startswith((b":", b"event:", b"id:", b"retry:")):
                return  # a comment or an empty event
            self._pass(frame.raw)
        elif isinstance(frame, AwsFrame):
            self._aws(frame)
        else:
            self._document(frame.data)

    def _pass(self, data: bytes) -> None:
        """Bytes that cannot be read as a whole."""
        self._passed = self._passed or Kept()
        self._passed.add(data, len(data))
        self._cut = True

    def _aws(self, frame: AwsFrame) -> None:
        if frame.name.endswith("Exception"):
            self._report.error = clean(frame.name)
        self._document(unwrap(frame.data or b""))

    def _document(self, data: bytes) -> None:
        text = data.strip()
        if not text or text == b"[DONE]":
            return
        found = document.load(text)
        if found is not None:
            self._event(found.tree)
        elif not self.stream and len(lines := text.split(b"\n", LINES)) > 1 and document.load(lines[0]):
            for line in lines[:LINES]:
                self._line(line)
            self._cut = self._cut or len(lines) > LINES
        else:
            self._unread(text)

    def _line(self, line: bytes) -> None:
        if found := document.load(line):
            self._event(found.tree)
        elif line.strip():
            self._cut = True

    def _unread(self, data: bytes) -> None:
        """No JSON: a text, a page, or an application's own format."""
        if "json" in body.media_type(self._headers) or len(data) > TEXT:
            self._pass(data)
        else:
            self._keep(("body",), data.decode("utf-8", "replace"), "assistant")

    def _event(self, tree: Any) -> None:
        self._report.read(tree)
        seen = False
        for tool, arguments in answers.tools(tree):
            seen = True
            if len(self._tools) < TOOLS:
                self._tools[tool] = None
            if arguments:
                self._strings(arguments, "tool_call")
        for spot in answers.spots(tree) if not self._everything else ():
            seen = True
            self._keep(spot.channel, spot.text, spot.role)
        if isinstance(tree, dict):
            self.over = self.over or tree.get("type") in _OVER or tree.get("event") in _OVER or _turned(tree)
        if self._everything or (not seen and not self.stream and self._status < 400):
            self._strings(tree, self._everything or "other")

    def _keep(self, channel: answers.Channel, text: str, role: str) -> None:
        self.began = True
        if channel not in self._texts and len(self._texts) >= CHANNELS:
            self._cut = True
            return
        self._cut = self._cut or len(text) > self._room
        self._texts.setdefault(channel, []).append(text[: self._room])
        self._room -= min(self._room, len(text))
        self._roles[channel] = role

    def _strings(self, tree: Any, role: str) -> None:
        """All strings of a tool's arguments, or of a document without a known text."""
        found = body.Found(body.Body("json"))
        walk = document.Walk({(): role}, found.visit)
        walk.over(tree)
        self._cut = self._cut or walk.cut or len(self._attachments) + len(found.attachments) > TOOLS
        for one in found.attachments[: TOOLS - len(self._attachments)]:
            held = sum(len(other.data) for other in self._attachments)
            self._attachments.append(one if held + len(one.data) <= FRAME else replace(one, data=b""))
        for text in found.texts:
            self.began = True
            if self._room and len(self._whole) < document.TEXTS:
                self._whole.append(Text(None, text.text[: self._room], text.role))
            self._cut = self._cut or len(text.text) > self._room
            self._room -= min(self._room, len(text.text))


def _turned(event: dict[str, Any]) -> bool:
    content = event.get("serverContent")
    return isinstance(content, dict) and bool(content.get("turnComplete"))


def unwrap(data: bytes) -> bytes:
    """Bedrock's `invoke-with-response-stream` wraps the model's own event: `{"bytes": "base64"}`."""
    found = document.load(data)
    if found and isinstance(found.tree, dict) and isinstance(found.tree.get("bytes"), str):
        return body.decode64(found.tree["bytes"]) or data
    return data
