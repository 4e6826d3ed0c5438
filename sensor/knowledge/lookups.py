"""DNS questions joined with their answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from sensor.frozen import dataclass
from sensor.knowledge.catalogue import Match
from sensor.packets.facts import Message
from sensor.wire.dns import DnsMessage, parse_dns, peek_question, type_text

PENDING = 65_536  # questions without an answer yet; about 600 bytes each
ANSWER_NS = 10_000_000_000  # resolvers and their clients give up sooner

_Key = tuple[str, int, str, bytes, str, str]  # client, its port, resolver, id, question, type


@dataclass(frozen=True, slots=True)
class Asked:
    """One lookup as it ended. `answer` is None when none was seen in time."""

    time: int  # of the question; of the answer when the question was not seen
    client_ip: str
    client_mac: str
    resolver_ip: str
    transport: str
    question: str
    qtype: str
    answer: DnsMessage | None

    def match(self, service: Callable[[str], Match | None]) -> Match | None:
        """By `service` of a name: that of the question, or else of a name that its answer leads through."""
        match = service(self.question)
        for _, target in self.answer.chain if self.answer else ():
            match = match or service(target)
        return match


class Lookups:
    """Questions that wait for their answer, in the order they were asked. Time is the facts'."""

    def __init__(self, pending: int = PENDING) -> None:
        self._limit = pending
        self._pending: OrderedDict[_Key, Message] = OrderedDict()

    def observe(self, fact: Message) -> list[Asked]:
        """The lookups that end with this message: by its answer, or because their time is over.

        A question that is sent again before its answer is the same lookup. Raises Malformed.
        """
        ended = self.expire(fact.time)
        ident = fact.payload[:2]
        if fact.payload[2:3] > b"\x7f":  # a response (RFC 1035 4.1.1)
            message = parse_dns(fact.payload)
            name, kind = message.question, message.qtype
            question = self._pending.pop((fact.dst_ip, fact.dst_port, fact.src_ip, ident, name, kind), None)
            if kind:
                ended.append(_answered(fact, message, question))
            return ended
        peeked = peek_question(fact.payload)
        if peeked is None:
            return ended
        name, kind = peeked[0], type_text(peeked[1])
        self._pending.setdefault((fact.src_ip, fact.src_port, fact.dst_ip, ident, name, kind), fact)
        if len(self._pending) > self._limit:
            ended.append(_unanswered(*self._pending.popitem(last=False)))
        return ended

    def expire(self, time: int | None = None) -> list[Asked]:
        """The questions that waited too long at a time in ns; without one, all of them."""
        ended: list[Asked] = []
        for key, fact in self._pending.items():
            if time is not None and time - fact.time < ANSWER_NS:
                break
            ended.append(_unanswered(key, fact))
        for _ in ended:
            self._pending.popitem(last=False)
        return ended


def _answered(fact: Message, message: DnsMessage, question: Message | None) -> Asked:
    time, mac = (question.time, question.src_mac) if question else (fact.time, "")
    return Asked(
        time, fact.dst_ip, mac, fact.src_ip, fact.transport, message.question, message.qtype, message
    )


def _unanswered(key: _Key, fact: Message) -> Asked:
    *_, name, kind = key
    return Asked(fact.time, fact.src_ip, fact.src_mac, fact.dst_ip, fact.transport, name, kind, None)
