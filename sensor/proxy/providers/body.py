"""A request's body as one tree of texts and attachments, whatever its media type, and back again.

Places (`Text.where`) are JSON Pointers into that tree: of the document itself; `/2` the third part of a form
or field of an urlencoded body; `/2/!/x` inside a part that is JSON; `/7/x` in the eighth line of JSON lines;
"" a text body as a whole.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from sensor.proxy.providers import document, form, shapes
from sensor.proxy.providers.model import Attachment, Request, Text

READABLE = 8 << 20  # bytes of an unknown shape in which texts are looked for
FIELD = 65_536  # a text field of a form
LINES = 20_000
FIELDS = 1_000
OPENED = 6  # Gemini's web application: form, list, list, prompt
_DATA_URL = re.compile(r"data:([\w.+/-]{0,100})((?:;[\w=.+%-]{1,200}){0,8}),", re.IGNORECASE)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-][\r\n]{0,2}){120}")  # perhaps in lines of 76 (RFC 2045 6.8)
_ONE_ALPHABET = str.maketrans("-_", "+/", "\r\n")
_SHORT = re.compile(r"(?:[A-Za-z0-9+/_-]{4}){2,}(?:[A-Za-z0-9+/_-]{2}==|[A-Za-z0-9+/_-]{3}=)?")
_SECRETS = re.compile(r"(?<=://)[^/?#@]*+@|[?#].*", re.DOTALL)  # what an address has that lets anybody in
_RUNS = re.compile(rb"[\x20-\x7e\t\r\n\xc2-\xf4\x80-\xbf]{6,}")
# Names and numbers of things: changing one breaks the request, and no one writes a prompt there.
# fmt: off
_LABELS = frozenset({
    "role", "type", "model", "object", "id", "call_id", "tool_call_id", "tool_use_id", "toolUseId",
    "media_type", "mime_type", "mimeType", "mimetype", "encoding_format", "detail", "status",
    "finish_reason", "stop_reason", "format", "jsonrpc", "method", "purpose", "response_format", "language",
    "item_id", "finishReason", "stopReason", "modelVersion", "resultType", "cacheScope", "thread_id",
    "event_id", "response_id", "previous_response_id", "message_id", "parent_message_id", "conversation_id",
    "parent_id", "voice", "size", "quality", "service_tier", "system_fingerprint", "created_at",
    "responseId", "signature", "encrypted_content", "thoughtSignature", "thought_signature", "event",
    "author", "obfuscation",
})
_REFERENCES = frozenset({"file_id", "fileUri", "file_uri", "file_url", "document_url", "s3Location"})
_BINARY = frozenset({
    "data", "bytes", "b64_json", "file_data", "image_data", "audio", "images", "partial_image_b64", "delta",
    "bytesBase64Encoded", "input_audio", "result",
})
# fmt: on
_FILENAMES = ("filename", "file_name", "fileName", "displayName", "display_name")
_NAMES = (*_FILENAMES, "title", "name")
_TYPES = ("media_type", "mimeType", "mime_type", "fileMimeType", "format")


@dataclass(slots=True)
class Body:
    """What a body holds. `kind`: json, lines, form, fields, text, binary, empty."""

    kind: str
    tree: Any = None
    attachments: list[Attachment] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of a form's parts or fields
    headers: list[bytes] = field(default_factory=list)  # of a form's parts
    flaws: list[str] = field(default_factory=list)
    cut: bool = False


def media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def read(request: Request) -> Body:
    """Never raises; what is not understood is `binary`, what is too much is `cut`."""
    data, kind = request.body, media_type(request.headers)
    if not data:
        return Body("empty")
    if kind == "multipart/form-data":
        return _form(data, form.boundary(request.headers["content-type"]))
    if kind == "application/x-www-form-urlencoded" and data.lstrip()[:1] not in (b"{", b"["):
        return _fields(data)
    if "ndjson" in kind or "jsonl" in kind:
        return _lines(data)
    found = document.load(data)  # whatever the label says: servers do not look either
    if found is not None:
        return Body("json", found.tree, flaws=found.flaws)
    if kind.startswith("text/") or "json" in kind or not kind:
        return _plain(data, broken="json" in kind or data.lstrip()[:1] in (b"{", b"["))
    return Body("binary", data, [whole(request)], cut=kind.startswith("application/grpc"))


def write(request: Request, changes: Mapping[str, str]) -> bytes:
    """The body with new texts. KeyError for a place that is not there."""
    body = read(request)
    if body.kind in ("empty", "binary") or (body.kind == "text" and not changes):
        return request.body
    tree = document.change(body.tree, changes)
    if body.kind == "json":
        return document.dump(tree)
    if body.kind == "lines":
        lines = (line.encode() if isinstance(line, str) else document.dump(line) for line in tree)
        return b"".join(line + b"\n" for line in lines)
    if body.kind == "fields":
        return urlencode(list(zip(body.names, tree, strict=True))).encode()
    if body.kind == "form":
        parts = [part.encode("utf-8", "replace") if isinstance(part, str) else part for part in tree]
        return form.write(
            list(zip(body.headers, parts, strict=True)), form.boundary(request.headers["content-type"])
        )
    return str(tree).encode("utf-8", "replace")


def name_of(request: Request) -> str:
    """The name of an uploaded file, as its headers or path say."""
    said = form.parameter(request.headers.get("content-disposition", ""), "filename")
    last = request.path.rpartition("/")[2] if request.method == "PUT" else ""
    return said or request.headers.get("x-goog-upload-file-name") or last


def whole(request: Request) -> Attachment:
    """The body as one file."""
    return attach(name_of(request), media_type(request.headers), request.body)


def attach(name: str, kind: str, data: bytes, where: str | None = None) -> Attachment:
    return Attachment(name[:255], kind, len(data), hashlib.sha256(data).hexdigest(), data, where)


def _plain(data: bytes, broken: bool) -> Body:
    try:
        return Body("text", data.decode(), cut=broken)
    except UnicodeDecodeError:
        return Body("text", data.decode("utf-8", "replace"), flaws=["not UTF-8"], cut=broken)


def _lines(data: bytes) -> Body:
    """JSON lines. One that is no JSON stays text."""
    body, lines = Body("lines", []), data.split(b"\n", LINES)
    if not lines[-1]:
        lines.pop()
    for line in lines[:LINES]:
        found = document.load(line)
        known = found is not None and isinstance(found.tree, dict | list)
        body.tree.append(found.tree if found and known else line.decode("utf-8", "replace"))
        body.flaws += [flaw for flaw in found.flaws if flaw not in body.flaws] if found else []
    body.cut = len(lines) > LINES
    return body


def _fields(data: bytes) -> Body:
    try:
        pairs = parse_qsl(
            data.decode("ascii", "replace"), keep_blank_values=True, errors="replace", max_num_fields=FIELDS
        )
    except ValueError:
        return Body("binary", data, cut=True)
    cut = any(len(name) > 64 or " " in name for name, _ in pairs)  # data where no server looks for it
    return Body("fields", [value for _, value in pairs], names=[name for name, _ in pairs], cut=cut)


def _form(data: bytes, delimiter: bytes) -> Body:
    reader = form.Form(delimiter, len(data))
    reader.feed(data)
    body = Body("form", [])
    for place, part in enumerate(reader.finish()):
        body.names.append(part.name)
        body.headers.append(part.header)
        body.tree.append(field_or_file(part, place, body.attachments))
    body.cut = reader.cut
    return body


def field_or_file(part: form.Part, place: int, attachments: list[Attachment]) -> str | bytes:
    """A text field's text; a file's bytes, noted as an attachment."""
    kind, held = part.get("content-type").partition(";")[0].strip().lower(), bytes(part.data)
    if part.filename or part.size > FIELD or (kind and not kind.startswith(("text/", "application/json"))):
        name = part.filename or part.name
        attachments.append(Attachment(name[:255], kind, part.size, part.hash.hexdigest(), held, None))
        return held
    return held.decode("utf-8", "replace")


def view(body: Body) -> Any:
    """The tree as places see it: in forms, strings that are JSON are opened (`!`), within `OPENED` levels."""
    return _opened(body.tree, OPENED) if body.kind in ("form", "fields") else body.tree


def _opened(value: Any, depth: int) -> Any:
    if isinstance(value, list) and depth:
        return [_opened(item, depth - 1) for item in value]
    if isinstance(value, str) and depth and value[:1] in ("{", "[") and (found := document.load(value)):
        return {document.NESTED: _opened(found.tree, depth - 1)}
    return value


class Found:
    """Texts and attachments of a tree, sorted as the walk meets them."""

    def __init__(self, body: Body) -> None:
        self.texts: list[Text] = []
        self.attachments = body.attachments
        self._names, self._tree = body.names, body.tree

    def visit(self, path: tuple[str, ...] | None, text: str, role: str) -> None:
        """For `document.Walk`."""
        key = path[-1] if path else ""
        if self._names and path and len(path) == 1:
            key = self._names[int(key)]
        if key in _LABELS and len(text) <= 128 and " " not in text:
            return None
        where = None if path is None else document.pointer(path)
        if found := _DATA_URL.match(text):
            if "base64" in found[2].lower():
                return self._encoded(found[1], text[found.end() :], where)
            self.texts.append(Text(where, whole_characters(unquote(text)), "other"))  # RFC 2397
            return None
        if key in _REFERENCES or (key in ("url", "image_url") and text.startswith(("http://", "https://"))):
            self.attachments.append(Attachment(shapes.clean(_SECRETS.sub("", text), 255), "", where=where))
        holder = key if not key.isdecimal() or path is None or len(path) < 2 else path[-2]
        if holder == "embedding" and _BASE64.match(text):
            return None  # numbers
        if holder in _BINARY and _BASE64.match(text):
            return self._encoded("", text, where)
        if holder in _BINARY and path and _SHORT.fullmatch(text) and self._is_file(path, holder):
            self._encoded("", text, where)
            role = "other"  # it may be a word as well
        self.texts.append(Text(where, whole_characters(text), "other" if key in _FILENAMES else role))
        return None

    def _is_file(self, path: tuple[str, ...], holder: str) -> bool:
        """Whether base64 too short to be told from a word is a file: there it says its type, or a list of
        pictures holds it. Bedrock says it one level above: `{"format": "txt", "source": {"bytes": ...}}`."""
        beside = [*_above(self._tree, path)][-2:]
        return holder == "images" or any(name in one for one in beside for name in _TYPES)

    def _encoded(self, kind: str, text: str, where: str | None) -> None:
        data = decode64(text)
        if data is None:
            self.texts.append(Text(where, whole_characters(text), "other"))
        else:
            self.attachments.append(attach("", kind, data, where))


def whole_characters(text: str) -> str:
    """Surrogates escaped one by one (RFC 8259 7) joined, lone ones replaced: it can be UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def decode64(text: str) -> bytes | None:
    """Base64 of either alphabet, with or without padding and line breaks; None: it is not."""
    try:
        plain = text.strip().translate(_ONE_ALPHABET).rstrip("=").encode("ascii")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def described(body: Body, attachments: list[Attachment]) -> list[Attachment]:
    """Names and types from the members beside an attachment's data."""
    return [_described(body.tree, one) if one.where else one for one in attachments]


def _above(tree: Any, path: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The objects that a place is in, the innermost last."""
    for step in path[:-1]:
        if isinstance(tree, dict):
            tree = tree.get(step)
        else:
            tree = tree[int(step)] if isinstance(tree, list) and step.isdecimal() else None
        if isinstance(tree, dict):
            yield tree


def _described(tree: Any, one: Attachment) -> Attachment:
    name, kind = one.name, one.type
    for holder in [*_above(tree, document.steps(one.where or ""))][:-4:-1]:
        name = name or next((clean for key in _NAMES if (clean := shapes.clean(holder.get(key), 255))), "")
        kind = kind or next((clean for key in _TYPES if (clean := shapes.clean(holder.get(key)))), "")
    return replace(one, name=name, type=mimetypes.types_map.get(f".{kind}", kind))


def runs(data: bytes, limit: int = 2_000) -> list[Text]:
    """Readable texts in bytes of unknown shape (protobuf keeps them so). None can be rewritten."""
    found = []
    for match in _RUNS.finditer(data[:READABLE]):
        text = match[0].decode("utf-8", "ignore").strip()
        if len(text) >= 6:
            found.append(Text(None, text))
        if len(found) >= limit:
            break
    return found
