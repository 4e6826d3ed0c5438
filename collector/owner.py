"""What a directory's owner runs: any statement, as a ClickHouse server would; sessions and external data with it."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from collector import gate
from collector.engine import Answer, Engine, identifier, literal, send
from collector.errors import Refused, from_engine
from collector.limits import Bounds
from collector.request import Request, Table
from collector.statement import DEFAULT_FORMAT, Outcome, divided
from collector.users import User

SESSIONS = 256
SESSION_SECONDS = 60.0  # ClickHouse's default_session_timeout, and
LONGEST_SESSION = 3600.0  # its max_session_timeout
PATIENCE = 0.25  # seconds for a request whose predecessor in the session is being taken down

_OWN_FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*;?\s*\Z", re.IGNORECASE)
_INSERTS = re.compile(r"\A\s*WITH\b.*\bINSERT\s+INTO\b", re.IGNORECASE | re.DOTALL)
_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_ROWS = re.compile(r"\s*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|CHECK|\()", re.IGNORECASE)


@dataclass(slots=True)
class Session:
    """A handle that outlives its requests, with temporary tables and settings of its own. One request at a time."""

    handle: Any
    expires: float = 0.0
    busy: threading.Lock = field(default_factory=threading.Lock)
    home: str = ""  # the database under that which the last request named
    before: dict[str, str] = field(default_factory=dict)  # values under those that the last request brought

    def bring(self, settings: Mapping[str, str], database: str) -> None:
        """The request's settings over the session's own; those of the request before go."""
        if database and not self.home:
            self.home = (
                bytes(self.handle.query("SELECT currentDatabase()", "TSVRaw").bytes()).decode().strip()
            )
        if database or self.home:
            self.handle.query(f"USE {identifier(database or self.home)}")
            self.home = self.home if database else ""
        gone = [name for name in self.before if name not in settings]
        new = [name for name in settings if name not in self.before]
        if new:
            names = ", ".join(map(literal, new))
            asked = f"SELECT name, changed ? value : '\\\\N' FROM system.settings WHERE name IN ({names})"
            known = bytes(self.handle.query(asked, "TSVRaw").bytes()).decode()
            self.before |= dict.fromkeys(new, "\\N")
            self.before |= dict(line.split("\t", 1) for line in known.splitlines() if "\t" in line)
        values = {name: self.before.pop(name) for name in gone}
        clauses = [f"{n} = DEFAULT" if v == "\\N" else f"{n} = {literal(v)}" for n, v in values.items()]
        clauses += [f"{name} = {literal(value)}" for name, value in settings.items()]
        if clauses:
            self.handle.query(f"SET {', '.join(clauses)}")


class Lent:
    """A session's handle for one request: `close` gives it back."""

    def __init__(self, session: Session) -> None:
        self._session, self._tables = session, list[str]()
        self.query, self.send_query = session.handle.query, session.handle.send_query
        self.send_insert = session.handle.send_insert

    def drop_later(self, table: str) -> None:
        """This came with the request, and goes with it."""
        self._tables.append(table)

    def close(self) -> None:
        """Give it back."""
        for table in self._tables:
            with suppress(RuntimeError):
                self.query(f"DROP TEMPORARY TABLE IF EXISTS {identifier(table)}")
        self._tables.clear()
        self._session.busy.release()


class Sessions:
    """The handles of sessions that have not expired."""

    def __init__(self, engine: Engine, bounds: Bounds) -> None:
        self._engine, self._bounds = engine, bounds
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def lend(self, asked: Request) -> Lent:
        """The session's handle, alone. Refused while another request has it."""
        session = self._found(asked)
        if not session.busy.acquire(timeout=PATIENCE):
            raise Refused("SESSION_IS_LOCKED", f"Session {asked.session} is locked by a concurrent client")
        lent = Lent(session)
        try:
            session.bring(asked.settings, asked.database)
        except RuntimeError as error:
            lent.close()
            raise from_engine(error) from None
        return lent

    def _found(self, asked: Request) -> Session:
        now = time.monotonic()
        with self._lock:
            idle = sorted(self._open.items(), key=lambda item: item[1].expires)
            spare = len(idle) - SESSIONS + 1
            for number, (name, session) in enumerate(idle):
                if (session.expires < now or number < spare) and session.busy.acquire(blocking=False):
                    self._open.pop(name).handle.close()
            if asked.session not in self._open:
                if asked.session_check:
                    raise Refused("SESSION_NOT_FOUND", f"Session {asked.session} not found")
                limits = {"max_memory_usage": str(self._bounds.query_bytes)}
                self._open[asked.session] = Session(self._engine.handle(limits, ""))
            session = self._open[asked.session]
            session.expires = now + min(asked.session_timeout or SESSION_SECONDS, LONGEST_SESSION)
            return session


class OwnerRunner:
    """Runs whatever the owner of a directory wants."""

    def __init__(self, engine: Engine, bounds: Bounds) -> None:
        self.engine, self.bounds = engine, bounds
        self.sessions = Sessions(engine, bounds)

    def run(self, asked: Request, user: User, pieces: Iterator[bytes], writes: bool) -> Outcome:
        """As Runner.run, without the gate."""
        head, rest = divided(asked.query, pieces, self.bounds.body_bytes)
        handle = self._handle(asked, writes)
        try:
            for table in asked.tables:
                _fill(handle, table)
            wanted = gate.insert(head.decode("latin-1"))
            if wanted and wanted.form.lower() != "values":
                into = re.sub(r"FORMAT\s+\w+\s*\Z", "", _text(head[: wanted.data]), flags=re.IGNORECASE)
                rows = itertools.chain([head[wanted.data :]], rest)
                written = send(handle, into, wanted.form, rows)
                handle.close()
                return Outcome(wanted.form, written=written)
        except BaseException:
            handle.close()
            raise
        text, form = _text(head), ""
        if _ROWS.match(text) and not _INSERTS.match(_LITERAL.sub("", text)):
            text, form = text.rstrip().removesuffix(";"), asked.default_format or DEFAULT_FORMAT
            if match := _OWN_FORMAT.search(text):
                text, form = text[: match.start()], match[1]
        return Outcome(form, Answer(handle, text, form or "Null", dict(asked.parameters)))

    def _handle(self, asked: Request, writes: bool) -> Any:
        """A session's handle, or one of the request's own. Sessions are for those who may write."""
        if asked.session and writes:
            return self.sessions.lend(asked)
        settings = {"max_memory_usage": str(self.bounds.query_bytes), **asked.settings}
        return self.engine.handle(settings | ({} if writes else {"readonly": "2"}), asked.database)


def _fill(handle: Any, table: Table) -> None:
    """External data: a temporary table for the length of the request."""
    name = identifier(table.name)
    try:
        handle.query(f"CREATE TEMPORARY TABLE {name} ({table.columns}) ENGINE = Memory")
    except RuntimeError as error:
        raise from_engine(error) from None
    if isinstance(handle, Lent):
        handle.drop_later(table.name)
    if table.data:
        send(handle, f"INSERT INTO {name}", table.form, [table.data])


def _text(statement: bytes) -> str:
    """What is not UTF-8 goes through as it is: a literal may have any bytes."""
    return statement.decode("utf-8", "surrogateescape")
