"""Ship: batches from the spool to a ClickHouse store over its HTTP interface.

What may have arrived is sent again with its token until the store says that it has it; the store drops what
it has (`insert_deduplication_token`, for the targets of its views as well). So several URLs must be replicas
that share their deduplication window. An answer counts only when it is ClickHouse's own to this very query.
"""

from __future__ import annotations

import email.utils
import logging
import random
import re
import ssl
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlencode, urlsplit

import urllib3

from sensor.delivery.outbox import Batch, Outbox
from sensor.delivery.spool import Damaged, SpoolError

DATABASE = "aiscope"
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds of back-off
RETRY_AFTER = 600.0  # the longest wait a server may ask for
CONNECT, ANSWER = 10.0, 120.0  # seconds
SKEW = 2.0  # seconds of clock skew worth a word in the log; the Date header is exact to one
_SETTINGS = {
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "distributed_foreground_insert": "1",  # in the background the answer would come before the rows are safe
    "async_insert": "0",
    "wait_end_of_query": "1",
}
# ClickHouse's error codes that speak of the store or of us, not of the rows: tried again for ever. Among them
# are a store that is not migrated yet, wrong passwords, no space, no quorum, too many parts or queries.
# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
_NOT_THE_ROWS = """
    16 60 74 75 76 81 95 96 115 159 160 164 172 173 192 193 194 198 199 201 202 203 204 209 210 216
    218 225 231 234 236 241 242 243 244 251 252 254 255 265 279 285 286 289 291 294 297 308 319 364
    369 373 384 394 415 416 425 439 452 472 473 492 495 497 516 529 571 574 586 659 677 692 700 734
    735 738 745 749 762 763 777 778 904 999 1000 1001 1002 1017 1019 1020
"""
_log = logging.getLogger("aiscope.ship")


class Unavailable(OSError):  # noqa: N818
    """Nobody knows whether the rows arrived, or the store can take none now. `wait` is what it asks for."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Refused(ValueError):  # noqa: N818
    """The store understood and will not have these rows."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to deliver: `age` in seconds, `ca` instead of the system's, `plain` http to other machines."""

    rows: int = 50_000
    age: float = 5.0
    tries: int = 8
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    plain: bool = False


@dataclass(slots=True)
class Target:
    """One URL of the store."""

    url: str
    options: Options
    shown: str = ""
    _headers: dict[str, str] = field(default_factory=dict)
    _pool: urllib3.HTTPConnectionPool | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(
                f"{self.url.partition('@')[2] or self.url}: ship goes to http(s)://user:password@host:port/"
            )
        self.shown = f"{parts.scheme}://{parts.hostname}:{parts.port or _port(parts.scheme)}"
        if parts.scheme == "http" and not (self.options.plain or _here(parts.hostname)):
            raise ValueError(f"{self.shown}: plain http to another machine: use https, or set ship.plain")
        if parts.username:
            self._headers = {"X-ClickHouse-User": unquote(parts.username)}
            self._headers["X-ClickHouse-Key"] = unquote(parts.password or "")
        timeout = urllib3.Timeout(connect=CONNECT, read=ANSWER)
        if parts.scheme == "https":
            self._pool = urllib3.HTTPSConnectionPool(
                parts.hostname, parts.port or 8443, timeout=timeout, ssl_context=_tls(self.options)
            )
        else:
            self._pool = urllib3.HTTPConnectionPool(parts.hostname, parts.port or 8123, timeout=timeout)

    def close(self) -> None:
        """Close connections."""
        if self._pool:
            self._pool.close()

    def send(self, batch: Batch) -> float | None:
        """Insert a batch; the store's clock minus ours in seconds. Raises Unavailable or Refused."""
        assert self._pool is not None  # noqa: S101  # made with the object
        query = uuid.uuid4().hex
        fields = {
            **_SETTINGS,
            "query": f"INSERT INTO {DATABASE}.{batch.table} ({', '.join(batch.columns)}) FORMAT ArrowStream",
            "insert_deduplication_token": batch.token,
            "query_id": query,
        }
        before = time.time()
        try:
            answer = self._pool.urlopen(
                "POST",
                f"/?{urlencode(fields)}",
                body=batch.data,
                headers={
                    **self._headers,
                    "Content-Encoding": "zstd",
                    "Content-Type": "application/octet-stream",
                },
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"{self.shown}: {_line(error)}") from None
        _judge(self.shown, answer, query)
        return _skew(answer.headers.get("Date"), before, time.time())


class Shipper:
    """Delivers an outbox to the first URL that takes it."""

    def __init__(self, outbox: Outbox, urls: Sequence[str], options: Options) -> None:
        if not urls:
            raise ValueError("nowhere to ship: set ship.urls, or an http(s) store.url")
        self._outbox, self._options = outbox, options
        self._targets = [Target(url, options) for url in urls]
        self._failures = 0
        self.shipped = 0  # rows
        self.aside = 0  # batches
        self._warned = False

    def close(self) -> None:
        """Close connections; the outbox is its owner's."""
        for target in self._targets:
            target.close()

    def run(self, stop: threading.Event) -> None:
        """Ship until stopped or until the spool's file was replaced."""
        idle = min(1.0, max(self._options.age / 2, 0.05))
        while not stop.is_set() and not self._outbox.replaced():
            wait = self.step(self._options.age)
            stop.wait(idle if wait is None else wait)

    def drain(self, stop: threading.Event) -> None:
        """Ship everything that is there now, however young."""
        while not stop.is_set() and (wait := self.step(0)) is not None:
            stop.wait(wait)

    def step(self, age: float) -> float | None:
        """Ship one batch; how many seconds to wait before the next step. None when none is ready.

        A spool that cannot be read or written now (a full disk) is waited for: what was sent before the file
        could take note of it is sent again, and the store drops it. Damaged is raised.
        """
        try:
            batch = self._outbox.batch(rows=self._options.rows, age=age)
            return None if batch is None else self._deliver(batch)
        except Damaged:
            raise
        except SpoolError as error:
            if not self._failures:
                _log.error("%s", error)
            return self._back_off()

    def _deliver(self, batch: Batch) -> float:
        reasons = []
        for _ in self._targets:
            target = self._targets[0]
            try:
                skew = target.send(batch)
            except Unavailable as error:
                reasons.append(error)
                self._targets.append(self._targets.pop(0))  # the next one, and it stays first while it works
            except Refused as error:
                return self._refused(batch, str(error))
            else:
                return self._delivered(batch, skew)
        return self._unavailable(reasons)

    def _delivered(self, batch: Batch, skew: float | None) -> float:
        self._outbox.done(batch, skew)
        self.shipped += batch.rows
        if self._failures:
            _log.info("delivery works again: %s", self._targets[0].shown)
        self._failures = 0
        if skew is not None and (abs(skew) > SKEW) != self._warned:
            self._warned = abs(skew) > SKEW
            _log.warning("this clock and the store's differ by %+d s", round(skew))
        return 0.0

    def _refused(self, batch: Batch, error: str) -> float:
        if self._outbox.refused(batch, error, tries=self._options.tries):
            self.aside += 1
            self._failures = 0
            _log.error("batch %d (%d %s) set aside: %s", batch.number, batch.rows, batch.table, error)
            return 0.0
        return self._back_off()

    def _unavailable(self, reasons: Sequence[Unavailable]) -> float:
        text = "; ".join(map(str, reasons))
        if not self._failures:
            _log.warning("not delivered, will be tried again: %s", text)
        self._outbox.problem(text)
        return max(self._back_off(), min((reason.wait for reason in reasons), default=0.0))

    def _back_off(self) -> float:
        """Doubling, and a random part, or all sensors would come back in the same second."""
        longest: float = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures, 10))
        self._failures += 1
        return longest * random.uniform(0.5, 1.0)  # noqa: S311


def _judge(shown: str, answer: urllib3.BaseHTTPResponse, query: str) -> None:
    """Return when the store has the rows."""
    code = answer.headers.get("X-ClickHouse-Exception-Code", "")
    text = _line(answer.data[:2000].decode("utf-8", "replace"))
    if answer.status == 200 and not code:
        if answer.headers.get("X-ClickHouse-Query-Id") == query:
            return
        raise Unavailable(f"{shown}: the answer is not from ClickHouse")
    wait = answer.headers.get("Retry-After", "")
    asked = min(float(wait), RETRY_AFTER) if re.fullmatch(r"\d{1,9}", wait) else 0.0
    if answer.status == 413 or (code and code not in _NOT_THE_ROWS.split()):
        raise Refused(text or f"{answer.status}, error {code}")
    raise Unavailable(f"{shown}: {answer.status} {text}", asked)


def _skew(date: str | None, before: float, after: float) -> float | None:
    """The server's clock minus ours. Date is cut to whole seconds (RFC 9110 5.6.7), hence half of one."""
    if not date:
        return None
    try:
        theirs = email.utils.parsedate_to_datetime(date).timestamp() + 0.5
    except ValueError:
        return None
    return round(theirs - (before + after) / 2, 1)


def _tls(options: Options) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(options.ca) if options.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.certificate:
        context.load_cert_chain(options.certificate, options.key)
    return context


def _here(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _port(scheme: str) -> int:
    return 8443 if scheme == "https" else 8123


def _line(text: object) -> str:
    """An error as one line, without addresses of objects, numbers of the system and traces."""
    cut = str(text).partition("Stack trace")[0]
    cut = re.sub(r"^HTTPS?Connection\([^)]*\): |\[Errno -?\d+\] ", "", cut)
    return " ".join(re.sub(r"\(version [^)]*\)|<[^>]*object at 0x[0-9a-f]+>:? ?", "", cut).split())[:500]
