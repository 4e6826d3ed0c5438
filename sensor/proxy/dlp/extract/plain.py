"""Text, HTML and the strings of JSON. JSON is read as a row of tokens, so neither depth nor a cut end matters."""

from __future__ import annotations

import binascii
import codecs
import html
import json
import quopri
import re
from typing import Any

import re2

from sensor.proxy.dlp.extract.budget import Budget

# RFC 2397: type and parameters, then whether it is base64. What a person writes after `data:` is none.
DATA_URL = re.compile(r"data:([\w.+/;=%\-]{0,300}?)(;base64)?,", re.IGNORECASE)
_HEAD = 4_096
_JSON = re2.compile(rb'\s*(?:\{\s*["}]|\[\s*["\[{\d\]tfn\-])')
_TOKEN = re2.compile(rb'"((?:[^"\\]|\\.)*)"[ \t\r\n]*(:?)|-?\d[\d.eE+\-]{5,40}')
_DROPPED = re2.compile(
    r"(?is)<(?:script|style|template|noscript)\b[^>]*>|</(?:script|style|template|noscript)\s*>|<!--|-->"
)
_TAG = re2.compile(r"(?s)</?[A-Za-z!?][^<>]*>")
_BLOCK = re2.compile(r"(?i)</?(?:p|div|br|li|tr|td|th|h[1-6]|table|ul|ol|section|article|title|pre)\b[^<>]*>")


# A header with the field that all mail with encoded parts has (RFC 2045 4), perhaps after an mbox's first line.
_MAIL = re2.compile(rb"(?i)(?:From [^\n]*\n)?(?:[A-Z][\w\-]{0,60}:[^\n]*\n|[ \t][^\n]*\n)*mime-version:")
_MAIL_HEAD = 65_536
_ENCODED_WORD = re2.compile(r"=\?([^?\s]{1,40})\?([BbQq])\?([^?\s]{0,200})\?=")  # RFC 2047 2


def decode(data: bytes, charset: str = "") -> str | None:
    """Bytes as text: by its mark, by `charset`, else UTF-8 with what is wrong replaced. None: not text at all."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(name, "replace")
    head = data[:_HEAD]
    if head.count(0) > len(head) // 20:
        wide = next((n for n, at in (("utf-16-le", 1), ("utf-16-be", 0)) if _is_wide(head, at)), "")
        return data.decode(wide, "replace") if wide else None
    try:
        return data.decode(codecs.lookup(charset).name if charset else "utf-8", "replace")
    except (LookupError, ValueError, UnicodeError):
        return data.decode("utf-8", "replace")


def is_text(data: bytes) -> bool:
    """Whether bytes of unknown kind look like text: few control characters, mostly right UTF-8."""
    head = data[:_HEAD]
    if not head or decode(head) is None:
        return False
    text = decode(head) or ""
    odd = sum(c == "\ufffd" or (c < " " and c not in "\t\r\n\f\x1b") for c in text)
    return odd <= len(text) // 10


def looks_json(data: bytes) -> bool:
    """Whether bytes of unknown kind begin as JSON does."""
    return _JSON.match(data[:_HEAD]) is not None


def looks_mail(data: bytes) -> bool:
    """Whether bytes of unknown kind begin as a message does."""
    return _MAIL.match(data[:_MAIL_HEAD]) is not None


def encoded_words(text: str) -> str:
    """Header fields with their words decoded (RFC 2047)."""
    return str(_ENCODED_WORD.sub(_word, text.replace("?= =?", "?==?")))


def _word(match: Any) -> str:
    charset, coding, text = match.groups()
    try:
        data = quopri.decodestring(text, header=True) if coding in "Qq" else binascii.a2b_base64(text + "==")
    except ValueError:  # wrong padding, or not ASCII
        return str(match[0])
    return decode(data, charset.partition("*")[0]) or ""


def _is_wide(head: bytes, at: int) -> bool:
    zeros = head[at::2].count(0)
    return zeros > len(head) // 4 and head[1 - at :: 2].count(0) < len(head) // 20


def strip_html(text: str) -> str:
    """What a reader would see, and comments, which a model sees too. Scripts stay: they can hold data."""
    text = _DROPPED.sub("\n", text)
    return html.unescape(_TAG.sub(" ", _BLOCK.sub("\n", text)))


def read_json(data: bytes, where: str, budget: Budget) -> list[tuple[str, str]]:
    """Add every string and long number with the key before it; give back strings that hold base64, with place."""
    key, blobs = "", []
    for token in _TOKEN.finditer(data):
        budget.strings += 1
        if budget.strings > budget.limits.strings:
            budget.too_large(where, "json")
            budget.add(where, decode(data[token.start() :]) or "")
            break
        text = token[0].decode("utf-8", "replace") if token[1] is None else _unescaped(token[1])
        if token[2]:
            key = text[:64]
            continue
        place = f"{where}.{key}" if key else where
        if DATA_URL.match(text) or _is_base64(text):
            blobs.append((place, text))
        elif not budget.add(place, text, key):
            break
    return blobs


def _unescaped(raw: bytes) -> str:
    if b"\\" not in raw:
        return raw.decode("utf-8", "replace")
    try:
        value: Any = json.loads(b'"' + raw + b'"', strict=False)
    except ValueError:  # a wrong escape, or not UTF-8
        return raw.decode("utf-8", "replace")
    return str(value)


_BASE64 = re2.compile(r"[A-Za-z0-9+/_\-\r\n]+={0,2}\s*")


def _is_base64(text: str) -> bool:
    """Long text without spaces in base64's letters: a file in JSON. Words have spaces; keys are shorter."""
    return len(text) >= 1_000 and " " not in text[:200] and _BASE64.fullmatch(text) is not None
