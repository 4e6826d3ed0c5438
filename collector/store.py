"""The store: ClickHouse behind one URL, a server's or a directory opened in this process.

`http(s)://user:password@host:port/` is a ClickHouse server, a cluster or `aiscope collect`; `chdb:///DIR` is
the same engine in this process, and one process per directory. Nothing above this module knows which.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import io
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, cast
from urllib.parse import unquote, urlencode, urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from sensor.config import expanded, store_url
from sensor.delivery.columns import arrow, pieces
from sensor.delivery.event import Event

logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # errors are raised, and said once
DATABASE = "aiscope"
QUERIES = Path(__file__).parent / "queries"

# The embedded engine has no bounds of its own, and its caches would take what the machine has.
QUERY_BYTES = 1 << 30
ENGINE_BYTES = 2 << 30
_ENGINE = {"max_server_memory_usage": ENGINE_BYTES, "mark_cache_size": 64 << 20, "uncompressed_cache_size": 0}

# A batch that comes again is dropped, in the rollups too.
_ONCE = {"deduplicate_blocks_in_dependent_materialized_views": 1}

# What the engine takes for the end of a directory's name, or cannot take at all.
_REFUSED = re.compile("[?&\0\udc80-\udcff]|\\s\\Z")
# What the driver says when nothing answers: the whole request, and in it why.
_AWAY = re.compile(r"Error HTTPS?Connection.*\[Errno -?\d+\] ([\w ]+)")
_OWN_FORMAT = re.compile(r"\bFORMAT\s+\w+(?:\s+SETTINGS\s[^()]*)?[\s;]*\Z", re.IGNORECASE)
_INSERT = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*INSERT\b", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r"\{(\w+):([^{}]+)\}")
_BOUNDS = {"start": dt.datetime(1970, 1, 1, tzinfo=dt.UTC), "end": dt.datetime(2262, 1, 1, tzinfo=dt.UTC)}


class StoreError(OSError):
    """The store cannot be reached or opened, or refused a statement; the text says what and what to do."""


class Store:
    """One open store. A context manager; `close` releases an embedded directory."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = _split(url)
        self.embedded = parts.scheme == "chdb"
        self.directory = directory(url)
        self._writer: Any = None
        try:
            self._client = _embedded(self.directory) if self.directory else _remote(parts)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"{shown(url)}: {error.strerror or error}") from error
        except (ClickHouseError, ValueError) as error:
            raise StoreError(_why(error, shown(url), self.directory)) from error
        self.use()

    def use(self) -> None:
        """Make `aiscope` the default database once there is one: before it is migrated, a store has none."""
        if self.rows(f"SELECT 1 FROM system.databases WHERE name = '{DATABASE}'"):
            self._client.database = DATABASE

    def latch(self) -> None:
        """Nothing but reading from here on, as far as an embedded engine enforces it; a server has grants."""
        if self.embedded:
            self._client.set_client_setting("readonly", 1)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store; an embedded directory is free for the next process."""
        if self._writer is not None:
            self._writer.close()
        self._client.close()

    def insert(self, events: Iterable[Event], *, sensor: str, batch: int, token: str) -> int:
        """Write events, column by column, one piece per table and month; the number of rows.

        The same token with the same events is written once, however often it is tried.
        """
        rows = 0
        for table, month, piece in pieces(events):
            self.insert_arrow(table, arrow(piece, sensor, batch), token=f"{token}:{table}:{month}")
            rows += len(piece)
        return rows

    def insert_arrow(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Write an Arrow table of one partition with the store's column names."""
        data = io.BytesIO()
        with pa.ipc.new_stream(data, rows.schema) as stream:
            stream.write_table(rows)
        settings = {"insert_deduplication_token": token, **_ONCE}
        try:
            if self.embedded:
                self._send(table, rows.schema.names, data.getbuffer(), settings)
            else:
                target, names = f"{DATABASE}.{table}", rows.schema.names
                self._client.raw_insert(target, names, data.getvalue(), settings=settings, fmt="ArrowStream")
        except (ClickHouseError, RuntimeError) as error:
            raise StoreError(f"{shown(self.url)}: {table}: {_line(error)}") from error

    def _send(self, table: str, names: list[str], data: memoryview, settings: dict[str, object]) -> None:
        """Stream into the embedded engine: clickhouse-connect would put every batch in a file in clear."""
        if self._writer is None:
            import chdb

            self._writer = chdb.connect(_connection(self.directory))  # type: ignore[no-untyped-call]
        clause = ", ".join(f"{name} = {_literal(value)}" for name, value in settings.items())
        statement = f"INSERT INTO {DATABASE}.{table} ({', '.join(names)}) SETTINGS {clause}"
        with self._writer.send_insert(statement, "ArrowStream") as stream:
            stream.append(data)
            stream.finish()

    def fetch(self, name: str, **parameters: Any) -> pa.Table:
        """Rows of `collector/queries/<name>.sql` with bound parameters.

        What is left out does not restrict: lists and texts are empty, `start` and `end` all of time.
        """
        sql = query(name)
        wanted = dict(_PARAMETER.findall(sql))
        return self.arrow(
            sql, {name: parameters.get(name, _unbound(name, kind)) for name, kind in wanted.items()}
        )

    def arrow(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Rows of one SELECT. Arrow has nothing for DateTime, which comes as a number: select DateTime64."""
        bound = {name: _bindable(value) for name, value in (parameters or {}).items()}
        try:
            return self._client.query_arrow(sql, parameters=bound)
        except ClickHouseError as error:
            self._client.ping()  # chDB gives what a query cut short had written to the next one
            raise StoreError(f"{shown(self.url)}: {_line(error)}") from error

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a small SELECT as dictionaries."""
        found: list[dict[str, Any]] = self.arrow(sql, parameters).to_pylist()
        return found

    def sql(self, text: str, form: str = "TabSeparatedWithNames") -> io.IOBase:
        """The answer to any statement as a stream of bytes: in its own FORMAT if it has one, else in this."""
        try:
            return cast("io.IOBase", self._client.raw_stream(text, fmt="" if own_format(text) else form))
        except ClickHouseError as error:
            # The driver writes the format behind the statement; what else could stand there fills a screen.
            said = _line(error).replace(f" FORMAT {form}", "").partition(" Expected one of: ")[0]
            raise StoreError(f"{shown(self.url)}: {said}") from error

    def delete(self, table: str, column: str, value: str) -> None:
        """Take the rows with this value out of a table."""
        self.command(f"DELETE FROM {DATABASE}.{table} WHERE {column} = {_literal(value)}")

    def command(self, text: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run one statement that has no rows: DDL, DELETE."""
        try:
            self._client.command(text, parameters=dict(parameters or {}))
        except ClickHouseError as error:
            raise StoreError(f"{shown(self.url)}: {_line(error)}") from error


def open_store(url: str, *, readonly: bool = False, retention: Mapping[str, int] | None = None) -> Store:
    """A store that is ready for use: an embedded one is brought to this version's schema.

    A server's schema changes only when asked: StoreError says that migrations are missing.
    """
    from collector import migrate  # it builds on Store

    store = Store(existing(url) if readonly else url)
    try:
        if store.embedded:
            migrate.migrate(store, retention)
        elif missing := migrate.pending(store):
            raise StoreError(f"{shown(url)}: {len(missing)} migrations are missing: run `aiscope migrate`")
        if readonly:
            store.latch()
    except BaseException:
        store.close()
        raise
    return store


@cache
def query(name: str) -> str:
    """The text of a query file, with the parts that several share (`_filter.sql` for `${filter}`) put in."""
    shared = {part.stem[1:]: part.read_text("utf-8").strip() for part in QUERIES.glob("_*.sql")}
    text = Template((QUERIES / f"{name}.sql").read_text("utf-8")).substitute(shared)
    return Template(text).substitute(shared)  # a part may have a part


def own_format(text: str) -> bool:
    """Whether a statement says its format, or is an INSERT, to whose data another one would belong."""
    return bool(_OWN_FORMAT.search(text) or _INSERT.match(text))


def shown(url: str) -> str:
    """A store's URL without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}").geturl()


def as_url(text: str) -> str:
    """A store as the user names it: an URL, or a directory. Raises StoreError for no name at all."""
    if not text:
        raise StoreError("the store has no name: an URL or a directory is wanted")
    return text if "://" in text else store_url(expanded(Path(text)).resolve())


def directory(url: str) -> Path | None:
    """The directory of an embedded store, None for a server's. Raises StoreError."""
    parts = _split(url)
    if parts.scheme != "chdb":
        return None
    found = expanded(Path(unquote(parts.netloc + parts.path, errors="surrogateescape")))
    if _is(found, Path.exists) and not found.is_dir():
        raise StoreError(f"{found} is a file; a store is a directory")
    if refused := _REFUSED.search(str(found)):
        raise StoreError(f"{url}: the engine takes no {refused[0]!r} in a directory's name")
    return found


def existing(url: str) -> str:
    """The same URL, for who only reads. Raises StoreError when nothing made a store there yet."""
    place = directory(url)
    if place is not None and not _is(place / "metadata", Path.is_dir):
        raise StoreError(f"{url}: no store there yet: `aiscope read FILE` makes one")
    return url


def _is(path: Path, asked: Callable[[Path], bool]) -> bool:
    try:
        return asked(path)
    except OSError as error:  # a name that is too long, a directory nobody may look into
        raise StoreError(f"{path}: {error.strerror}") from None


def _split(url: str) -> Any:
    parts = urlsplit(url)
    if parts.scheme not in {"chdb", "http", "https"}:
        raise StoreError(
            f"{shown(url) or 'store.url'}: a store is chdb:///DIRECTORY or http(s)://user:password@host:port/"
        )
    if parts.scheme != "chdb" and not parts.hostname:
        raise StoreError(f"{shown(url)}: no host")
    if parts.scheme == "chdb" and (parts.netloc[:1] not in ("", "~") or len(parts.path) < 2):
        raise StoreError(f"{url}: the directory of a chdb store is absolute: chdb:///var/lib/aiscope/store")
    if parts.scheme == "chdb" and ("?" in url or "#" in url):
        raise StoreError(f"{url}: ? and # in a directory's name are written %3F and %23")
    return parts


def _connection(directory: Path | None) -> str:
    return f"{directory}?{urlencode(_options(directory))}"


def _options(directory: Path | None) -> dict[str, object]:
    """Of the embedded engine. Backups are written beside the data, and nowhere else."""
    disk = "storage_configuration.disks.backups"
    place = {
        f"{disk}.type": "local",
        f"{disk}.path": f"{directory}/backups/",
        "backups.allowed_disk": "backups",
    }
    return {**_ENGINE, **place}


def _embedded(directory: Path) -> Any:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return clickhouse_connect.get_client(
            interface="chdb",
            path=str(directory.resolve()),
            chdb_options=_options(directory.resolve()),
            settings={"max_memory_usage": QUERY_BYTES},
        )
    except ImportError as error:
        absent = importlib.util.find_spec("chdb") is None
        why = "is not installed: pip install 'aiscope[collector]'" if absent else f"cannot be loaded: {error}"
        raise StoreError(f"chdb://{directory}: the embedded store {why}") from None


def _remote(parts: Any) -> Any:
    return clickhouse_connect.get_client(
        host=parts.hostname,
        port=parts.port or (8443 if parts.scheme == "https" else 8123),
        username=unquote(parts.username or "") or None,
        password=unquote(parts.password or ""),
        interface=parts.scheme,
        compression="zstd",
        autogenerate_session_id=False,
    )


def _why(error: Exception, url: str, directory: Path | None) -> str:
    """What to say when a store does not open. The engine leaves the owner's process number in `status`."""
    if directory is None or "EmbeddedServer" not in str(error):
        return f"{url}: {_line(error)}"
    status = directory / "status"
    found = re.search(r"PID: (\d+)", status.read_text("utf-8", "replace")) if status.is_file() else None
    if found is None:
        return f"{url}: the engine cannot open this directory (rights, free space, another version's files?)"
    command = Path(f"/proc/{found[1]}/cmdline")
    try:
        running = command.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        running = "of another user or machine"
    return (
        f"{url}: in use by process {found[1]} ({running[:80]}); one process at a time can open a directory: "
        "stop that one, or let `aiscope collect` own it and use its http:// address"
    )


def _line(error: Exception) -> str:
    """An engine's error as one line, without version and trace; of a server that is away only why."""
    if refused := _AWAY.match(str(error)):
        return f"cannot be reached: {refused[1]}"
    text = str(error).partition("Stack trace")[0]
    text = re.sub(r"\(version [^)]*\)|Streaming insert \w+ failed: |DB::Exception: ", "", text)
    text = re.sub(r"Received ClickHouse exception, code: \d+, server response: | \(for url \S+\)", "", text)
    text = re.sub(r"(Code: \d+\. )(?:Code: \d+\. )+", r"\1", text)  # of causes, one inside the other
    text = re.sub(r"( \([A-Z_]+\))(?: ?\.\1)+", r"\1", text)
    return " ".join(text.split())[:500]


def _literal(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _unbound(name: str, kind: str) -> Any:
    return _BOUNDS.get(name, [] if kind.startswith("Array") else "")


def _bindable(value: Any) -> Any:
    """Times as UTC text: the driver would write them in the server's time zone."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return value
