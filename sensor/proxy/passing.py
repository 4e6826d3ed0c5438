"""A request and its answer while they pass: bounded, and never waiting for each other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from sensor.proxy import analyse
from sensor.proxy.analyse import Asked, Job, Told
from sensor.proxy.providers import Attachment, Provider, Reader, Request, Text, Upload
from sensor.proxy.providers.coding import Decoder
from sensor.proxy.rows import Seen
from sensor.proxy.workers import Workers

MINE = "aiscope"  # in a flow's metadata
HELD = 8 << 20  # bytes of an answer that are kept to be read at its end; events are read as they come
REMEMBERED = 10_000  # placeholders of a WebSocket
KEPT = 65_536  # bytes of a request that are kept for its answer: what tells its format
_log = logging.getLogger("aiscope.proxy")


class Answering:
    """Reads an answer as it passes, and puts originals back where placeholders went out."""

    def __init__(
        self, provider: Provider, status: int, headers: Mapping[str, str], originals: Mapping[str, str]
    ) -> None:
        self.reader = provider.response(status, headers)
        self.restorer = provider.restorer(status, headers, originals.get) if originals else None
        self.size = 0
        self.first: float | None = None  # when the first text came
        self.failed = False
        self.chunks: list[bytes] = []
        self._events = self.reader.stream

    def __call__(self, data: bytes) -> list[bytes]:
        """For `flow.response.stream`: what goes on instead, never an empty chunk, which would end the body;
        no data is the end."""
        try:
            self._read(data)
            if self.restorer:
                data = self.restorer.feed(data) if data else self.restorer.finish()
        except Exception as error:  # noqa: BLE001 - the boundary: mitmproxy's core has none
            self._broke(error)
        return [data] if data else []

    def messages(self, data: bytes) -> list[bytes]:
        """The same for a WebSocket's message."""
        try:
            self.size += len(data)
            self.reader.feed(data)
            if self.first is None and self.reader.began:
                self.first = time.monotonic()
            return self.restorer.messages(data) if self.restorer else [data]
        except Exception as error:  # noqa: BLE001 - the boundary
            self._broke(error)
            return [data]

    @property
    def over(self) -> bool:
        """A WebSocket's turn has ended."""
        return self.reader.over

    def _read(self, data: bytes) -> None:
        if not data or self.failed:
            return
        if self._events:
            self.reader.feed(data)
        elif self.size < HELD:
            self.chunks.append(data)
        self.size += len(data)
        if self.first is None and (self.reader.began or not self._events):
            self.first = time.monotonic()

    def _broke(self, error: Exception) -> None:
        if not self.failed:
            _log.error("an answer could not be read: %s", type(error).__name__)
        self.failed = True


class Listening:
    """Reads a stream on which a server speaks unasked (MCP), event by event."""

    def __init__(self, reader: Reader, heard: Callable[[tuple[Text, ...]], None]) -> None:
        self._reader, self._heard = reader, heard

    def __call__(self, data: bytes) -> list[bytes]:
        """For `flow.response.stream`."""
        try:
            self._reader.feed(data)
            if texts := self._reader.take():
                self._heard(texts)
        except Exception as error:  # noqa: BLE001 - the boundary: mitmproxy's core has none
            _log.error("a stream could not be read: %s", type(error).__name__)
        return [data] if data else []


class Passing:
    """One request, from its headers to the end of its answer."""

    def __init__(self, seen: Seen, request: Request, provider: Provider) -> None:
        self.seen, self.request, self.provider = seen, request, provider
        self.job = Job(seen.id, request, seen.match.service, b"")
        self.originals: dict[str, str] = {}
        self.answer: Answering | None = None
        self.finished = False
        self.open_turn: Passing | None = None
        self.too_large: Callable[[], bool] = lambda: True
        self.hold = 1 << 62
        self._upload: Upload | None = None
        self._decoder: Decoder | None = None
        self._size = 0
        self._status, self._headers = 0, dict[str, str]()
        self._started = time.monotonic()

    # -- the request

    def stream(self, upload: Upload | None) -> Callable[[bytes], bytes]:
        """Let the body pass, and look at it meanwhile."""
        self._upload, self._decoder = upload, Decoder(self.request.headers.get("content-encoding", ""))
        return self._sent

    def _sent(self, data: bytes) -> bytes:
        self._size += len(data)
        try:
            if self._upload and self._decoder:
                for plain in self._decoder.feed(data):
                    self._upload.feed(plain)
        except Exception as error:  # noqa: BLE001 - the boundary
            _log.error("an upload could not be read: %s", type(error).__name__)
            self._upload = None
        return data

    def uploaded(self, key: bytes) -> Job:
        """The job of a body that has passed."""
        self.seen.up = self._size
        texts: list[Text] = []
        files: list[Attachment] = []
        if self._upload:
            texts, files, _ = self._upload.finish()
        return Job(
            self.seen.id, self.request, self.seen.match.service, key, (tuple(texts), tuple(files), True)
        )

    def held(self, body: bytes, key: bytes) -> Job:
        """The job of a body that is here."""
        self.request = replace(self.request, body=body)
        self.job = Job(self.seen.id, self.request, self.seen.match.service, key)
        return self.job

    def let_go(self) -> None:
        """Forget what the answer does not need."""
        if len(self.request.body) > KEPT:
            self.request = replace(self.request, body=self.request.body[:KEPT])
            self.job = replace(self.job, request=self.request)

    # -- the answer

    def answering(self, status: int, headers: dict[str, str]) -> Answering:
        """Begin to read the answer."""
        self._status, self._headers = status, headers
        self.answer = Answering(self.provider, status, headers, self.originals)
        return self.answer

    def next_answer(self) -> Answering:
        """WebSocket: that of the turn under way."""
        if self.answer is None or self.answer.over:
            return self.answering(101, {})
        return self.answer

    def turn(self, seen: Seen, request: Request, key: bytes) -> Passing:
        """WebSocket: one message of the client as a request."""
        turn = Passing(seen, request, self.provider)
        turn.held(request.body, key)
        turn.job = replace(turn.job, known=self.originals)
        return turn

    def remember(self, originals: Mapping[str, str]) -> None:
        """WebSocket: placeholders hold for all that follows; the oldest go first. The answer under way looks
        them up here."""
        self.originals.update(originals)
        for name in list(self.originals)[: max(0, len(self.originals) - REMEMBERED)]:
            del self.originals[name]
        if self.answer and not self.answer.restorer:
            self.answer.restorer = self.provider.restorer(101, {}, self.originals.get)

    def opened(self, turn: Passing) -> None:
        """WebSocket: a message went to the server. Another one before it has answered belongs to the same
        turn."""
        if self.open_turn:
            self.open_turn.join(turn)
            return
        self.open_turn = turn
        if self.answer:  # greetings are no part of an answer
            self.answer.size, self.answer.first = 0, None

    def join(self, turn: Passing) -> None:
        """Be one turn with another."""
        old, new = self.seen.asked, turn.seen.asked
        self.seen.up += turn.seen.up
        self.seen.judged += turn.seen.judged
        self.seen.asked = _joined(old, new) if old and new else old or new
        self.seen.problems += turn.seen.problems

    async def told(self, workers: Workers) -> Told | None:
        """What the answer said."""
        answer = self.answer
        if answer is None or answer.failed:
            return None
        if answer.chunks:
            size = sum(map(len, answer.chunks))
            return await workers.run(
                size, analyse.told, self.job, self._status, self._headers, tuple(answer.chunks)
            )
        result = answer.reader.finish()
        return await workers.run(sum(len(text.text) for text in result.texts), analyse.finished, result)

    def count(self) -> None:
        """Sizes and times, when it is over."""
        seen, now = self.seen, time.monotonic()
        seen.duration_ms = round((now - self._started) * 1000, 3)
        if self.answer:
            seen.down = self.answer.size
            if self.answer.first is not None:
                seen.ttfb_ms = round((self.answer.first - self._started) * 1000, 3)


def _joined(old: Asked, new: Asked) -> Asked:
    return replace(
        new,
        model=new.model or old.model,
        stream=old.stream if new.stream is None else new.stream,
        attachments=(*old.attachments, *new.attachments)[:1000],
        tools=tuple(dict.fromkeys((*old.tools, *new.tools)))[:1000],
        prompt_hash=new.prompt_hash or old.prompt_hash,
        hits=(*old.hits, *new.hits)[:10_000],
        excerpt=new.excerpt or old.excerpt,
        sealed=new.sealed or old.sealed,
        messages=(*old.messages, *new.messages)[: analyse.TURNS],
        system_hash=new.system_hash or old.system_hash,
        tools_called=(*old.tools_called, *new.tools_called),
    )


def decoded(body: bytes, encoding: str, limit: int) -> tuple[bytes, bool]:
    """A body without its content coding, and whether it could not be had wholly: a bomb, or no such
    coding."""
    decoder, out, size = Decoder(encoding), [], 0
    for piece in decoder.feed(body):
        out.append(piece)
        size += len(piece)
        if size > limit:
            return b"", True
    return b"".join(out), not decoder.whole
