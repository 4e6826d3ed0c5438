"""mitmproxy's hooks: the only module of the proxy that touches its flows. What hooks decide is decided elsewhere.

A hook that fails is counted and logged by kind, never with content; the request goes on or is refused as the settings say of what
could not be inspected.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import parse_qsl

from mitmproxy import connection, ctx, http, layer, tls
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_specs import TransparentMode

from sensor.delivery.event import Event
from sensor.knowledge.catalogue import Catalogue
from sensor.knowledge.catalogue_match import Match
from sensor.knowledge.evidence import channel
from sensor.knowledge.fingerprint import ja4
from sensor.knowledge.inventory import Inventory
from sensor.proxy import analyse, pages, providers, rows, tenant
from sensor.proxy.actions import REFUSALS, Actions, Outcome
from sensor.proxy.decide import Gaps, Key, Targets
from sensor.proxy.local import Local
from sensor.proxy.passing import MINE, Dropping, Passing, decoded
from sensor.proxy.people import Client, Exceptions, who
from sensor.proxy.providers import Request
from sensor.proxy.rows import Findings, Seen
from sensor.proxy.workers import Workers
from sensor.wire.community import community_id
from sensor.wire.cursor import Malformed
from sensor.wire.tls import parse_client_hello

_log = logging.getLogger("aiscope.proxy")
Hook = TypeVar("Hook", bound=Callable[..., Any])


class Sink(Protocol):
    """Where events go."""

    def put(self, events: Iterable[Event]) -> None:
        """Take them, at once."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the addon is made of."""

    catalogue: Catalogue
    targets: Targets
    actions: Actions
    workers: Workers
    sink: Sink
    local: Local
    key: Callable[[], bytes]  # of hashes
    inventory: Inventory
    exceptions: Exceptions
    gaps: Gaps
    tenants: Mapping[str, tuple[tuple[str, str], ...]]
    hold: int  # bytes of a request
    pass_pinned: bool = True


def guarded(hook: Hook) -> Hook:
    """The boundary: whatever goes wrong in a hook ends here."""
    if inspect.iscoroutinefunction(hook):

        @functools.wraps(hook)
        async def waiting(self: Inspection, argument: Any) -> None:
            try:
                await hook(self, argument)
            except Exception as error:  # noqa: BLE001 - the boundary
                self.failed(hook.__name__, error, argument)

        return cast(Hook, waiting)

    @functools.wraps(hook)
    def at_once(self: Inspection, argument: Any) -> None:
        try:
            hook(self, argument)
        except Exception as error:  # noqa: BLE001 - the boundary
            self.failed(hook.__name__, error, argument)

    return cast(Hook, at_once)


class Inspection:
    """The addon."""

    def __init__(self, parts: Parts) -> None:
        self.errors = 0
        self._ = parts
        self._findings = Findings()
        self._users: dict[str, str] = {}  # by the client connection's id
        self._trying: dict[str, tuple[Key, Match, float]] = {}  # connections without a request yet
        self._tasks: set[asyncio.Task[None]] = set()

    # -- before decryption

    @guarded
    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """QUIC through WireGuard is dropped, so that browsers fall back to TCP."""
        server = nextlayer.context.server.address
        if nextlayer.context.client.transport_protocol == "udp" and server and server[1] == 443:
            nextlayer.layer = Dropping(nextlayer.context)

    @guarded
    def http_connected(self, flow: http.HTTPFlow) -> None:
        """CONNECT was accepted: who it is holds for what comes inside."""
        self._user(flow)

    @guarded
    def socks5_auth(self, data: modes.Socks5AuthData) -> None:
        """The same with SOCKS."""
        if data.valid:
            self._users[data.client_conn.id] = data.username

    @guarded
    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Decrypt, or pass through untouched."""
        data.ignore_connection = not self._.actions.may_forbid  # should what follows fail
        context, sni = data.context, data.client_hello.sni or ""
        asked = context.server.address[0] if context.server.address else ""
        match = self._.targets.match(sni, asked)
        if match is None:
            data.ignore_connection = True
            return
        client = self._client(context.client)
        key = (client.ip, sni or asked, _fingerprint(data))
        pinned = self._.pass_pinned and self._.gaps.passes(key, time.monotonic())
        excepted = self._.exceptions.hold(client, match.service)
        data.ignore_connection = excepted or (pinned and not self._forbidden(client, match))
        if not data.ignore_connection:
            self._trying[context.client.id] = (key, match, 0.0)

    @guarded
    def tls_established_client(self, data: tls.TlsData) -> None:
        """From now on a client that leaves without a request tells something."""
        if trying := self._trying.get(data.conn.id):
            self._trying[data.conn.id] = (trying[0], trying[1], time.monotonic())

    @guarded
    def tls_failed_client(self, data: tls.TlsData) -> None:
        """The client does not trust our certificate."""
        if trying := self._trying.pop(data.conn.id, None):
            self._.gaps.failed(trying[0], time.monotonic())
            self._gap(data.context.client, *trying[:2], "does not trust the certificate")

    @guarded
    def client_disconnected(self, client: connection.Client) -> None:
        """A client that pins finishes the handshake and leaves."""
        trying = self._trying.pop(client.id, None)
        if trying and trying[2]:
            now = time.monotonic()
            if self._.gaps.left(trying[0], now, now - trying[2]):
                self._gap(client, *trying[:2], "leaves after the handshake, as one that pins does")
        self._users.pop(client.id, None)

    # -- requests

    @guarded
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Whose request it is, whether it is read, and whether its body can be held."""
        if flow.response:
            return  # not authenticated
        if self.local(flow):
            flow.metadata[MINE] = self._.local
            return
        self._user(flow)
        mine = flow.metadata[MINE] = self._passing(flow)
        if mine is None:
            flow.request.stream = True
            return
        seen, headers = mine.seen, flow.request.headers
        headers["accept-encoding"] = _codings(headers.get("accept-encoding", ""))
        for name, value in self._.tenants.get(tenant.vendor_of(seen.host, seen.match.vendor), ()):
            headers[name] = value
        size = headers.get("content-length", "")
        if size.isdecimal() and len(size) < 16 and int(size) > self._.hold:
            mine.too_large()

    @guarded
    async def request(self, flow: http.HTTPFlow) -> None:
        """The body is here: look at it, and let it go on, changed or not, or refuse it."""
        mine = flow.metadata.get(MINE)
        if isinstance(mine, Local):
            self._answer_locally(flow)
        elif mine is not None and not flow.response:
            if trying := self._trying.pop(flow.client_conn.id, None):
                self._.gaps.trusted(trying[0], time.monotonic())
            if flow.request.stream:
                mine.seen.asked = await self._.workers.run(1 << 30, analyse.ask, mine.uploaded(self._.key()))
            else:
                await self._judge(flow, mine)

    async def _judge(self, flow: http.HTTPFlow, mine: Passing) -> None:
        seen, raw = mine.seen, flow.request.raw_content or b""
        seen.up = len(raw)
        body, cut = decoded(raw, flow.request.headers.get("content-encoding", ""), self._.hold)
        job = mine.held(body, self._.key())
        mine.provider = providers.recognise(job.request, seen.match.service)
        if cut:
            seen.problems.append("cut")
            outcome = self._.actions.unread(seen)
        else:
            outcome = await self._.actions.judge(seen, job, len(body))
        self._policy(seen, outcome)
        if outcome.refused:
            self._refuse(flow, mine, outcome)
        elif outcome.body is not None:
            flow.request.headers.pop("content-encoding", None)
            flow.request.content = outcome.body
            mine.originals = outcome.originals
        mine.let_go()

    def _too_large(self, flow: http.HTTPFlow, mine: Passing) -> bool:
        """A body that cannot be held is looked at as it passes, or refused; False when it is refused."""
        mine.seen.problems.append("too-large")
        outcome = self._.actions.unread(mine.seen)
        self._policy(mine.seen, outcome)
        if outcome.refused:
            self._refuse(flow, mine, outcome)
            return False
        flow.request.stream = mine.stream(mine.provider.upload(mine.request) if mine.provider else None)
        return True

    # -- answers

    @guarded
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Read the answer as it passes; put originals back."""
        mine, response = flow.metadata.get(MINE), flow.response
        if response is None or isinstance(mine, Local) or (mine and mine.seen.refused):
            return
        upgrades = response.status_code == 101
        if mine is None:
            response.stream = not upgrades
            return
        mine.seen.status, mine.seen.legs = response.status_code, _legs(flow)
        if upgrades or not (mine.seen.asked and mine.provider):
            response.stream = not upgrades
            return
        answering = mine.answering(response.status_code, _plain_headers(response.headers))
        response.stream = answering
        if answering.restorer and answering.restorer.plain:
            response.headers.pop("content-encoding", None)
            response.headers.pop("content-length", None)

    @guarded
    def response(self, flow: http.HTTPFlow) -> None:
        """It is over: write down what it was."""
        mine = flow.metadata.get(MINE)
        if isinstance(mine, Passing) and not flow.websocket:
            self._later(self._finish(mine))

    @guarded
    def error(self, flow: http.HTTPFlow) -> None:
        """A connection broke: what passed until then counts."""
        self.response(flow)

    # -- WebSocket

    @guarded
    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """A client's message is a request; the server's, until its turn ends, are the answer."""
        mine, socket = flow.metadata.get(MINE), flow.websocket
        assert socket is not None
        message = socket.messages[-1]
        del socket.messages[:-1]  # nobody reads them again, and there may be millions
        if not isinstance(mine, Passing) or mine.provider is None or message.injected:
            return
        if message.from_client:
            await self._turn(flow, mine, message)
            return
        answering = mine.next_answer()
        parts = answering.messages(message.content)
        if parts != [message.content]:
            message.drop()
            for part in parts:
                _inject(flow, part, message.is_text)
        if answering.over and (turn := mine.open_turn):
            mine.open_turn = None
            turn.answer = answering
            self._later(self._finish(turn))

    @guarded
    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A turn that was under way."""
        mine = flow.metadata.get(MINE)
        if isinstance(mine, Passing) and (turn := mine.open_turn):
            turn.answer = mine.answer
            self._later(self._finish(turn))

    async def _turn(self, flow: http.HTTPFlow, mine: Passing, message: Any) -> None:
        assert mine.provider is not None
        asked = mine.provider.turn(mine.request, message.content)
        turn = mine.turn(self._seen(flow, mine.seen.match, mine.seen.client), asked, self._.key())
        seen, job = turn.seen, turn.job
        assert job is not None
        seen.up, seen.status, seen.channel = len(message.content), 101, mine.seen.channel
        outcome = await self._.actions.judge(seen, job, len(message.content))
        self._policy(seen, outcome)
        turn.let_go()
        if outcome.refused:
            message.drop()
            seen.refused, seen.status = True, 403
            _inject(flow, mine.provider.error(outcome.refused, self._said(outcome), asked).body, text=True)
            self._later(self._finish(turn))
            return
        if outcome.body is not None:
            message.content = outcome.body
            mine.originals.update(outcome.originals)
        if seen.asked and mine.open_turn:
            mine.open_turn.join(turn)
        elif seen.asked:
            mine.open_turn = turn

    # -- what hooks have in common

    def failed(self, hook: str, error: Exception, argument: Any) -> None:
        """Our code failed: count it, and let the request go on or not, as the settings say."""
        self.errors += 1
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        line = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
        _log.error("%s failed: %s at %s", hook, type(error).__name__, line)  # no message: it may quote content
        if isinstance(argument, http.HTTPFlow) and hook != "_fall_back":
            self._fall_back(argument)

    @guarded
    def _fall_back(self, flow: http.HTTPFlow) -> None:
        mine = flow.metadata.get(MINE, flow)  # the flow itself: it failed before that was known
        if mine is None or isinstance(mine, Local) or flow.response:
            return
        refusal = http.Response.make(403, REFUSALS["failed"].encode(), {"content-type": "text/plain"})
        flow.response = refusal if self._.actions.may_forbid else None
        if flow.websocket and flow.response:
            flow.websocket.messages[-1].drop()
        if isinstance(mine, Passing):
            mine.seen.problems.append("failed")
            if not self._.actions.unread(mine.seen).refused:  # the refusal stays if this fails, too
                flow.response = None
            mine.seen.refused, mine.seen.status = flow.response is not None, 403 if flow.response else None

    def _policy(self, seen: Seen, outcome: Outcome) -> None:
        if seen.decision and (outcome.refused or seen.decision.verdict != "limit"):
            self._.sink.put(self._findings.policy(seen, seen.decision))

    def _refuse(self, flow: http.HTTPFlow, mine: Passing, outcome: Outcome) -> None:
        mine.seen.refused = True
        if flow.request.headers.get("sec-fetch-mode") == "navigate":
            link = self._.local.link(outcome.token)
            body = pages.refusal("Not sent", outcome.message, outcome.rule, link)
            flow.response = http.Response.make(403, body, pages.HEADERS)
        else:
            provider = mine.provider or providers.recognise(mine.request, mine.seen.match.service or "unknown")
            assert provider is not None
            answer = provider.error(outcome.refused, self._said(outcome), mine.request, outcome.retry_after)
            flow.response = http.Response.make(answer.status, answer.body, dict(answer.headers))
        mine.seen.status = flow.response.status_code

    def _said(self, outcome: Outcome) -> str:
        rule = f" [policy rule {outcome.rule}]" if outcome.rule else ""
        link = f" To go on, say what for: {self._.local.link(outcome.token)}" if outcome.token else ""
        return f"{outcome.message}{rule}{link}"

    async def _finish(self, mine: Passing) -> None:
        if mine.finished:
            return
        mine.finished = True
        mine.count()
        if mine.seen.asked and not mine.seen.refused:
            await self._tell(mine)
        self._write(mine)

    @guarded
    async def _tell(self, mine: Passing) -> None:
        mine.seen.told = await mine.told(self._.workers)

    @guarded
    def _write(self, mine: Passing) -> None:
        seen = mine.seen
        self._.actions.used(seen)
        row = rows.exchange(seen)
        found = [*self._findings.answer(seen), *self._findings.problems(seen)]
        self._.sink.put([*([row] if row else ()), *rows.sealed(seen), *found])

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def done(self) -> None:
        """The proxy ends: wait for what is being written down."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def local(self, flow: http.HTTPFlow) -> bool:
        """Whether a request is for the proxy's own site."""
        request, own = flow.request, flow.client_conn.sockname
        path = request.path.partition("?")[0]
        return self._.local.serves(request.pretty_host, request.port, path, own[:2] if own else None)

    def _answer_locally(self, flow: http.HTTPFlow) -> None:
        request, client = flow.request, self._client(flow.client_conn)
        page = self._.local.answer(request.method, request.path.partition("?")[0], request.raw_content or b"")
        flow.response = http.Response.make(page.status, page.body, page.headers)
        if page.justified:
            ticket, reason = page.justified
            seen = self._seen(flow, Match(ticket.who[1], "", "", "", ""), client)
            self._.sink.put(self._findings.justified(seen, ticket.who[2], reason))

    def _passing(self, flow: http.HTTPFlow) -> Passing | None:
        """What is known of a request before its body; None for one that is not read."""
        request, host, headers = flow.request, flow.request.pretty_host, _plain_headers(flow.request.headers)
        match = self._.catalogue.match_request(request.method, host, request.port, request.path, headers)
        match = match or self._.targets.match(host, flow.client_conn.sni or "", request.host)
        client = self._client(flow.client_conn)
        if match is None or self._.exceptions.hold(client, match.service):
            return None
        seen = self._seen(flow, match, client)
        agent = self._.catalogue.client_class("", headers.get("user-agent", ""))
        seen.channel = channel(match.service, match.role, agent)
        path, _, query = request.path.partition("?")
        asked = Request(request.method, request.scheme, host, request.port, path, _query(query), headers)
        mine = Passing(seen, asked, providers.recognise(asked, match.service))
        mine.hold, mine.too_large = self._.hold, functools.partial(self._too_large, flow, mine)
        return mine

    def _seen(self, flow: http.HTTPFlow, match: Match, client: Client) -> Seen:
        return Seen(uuid.uuid4().hex, time.time_ns(), client, match, flow.request.pretty_host, legs=_legs(flow))

    def _user(self, flow: http.HTTPFlow) -> None:
        if said := flow.metadata.get("proxyauth"):
            self._users[flow.client_conn.id] = said[0]

    def _client(self, conn: connection.Client) -> Client:
        ip = _address(conn.peername)[0] if conn.peername else ""
        return who(self._.inventory, ip, self._users.get(conn.id, ""), time.time_ns())

    def _gap(self, conn: connection.Client, key: Key, match: Match, why: str) -> None:
        seen = Seen("", time.time_ns(), self._client(conn), match, key[1])
        self._.sink.put(self._findings.gap(seen, why))

    def _forbidden(self, client: Client, match: Match) -> bool:
        """Whether a client that cannot be inspected is refused: then its handshake goes on failing."""
        return bool(self._.actions.unread(Seen("", time.time_ns(), client, match, "")).refused)


def _fingerprint(data: tls.ClientHelloData) -> str:
    """JA4: programs on one machine differ in what they trust."""
    try:
        return ja4(parse_client_hello(data.client_hello.raw_bytes(wrap_in_record=False)), "t")
    except Malformed:
        return ""


def _plain_headers(headers: http.Headers) -> dict[str, str]:
    """Lower-case names, repeated ones joined."""
    found: dict[str, str] = {}
    for raw, value in headers.fields:
        name, text = raw.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _query(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=200))
    except ValueError:
        return {}


def _codings(offered: str) -> str:
    """Of the client's content codings those that we read."""
    read = [name for name in providers.CODINGS.split(", ") if name in offered.lower()]
    return ", ".join(read) or "identity"


def _address(peer: tuple[Any, ...]) -> tuple[str, int]:
    return str(peer[0]).removeprefix("::ffff:").partition("%")[0], int(peer[1])


def _legs(flow: http.HTTPFlow) -> tuple[str, str]:
    """Community IDs: of the client's connection as a sensor on its side sees it, and of ours to the server."""
    client, server = flow.client_conn, flow.server_conn
    transparent = isinstance(client.proxy_mode, TransparentMode)
    return (
        _leg(client.peername, server.address if transparent else client.sockname),
        _leg(server.sockname, server.peername),
    )


def _leg(one: tuple[Any, ...] | None, two: tuple[Any, ...] | None) -> str:
    if not one or not two:
        return ""
    here, there = _address(one), _address(two)
    try:
        return community_id("tcp", *here, *there)
    except OSError:  # a name, or two families
        return ""


def _inject(flow: http.HTTPFlow, data: bytes, text: bool) -> None:
    ctx.master.commands.call("inject.websocket", flow, True, data, text)
