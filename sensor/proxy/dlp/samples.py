"""Test cases with made-up secrets: `ghp_{{alnum:36}}` instead of a token that a reader could mistake for a real one.

The same case always becomes the same text.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

import re2

_ALPHABETS = {
    "alnum": string.ascii_letters + string.digits,
    "lower": string.ascii_lowercase + string.digits,
    "upper": string.ascii_uppercase + string.digits,
    "letters": string.ascii_letters,
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "digits": string.digits,
    "base32": string.ascii_uppercase + "234567",
    "base64": string.ascii_letters + string.digits + "+/",
    "base64url": string.ascii_letters + string.digits + "-_",
}
_FIELD = re2.compile(r"\{\{([A-Za-z0-9]+)(?::(\d{1,4}))?\}\}")


class UnknownFieldError(ValueError):
    """A field in double braces that this module does not know."""


def _jwt(rng: random.Random) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(f'{{"sub":"{rng.randrange(10**9)}","iat":1516239022}}'.encode())
    return f"{head}.{body.decode().rstrip('=')}.{_letters('base64url', 43, rng)}"


def _uuid(rng: random.Random) -> str:
    return "-".join(_letters("hex", n, rng) for n in (8, 4, 4, 4, 12))


def _letters(kind: str, length: int, rng: random.Random) -> str:
    return "".join(rng.choices(_ALPHABETS[kind], k=length))


_MAKERS: dict[str, Callable[[random.Random], str]] = {"jwt": _jwt, "uuid": _uuid}


def expand(text: str, seed: int = 0) -> str:
    """The text with its fields filled. Raises UnknownFieldError."""
    rng = random.Random(f"{seed} {text}")  # noqa: S311 -- test texts
    done, parts = 0, []
    for field in _FIELD.finditer(text):
        parts.append(text[done : field.start()])
        done = field.end()
        kind, length = field[1], field[2]
        if kind in _MAKERS and not length:
            parts.append(_MAKERS[kind](rng))
        elif kind in _ALPHABETS and length:
            parts.append(_letters(kind, int(length), rng))
        else:
            raise UnknownFieldError(f"unknown field {field[0]}")
    return "".join([*parts, text[done:]])
