"""ClickHouse's HTTP request: what of it is statement, parameter, setting, login. Pure; reads nothing."""

from __future__ import annotations

import base64
import binascii
import email.parser
import email.policy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from collector.errors import Refused

MAX_FIELDS = 512  # URL arguments
MAX_VALUE = 256 << 10  # characters of a bound parameter

# Arguments that are neither settings nor parameters. Of sessions nothing is kept, progress is not sent.
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


def parse(query_string: bytes, headers: Mapping[str, str], form: Mapping[str, str] | None = None) -> Request:
    """From the URL's arguments, the headers (lower case) and the fields of a form. Refused when malformed."""
    fields = _fields(query_string) | dict(form or {})
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
    query_id = fields.get("query_id", "")
    if query_id and not _ID.fullmatch(query_id):
        raise Refused("BAD_QUERY_PARAMETER", "query_id: up to 128 printable ASCII characters")
    return Request(
        query=fields.get("query", ""),
        database=fields.get("database") or headers.get("x-clickhouse-database", ""),
        default_format=fields.get("default_format") or headers.get("x-clickhouse-format", ""),
        query_id=query_id,
        wait=fields.get("wait_end_of_query", "0") not in {"0", "", "false"},
        compress=fields.get("enable_http_compression", "0") not in {"0", "", "false"},
        parameters=parameters,
        settings=settings,
        login=_login(headers, fields),
    )


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


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """Fields of a multipart form. Refused for files: tables from outside (external data) are not supported."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise Refused("BAD_QUERY_PARAMETER", "the form cannot be read")
    pairs = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str) or part.get_filename() is not None:
            raise Refused("NOT_IMPLEMENTED", "external data is not supported")
        payload = part.get_payload(decode=True)
        pairs.append((name, payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""))
    found = _once(pairs)
    if any(re.fullmatch(r"\w+_(structure|types|format)", name) for name in found):
        raise Refused("NOT_IMPLEMENTED", "external data is not supported")
    return found


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
