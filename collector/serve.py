"""The life of the serving process: sockets and keys first, then the walls, then the engine, then requests."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
import time
from asyncio import TimerHandle, Transport
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from collector import confine
from collector.limits import Bounds
from sensor.listen import bind

HEADER_SECONDS = 10  # for a request's line and headers, and for a TLS handshake
HEADER_BYTES = 64 << 10
KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 20  # requests under way may end
CONNECTIONS = 512

_log = logging.getLogger("aiscope.collect")


@dataclass(frozen=True, slots=True)
class Serving:
    """What `aiscope collect` was asked for."""

    directory: Path
    host: str
    port: int
    users: Path | None  # None: an owner's instance
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    bounds: Bounds = field(default_factory=Bounds)


class Deadlined(H11Protocol):
    """uvicorn's protocol, and a deadline for headers: a client that sends them byte by byte is cut off."""

    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A connection: its first headers are due."""
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Some bytes: headers are due from the first of a request on, and have come when there is a cycle."""
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._arm()
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        """No more."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class Lines(logging.Formatter):
    """One JSON object per line; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        fields: dict[str, Any] = {
            "time": at,
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=True, default=str)


def serve(wanted: Serving) -> None:
    """Serve until SIGTERM or SIGINT. OSError when the port, the keys or the store cannot be had."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    key = None if wanted.users is None else secrets.token_hex(16)
    config = confine.configuration(wanted.directory, wanted.bounds, key)
    # Named, or asyncio leaves Nagle on.
    listener = bind(wanted.host, wanted.port, protocol=socket.IPPROTO_TCP)
    door = _Door()
    server = uvicorn.Server(_configured(wanted, door))
    server.config.load()
    readable = [*confine.needed(), *([wanted.users.parent] if wanted.users else confine.NAMES)]
    held = confine.restrict(readable, [wanted.directory])
    for layer in held.missing:
        _log.warning("this kernel's Landlock does not hold %s", layer)
    door.application, engine = _application(wanted, config, key or "")
    scheme = "https" if wanted.certificate else "http"
    host, port = listener.getsockname()[:2]
    where = f"[{host}]" if ":" in host else host
    for number in (signal.SIGTERM, signal.SIGINT):  # until uvicorn has its own, and when it raises them again
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    _log.info("listening", extra={"fields": {"url": f"{scheme}://{where}:{port}", "landlock": held.version}})
    server.run(sockets=[listener])
    engine.close()


def _application(wanted: Serving, config: Path, key: str) -> tuple[Any, Any]:
    """The engine is loaded here, behind the walls."""
    from collector.access import Access
    from collector.audit import Audit
    from collector.engine import Engine
    from collector.owner import OwnerRunner
    from collector.server import Collector
    from collector.statement import Runner

    engine = Engine(wanted.directory, config)
    if wanted.users is None:
        owned = OwnerRunner(engine, wanted.bounds)
        return Collector(owned, None, None, wanted.bounds, wanted.directory), engine
    runner = Runner(engine, wanted.bounds, key)
    access, audit = Access(wanted.users), Audit(engine)
    return Collector(runner, access, audit, wanted.bounds, wanted.directory), engine


class _Door:
    """Stands for the application until it is there: TLS keys are read before the walls, the engine after."""

    application: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)


def _configured(wanted: Serving, door: _Door) -> uvicorn.Config:
    return uvicorn.Config(
        door,
        interface="asgi3",
        http=Deadlined,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_certfile=wanted.certificate,
        ssl_keyfile=wanted.key,
        ssl_ca_certs=str(wanted.client_ca) if wanted.client_ca else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if wanted.client_ca else ssl.CERT_NONE,
    )
