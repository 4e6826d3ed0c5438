"""What is known of a request to an AI service and of its answer: plain values, no behaviour to speak of."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

# What a text is to the conversation. `definition`: of a tool; `other`: in the body, but no part of a prompt
# we know.
ROLES = ("system", "user", "assistant", "tool", "tool_call", "definition", "other")


class Secret:
    """A credential of the client. It cannot be printed, logged or read back: only fingerprinted."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(...)" if self._value else "Secret()"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")

    def fingerprint(self, key: bytes) -> str:
        """HMAC-SHA256 under the site's key, 16 hex digits; "" without a credential."""
        if not self._value:
            return ""
        return hmac.new(key, self._value.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. Header names are lower case, repeated ones joined with `, `; `body` has no coding."""

    method: str
    scheme: str  # http, https, ws, wss
    host: str
    port: int
    path: str  # without the query, as sent
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a body. `where`: a JSON Pointer (RFC 6901) for `rewrite`; None: cannot be rewritten."""

    where: str | None
    text: str = field(repr=False)
    role: str = "other"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation sent along. `size`: its characters, attachments not counted."""

    role: str
    size: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file or picture. What is only referred to (an address, a file id) has no size, hash or data."""

    name: str
    type: str  # media type as stated, "" when not
    size: int | None = None
    sha256: str = ""
    data: bytes = field(default=b"", repr=False)  # the beginning only, when it passed as a stream
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account it is, as far as the request says. `kind`: corporate, personal, unknown."""

    organisation: str = ""
    project: str = ""
    user: str = ""
    kind: str = "unknown"
    key: Secret = field(default_factory=Secret)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that uses a service."""

    provider: str
    operation: str  # chat, completion, embedding, rerank, moderation, image, audio, upload, batch, ...
    model: str = ""
    stream: bool | None = None  # None: the request does not say
    messages: tuple[Message, ...] = ()
    system: str = field(
        default="", repr=False
    )  # the system prompts, joined by newlines: hash it, do not keep it
    texts: tuple[Text, ...] = field(default=(), repr=False)
    attachments: tuple[Attachment, ...] = ()
    tools_offered: tuple[str, ...] = ()
    tools_called: tuple[str, ...] = ()  # an MCP call's tool; with models, those that the sent history holds
    account: Account = field(default_factory=Account)
    retry: int = 0  # how often the client tried before, by its own count
    shape: str = "known"  # known; unknown: read as far as text was found; opaque: the payload cannot be read
    cut: bool = False  # something was not read: too long, too deep, too many, broken
    flaws: tuple[
        str, ...
    ] = ()  # why the server may read something else than we did; `rewrite(request, {})` heals


@dataclass(frozen=True, slots=True)
class Result:
    """What an answer says. Token numbers are the vendor's own; None: not reported."""

    status: int
    model: str = ""
    stream: bool = False
    texts: tuple[Text, ...] = field(default=(), repr=False)
    attachments: tuple[Attachment, ...] = ()
    tools_called: tuple[str, ...] = ()
    tokens_in: int | None = None  # all of them, cached ones too
    tokens_out: int | None = None
    tokens_cached: int | None = None  # those of `tokens_in` that came from a cache
    tokens_written: int | None = None  # those of `tokens_in` that went to one
    listed: bool = True  # False: some tokens have a price of their own (audio, a long cache, a service tier)
    finish: str = ""  # stop, length, tool_calls, end_turn, ...: the vendor's word
    error: str = ""  # the vendor's kind of error, never its message
    organisation: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of our own, in the vendor's format."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
