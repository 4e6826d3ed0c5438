"""ClickHouse's error codes, as its HTTP interface says them."""

from __future__ import annotations

import re

# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
CODES = {
    "NO_SUCH_COLUMN_IN_TABLE": 16,
    "CANNOT_READ_ALL_DATA": 33,
    "UNKNOWN_FUNCTION": 46,
    "NOT_IMPLEMENTED": 48,
    "UNKNOWN_TABLE": 60,
    "SYNTAX_ERROR": 62,
    "UNKNOWN_FORMAT": 73,
    "UNKNOWN_DATABASE": 81,
    "UNKNOWN_SETTING": 115,
    "INCORRECT_DATA": 117,
    "TIMEOUT_EXCEEDED": 159,
    "READONLY": 164,
    "QUERY_IS_TOO_LARGE": 168,
    "REQUIRED_PASSWORD": 194,
    "QUOTA_EXCEEDED": 201,
    "TOO_MANY_SIMULTANEOUS_QUERIES": 202,
    "SOCKET_TIMEOUT": 209,
    "MEMORY_LIMIT_EXCEEDED": 241,
    "NOT_ENOUGH_SPACE": 243,
    "SUPPORT_IS_DISABLED": 344,
    "SESSION_NOT_FOUND": 372,
    "SESSION_IS_LOCKED": 373,
    "HTTP_LENGTH_REQUIRED": 381,
    "QUERY_WAS_CANCELLED": 394,
    "SETTING_CONSTRAINT_VIOLATION": 452,
    "BAD_QUERY_PARAMETER": 457,
    "ACCESS_DENIED": 497,
    "AUTHENTICATION_FAILED": 516,
    "CANNOT_DECOMPRESS": 354,
    "UNKNOWN_COMPRESSION_METHOD": 89,
    "TOO_LARGE_STRING_SIZE": 131,
}

# Codes whose HTTP status is not 500, after ClickHouse's exceptionCodeToHTTPStatus; what is our client's fault is 4xx.
_STATUS = {
    194: 401,
    516: 403,
    497: 403,
    452: 403,
    164: 403,
    344: 403,
    60: 404,
    372: 404,
    373: 423,
    81: 404,
    46: 404,
    73: 404,
    159: 408,
    209: 408,
    381: 411,
    168: 413,
    131: 413,
    48: 501,
    201: 429,
    202: 429,
    241: 503,
    243: 507,
    394: 499,
    **dict.fromkeys(
        (6, 16, 26, 27, 33, 36, 38, 41, 42, 43, 47, 53, 62, 72, 89, 115, 117, 130, 354, 386, 456, 457), 400
    ),
}

_ENGINE = re.compile(r"Code: (\d+)\. DB::Exception: ")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)(?: \(version [^)]*\))?\s*$")
# A cause's error inside another's: both end in its name and version.
_NESTED = re.compile(r" \([A-Z][A-Z0-9_]+\) \(version .*", re.DOTALL)
# What the operating system says when a disk is full, as the engine passes it on.
_FULL = re.compile(r"No space left on device|errno: 28\b|NOT_ENOUGH_SPACE|CANNOT_WRITE_TO_FILE_DESCRIPTOR")


class Refused(Exception):  # noqa: N818  # it is an answer
    """A request that ends with an error: ClickHouse's code, its name, and what was wrong."""

    def __init__(self, name: str, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.name = name
        self.code = CODES[name] if code is None else code
        self.reason = reason

    @property
    def status(self) -> int:
        """HTTP status."""
        return _STATUS.get(self.code, 500)

    @property
    def text(self) -> str:
        """The body of the answer, in ClickHouse's words so that clients find code and name."""
        return f"Code: {self.code}. DB::Exception: {self.reason} ({self.name})\n"


def from_engine(error: Exception) -> Refused:
    """What chDB raised, without its version, trace and nested codes."""
    text = str(error).partition("Stack trace:")[0].strip()
    if _FULL.search(text):
        return Refused("NOT_ENOUGH_SPACE", "the store's disk is full: nothing of this request was written")
    found = list(_ENGINE.finditer(text))
    if not found:
        return Refused("UNKNOWN_EXCEPTION", " ".join(text.split())[:2000], 1002)
    name = _NAME.search(text)
    reason = _NAME.sub("", _NESTED.sub("", text[found[-1].end() :])).strip()
    return Refused(name[1] if name else "UNKNOWN_EXCEPTION", reason[:20_000], int(found[0][1]))
