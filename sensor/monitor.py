"""The one place where the stages meet: facts in, events out. No I/O and no clock.

What is said of a connection is said per slice, from what is known by then: rows are never taken back. A
connection that no rule of the catalogue names yet keeps its counters until one does (a clear connection
may show its service in a later request); if none ever does it is silent, unless everything is wanted
(`all`).

Legs: a client that goes through a proxy (CONNECT, SOCKS) is one connection, client to proxy, with the
target as its name. What the proxy sends on is the same use again: with the proxy's address in `relays`
that leg gets `role=relay`, no exchanges, and stays outside totals. An address not known to be a proxy is a
client like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sensor import __version__
from sensor.delivery.event import Connection, Event, Exchange, Identity, Lookup, SensorStats
from sensor.knowledge import evidence
from sensor.knowledge.catalogue import Catalogue, Match
from sensor.knowledge.content import Call
from sensor.knowledge.exchanges import Conversations, Turn
from sensor.knowledge.first_flight import FirstFlight, read_first_flight
from sensor.knowledge.identity import Identities, Sighting
from sensor.knowledge.lookups import Asked, Lookups
from sensor.knowledge.place import Location, Networks, Place
from sensor.packets.facts import VISIBILITY, Clear, Fact, Flow, Limits, Message, Opened, Progress, Totals
from sensor.wire.community import community_id
from sensor.wire.cursor import Malformed
from sensor.wire.dhcp import parse_dhcp
from sensor.wire.dns import parse_dns
from sensor.wire.names import is_address

if TYPE_CHECKING:  # not every run has a policy or seals names
    from sensor.knowledge.policy_judge import Judge
    from sensor.knowledge.seal import Sealer

_SEALED = ("user", "client_host", "client_mac")
_NOWHERE = Location()
_NO_SERVICE = Match("", "", "", "", "")
_CLIENTS = 4_096  # distinct clients whose class is remembered
_SERVERS = 16_384  # distinct server addresses whose owner is remembered
_NAMES = 16_384  # distinct names whose service is remembered
_ANSWERS = 64  # records of a lookup's answer
# Columns that a look at packets alone leaves open.
_NOT_INSPECTED: dict[str, Any] = {"cost_usd": None, "attachments": (), "data_classes": (), "account": ""}
_NOT_INSPECTED |= {"account_type": "unknown", "prompt_hash": "", "excerpt": "", "verdict": "", "policy": ""}
UNNAMED = "generic"  # the catalogue's vendor of servers that are known by their protocol alone
_SUMMED = ("bytes_up", "bytes_down", "packets_up", "packets_down")
_DROPS = ("fragments_lost", "flows_evicted", "clear_capped", "names_evicted")  # reorder_lost counts bytes


@dataclass(slots=True, eq=False)
class _Connection:
    """What is known of a watched connection so far."""

    start: int
    protocol: str
    name: str
    name_source: str
    ech: str
    flow_id: str
    flight: FirstFlight
    client_class: str
    place: Location
    relay: bool
    match: Match | None
    named: bool  # the match is by name or address, not by a request
    candidates: int
    content: bool = False  # a request to the service was read in clear
    first: bool = True
    app_up: int = 0
    app_down: int = 0
    exchanges: int = 0  # reported so far
    waiting: Progress | None = None  # counters from before the service was known

    def grade(self) -> tuple[str, float]:
        """The rung of evidence, and the confidence."""
        rung = evidence.rung(self.name_source, self.app_up, self.app_down, self.content)
        if self.match is None:
            return rung, 0.0
        return rung, evidence.confidence(
            rung,
            self.name_source,
            self.match.role,
            candidates=self.candidates,
            front=self.ech == "offered",
            partial=not self.flight.whole,
        )


class Monitor:
    """Interprets the facts of one engine, in their order.

    `all` reports what the catalogue does not know as well; `sealer` replaces the names of people and hosts by
    tokens; `relays` are addresses and networks (CIDR) of proxies whose onward leg is not to be counted again;
    `judge` gives events their verdict; `engine` is written into `sensor_stats`. Memory is bounded by the
    engine's flow table, `limits` and the constants of `sensor.knowledge`.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        identities: Identities | None = None,
        place: Place | None = None,
        sealer: Sealer | None = None,
        relays: Iterable[str] = (),
        judge: Judge | None = None,
        all: bool = False,
        engine: str = "",
        limits: Limits | None = None,
    ) -> None:
        self._know(catalogue)
        self._identities = identities or Identities()
        self._place = place
        self._sealer = sealer
        self._relays = Networks(relays)
        self._all = all
        self._engine = engine
        self._limits = limits or Limits()
        self._judge = judge
        self._connections: dict[int, _Connection] = {}
        self._conversations = Conversations(clear_bytes=self._limits.clear_bytes)
        self._lookups = Lookups()
        self._learnt = evidence.Learnt(self._limits)
        self._meaning: dict[type[Fact], Callable[[Any], list[Event]]] = {
            Progress: self._progress,
            Opened: self._open,
            Clear: self._clear,
            Message: self._message,
            Totals: self._totals,
        }

    def reload(self, catalogue: Catalogue) -> None:
        """Another catalogue for what comes from here on; connections keep the service they have."""
        self._know(catalogue)
        if self._judge:
            self._judge.reload(catalogue)

    def _know(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._client_class = lru_cache(_CLIENTS)(catalogue.client_class)
        self._owner = lru_cache(_SERVERS)(catalogue.match_address)
        self._service = lru_cache(_NAMES)(catalogue.match)

    def observe(self, fact: Fact) -> list[Event]:
        """The events a fact gives rise to."""
        events = self._meaning[type(fact)](fact)
        if self._judge:
            events = list(self._judge.judge(events))
        return [self._seal(event) for event in events] if self._sealer else events

    def service(self, flow: int) -> str:
        """What is known so far of an open connection's service; "" when it is none or over."""
        known = self._connections.get(flow)
        return known.match.service if known and known.match else ""

    def finish(self) -> list[Event]:
        """What still waits: questions without an answer. Connections end with the engine's last facts."""
        events = self._ended(self._lookups.expire())
        if self._judge:
            events = [*self._judge.judge(events), *self._judge.finish()]
        return [self._seal(event) for event in events]

    # Connections

    def _open(self, opened: Opened) -> list[Event]:
        flow, match, flight = opened.flow, self._name(opened), read_first_flight(opened)
        self._connections[flow.id] = _Connection(
            start=opened.time,
            protocol=opened.protocol,
            name=opened.name,
            name_source=opened.name_source,
            ech=opened.ech,
            flow_id=community_id(
                flow.transport, flow.client_ip, flow.client_port, flow.server_ip, flow.server_port
            ),
            flight=flight,
            client_class=self._client_class(flight.ja4, flight.user_agent),
            place=self._place.locate(flow.server_ip) if self._place else _NOWHERE,
            relay=flow.client_ip in self._relays,
            match=match,
            named=match is not None,
            candidates=self._learnt.candidates(flow.client_ip, flow.server_ip, opened.time),
        )
        return []

    def _name(self, opened: Opened) -> Match | None:
        """The service by the connection's name; by its address only where there is no name."""
        if opened.name:
            return self._service(opened.name)
        return self._owner(opened.flow.server_ip)

    def _progress(self, fact: Progress) -> list[Event]:
        events: list[Event] = []
        flow = fact.flow
        known = self._connections.get(flow.id)
        if known is None:
            return events
        if fact.closed:
            events += self._turns(known, flow, self._conversations.finish(flow.id))
        known.app_up += fact.app_up
        known.app_down += fact.app_down
        progress = _sum(known.waiting, fact)
        if known.match or self._all:
            known.waiting = None
            events += map(_identity, self._identities.introduce(flow.client_ip, progress.start))
            events.append(self._slice(known, progress))
            known.first = False
        else:
            known.waiting = progress
        if fact.closed:
            del self._connections[flow.id]
            self._conversations.forget(flow.id)
        return events

    def _slice(self, known: _Connection, fact: Progress) -> Connection:
        flow, flight, place, match = fact.flow, known.flight, known.place, known.match or _NO_SERVICE
        who = self._identities.who(flow.client_ip, fact.start)
        rung, confidence = known.grade()
        # By position: with so many columns, keywords would take a quarter of a slice's time.
        return Connection(
            fact.start, fact.end, known.start, known.flow_id, known.first,
            flow.transport, known.protocol,
            flow.client_ip, flow.client_port, flow.client_mac or who.mac, who.host, who.user, who.groups,
            flow.server_ip, flow.server_port, known.name, known.name_source,
            flight.alpn, flight.tls_version, flight.ja3, flight.ja4, known.ech,
            match.service, match.vendor, match.category, "relay" if known.relay else match.role,
            rung, confidence, evidence.channel(match.service, match.role, known.client_class),
            known.client_class,
            fact.bytes_up, fact.bytes_down, fact.packets_up, fact.packets_down,
            None, None, None,  # exchanges are not judged here
            self._conversations.upload(flow.id),
            place.country, place.asn, place.organisation,
            flow.vlan, flow.tunnel,
            "", "",  # nor are the verdict and its policy
        )  # fmt: skip

    # Clear text

    def _clear(self, fact: Clear) -> list[Event]:
        known = self._connections.get(fact.flow.id)
        return self._turns(known, fact.flow, self._conversations.observe(fact)) if known else []

    def _turns(self, known: _Connection, flow: Flow, turns: Iterable[Turn]) -> list[Event]:
        events: list[Event] = []
        for turn in turns:
            match = turn.match(self._catalogue, flow.server_port)
            if match is None:
                continue
            match = _software(known, match, turn)
            known.content = True
            if not known.named:
                known.match = match
            if turn.over and not known.relay and (call := turn.call):
                known.exchanges += 1
                events.append(self._exchange(known, flow, turn, call, match))
        return events

    def _exchange(self, known: _Connection, flow: Flow, turn: Turn, call: Call, match: Match) -> Exchange:
        usage = turn.usage
        who = self._identities.who(flow.client_ip, turn.start)
        client = self._client_class("", turn.request.get("user-agent") or "")
        identity = f"{known.flow_id} {known.start} {known.exchanges}".encode()
        return Exchange(
            id=hashlib.blake2b(identity, digest_size=16).hexdigest(),
            time=turn.start,
            client_flow_id=known.flow_id,
            server_flow_id="",
            client_ip=flow.client_ip,
            client_host=who.host,
            user=who.user,
            groups=who.groups,
            service=match.service,
            vendor=match.vendor,
            category=match.category,
            server_name="" if is_address(turn.request.host) else turn.request.host,
            channel=evidence.channel(match.service, match.role, client),
            operation=call.operation,
            model=call.model or usage.model,
            stream=usage.stream or call.stream or False,
            evidence="decrypted",
            confidence=evidence.confidence("decrypted", known.name_source, match.role),
            bytes_up=turn.sent.length,
            bytes_down=turn.received.length,
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            ttfb_ms=turn.ttfb_ms,
            duration_ms=turn.duration_ms,
            status=turn.response.status if turn.response else None,
            tools=call.tools,
            retry=turn.retry,
            **_NOT_INSPECTED,
        )

    # Names and identities

    def _message(self, fact: Message) -> list[Event]:
        try:
            if fact.kind == "dhcp":
                return [*map(_identity, self._identities.dhcp(parse_dhcp(fact.payload), fact.time))]
            if fact.kind == "mdns":
                hosts = parse_dns(fact.payload).hosts
                return [*map(_identity, self._identities.mdns(hosts, fact.src_ip, fact.src_mac, fact.time))]
            return self._ended(self._lookups.observe(fact))
        except Malformed:
            return []

    def _ended(self, lookups: Iterable[Asked]) -> list[Event]:
        events: list[Event] = []
        for asked in lookups:
            match = asked.match(self._service)
            if match and asked.answer:
                self._learnt.learn(asked.client_ip, asked.answer.hosts, match.service, asked.time)
            if match or self._all:
                events += map(_identity, self._identities.introduce(asked.client_ip, asked.time))
                events.append(self._lookup(asked, match or _NO_SERVICE))
        return events

    def _lookup(self, asked: Asked, match: Match) -> Lookup:
        who, answer = self._identities.who(asked.client_ip, asked.time), asked.answer
        return Lookup(
            asked.time,
            asked.client_ip, who.host, who.user,
            asked.resolver_ip, asked.transport,
            asked.question, asked.qtype,
            answer.rcode if answer else "",
            tuple([record.data for record in answer.answers[:_ANSWERS]]) if answer else (),
            answer.ttl if answer else None,
            answer.ech_offered if answer else False,
            match.service, match.vendor, match.category,
        )  # fmt: skip

    # Statistics

    def _totals(self, fact: Totals) -> list[Event]:
        events = self._ended(self._lookups.expire(fact.end))
        counters = fact.counters
        dropped, self._conversations.dropped = self._conversations.dropped, 0
        stats = SensorStats(
            time=fact.start,
            end_time=fact.end,
            engine=self._engine,
            version=__version__,
            catalogue=self._catalogue.id,
            packets=counters.get("frames", 0),
            bytes=counters.get("bytes", 0),
            dropped_kernel=0,
            dropped_limit=dropped + sum(counters.get(name, 0) for name in _DROPS),
            duplicates=counters.get("duplicates", 0),
            undecodable=counters.get("undecodable", 0),
            flows=counters.get("flows", 0),
            spool_rows=0,
            spool_lost=0,
            **{f"bytes_{name}": fact.bytes.get(name, 0) for name in VISIBILITY},
        )
        return [*events, stats]

    def _seal(self, event: Event) -> Event:
        """Names of people and hosts leave here, and only here."""
        if self._sealer is None or isinstance(event, SensorStats):
            return event
        names = [name for name in _SEALED if hasattr(event, name)]
        sealed: dict[str, Any] = {name: self._sealer.seal(getattr(event, name)) for name in names}
        return replace(event, **sealed)


def _identity(seen: Sighting) -> Identity:
    return Identity(
        seen.time, seen.until, seen.source, seen.confidence,
        seen.ip, seen.mac, seen.host, seen.user, seen.groups,
    )  # fmt: skip


def _software(known: _Connection, match: Match, turn: Turn) -> Match:
    """A server that said which software it is stays that one for requests that show no more than their format.

    Behind a proxy (an absolute target) each request may be another server's.
    """
    before = known.match
    if known.named or before is None or before.vendor == UNNAMED or not turn.request.target.startswith("/"):
        return match
    return before if (match.vendor, match.category) == (UNNAMED, "self-hosted") else match


def _sum(waiting: Progress | None, fact: Progress) -> Progress:
    """Counters that waited for a name, and those that came with it."""
    if waiting is None:
        return fact
    sums: dict[str, Any] = {name: getattr(waiting, name) + getattr(fact, name) for name in _SUMMED}
    return replace(fact, start=waiting.start, bursts=(), **sums)
