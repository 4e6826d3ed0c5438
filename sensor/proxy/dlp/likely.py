"""What a secret looks like, and what only stands in a secret's place. Pure functions on short texts."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections import Counter


def entropy(value: str) -> float:
    """Shannon's entropy in bits per character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts) if value else 0.0


# Whole words of documentation. Short ones would be in random text by chance and are left out.
_DOC_WORDS = (
    "example", "placeholder", "changeme", "change_me", "change-me", "your-", "your_", "yourkey", "yourtoken", "yourapi",
    "yoursecret", "xxxx", "dummy", "redacted", "insert", "replace", "sample", "notreal", "not-real", "not_real",
    "fakekey", "fake-", "fake_", "foobar", "lorem", "mysecret", "my-secret", "my_secret", "mypassword", "my-token",
    "my_token", "my-api", "my_api", "apikeyhere", "_here", "-here", "todo", "undefined", "00000000", "......", "*****",
    "<", "${", "{{", "%(", "$(",
)  # fmt: skip
# They say it only where nothing but a name says that it is a secret: a vendor's format weighs more.
_SEQUENCES = ("abcdefgh", "abc123", "01234567", "12345678", "87654321", "deadbeef")


def sequence(value: str) -> bool:
    """The alphabet or digits in their order."""
    low = value.lower()
    return any(word in low[:512] for word in _SEQUENCES)


def placeholder(value: str) -> bool:
    """True for what documentation writes in a secret's place."""
    low = value.lower()
    if any(word in low[:512] for word in _DOC_WORDS) or low.endswith(("...", "here")):
        return True
    body = [c for c in low if c.isalnum()]
    return len(body) >= 8 and len(set(body)) <= max(3, min(5, len(body) // 6))


def jwt(value: str) -> bool:
    """RFC 7519: the header is a JSON object that names an algorithm or a type."""
    head = value.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and bool({"alg", "typ", "enc", "kid"} & header.keys())


_PEM_LINES = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \r\n\t\\n")


def pem(value: str) -> bool:
    """RFC 7468: base64 between the lines, of some length and not a stand-in. Headers (RFC 1421) may come first."""
    body = value.partition("KEY")[2].partition("-----")[2].partition("-----")[0]
    lines = [line for line in body.replace("\\r", "").replace("\\n", "\n").split("\n") if ":" not in line]
    text = "".join("".join(lines).split()).rstrip("-")
    if not text.strip("."):
        return False
    return len(text) >= 24 and set(text) <= _PEM_LINES and len(set(text)) >= 12


# Words that stand where a password would be in code, configuration and documentation.
_NOT_PASSWORDS = frozenset((
    "password", "passwd", "pass", "pwd", "secret", "token", "none", "null", "nil", "true", "false", "undefined",
    "required", "optional", "string", "str", "text", "value", "default", "admin", "root", "user", "username",
    "guest", "test", "testing", "demo", "qwerty", "letmein", "welcome", "hidden", "masked", "removed", "prompt",
    "input", "getpass", "env", "environ", "config", "settings", "key", "hash", "field", "column", "enabled",
    "disabled", "empty", "unknown", "incorrect", "invalid", "missing", "expired", "reset", "changed", "correct",
    "wrong",
))  # fmt: skip


def password(value: str) -> bool:
    """Something that someone chose as a password: mixed characters, not a word, a variable, a path or a hash."""
    if not 6 <= len(value) <= 128 or value.lower() in _NOT_PASSWORDS or placeholder(value) or sequence(value):
        return False
    if (
        value[0] in "$<{[(%@&/"
        or value.startswith("ENC[")
        or "(" in value
        or "://" in value
        or value.endswith((")", "]", ";", ".", ","))
    ):
        return False
    kinds = (
        any(c.islower() for c in value),
        any(c.isupper() for c in value),
        any(c.isdigit() for c in value),
    )
    marks = any(c in "!#$%&*+=?@^~" for c in value)
    if value.replace("_", "").replace(".", "").replace("-", "").isalpha():
        return False  # an identifier, a sentence's word
    return kinds[2] + marks >= 1 and sum(kinds) + marks >= 2


def literal(value: str) -> bool:
    """Not a variable, and not a word for what should stand there."""
    return (
        value[0] not in "$<{[%"
        and not value.endswith(">")
        and value.lower() not in _NOT_PASSWORDS
        and not placeholder(value)
        and not sequence(value)
    )


def secret(value: str) -> bool:
    """`named`, and not a UUID: those name far more things than secrets."""
    return not (len(value) == 36 and value.count("-") == 4) and named(value)


def named(value: str) -> bool:
    """Random text: enough entropy for its length, digits among letters, not an identifier or a path."""
    if placeholder(value) or sequence(value):
        return False
    if not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    first, dot, _ = value.partition(".")
    if dot and first not in ("pk", "sk") and first.islower() and first.replace("_", "").isalpha():
        return False  # a member of a module or an object
    words = value.replace("-", "_").replace(".", "_").replace("/", "_").split("_")
    plain = sum(w.isalpha() or w.isdigit() for w in words)
    if len(words) > 2 and len(value) != 36 and 2 * plain > len(words) and max(map(len, words)) <= 12:
        return False  # a path, a slug, a constant's name
    hexadecimal = all(c in "0123456789abcdefABCDEF-" for c in value)
    return entropy(value) >= (2.9 if hexadecimal else 3.3)
