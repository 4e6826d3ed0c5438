"""Clear-text HTTP connections as the turns they carry: each request with its response."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from sensor.knowledge.catalogue import Catalogue, Match
from sensor.knowledge.content import Call, Kept, Usage, read_call, read_usage
from sensor.packets.facts import Clear, Limits
from sensor.wire.http import Body, End, HttpEvent, HttpRequest, HttpResponse, HttpStream

CONVERSATIONS = 1_024  # of each at most one request's and one response's `Kept`
OPEN = 8  # requests without a whole response; clients that pipeline at all send a handful
SAMPLE = 4_096  # of a response, to tell which software it is
_EVERYTHING = 1 << 62  # bodies pass through the stream; what is kept of them is `Kept`'s to bound


@dataclass(slots=True, eq=False)
class Turn:
    """One request and, as far as it came, its response. Times in ns; 0 is not yet."""

    request: HttpRequest
    start: int
    sent: Kept = field(default_factory=Kept)
    response: HttpResponse | None = None
    answered: int = 0  # when the response's head came
    received: Kept = field(default_factory=Kept)
    end: int = 0  # when the latest byte of either side came
    call: Call | None = None  # the use of a service that the request makes, if it does
    over: bool = False

    def sent_all(self) -> None:
        """The request is over: what matters is read, and its body is let go."""
        sent = self.sent.decoded(self.request.get("content-encoding") or "")
        self.call = read_call(self.request.method, self.request.target, sent)
        self.sent.drop()

    def match(self, catalogue: Catalogue, port: int) -> Match | None:
        """The service it is for; `port` is the connection's."""
        request, response = self.request, self.response
        return catalogue.match_request(
            request.method,
            request.host,
            request.port or port,
            request.path + "".join(request.target.partition("?")[1:]),
            dict(request.headers),
            dict(response.headers) if response else {},
            self.received.data[:SAMPLE],
        )

    @property
    def usage(self) -> Usage:
        """What the response reports."""
        if self.response is None:
            return Usage()
        received = self.received.decoded(self.response.get("content-encoding") or "")
        return read_usage(self.response.get("content-type") or "", received)

    @property
    def ttfb_ms(self) -> float | None:
        """From the request's first byte to the response's."""
        return (self.answered - self.start) / 1e6 if self.response else None

    @property
    def duration_ms(self) -> float | None:
        """From the request's first byte to the response's latest."""
        return (self.end - self.start) / 1e6 if self.response else None

    @property
    def retry(self) -> bool:
        """The vendors' SDKs count their own retries."""
        count = (self.request.get("x-stainless-retry-count") or "0")[:4]
        return count.isdigit() and int(count) > 0


class Conversation:
    """Reads one connection. Holds the heads of at most `OPEN` turns, and two bodies as `Kept` keeps them."""

    def __init__(self) -> None:
        self._stream = HttpStream(keep=_EVERYTHING)
        self._asked: deque[Turn] = deque()  # answers come in the order of requests (RFC 9112 9.3.2)
        self._sending: Turn | None = None
        self._lost_answers = False
        self._late = 0  # answers still to come to turns that were given up for their number
        self.uploaded = 0  # bytes of request bodies since the caller set it back
        self.passed_up = 0  # bytes of the client

    def observe(self, fact: Clear) -> list[Turn]:
        """The turns whose response begins with these bytes, or that are over (`Turn.over`)."""
        self._lost_answers |= bool(fact.gap) and not fact.up
        self.passed_up += len(fact.data) + fact.gap if fact.up else 0
        return self._read(self._stream.feed(fact.up, fact.data, fact.gap), fact.time)

    def finish(self) -> list[Turn]:
        """The connection is over, and so are its turns."""
        return self._read(self._stream.finish(), 0) + self._give_up()

    def _read(self, events: list[HttpEvent], time: int) -> list[Turn]:
        changed: list[Turn] = []
        for event in events:
            if isinstance(event, Body):
                self._body(event, time)
            elif isinstance(event, End):
                changed += self._end(event)
            elif isinstance(event.head, HttpRequest):
                changed += self._ask(Turn(event.head, time, end=time))
            else:
                changed += self._answer(event.head, time)
        # A short response begins and ends at once.
        return list(dict.fromkeys(changed)) if changed else changed

    def _ask(self, turn: Turn) -> list[Turn]:
        # Behind missing bytes the next answer need not be the oldest request's.
        lost = self._give_up() if self._lost_answers or len(self._asked) >= OPEN else []
        self._late = 0 if self._lost_answers else self._late + sum(turn.response is None for turn in lost)
        self._lost_answers = False
        self._asked.append(turn)
        self._sending = turn
        return lost

    def _answer(self, head: HttpRequest | HttpResponse, time: int) -> list[Turn]:
        interim = isinstance(head, HttpResponse) and head.status // 100 == 1 and head.status != 101
        if isinstance(head, HttpRequest) or interim or not self._asked:
            return []
        if self._late:
            self._late -= 1
            return []
        turn = self._asked[0]
        turn.response, turn.answered, turn.end = head, time, time
        return [turn]

    def _body(self, event: Body, time: int) -> None:
        turn = self._sending if event.up else (self._asked[0] if self._asked else None)
        if event.up:
            self.uploaded += event.size
        if turn is not None and (event.up or turn.response):
            (turn.sent if event.up else turn.received).add(event.data, event.size)
            turn.end = max(turn.end, time)

    def _end(self, event: End) -> list[Turn]:
        if event.up:
            self._sent()
            return []
        if not self._asked or self._asked[0].response is None:  # an interim response
            return []
        turn = self._asked.popleft()
        if turn is self._sending:  # a server may answer before it has read everything
            self._sent()
        turn.over = True
        return [turn]

    def _sent(self) -> None:
        if self._sending:
            self._sending.sent_all()
        self._sending = None

    def _give_up(self) -> list[Turn]:
        self._sent()
        left = list(self._asked)
        self._asked.clear()
        for turn in left:
            turn.over = True
        return left


class Conversations:
    """Clear connections by flow. At most `limit` at once: the one quiet for longest is given up."""

    def __init__(self, limit: int = CONVERSATIONS, clear_bytes: int = Limits().clear_bytes) -> None:
        self._limit = limit
        self._clear_bytes = clear_bytes
        self._open: OrderedDict[int, Conversation] = OrderedDict()
        self.dropped = 0  # given up, since the caller set it back

    def observe(self, fact: Clear) -> list[Turn]:
        """See `Conversation.observe`."""
        conversation = self._open.get(fact.flow.id) or self._begin(fact.flow.id)
        self._open.move_to_end(fact.flow.id)
        return conversation.observe(fact)

    def _begin(self, flow: int) -> Conversation:
        conversation = self._open[flow] = Conversation()
        if len(self._open) > self._limit:
            self._open.popitem(last=False)
            self.dropped += 1
        return conversation

    def upload(self, flow: int) -> int | None:
        """Bytes of request bodies since the last time; None where they cannot be told from the rest."""
        conversation = self._open.get(flow)
        if (
            conversation is None or conversation.passed_up >= self._clear_bytes
        ):  # the engine passes on no more
            return None
        upload, conversation.uploaded = conversation.uploaded, 0
        return upload

    def finish(self, flow: int) -> list[Turn]:
        """The turns that were open when the connection ended."""
        conversation = self._open.get(flow)
        return conversation.finish() if conversation else []

    def forget(self, flow: int) -> None:
        """Nothing more will be asked about a connection."""
        self._open.pop(flow, None)
