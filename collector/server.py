"""ClickHouse's HTTP interface over chDB: one ASGI application, whose blocking work runs in threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTP  # noqa: N814
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from collector import request
from collector.access import Access
from collector.audit import Audit
from collector.codec import Decoder
from collector.engine import Answer
from collector.errors import Refused
from collector.limits import Bounds
from collector.metrics import Metrics
from collector.respond import Responder
from collector.statement import Outcome
from collector.users import User

BODY_SECONDS = 30.0  # until the next part of a body; of a form, until its end
HOP = 256 << 10  # of a body are gathered for the thread that reads it: waking it costs more than a part
BUFFER = 8 << 20  # of an answer is kept for a client that waits for the query's end
AT_ONCE = 64 << 10  # of an answer, and
AT_ONCE_SECONDS = 0.005  # of its making: what comes so soon needs no second turn of a thread
STRETCHING = 8  # passwords that wait for their turn
PUNISHED = 64  # failed logins that are slowed at the same time
FORM_BYTES = 1 << 20  # of a multipart form, and
OWNER_FORM_BYTES = 256 << 20  # of an owner's, which may bring tables
TICK_SECONDS = 1.0  # audit rows are written, and the users file is looked at, so often
OWNER = User("default", "owner", per_second=1e6, at_once=64)

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger("aiscope.collect")


class Runs(Protocol):
    """What runs statements: with a gate, or for a directory's owner."""

    def run(self, asked: request.Request, user: User, pieces: Iterator[bytes], writes: bool) -> Outcome:
        """Run one."""


@dataclass(slots=True)
class Work:
    """One request under way, for counters and the log."""

    address: str
    started: float
    query_id: str
    user: str = ""
    kind: str = "query"
    received: int = 0
    read: bool = False  # the body has been
    rows: int = 0
    code: int = 0


class Collector:
    """The application. `access` and `audit` are None for an owner's instance, which knows no users."""

    def __init__(
        self, runner: Runs, access: Access | None, audit: Audit | None, bounds: Bounds, directory: Path
    ) -> None:
        self.runner, self.access, self.audit, self.bounds, self.directory = (
            runner,
            access,
            audit,
            bounds,
            directory,
        )
        self.form_bytes = FORM_BYTES if access else OWNER_FORM_BYTES
        self.metrics = Metrics()
        self.running = 0
        self.stopping = False
        self._threads = ThreadPoolExecutor(bounds.running + 4, "request")
        self._stretcher = ThreadPoolExecutor(1, "password")
        self._stretching = self._punished = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        http = HTTP(scope, receive)
        if http.url.path == "/" and http.method in {"GET", "POST", "HEAD"}:
            await self._statement(http, send)
        elif http.url.path in _PAGES and http.method in {"GET", "HEAD"}:
            await self._page(http, send)
        else:
            answer = PlainTextResponse("There is no handle here; POST / takes statements.\n", 404)
            await answer(scope, receive, send)

    async def _statement(self, http: HTTP, send: Send) -> None:
        work = Work(http.client.host if http.client else "", time.perf_counter(), str(uuid.uuid4()))
        responder = Responder(send, http.headers.get("accept-encoding", ""), work.query_id)
        try:
            asked = await self._asked(http, work)
            responder.query_id = work.query_id = asked.query_id or work.query_id
            if not asked.query and http.method != "POST":
                await responder.text("Ok.\n")
            else:
                user = await self._user(http, asked.login, work)
                with self.access.slot(user) if self.access else contextlib.nullcontext(), self._slot():
                    pieces = await self._pieces(http, work)
                    ran = await self._thread(self._run, asked, user, pieces, http.method == "POST")
                    if self.audit and ran[0].private[0]:
                        self.audit.note(work.user, work.address, "read", "done", *ran[0].private)
                    await self._deliver(*ran, asked, work, responder, http)
        except Refused as error:
            work.code = error.code
            self._note(error, work)
            with contextlib.suppress(ClientDisconnect):
                await responder.error(error)
        except ClientDisconnect:
            work.code = 394
        self._finished(work)

    async def _asked(self, http: HTTP, work: Work) -> request.Request:
        headers = {name.lower(): value for name, value in http.headers.items()}
        kind = headers.get("content-type", "")
        form = request.Form()
        if kind.lower().startswith("multipart/form-data"):
            form = await self._thread(request.parse_form, kind, await self._form(http, work))
        return request.parse(http.scope["query_string"], headers, form)

    async def _form(self, http: HTTP, work: Work) -> bytes:
        """A form may hold the login, so anybody may send one, and slowly: no thread waits for it."""
        body, decoder = bytearray(), Decoder(http.headers.get("content-encoding", ""))
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in http.stream():
                    for piece in decoder.decode(part):
                        body += piece
                        if len(body) > self.form_bytes:
                            raise Refused("QUERY_IS_TOO_LARGE", f"a form may have {self.form_bytes} bytes")
        except TimeoutError:
            raise Refused("SOCKET_TIMEOUT", f"a form has {BODY_SECONDS:.0f} s to come") from None
        decoder.finish()
        work.read, work.received = True, len(body)
        return bytes(body)

    async def _user(self, http: HTTP, login: request.Login | None, work: Work) -> User:
        """Who asks. Refused when nobody we know, after a while that grows with the address's failures."""
        if self.access is None:
            if not _local(http):
                raise Refused(
                    "ACCESS_DENIED", "an owner's instance answers programs of this machine, no web pages"
                )
            if login is None or login == request.Login("default", ""):
                return OWNER
            raise Refused(
                "AUTHENTICATION_FAILED", "an owner's instance has the user `default` without a password"
            )
        if login is None:
            raise Refused("REQUIRED_PASSWORD", "log in: Authorization: Bearer TOKEN, or user and password")
        user = self.access.quick(login)
        if user is None and login.user and not login.secret.startswith("ais_"):
            user = await self._stretched(self.access, login)
        if user is None:
            work.kind = "login"
            await self._punish(self.access, login, work)
            raise Refused(
                "AUTHENTICATION_FAILED", "Authentication failed: password is incorrect, or no such user"
            )
        work.user = user.name
        if self.audit and self.access.noteworthy(user.name, work.address):
            self.audit.note(user.name, work.address, "login", "done", user.role)
        return user

    async def _stretched(self, access: Access, login: request.Login) -> User | None:
        if self._stretching >= STRETCHING:
            raise Refused("TOO_MANY_SIMULTANEOUS_QUERIES", "too many logins at once")
        self._stretching += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._stretcher, access.slow, login)
        finally:
            self._stretching -= 1

    async def _punish(self, access: Access, login: request.Login, work: Work) -> None:
        delay = access.failures.add(work.address)
        self.metrics.add("aiscope_collect_logins_failed_total")
        if self.audit:
            self.audit.note(login.user, work.address, "login", "denied")
        if self._punished >= PUNISHED:
            raise Refused("QUOTA_EXCEEDED", "too many failed logins")
        self._punished += 1
        try:
            await asyncio.sleep(delay)
        finally:
            self._punished -= 1

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        if self.running >= self.bounds.running:
            raise Refused("TOO_MANY_SIMULTANEOUS_QUERIES", f"{self.bounds.running} statements run already")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def _thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))

    async def _pieces(self, http: HTTP, work: Work) -> Iterator[bytes]:
        """The decoded body, for a thread. Its beginning has come; the rest is waited for in the event loop."""
        loop = asyncio.get_running_loop()
        decoder = Decoder(http.headers.get("content-encoding", ""))
        stream = http.stream()

        async def receive() -> bytes:
            """About HOP bytes; fewer are the last."""
            gathered = bytearray()
            try:
                while len(gathered) < HOP:
                    async with asyncio.timeout(BODY_SECONDS):
                        part = await anext(stream, b"")
                    if not part:
                        break
                    gathered += part
            except TimeoutError:
                raise Refused(
                    "SOCKET_TIMEOUT", f"nothing of the body came for {BODY_SECONDS:.0f} s"
                ) from None
            return bytes(gathered)

        def pieces(part: bytes) -> Iterator[bytes]:
            while part:
                for piece in decoder.decode(part):
                    work.received += len(piece)
                    if work.received > self.bounds.body_bytes:
                        raise Refused(
                            "TOO_LARGE_STRING_SIZE", f"a body may have {self.bounds.body_bytes} bytes"
                        )
                    yield piece
                more = len(part) >= HOP
                part = asyncio.run_coroutine_threadsafe(receive(), loop).result() if more else b""
            decoder.finish()

        if work.read:
            return iter(())
        work.read = True
        return pieces(await receive())

    def _run(
        self, asked: request.Request, user: User, pieces: Iterator[bytes], writes: bool
    ) -> tuple[Outcome, list[bytes], bool]:
        """The outcome, the parts of its answer that came at once, and whether these are all; for a thread."""
        outcome = self.runner.run(asked, user, pieces, writes)
        if outcome.answer is None:
            return outcome, [], True
        size, seconds = (BUFFER, float("inf")) if asked.wait else (AT_ONCE, AT_ONCE_SECONDS)
        return outcome, *outcome.answer.gather(size, seconds)

    async def _deliver(
        self,
        outcome: Outcome,
        held: list[bytes],
        ended: bool,
        asked: request.Request,
        work: Work,
        responder: Responder,
        http: HTTP,
    ) -> None:
        answer = outcome.answer
        if answer is None:
            written = outcome.written or {}
            work.kind, work.rows = "insert", written.get("written_rows", 0)
            self.metrics.add("aiscope_collect_rows_written_total", work.rows, table=outcome.table)
            await responder.begin(outcome.form, self._summary(written, work), compress=False)
            await responder.end()
            return
        try:
            await responder.begin(outcome.form, self._summary(answer.summary, work), asked.compress)
            for early in held:
                await responder.part(early)
            if not ended:
                await self._stream(answer, responder, http)
        finally:  # before the answer's end: the next request may want its session
            if not ended:
                await self._thread(answer.close)
        await responder.end()

    async def _stream(self, answer: Answer, responder: Responder, http: HTTP) -> None:
        """What comes later, while somebody waits for it."""
        gone = asyncio.ensure_future(_gone(http))
        try:
            while not gone.done() and (part := await self._thread(answer.next)) is not None:
                await responder.part(part)
            if gone.done():
                raise ClientDisconnect
        finally:
            gone.cancel()

    def _summary(self, counts: dict[str, int], work: Work) -> dict[str, int]:
        elapsed = int((time.perf_counter() - work.started) * 1e9)
        zeros = dict.fromkeys(
            ("read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows"),
            0,
        )
        return {**zeros, "result_bytes": 0, **counts, "elapsed_ns": elapsed}

    def _note(self, error: Refused, work: Work) -> None:
        """Statements that may not run are in the audit."""
        if self.audit and work.user and error.name in {"ACCESS_DENIED", "SUPPORT_IS_DISABLED", "READONLY"}:
            self.audit.note(work.user, work.address, "statement", "denied", error.name, error.reason)

    def _finished(self, work: Work) -> None:
        seconds = time.perf_counter() - work.started
        self.metrics.add("aiscope_collect_requests_total", kind=work.kind, code=str(work.code))
        self.metrics.add("aiscope_collect_request_seconds_total", seconds, kind=work.kind)
        self.metrics.add("aiscope_collect_bytes_received_total", work.received)
        fields = {"user": work.user, "address": work.address, "kind": work.kind, "code": work.code}
        fields |= {
            "query_id": work.query_id,
            "rows": work.rows,
            "bytes": work.received,
            "seconds": round(seconds, 4),
        }
        _log.info("request", extra={"fields": fields})

    async def _page(self, http: HTTP, send: Send) -> None:
        """/ping and its like, and /metrics for those who may read."""
        path = http.url.path
        status, text = 200, "Ok.\n"
        if path == "/readyz" and self.stopping:
            status, text = 503, "stopping\n"
        elif path == "/readyz" and shutil.disk_usage(self.directory).free < 64 << 20:
            status, text = 503, "less than 64 MB of disk are left\n"
        elif path == "/metrics":
            status, text = await self._metrics(http)
        await PlainTextResponse(text, status)(http.scope, http.receive, send)

    async def _metrics(self, http: HTTP) -> tuple[int, str]:
        work = Work(http.client.host if http.client else "", time.perf_counter(), "")
        try:
            user = await self._user(http, (await self._asked(http, work)).login, work)
        except Refused as error:
            return error.status, error.text
        if user.role == "sensor":
            return 403, "a sensor reads nothing\n"
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        gauges = {
            "aiscope_collect_running": self.running,
            "aiscope_collect_resident_bytes": resident,
            "aiscope_collect_disk_free_bytes": shutil.disk_usage(self.directory).free,
            "aiscope_collect_audit_lost_total": self.audit.lost if self.audit else 0,
        }
        return 200, self.metrics.text(gauges)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        ticking = asyncio.create_task(self._ticking()) if self.access and self.audit else None
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.stopping = True
        if ticking:
            ticking.cancel()
            await self._thread(self._tick)
        self._threads.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def _ticking(self) -> None:
        while True:
            await self._thread(self._tick)
            await asyncio.sleep(TICK_SECONDS)

    def _tick(self) -> None:
        if self.access and self.audit:
            self.access.reload()
            self.audit.changes(self.access.users.changes)
            self.audit.flush()


def _local(http: HTTP) -> bool:
    """Not asked by a page in a browser, which may send requests here and rebind names to this address."""
    return "origin" not in http.headers and http.url.hostname in {"localhost", "127.0.0.1", "::1"}


async def _gone(http: HTTP) -> None:
    """Returns when the client has hung up."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


_PAGES = frozenset({"/ping", "/replicas_status", "/healthz", "/readyz", "/metrics"})
