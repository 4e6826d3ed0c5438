"""mitmproxy's hooks of requests and answers. What they do is decided elsewhere.

When one fails, the request goes on or is refused as the settings say of what could not be inspected.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from mitmproxy import http
from mitmproxy.proxy.layers import modes
from mitmproxy.websocket import WebSocketMessage

from sensor.knowledge.catalogue_match import Match
from sensor.knowledge.evidence import channel
from sensor.proxy import analyse, pages, rows, tenant
from sensor.proxy.actions import REFUSALS, Outcome
from sensor.proxy.boundary import Boundary, guarded
from sensor.proxy.flows import codings, inject, intercepted, legs, plain_headers, query
from sensor.proxy.handshakes import Handshakes
from sensor.proxy.local import Local
from sensor.proxy.parts import Parts
from sensor.proxy.passing import MINE, Listening, Passing, decoded
from sensor.proxy.people import Client
from sensor.proxy.providers import Request, Result, Text, listens
from sensor.proxy.providers.mcp import Mcp
from sensor.proxy.rows import Seen
from sensor.proxy.sockets import TOO_BIG, Several

_log = logging.getLogger("aiscope.proxy")
Hook = TypeVar("Hook", bound=Callable[..., Any])


class Inspection(Boundary):
    """The addon."""

    def __init__(self, parts: Parts, handshakes: Handshakes) -> None:
        self._, self._handshakes = parts, handshakes
        self._tasks: set[asyncio.Task[None]] = set()

    # -- who it is

    @guarded
    def http_connected(self, flow: http.HTTPFlow) -> None:
        """CONNECT was accepted: who it is holds for what comes inside."""
        self._user(flow)

    @guarded
    def socks5_auth(self, data: modes.Socks5AuthData) -> None:
        """The same with SOCKS."""
        if data.valid:
            self._.people.named(data.client_conn, data.username)

    # -- requests

    @guarded
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Whose request it is, whether it is read, and whether its body can be held."""
        self._handshakes.requested(flow.client_conn.id)
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
        headers["accept-encoding"] = codings(headers.get("accept-encoding", ""))
        headers.pop("sec-websocket-extensions", None)  # no compression: a bomb would be undone at once
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
            if flow.request.stream:
                mine.seen.asked = await self._.workers.run(1 << 30, analyse.ask, mine.uploaded(self._.key()))
            else:
                await self._judge(flow, mine)

    async def _judge(self, flow: http.HTTPFlow, mine: Passing) -> None:
        seen, raw = mine.seen, flow.request.raw_content or b""
        seen.up = len(raw)
        coding = flow.request.headers.get("content-encoding", "")
        body, cut = await asyncio.to_thread(decoded, raw, coding, self._.hold) if coding else (raw, False)
        job = mine.held(body, self._.key())
        mine.provider = analyse.reads(job.request, seen.match.service)
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
        mine.seen.up = self._.hold  # at least
        outcome = self._.actions.unread(mine.seen)
        self._policy(mine.seen, outcome)
        if outcome.refused:
            self._refuse(flow, mine, outcome)
            return False
        flow.request.stream = mine.stream(mine.provider.upload(mine.request))
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
        mine.seen.status, mine.seen.legs = response.status_code, legs(flow)
        if listens(mine.request):
            response.stream = self._listening(mine, plain_headers(response.headers))
            return
        if upgrades or not mine.seen.asked:
            response.stream = not upgrades
            return
        answering = mine.answering(response.status_code, plain_headers(response.headers))
        response.stream = answering
        if answering.restorer and answering.restorer.plain:
            response.headers.pop("content-encoding", None)
            if response.headers.pop("content-length", None) and response.http_version == "HTTP/1.1":
                response.headers["transfer-encoding"] = "chunked"

    def _listening(self, mine: Passing, headers: dict[str, str]) -> Listening:
        seen = mine.seen
        seen.match = replace(seen.match, service=seen.match.service or "mcp-server")
        reader = Mcp(seen.service).response(200, headers)
        return Listening(reader, lambda texts: self._later(self._heard((seen, texts))))

    @guarded
    async def _heard(self, said: tuple[Seen, tuple[Text, ...]]) -> None:
        seen, texts = said
        size = sum(len(text.text) for text in texts)
        seen.told = await self._.workers.run(size, analyse.finished, Result(200, texts=texts))
        self._.sink.put(self._.findings.answer(seen))

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
        mine, messages = flow.metadata.get(MINE), flow.websocket.messages if flow.websocket else []
        message = messages[-1]
        del messages[:-1]  # nobody reads them again, and there may be millions
        if not isinstance(mine, Passing):
            return
        if message.from_client:
            await self._turn(flow, mine, message)
            return
        answering = mine.next_answer()
        parts = answering.messages(message.content)
        if not parts:
            message.drop()
        elif parts != [message.content]:
            message.content = Several(parts)
        if answering.over and (turn := mine.open_turn):
            mine.open_turn = None
            turn.answer = answering
            self._later(self._finish(turn))

    @guarded
    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A turn that was under way, and what could not be read."""
        mine = flow.metadata.get(MINE)
        if not isinstance(mine, Passing):
            return
        if turn := mine.open_turn:
            turn.answer = mine.answer
            self._later(self._finish(turn))
        if flow.websocket and flow.websocket.close_reason == TOO_BIG:
            mine.seen.problems.append("too-large")
        self._.sink.put(self._.findings.problems(mine.seen))

    async def _turn(self, flow: http.HTTPFlow, mine: Passing, message: WebSocketMessage) -> None:
        asked = mine.provider.turn(mine.request, message.content)
        turn = mine.turn(self._seen(flow, mine.seen.match, mine.seen.client), asked, self._.key())
        seen = turn.seen
        seen.up, seen.status, seen.channel = len(message.content), 101, mine.seen.channel
        outcome = await self._.actions.judge(seen, turn.job, len(message.content))
        self._policy(seen, outcome)
        turn.let_go()
        if outcome.refused:
            message.drop()
            seen.refused, seen.status = True, 403
            inject(flow, mine.provider.error(outcome.refused, self._said(outcome), asked).body, text=True)
            self._later(self._finish(turn))
            return
        if outcome.body is not None:
            message.content = outcome.body
            mine.remember(outcome.originals)
        if seen.asked:
            mine.opened(turn)

    # -- what hooks have in common

    def failed(self, hook: str, error: Exception, argument: Any) -> None:
        """Our code failed: count it, and let the request go on or not, as the settings say."""
        super().failed(hook, error, argument)
        if isinstance(argument, http.HTTPFlow) and hook != "_fall_back":
            self._fall_back(argument)

    @guarded
    def _fall_back(self, flow: http.HTTPFlow) -> None:
        mine = flow.metadata.get(MINE, flow)  # the flow itself: it failed before that was known
        if flow.websocket and isinstance(mine, Passing):
            self._fall_back_message(flow.websocket.messages[-1], mine)
            return
        if mine is None or isinstance(mine, Local) or flow.response:
            return
        refusal = http.Response.make(403, REFUSALS["failed"].encode(), {"content-type": "text/plain"})
        flow.response = refusal if self._.actions.may_forbid else None
        if isinstance(mine, Passing):
            mine.seen.problems.append("failed")
            if not self._.actions.unread(mine.seen).refused:  # the refusal stays if this fails, too
                flow.response = None
            mine.seen.refused, mine.seen.status = flow.response is not None, 403 if flow.response else None

    def _fall_back_message(self, message: WebSocketMessage, mine: Passing) -> None:
        """The same for a message of a client; the server's goes on."""
        message.dropped = message.from_client and self._.actions.may_forbid
        mine.seen.problems.append("failed")
        if message.dropped and not self._.actions.unread(mine.seen).refused:
            message.dropped = False

    def _policy(self, seen: Seen, outcome: Outcome) -> None:
        if seen.decision and (outcome.refused or seen.decision.verdict != "limit"):
            self._.sink.put(self._.findings.policy(seen, seen.decision))

    def _refuse(self, flow: http.HTTPFlow, mine: Passing, outcome: Outcome) -> None:
        mine.seen.refused = True
        if flow.request.headers.get("sec-fetch-mode") == "navigate":
            link = self._.local.link(outcome.token)
            body = pages.refusal("Not sent", outcome.message, outcome.rule, link)
            flow.response = http.Response.make(403, body, pages.HEADERS)
        else:
            said = self._said(outcome)
            answer = mine.provider.error(outcome.refused, said, mine.request, outcome.retry_after)
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
        row = rows.exchange(seen, self._.prices)
        found = [*self._.findings.answer(seen), *self._.findings.problems(seen)]
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
        request, client = flow.request, flow.client_conn
        own = client.sockname[:2] if client.sockname and not intercepted(client) else None
        return self._.local.serves(request.pretty_host, request.port, request.path.partition("?")[0], own)

    def _answer_locally(self, flow: http.HTTPFlow) -> None:
        request, client = flow.request, self._.people.client(flow.client_conn)
        page = self._.local.answer(request.method, request.path.partition("?")[0], request.raw_content or b"")
        flow.response = http.Response.make(page.status, page.body, page.headers)
        if page.justified:
            ticket, reason = page.justified
            seen = self._seen(flow, Match(ticket.who[1], "", "", "", ""), client)
            self._.sink.put(self._.findings.justified(seen, ticket.who[2], reason))

    def _passing(self, flow: http.HTTPFlow) -> Passing | None:
        """What is known of a request before its body; None for one that is not read."""
        request, host, headers = flow.request, flow.request.pretty_host, plain_headers(flow.request.headers)
        match = self._.catalogue.match_request(request.method, host, request.port, request.path, headers)
        match = match or self._.targets.match(host, flow.client_conn.sni or "", request.host)
        client = self._.people.client(flow.client_conn)
        if match is None or self._.exceptions.hold(client, match.service):
            return None
        seen = self._seen(flow, match, client)
        agent = self._.catalogue.client_class("", headers.get("user-agent", ""))
        seen.channel = channel(match.service, match.role, agent)
        path, _, asking = request.path.partition("?")
        asked = Request(request.method, request.scheme, host, request.port, path, query(asking), headers)
        mine = Passing(seen, asked, analyse.reads(asked, match.service))
        mine.hold, mine.too_large = self._.hold, functools.partial(self._too_large, flow, mine)
        return mine

    def _seen(self, flow: http.HTTPFlow, match: Match, client: Client) -> Seen:
        return Seen(
            uuid.uuid4().hex, time.time_ns(), client, match, flow.request.pretty_host, legs=legs(flow)
        )

    def _user(self, flow: http.HTTPFlow) -> None:
        if said := flow.metadata.get("proxyauth"):
            self._.people.named(flow.client_conn, said[0])
