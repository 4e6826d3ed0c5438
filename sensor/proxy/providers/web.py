"""Chat applications in a browser. Their formats are nobody's promise: these were publicly described, and
change.

What is known by its path is read as a chat or an upload; every other request with text in it is `other` and
of unknown shape, and telemetry is left out. Placeholders are put back where the stream is SSE, JSON lines or
WebSocket messages in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from sensor.proxy.providers import body as bodies
from sensor.proxy.providers import shapes
from sensor.proxy.providers.credential import claims, credential
from sensor.proxy.providers.model import Account, Attachment, Call, Message, Request, Secret, Text
from sensor.proxy.providers.provider import WEBSOCKET, Provider
from sensor.proxy.providers.restore import Lookup, Restorer

_ASKED = ("q", "query", "text", "prompt")
_PERSONAL = ("free", "plus", "pro", "go")
_CORPORATE = ("team", "business", "enterprise", "edu", "education")
_QUIET = (
    r"/(?:sentinel|ces|statsc?|lat|telemetry|rgstr|events?|event_logging|log|track|batchexecute|analytics"
)
_QUIET += (
    r"|implicit_message_feedback|collect|csp|report|heartbeat|pixel|beacon|envelope|monitoring)(?:/.*)?$"
)
_ORGANISATION = re.compile(r"/organizations/([0-9a-f-]{36})")


class Web(Provider):
    """An application by the paths of its prompts and files."""

    shape: ClassVar[str] = "unknown"
    chat: ClassVar[str] = r"(?!)"
    files: ClassVar[str] = r"(?!)"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._chat, self._files, self._quiet = (re.compile(p) for p in (self.chat, self.files, _QUIET))

    def request(self, request: Request) -> Call | None:
        """Also a page whose address has a prompt (`chatgpt.com/?q=...`)."""
        if request.method != "GET":
            return super().request(request)
        asked = next(
            (request.query[name] for name in _ASKED if " " in request.query.get(name, "").strip()), ""
        )
        if not asked or "upgrade" in request.headers:
            return None
        text = Text(None, bodies.whole_characters(asked), "user")
        return Call(
            self.name,
            "chat",
            messages=(Message("user", len(asked)),),
            texts=(text,),
            account=self.account(request),
        )

    def operation(self, request: Request, tree: Any, shape: shapes.Shape) -> str:
        if self._chat.search(request.path):
            return "chat"
        if self._files.search(request.path):
            return "upload"
        return "" if self._quiet.search(request.path) else self.otherwise(request)

    def otherwise(self, request: Request) -> str:
        """What a path that nobody described is for."""
        media = bodies.media_type(request.headers)
        whole_file = request.method == "PUT" or media.startswith(("multipart/", "image/", "application/pdf"))
        return "chat" if request.method == WEBSOCKET else "upload" if whole_file else "other"

    def call(self, request: Request, body: bodies.Body, shape: shapes.Shape, operation: str) -> Call:
        """With the files that were uploaded before and are now named."""
        call = super().call(request, body, shape, operation)
        known = self._chat.search(request.path) or self._files.search(request.path)
        named = tuple(_named(body.tree)) if body.kind == "json" else ()
        readable = bool(known) and call.shape != "opaque" and body.kind != "binary"
        return replace(
            call,
            attachments=call.attachments + named,
            shape="known" if readable and (call.messages or operation == "upload") else call.shape,
        )


def _named(tree: Any) -> list[Attachment]:
    """Files that a message refers to by name."""
    waiting, found = [(tree, "")], list[Attachment]()
    for _ in range(5_000):
        if not waiting:
            break
        node, key = waiting.pop()
        if isinstance(node, list):
            waiting += [(item, key) for item in node[:1_000]]
        elif isinstance(node, dict):
            name = shapes.clean(node.get("name") or node.get("file_name") or node.get("fileName"), 255)
            if name and key in ("attachments", "files", "attached_files", "fileAttachments"):
                kind = shapes.clean(node.get("mime_type") or node.get("mimeType") or node.get("file_type"))
                size = node.get("size", node.get("file_size"))
                found.append(Attachment(name, kind, size if isinstance(size, int) else None))
            waiting += list(zip(node.values(), node, strict=True))[:1_000]
    return found


class ChatGpt(Web):
    """chatgpt.com: messages with an author and parts; the token's plan says whose account it is."""

    dialect = "chatgpt"
    chat = r"^/backend-(?:api|anon)/(?:f/)?conversation(?:/prepare)?$|^/backend-api/codex/responses$"
    files = r"^/backend-(?:api|anon)/files(?:/process_upload_stream)?$|^/file-"

    def account(self, request: Request) -> Account:
        """`chatgpt_plan_type` of the access token, and the workspace's id."""
        token = credential(request)
        said = claims(token).get("https://api.openai.com/auth")
        auth: Mapping[str, Any] = said if isinstance(said, dict) else {}
        plan = shapes.clean(auth.get("chatgpt_plan_type")).lower()
        workspace = request.headers.get("chatgpt-account-id") or auth.get("chatgpt_account_id")
        kind = "personal" if plan in _PERSONAL else "corporate" if plan.startswith(_CORPORATE) else "unknown"
        return Account(shapes.clean(workspace), kind=kind, key=Secret(token))


class Claude(Web):
    """claude.ai: the organisation is in the path, also a person's own."""

    dialect = "anthropic"
    chat = r"/chat_conversations/[^/]+/(?:retry_)?completion$|/append_message$"
    files = r"^/api/(?:organizations/)?[^/]+/(?:upload|convert_document)$|/wiggle/upload-file$"

    def account(self, request: Request) -> Account:
        found = _ORGANISATION.search(request.path)
        return Account(found[1] if found else "", key=Secret(credential(request)))


class Gemini(Web):
    """gemini.google.com: a form's field `f.req` holds JSON within JSON, by position."""

    chat = r"/StreamGenerate$"
    files = r"^/upload/?$"

    def read(self, body: bodies.Body) -> shapes.Shape:
        """The prompt is the first text of the inner document: `[null, "[[prompt, ...], ...]"]`."""
        shape = super().read(body)
        if "f.req" in body.names:
            at = (str(body.names.index("f.req")), "!", "1", "!", "0")
            shape.roles[at] = shape.messages[at] = "user"
        return shape

    def restorer(self, status: int, headers: Mapping[str, str], lookup: Lookup) -> Restorer:
        """Answers come in portions that state their length: they pass as they are."""
        return Restorer(status, headers, lambda placeholder: None)


class Copilot(Web):
    """copilot.microsoft.com and Microsoft 365: WebSocket messages, the latter's in SignalR's framing."""

    chat = r"^/c/api/chat$|/m365Copilot/Chathub"
    files = r"^/c/api/attachments$|/m365Copilot/UploadFile"

    def turn(self, request: Request, data: bytes) -> Request:
        """SignalR ends each message with U+001E; several may come at once."""
        turn = super().turn(request, data)
        if not data.endswith(b"\x1e"):
            return turn
        return replace(
            turn,
            headers={**turn.headers, "content-type": "application/x-ndjson"},
            body=data.replace(b"\x1e", b"\n"),
        )

    def rewrite(self, request: Request, changes: Mapping[str, str]) -> bytes:
        out = super().rewrite(request, changes)
        lines = request.method == WEBSOCKET and "ndjson" in request.headers.get("content-type", "")
        return out.replace(b"\n", b"\x1e") if lines else out


class Perplexity(Web):
    """perplexity.ai."""

    chat = r"^/rest/sse/perplexity_ask$"
    files = r"^/rest/uploads?/"


class DeepSeek(Web):
    """chat.deepseek.com."""

    chat = r"^/api/v0/chat/(?:completion|edit_message|regenerate)$"
    files = r"^/api/v0/file/upload_file$"


class Grok(Web):
    """grok.com, and x.com."""

    chat = r"^/rest/app-chat/conversations/(?:new|[^/]+/responses)$|^/2/grok/add_response\.json$"
    files = r"^/rest/app-chat/upload-file$"
