"""Text out of bodies and files: JSON, forms, HTML, PDF, Office, picture metadata, archives.

Hostile input is the normal case: everything is bounded by `ExtractLimits`, what could not be read becomes a hit
of kind `unreadable` or `too-large`, and what was read before that is kept. `extract` raises nothing.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import io
import quopri
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from typing import Protocol
from urllib.parse import parse_qsl, unquote

from sensor.proxy.dlp.extract import documents, plain
from sensor.proxy.dlp.extract.budget import Budget, ExtractLimits
from sensor.proxy.dlp.model import Hit, Text

__all__ = ["ExtractLimits", "Extracted", "attachments", "extract"]

_JSON = ("application/json", "application/x-ndjson", "application/jsonl", "text/event-stream")
_ANY = ("", "text/plain", "application/octet-stream")  # what is said of files by who does not know them
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
# Kinds without text for us. They are counted by whoever sent them here, and are no problem.
_MEDIA = ("audio/", "video/", "font/", "image/")


@dataclass(frozen=True, slots=True)
class Extracted:
    """Texts with their places, and hits of kind `unreadable` and `too-large`."""

    texts: tuple[Text, ...]
    problems: tuple[Hit, ...]


def extract(
    body: bytes, content_type: str = "", where: str = "body", limits: ExtractLimits | None = None
) -> Extracted:
    """The texts of a body or a file. What the type says is believed only where the bytes do not say otherwise."""
    budget = Budget(limits or ExtractLimits())
    _read(body, content_type, where, budget, 0)
    return Extracted(tuple(budget.texts), tuple(budget.problems))


class Attached(Protocol):
    """A file that came with a request."""

    @property
    def type(self) -> str:
        """Media type as stated, empty when not."""

    @property
    def data(self) -> bytes:
        """Its bytes, or their beginning."""


def attachments(
    files: Iterable[tuple[str, Attached]], limits: ExtractLimits | None = None
) -> tuple[tuple[Text, ...], tuple[Hit, ...]]:
    """Texts and problems of files, each with the place it is called by. One budget for all of them."""
    budget = Budget(limits or ExtractLimits())
    for where, file in files:
        _read(file.data, file.type, where, budget, 0)
    return tuple(budget.texts), tuple(budget.problems)


def _type(content_type: str) -> tuple[str, dict[str, str]]:
    """Media type in lower case and its parameters (RFC 9110 8.3.1)."""
    message = Message()
    message["content-type"] = "".join(c if c.isprintable() else " " for c in content_type[:1_000])
    params = message.get_params([], unquote=True)
    return message.get_content_type() if "/" in content_type else "", {
        str(key).lower(): str(value) for key, value in params[1:]
    }


def _read(data: bytes, content_type: str, where: str, budget: Budget, depth: int) -> None:
    if not data:
        return
    if depth > budget.limits.depth:
        budget.too_large(where, "depth")
        return
    kind, params = _type(content_type)
    if _by_magic(data, where, budget, depth):
        return
    if kind == "message/rfc822" or (kind in _ANY and plain.looks_mail(data)):
        _mail(data, where, budget, depth)
    elif kind.startswith("multipart/"):
        _multipart(data, params.get("boundary", ""), where, budget, depth)
    elif kind == "application/x-www-form-urlencoded":
        _form(data, where, budget)
    elif kind in _JSON or kind.endswith("+json") or (not kind and plain.looks_json(data)):
        if data and not plain.is_text(data):
            budget.unreadable(where, "binary")  # strings in it are looked at all the same
        for place, text in plain.read_json(data, where, budget):
            _blob(text, place, budget, depth)
    elif kind.startswith(_MEDIA):
        return
    else:
        _text(data, kind, params.get("charset", ""), where, budget)


def _text(data: bytes, kind: str, charset: str, where: str, budget: Budget) -> None:
    text = plain.decode(data, charset)
    if text is None or not (kind.startswith("text/") or plain.is_text(data)):
        budget.unreadable(where, "binary")
        return
    start = text[:256].lstrip().lower()
    if kind in ("text/html", "application/xhtml+xml") or start.startswith(("<!doctype html", "<html")):
        text = plain.strip_html(text)
    elif start.startswith("<"):
        text = html.unescape(text)  # XML or a piece of a page: its attributes may hold data, so tags stay
    budget.add(where, text)


def _by_magic(data: bytes, where: str, budget: Budget, depth: int) -> bool:
    """Read files that say what they are by their first bytes. False: none of these."""
    if len(data) > budget.limits.document and data.startswith((b"%PDF-", *_PICTURES)):
        budget.too_large(where, "document")
    elif data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        _zip(data, where, budget, depth)
    elif data.startswith(b"%PDF-"):
        documents.read_pdf(data, where, budget)
    elif data.startswith(_PICTURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        documents.read_picture(data, where, budget)
    elif data.startswith(b"\x1f\x8b"):
        _gzip(data, where, budget, depth)
    elif data[257:262] == b"ustar":
        _tar(data, where, budget, depth)
    elif data.startswith(
        (b"\xd0\xcf\x11\xe0", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
    ):
        budget.unreadable(where, "format")  # OLE (old or encrypted Office), 7-Zip, RAR and others
    else:
        return False
    return True


def _multipart(data: bytes, boundary: str, where: str, budget: Budget, depth: int) -> None:
    """RFC 2046 5.1, RFC 7578. A body that breaks off is read as far as it goes."""
    mark = b"--" + boundary.encode("utf-8", "replace")
    if not boundary or mark not in data:
        budget.unreadable(where, "multipart")
        budget.add(where, plain.decode(data) or "")
        return
    parts = data.split(mark, budget.limits.members + 1)
    if len(parts) > budget.limits.members + 1:
        budget.too_large(where, "members")
        parts.pop()
    elif not parts[-1].startswith(b"--"):
        budget.unreadable(where, "multipart-end")
    for part in parts[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.partition(b"\r\n\r\n")
        name, kind, coding = _headers(head)
        content = _decoded(content.removesuffix(b"\r\n"), coding)
        _read(content, kind, f"{where}.{name}" if name else where, budget, depth + 1)


def _mail(data: bytes, where: str, budget: Budget, depth: int) -> None:
    """A message (RFC 5322): its header, and a body that is like a part of a multipart one."""
    head, _, content = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").partition(b"\r\n\r\n")
    budget.add(f"{where}!header", plain.encoded_words(plain.decode(_FOLD.sub(b" ", head)) or ""))
    _, kind, coding = _headers(head)
    _read(_decoded(content, coding), kind, where, budget, depth + 1)


def _decoded(content: bytes, coding: str) -> bytes:
    """A part without its transfer encoding (RFC 2045 6); as it is where that is wrong."""
    if coding == "quoted-printable":
        return quopri.decodestring(content)
    if coding != "base64":
        return content
    packed = b"".join(content.split())
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except binascii.Error:
        return content


_FOLD = re.compile(rb"\r\n[ \t]+")  # RFC 5322 2.2.3


def _headers(head: bytes) -> tuple[str, str, str]:
    """A part's name (file name, else field name), its content type and its transfer encoding."""
    name = kind = coding = ""
    for line in _FOLD.sub(b" ", head[:65_536]).decode("utf-8", "replace").splitlines()[:200]:
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-type":
            kind = value.strip()
        elif key.strip().lower() == "content-transfer-encoding":
            coding = value.strip().lower()
        elif key.strip().lower() == "content-disposition":
            params = _type(f"x/y;{value.partition(';')[2]}")[1]
            name = params.get("filename") or params.get("name", "")
    return "".join(c for c in name if c.isprintable())[:100], kind, coding


def _form(data: bytes, where: str, budget: Budget) -> None:
    try:
        fields = parse_qsl(plain.decode(data) or "", max_num_fields=budget.limits.members, errors="replace")
    except ValueError:
        budget.too_large(where, "fields")
        budget.add(where, plain.decode(data) or "")
        return
    for key, value in fields:
        budget.add(f"{where}.{key[:64]}", value, key[:64])


def _blob(text: str, where: str, budget: Budget, depth: int) -> None:
    """A file inside JSON: a `data:` URL (RFC 2397) or base64 alone. What decodes to no known kind is left."""
    kind, found = "", plain.DATA_URL.match(text)
    if found:
        kind, text = found[1], text[found.end() :]
        if not found[2]:
            budget.add(where, unquote(text))
            return
    text = text.translate(str.maketrans("-_", "+/", "\r\n "))
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        budget.unreadable(where, "base64")
        return
    if kind or _known(data):
        _read(data, kind, where, budget, depth + 1)


def _known(data: bytes) -> bool:
    return data.startswith((b"PK\x03\x04", b"%PDF-", b"\x1f\x8b", *_PICTURES)) or plain.is_text(data)


def _zip(data: bytes, where: str, budget: Budget, depth: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if documents.is_office(archive):
                documents.read_office(archive, where, budget)
            else:
                for info in archive.infolist():
                    if not _member(archive, info, where, budget, depth):
                        return
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, LookupError, EOFError):
        budget.unreadable(where, "zip")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str, budget: Budget, depth: int) -> bool:
    """Read one file of an archive. False: the archive's limit is reached."""
    place = f"{where}!{info.filename[:100]}"
    budget.members += 1
    if budget.members > budget.limits.members or budget.unpacked >= budget.limits.unpacked:
        budget.too_large(where, "archive")
        return False
    if info.is_dir():
        return True
    if info.flag_bits & 1:
        budget.unreadable(place, "encrypted")
        return True
    if info.file_size > 65_536 and info.file_size > budget.limits.ratio * max(1, info.compress_size):
        budget.too_large(place, "ratio")
        return True
    try:
        with archive.open(info) as file:
            content = file.read(budget.unpack(info.file_size))
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, NotImplementedError, RuntimeError, EOFError):
        budget.unreadable(place, "zip")
        return True
    _read(content, "", place, budget, depth + 1)
    return True


def _gzip(data: bytes, where: str, budget: Budget, depth: int) -> None:
    room = min(budget.limits.unpacked - budget.unpacked, budget.limits.ratio * len(data) + 65_536)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(room)
            if file.read(1):
                budget.too_large(where, "ratio")
    except (OSError, EOFError, zlib.error):
        budget.unreadable(where, "gzip")
        return
    budget.unpack(len(content))
    _read(content, "", where, budget, depth + 1)


def _tar(data: bytes, where: str, budget: Budget, depth: int) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for info in archive:
                budget.members += 1
                if budget.members > budget.limits.members:
                    budget.too_large(where, "archive")
                    return
                if info.isfile() and (file := archive.extractfile(info)):
                    content = file.read(budget.unpack(max(0, info.size)))
                    _read(content, "", f"{where}!{info.name[:100]}", budget, depth + 1)
    except (tarfile.TarError, ValueError, OSError, EOFError, OverflowError):
        budget.unreadable(where, "tar")
