"""chDB for the server: one handle per request, bounded before it is latched, closed with the request.

Nothing here decides what may run: that is the gate's. Calls block; the server makes them in threads.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from collector.errors import Refused, from_engine

# Formats whose parts may follow each other, so that the engine's blocks go out as they come. The rest is made in
# memory, inside the query's memory limit.
_PLAIN = frozenset(
    """Native RowBinary TabSeparated TSV TabSeparatedRaw TSVRaw Raw CSV JSONEachRow JSONLines NDJSON JSONCompactEachRow
    JSONStringsEachRow JSONCompactStringsEachRow MsgPack LineAsString TSKV RawBLOB""".split()  # noqa: SIM905
)
_NAMED = re.compile(
    r"(TabSeparated|TSV|TabSeparatedRaw|TSVRaw|CSV|JSONCompactEachRow|JSONCompactStringsEachRow)WithNames(AndTypes)?"
)

_STREAMED = re.compile(r"[\s(]*(?:SELECT|WITH)\b", re.IGNORECASE)  # the engine streams no other statements
_INSERTS = re.compile(
    r"\bINSERT\s+INTO\b", re.IGNORECASE
)  # WITH ... INSERT; a literal that says so is not streamed


_WORD = re.compile(r"[\w.-]+", re.ASCII)


class Answer:
    """The rows of one statement, in parts. `summary` counts what the engine read and gave so far."""

    def __init__(self, handle: Any, text: str, form: str, parameters: dict[str, str]) -> None:
        self._handle = handle
        self._text, self._form = text, form
        exact = (
            text if text.isascii() else text.encode("utf-8", "surrogateescape")
        )  # the engine takes bytes too
        self._query = (exact, form, parameters)
        self._stream: Any = None
        self._closed = False
        self._lock = threading.Lock()  # a request that is given up may be closed while its thread is at work
        self.summary = {"read_rows": 0, "read_bytes": 0, "result_rows": 0, "result_bytes": 0}
        self._parts = self._make()
        try:
            self._first: bytes | None = next(self._parts, b"")  # what fails does so before headers are sent
        except RuntimeError as error:
            self.close()
            raise from_engine(error) from None

    def next(self) -> bytes | None:
        """The next part, None after the last."""
        with self._lock:
            if self._first is not None:
                part, self._first = self._first, None
                return part
            try:
                return next(self._parts, None)
            except RuntimeError as error:
                raise from_engine(error) from None

    def gather(self, size: int, seconds: float) -> tuple[list[bytes], bool]:
        """Parts until they are so many bytes or so much time is over; and whether these are all, and it is closed."""
        held: list[bytes] = []
        deadline = time.monotonic() + seconds
        try:
            while (part := self.next()) is not None:
                held.append(part)
                size -= len(part)
                if size <= 0 or time.monotonic() > deadline:
                    return held, False
        except Refused:
            self.close()
            raise
        self.close()
        return held, True

    def close(self) -> None:
        """Stop the statement if it still runs, and free its handle: last, or what hangs on it crashes the engine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._parts.close()
            if self._stream is not None:
                with contextlib.suppress(RuntimeError):  # it had failed
                    self._stream.close()
                self._stream = None
            self._handle.close()

    def _make(self) -> Generator[bytes, None, None]:
        text, form = self._text, self._form
        if not _STREAMED.match(text) or _INSERTS.search(text):
            return self._whole()
        if form in _PLAIN:
            return self._streamed()
        if form == "ArrowStream":
            return self._arrow()
        if named := _NAMED.fullmatch(form):
            return self._named(2 if named[2] else 1)
        return self._whole()

    def _streamed(self) -> Generator[bytes, None, None]:
        self._stream = self._handle.send_query(*self._query)
        for part in self._stream:
            yield self._counted(part)

    def _named(self, lines: int) -> Generator[bytes, None, None]:
        """Every part of the engine's begins with the names; only the first keeps them."""
        head = b""
        for part in self._streamed():
            if head and part.startswith(head):
                yield part[len(head) :]
            else:
                head = _head(part, lines, quoted=self._form.startswith("CSV"))
                yield part
        if not head:
            yield from self._whole()

    def _arrow(self) -> Generator[bytes, None, None]:
        """Every part of the engine's is a stream of its own: here they become one."""
        sink, writer = io.BytesIO(), None
        for part in self._streamed():
            with pa.ipc.open_stream(part) as reader:
                writer = writer or pa.ipc.new_stream(sink, reader.schema)
                for batch in reader:
                    writer.write_batch(batch)
            yield _drained(sink)
        if writer is None:
            yield from self._whole()
        else:
            writer.close()
            yield _drained(sink)

    def _whole(self) -> Generator[bytes, None, None]:
        yield self._counted(self._handle.query(*self._query))

    def _counted(self, result: Any) -> bytes:
        data = bytes(result.bytes())
        self.summary["read_rows"] = max(self.summary["read_rows"], result.storage_rows_read())
        self.summary["read_bytes"] = max(self.summary["read_bytes"], result.storage_bytes_read())
        self.summary["result_rows"] += result.rows_read()
        self.summary["result_bytes"] += len(data)
        return data


class Engine:
    """The one engine of a process, on a directory. `config` is chDB's configuration file."""

    def __init__(self, directory: Path, config: Path) -> None:
        os.environ["TMPDIR"] = str(
            directory
        )  # loading the engine opens an empty one in a temporary directory
        import chdb

        self._connect: Callable[[str], Any] = chdb.connect
        self._lock = threading.Lock()
        self._address = f"{directory}?config-file={quote(str(config))}"
        try:
            self._keeper: Any = self._connect(self._address)  # type: ignore[no-untyped-call]  # while it is open, others open in no time
            self._keeper.query("SET readonly = 1")
        except RuntimeError as error:
            raise OSError(f"the store does not open (another process, rights, space?): {error}") from error

    def close(self) -> None:
        """Close the store."""
        self._keeper.close()

    def value(self, text: str, parameters: Mapping[str, str] | None = None) -> str:
        """The answer to a statement of our own, as raw text."""
        try:
            with self._lock:  # two threads on one handle get each other's answers
                return bytes(
                    self._keeper.query(text, "TSVRaw", params=dict(parameters or {})).bytes()
                ).decode()
        except RuntimeError as error:
            raise from_engine(error) from None

    @cached_property
    def known(self) -> frozenset[str]:
        """Names of the engine's settings."""
        return frozenset(self.value("SELECT name FROM system.settings").split())

    def handle(self, settings: Mapping[str, str], database: str) -> Any:
        """A handle with these settings. `readonly` among them falls last and cannot be taken back."""
        ordered = sorted(settings.items(), key=lambda item: item[0] == "readonly")
        options = [*([("database", database)] if database else []), *ordered]
        if all(_WORD.fullmatch(value) for _, value in options) and self.known.issuperset(settings):
            # The same in a third of the time. The engine takes unknown names there without a word.
            return self._opened(
                "&".join([self._address, *(f"{name}={value}" for name, value in options)]), []
            )
        begin = [f"USE {identifier(database)}"] if database else []
        clauses = [f"{name} = {literal(value)}" for name, value in ordered]
        begin += [f"SET {', '.join(clauses)}"] if clauses else []
        return self._opened(self._address, begin)

    def _opened(self, address: str, begin: list[str]) -> Any:
        handle = None
        try:
            handle = self._connect(address)
            for statement in begin:
                handle.query(statement)
        except RuntimeError as error:
            if handle is not None:
                handle.close()
            raise from_engine(error) from None
        return handle

    def read(
        self, text: str, form: str, parameters: Mapping[str, str], settings: Mapping[str, str], database: str
    ) -> Answer:
        """Run one statement; its first part is made before this returns."""
        return Answer(self.handle(settings, database), text, form, dict(parameters))


def send(handle: Any, statement: str, form: str, data: Iterable[bytes]) -> dict[str, int]:
    """Stream data into an INSERT of this handle."""
    try:
        with handle.send_insert(statement, form) as stream:
            for piece in data:
                stream.append(piece)
            done = stream.finish()
    except RuntimeError as error:
        raise from_engine(error) from None
    return {"written_rows": done.rows_written, "written_bytes": done.bytes_written}


def literal(value: str) -> str:
    """A string in SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A name in SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def escaped(value: str) -> str:
    """A value as the engine reads a bound String: tab-separated escapes."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _head(part: bytes, lines: int, quoted: bool) -> bytes:
    """The first lines. CSV quotes line breaks; the other formats escape them."""
    end = 0
    for _ in range(lines):
        start, end = end, part.find(b"\n", end) + 1
        while end and quoted and part.count(b'"', start, end) % 2:
            end = part.find(b"\n", end) + 1
    return part[: end or len(part)]


def _drained(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data
