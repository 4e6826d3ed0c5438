"""DNS questions joined with their answers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from sensor.knowledge.catalogue import Catalogue, Match
from sensor.packets.facts import Message
from sensor.wire.dns import DnsMessage

PENDING = 65_536  # questions without an answer yet; about 400 bytes each
ANSWER_NS = 10_000_000_000  # resolvers and their clients give up sooner

_Key = tuple[str, int, str, int, str, str]


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

    def match(self, catalogue: Catalogue) -> Match | None:
        """The service of the question, or else of a name that its answer leads through."""
        match = catalogue.match(self.question)
        for _, target in self.answer.chain if self.answer else ():
            match = match or catalogue.match(target)
        return match


class Lookups:
    """Questions that wait for their answer, in the order they were asked. Time is the facts'."""

    def __init__(self, pending: int = PENDING) -> None:
        self._limit = pending
        self._pending: OrderedDict[_Key, Asked] = OrderedDict()

    def observe(self, fact: Message, message: DnsMessage) -> list[Asked]:
        """The lookups that end with this message: by its answer, or because their time is over.

        A question that is sent again before its answer is the same lookup.
        """
        ended = self.expire(fact.time)
        if not message.question and not message.qtype:
            return ended
        asked = _asked(fact, message)
        if message.is_response:
            question = self._pending.pop(_key(asked, fact.dst_port, message.id), asked)
            return [*ended, replace(question, answer=message)]
        self._pending.setdefault(_key(asked, fact.src_port, message.id), asked)
        if len(self._pending) > self._limit:
            ended.append(self._pending.popitem(last=False)[1])
        return ended

    def expire(self, time: int | None = None) -> list[Asked]:
        """The questions that waited too long at a time in ns; without one, all of them."""
        ended: list[Asked] = []
        while self._pending:
            key, asked = next(iter(self._pending.items()))
            if time is not None and time - asked.time < ANSWER_NS:
                break
            del self._pending[key]
            ended.append(asked)
        return ended


def _asked(fact: Message, message: DnsMessage) -> Asked:
    """The lookup a message belongs to, from the client's side."""
    client, resolver, mac = fact.src_ip, fact.dst_ip, fact.src_mac
    if message.is_response:
        client, resolver, mac = resolver, client, ""
    return Asked(fact.time, client, mac, resolver, fact.transport, message.question, message.qtype, None)


def _key(asked: Asked, client_port: int, ident: int) -> _Key:
    return (asked.client_ip, client_port, asked.resolver_ip, ident, asked.question, asked.qtype)
