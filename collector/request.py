"""ClickHouse's HTTP request: what of it is statement, parameter, setting, login. Pure; reads nothing."""

from __future__ import annotations

import base64
import binascii
import email.message
import email.parser
import email.policy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from collector.errors import Refused

MAX_FIELDS = 512  # URL arguments
MAX_VALUE = 256 << 10  # characters of a bound parameter
MAX_SESSION = 256  # characters of a session's name
MAX_HEAD = 1 << 10  # bytes of a form's header and of a part's: the time to read one grows as the square

# Arguments that are neither settings nor parameters. Progress is not sent.
_OWN = frozenset(
    """query database default_format query_id session_id session_timeout session_check close_session user password
    quota_key wait_end_of_query buffer_size stacktrace compress decompress client_protocol_version role
    send_progress_in_http_headers http_headers_progress_interval_ms cancel_http_readonly_queries_on_client_close
    enable_http_compression http_zlib_compression_level add_http_cors_header readonly
    http_write_exception_in_output_format http_response_buffer_size""".split()  # noqa: SIM905
)
_NAME = re.compile(r"[A-Za-z_]\w{0,127}")
_ID = re.compile(r"[\x20-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Login:
    """Who says to be asking. `user` is empty for a bearer token, which names its user."""

    user: str
    secret: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table that came with a request. Its columns are SQL: `name Type, ...`."""

    name: str
    columns: str
    form: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: its fields, and the bytes of its files by name."""

    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """One request without its body. Parameters are in the engine's text form (tab-separated escapes)."""

    query: str
    database: str
    default_format: str
    query_id: str
    wait: bool
    compress: bool
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    login: Login | None
    session: str = ""
    session_timeout: float = 0.0
    session_check: bool = False
    tables: tuple[Table, ...] = ()


def parse(query_string: bytes, headers: Mapping[str, str], form: Form | None = None) -> Request:
    """From the URL's arguments, the headers (lower case) and a form. Refused when malformed."""
    form = form or Form()
    fields = _fields(query_string) | dict(form.fields)
    tables = tuple(_table(name, data, fields) for name, data in form.files.items())
    if fields.get("compress", "0") not in {"0", ""} or fields.get("decompress", "0") not in {"0", ""}:
        raise Refused("NOT_IMPLEMENTED", "compress and decompress: use Accept-Encoding and Content-Encoding")
    parameters = {name[6:]: value for name, value in fields.items() if name.startswith("param_")}
    settings = {
        name: value for name, value in fields.items() if name not in _OWN and not name.startswith("param_")
    }
    for name in settings:
        if not _NAME.fullmatch(name):
            raise Refused("UNKNOWN_SETTING", f"{name[:60]!r}: not a setting")
    for name in parameters:
        if not _ID.fullmatch(name):
            raise Refused("BAD_QUERY_PARAMETER", f"param_{name[:60]!r}: up to 128 printable ASCII characters")
    query_id, session = fields.get("query_id", ""), fields.get("session_id", "")
    if len(session) > MAX_SESSION:
        raise Refused("BAD_QUERY_PARAMETER", f"session_id: up to {MAX_SESSION} characters")
    if query_id and not _ID.fullmatch(query_id):
        raise Refused("BAD_QUERY_PARAMETER", "query_id: up to 128 printable ASCII characters")
    database = fields.get("database") or headers.get("x-clickhouse-database", "")
    return Request(
        query=fields.get("query", ""),
        database=database if database != "__default__" else "",
        default_format=fields.get("default_format") or headers.get("x-clickhouse-format", ""),
        query_id=query_id,
        wait=fields.get("wait_end_of_query", "0") not in {"0", "", "false"},
        compress=fields.get("enable_http_compression", "0") not in {"0", "", "false"},
        parameters=parameters,
        settings=settings,
        login=_login(headers, fields),
        session=session,
        session_timeout=_seconds(fields.get("session_timeout", "0")),
        session_check=fields.get("session_check", "0") == "1",
        tables=tables,
    )


def _table(name: str, data: bytes, fields: dict[str, str]) -> Table:
    """External data, after ClickHouse: NAME_structure or NAME_types, and NAME_format; taken from the fields."""
    form = fields.pop(f"{name}_format", "TabSeparated")
    columns, types = fields.pop(f"{name}_structure", ""), fields.pop(f"{name}_types", "")
    if types:
        found = re.findall(r"(?:[^,()]|\((?:[^()]|\([^()]*\))*\))+", types)
        columns = ", ".join(f"_{number} {kind}" for number, kind in enumerate(found, 1))
    if not columns:
        raise Refused("BAD_QUERY_PARAMETER", f"{name[:60]!r}: no structure, and no types")
    return Table(name, columns, form, data)


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\d{1,6}", value):
        raise Refused("BAD_QUERY_PARAMETER", "session_timeout: whole seconds")
    return float(value)


def _fields(query_string: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise Refused("BAD_QUERY_PARAMETER", "the URL's arguments cannot be read") from None
    return _once(pairs)


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A name that comes twice could be judged as one thing and run as another."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise Refused("BAD_QUERY_PARAMETER", f"{name[:60]!r} is given twice")
        if len(value) > MAX_VALUE and name != "query":
            raise Refused("BAD_QUERY_PARAMETER", f"{name[:60]!r} is too long")
        found[name] = value
    return found


def parse_form(content_type: str, body: bytes) -> Form:
    """A multipart form (RFC 7578). Refused when it cannot be read."""
    message = email.message.Message()
    message["content-type"] = content_type[:MAX_HEAD]
    boundary = message.get_boundary()
    if not boundary:
        raise Refused("BAD_QUERY_PARAMETER", "the form cannot be read")
    *parts, end = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if not end.startswith(b"--") or len(parts) > MAX_FIELDS:
        raise Refused("BAD_QUERY_PARAMETER", "the form cannot be read")
    pairs, files = [], {}
    for part in parts[1:]:
        head, _, data = part.partition(b"\r\n\r\n")
        if len(head) > MAX_HEAD:
            raise Refused("BAD_QUERY_PARAMETER", f"a part of a form has up to {MAX_HEAD} bytes of headers")
        headers = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(
            head.lstrip() + b"\r\n\r\n"
        )
        name = headers.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise Refused("BAD_QUERY_PARAMETER", "a part of the form has no name")
        if headers.get_filename() is None:
            pairs.append((name, data.decode("utf-8", "replace")))
        elif name in files or not _NAME.fullmatch(name):
            raise Refused("BAD_QUERY_PARAMETER", f"{name[:60]!r}: not a name of a table, or one given twice")
        else:
            files[name] = data
    return Form(_once(pairs), files)


def _login(headers: Mapping[str, str], fields: Mapping[str, str]) -> Login | None:
    """One way to log in: the header, ClickHouse's headers, or the URL's arguments. Refused when mixed."""
    ways = []
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        ways.append(Login("", value.strip()))
    elif scheme.lower() == "basic":
        ways.append(_basic(value))
    elif scheme:
        raise Refused("AUTHENTICATION_FAILED", "Authorization is Basic or Bearer")
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        ways.append(Login(headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")))
    if "user" in fields or "password" in fields:
        ways.append(Login(fields.get("user", "default"), fields.get("password", "")))
    if len(ways) > 1:
        raise Refused("AUTHENTICATION_FAILED", "log in one way: Authorization, X-ClickHouse-User, or user=")
    return ways[0] if ways else None


def _basic(value: str) -> Login:
    try:
        user, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        raise Refused("AUTHENTICATION_FAILED", "Basic takes user:password in base64")
    return Login(user, secret)
