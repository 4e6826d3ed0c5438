"""From a request to rows: reads the statement, has it judged, runs it. Blocks; runs in the server's threads."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from collector import backup, figures, gate, insert, limits
from collector.access import PRIVATE, rights
from collector.confine import WRITER, tier
from collector.engine import Answer, Engine, literal
from collector.errors import Refused, from_engine
from collector.gate import DATABASE, Gate, Insert, Statement
from collector.limits import Bounds
from collector.request import Request
from collector.users import User

HEAD = 64 << 10  # of a body is looked at for `INSERT ... FORMAT x`
KEPT = 8 << 10  # characters that a statement and its parameters may have for its verdict to be kept
DEFAULT_FORMAT = "TabSeparated"
_SETTINGS = re.compile(r"\A(SELECT [\w, ]+ FROM )system\.settings((?: (?:WHERE|ORDER BY|LIMIT) .*)?)\Z")


@dataclass(slots=True)
class Outcome:
    """What a statement gave: an answer to stream, or what was written."""

    form: str
    answer: Answer | None = None
    table: str = ""
    written: dict[str, int] | None = None
    private: tuple[str, str] = ("", "")  # tables of `PRIVATE` that it reads, and its text


class Runner:
    """Runs statements of users within their rights."""

    def __init__(self, engine: Engine, bounds: Bounds, key: str) -> None:
        self.engine, self.bounds, self.gate, self._key = engine, bounds, Gate(engine), key
        # What was allowed once is allowed again: the verdict depends on these alone while the schema stands still.
        # Long ones are judged each time: a thousand of them would be a gigabyte, for good.
        self._judged = lru_cache(1024)(self._judge)

    def run(self, asked: Request, user: User, pieces: Iterator[bytes], writes: bool) -> Outcome:
        """The statement in the URL or at the body's beginning; the rest of the body is its data."""
        head, rest = divided(asked.query, pieces, gate.MAX_STATEMENT)
        if asked.tables:
            raise Refused("NOT_IMPLEMENTED", "external data is not supported")
        if asked.database not in {"", "default", DATABASE}:
            raise Refused("UNKNOWN_DATABASE", f"Database {asked.database[:60]} does not exist here")
        if wanted := gate.insert(head.decode("latin-1")):
            if not writes:
                raise Refused(
                    "READONLY", "Cannot execute query in readonly mode: GET does not write, use POST"
                )
            return self._write(wanted, asked, user, itertools.chain([head[wanted.data :]], rest))
        return self._read(_text(head), asked, user)

    def _read(self, text: str, asked: Request, user: User) -> Outcome:
        if user.role == "admin" and backup.STATEMENT.fullmatch(text.strip()):
            return self._back_up(text.strip())
        role = user.role
        if role == "admin" and (inside := figures.asked(text)):
            statement, role = Statement(*inside), figures.DOCTOR
        else:
            parameters = tuple(sorted(asked.parameters.items()))
            short = len(text) + sum(map(len, asked.parameters.values())) <= KEPT
            statement = (self._judged if short else self._judge)(text, parameters, role)
        given = limits.permitted({**asked.settings, **statement.settings}, self.bounds, self.engine.known)
        form = statement.form or asked.default_format or DEFAULT_FORMAT
        if not form.isalnum():
            raise Refused("UNKNOWN_FORMAT", f"Unknown format {form[:40]}")
        bounded = {**limits.for_reading(given, self.bounds), "log_comment": tier(self._key, role)}
        text = _SETTINGS.sub(lambda match: f"{match[1]}{self._settings_table}{match[2]}", statement.text)
        answer = self.engine.read(text, form, asked.parameters, bounded, DATABASE)
        return Outcome(form, answer, private=(_private(text, asked.parameters), text))

    def _back_up(self, text: str) -> Outcome:
        """Exactly the statement that `aiscope store backup` sends, into the store's own directory."""
        handle = self.engine.handle({}, DATABASE)
        try:
            handle.query(text)
        except RuntimeError as error:
            raise from_engine(error) from None
        finally:
            handle.close()
        return Outcome("", written={})

    @cached_property
    def _settings_table(self) -> str:
        """`system.settings` that tells clients what they may set: to the latched engine it is nothing."""
        names = ", ".join(map(literal, limits.writable(self.engine.known, self.bounds)))
        return f"(SELECT * REPLACE (name NOT IN ({names}) AS readonly) FROM system.settings)"

    def _judge(self, text: str, parameters: tuple[tuple[str, str], ...], role: str) -> Statement:
        return self.gate.read(text, dict(parameters), rights(role, self.gate.tables))

    def _write(self, wanted: Insert, asked: Request, user: User, data: Iterator[bytes]) -> Outcome:
        gate.check_insert(wanted, rights(user.role, self.gate.tables))
        given = limits.permitted({**asked.settings, **wanted.settings}, self.bounds, self.engine.known)
        sensor = (user.sensor or user.name) if user.role == "sensor" else None
        settings = {**limits.for_writing(given, self.bounds), "log_comment": tier(self._key, WRITER)}
        written = insert.run(self.engine, wanted, data, settings, sensor)
        return Outcome(wanted.form, table=wanted.table, written=written)


def _private(text: str, parameters: Mapping[str, str]) -> str:
    """Private tables by the words of a statement and its parameters, which may be names: rather one too many."""
    words = {word for one in (text, *parameters.values()) for word in re.findall(r"\w+", one)}
    return ", ".join(sorted(words & PRIVATE))


def divided(query: str, pieces: Iterator[bytes], longest: int) -> tuple[bytes, Iterator[bytes]]:
    """The statement (with the beginning of its data, when it is an insert), and what follows of the body."""
    source = itertools.chain([query.encode() + b"\n"] if query else [], pieces)
    head = bytearray()
    for piece in source:
        head += piece
        if len(head) >= HEAD and gate.insert(head[:HEAD].decode("latin-1")):
            break
        if len(head) > longest:
            raise Refused("QUERY_IS_TOO_LARGE", f"a statement may have {longest} bytes")
    return bytes(head), source


def _text(statement: bytes) -> str:
    try:
        return statement.decode()
    except UnicodeDecodeError:
        raise Refused("SYNTAX_ERROR", "a statement is UTF-8") from None
