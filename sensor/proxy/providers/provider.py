"""The base of all providers: a request becomes a `Call`, an answer a `Result`, a verdict an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import unquote

from sensor.proxy.providers import body as bodies
from sensor.proxy.providers import document, errors, shapes
from sensor.proxy.providers.credential import credential, retries
from sensor.proxy.providers.model import (
    ROLES,
    Account,
    Answer,
    Call,
    Message,
    Request,
    Secret,
    Text,
)
from sensor.proxy.providers.reader import Reader
from sensor.proxy.providers.restore import Lookup, Restorer
from sensor.proxy.providers.upload import Upload

SAID = tuple(role for role in ROLES if role != "other")
WEBSOCKET = "WEBSOCKET"  # the method of a message as `turn` makes it a request
# By the end of the path; the first that matches. "" is management or telemetry: not an exchange.
OPERATIONS: tuple[tuple[str, str], ...] = (
    (
        r"/(?:count_tokens|tokenize|detokenize|input_tokens)|:(?:countTokens|computeTokens)|/count-tokens",
        "tokens",
    ),
    (
        r"/chat/completions|/agents/completions|/messages|/responses|/api/chat|/v\d/chat|/converse(?:-stream)?",
        "chat",
    ),
    (r":(?:generateContent|streamGenerateContent|generateAnswer|rawPredict|streamRawPredict)", "chat"),
    (r"/completions?|/complete|/generate|/generate_stream|/infill", "completion"),
    (
        r"/embeddings?|/api/embed|/embed|:(?:e|batchE|asyncBatchE)mbedContents?|/feature-extraction",
        "embedding",
    ),
    (r"/rerank", "rerank"),
    (r"/moderations|/classify", "moderation"),
    (r"/images/(?:generations|edits|variations)|:predictLongRunning|/videos", "image"),
    (r"/audio/(?:transcriptions|translations|speech)", "audio"),
    (r"/batches|/batch/jobs|:batchGenerateContent|/batchPredictionJobs", "batch"),
    (r"/files|/uploads/[^/]+/parts|/v1/ocr", "upload"),
    (r"/threads(?:/runs|/[^/]+/(?:messages|runs|runs/[^/]+/submit_tool_outputs))?|/assistants", "chat"),
    (r"/v1/conversations(?:/[^/]+(?:/items)?)?", "chat"),
    (r"/realtime(?:/[a-z_]+)?", "realtime"),
    (r"/(?:telemetry|events?|track|logs?|analytics|metrics|collect|beacon|envelope|rgstr)(?:/batch)?", ""),
)
_PATH_MODEL = re.compile(r".*/(?:models|deployments|model|engines|endpoints)/([^?]{1,200})")
_VERB = re.compile(r":[A-Za-z]+$|/[a-z][a-z/-]*$")  # what is done with it


class Provider:
    """One vendor's API. Stateless: one object serves all requests."""

    dialect: ClassVar[str] = "openai"  # whose errors it speaks
    operations: ClassVar[tuple[tuple[str, str], ...]] = OPERATIONS
    shape: ClassVar[str] = "known"

    def __init__(self, name: str) -> None:
        self.name = name
        self._operations = [(re.compile(f"(?:{ends})/?$"), operation) for ends, operation in self.operations]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # -- the request

    def request(self, request: Request) -> Call | None:
        """What a request does; None for page loads, polls and management, which are no exchanges."""
        if request.method not in ("POST", "PUT", "PATCH", WEBSOCKET) or not request.body:
            return None
        body = bodies.read(request)
        shape = self.read(body)
        operation = self.operation(request, body.tree, shape)
        call = self.call(request, body, shape, operation) if operation else None
        if call is None or call.texts or call.attachments:
            return call
        begins = isinstance(body.tree, dict) and body.tree.get("type") == "response.create"  # a realtime turn
        return None if operation == "other" or (request.method == WEBSOCKET and not begins) else call

    def turn(self, request: Request, data: bytes) -> Request:
        """A WebSocket message of the client as a request, for `request` and `rewrite`."""
        headers = {**request.headers, "content-type": "application/json"}
        return replace(request, method=WEBSOCKET, headers=headers, body=data)

    def upload(self, request: Request) -> Upload | None:
        """A reader of a request's body that passes as a stream, when it is a form or a file."""
        return Upload(request) if Upload.reads(request) else None

    def read(self, body: bodies.Body) -> shapes.Shape:
        """The body's shape, whatever carries it."""
        if body.kind in ("form", "fields"):
            return shapes.read_fields([str(name) for name in body.names], body.tree)
        return shapes.read(body.tree if body.kind in ("json", "lines") else None)

    def operation(self, request: Request, tree: Any, shape: shapes.Shape) -> str:
        """The kind of use, "" for none."""
        for ends, operation in self._operations:
            if ends.search(request.path):
                return operation
        return "chat" if isinstance(tree, dict) and ("messages" in tree or "contents" in tree) else "other"

    def call(self, request: Request, body: bodies.Body, shape: shapes.Shape, operation: str) -> Call:
        """All that a body holds."""
        found = bodies.Found(body)
        walk = document.Walk(shape.roles, found.visit)
        walk.over(bodies.view(body))
        if operation == "upload" and body.kind in ("text", "lines") and not found.attachments:
            found.attachments.append(bodies.whole(request))
        texts = found.texts if body.kind != "binary" else self.runs(request, operation)
        return Call(
            self.name,
            operation,
            shape.model or self.model(request),
            shape.stream if shape.stream is not None else self.stream(request),
            sizes(texts, shape),
            "\n".join(text.text for text in texts if text.role == "system"),
            tuple(texts),
            tuple(bodies.described(body, found.attachments)),
            tuple(shape.offered),
            tuple(shape.called),
            self.account(request),
            retries(request.headers),
            "unknown" if body.kind == "binary" and self.shape == "known" and texts else self.shape,
            body.cut or walk.cut,
            tuple(body.flaws),
        )

    def runs(self, request: Request, operation: str) -> list[Text]:
        """Texts in bytes: of unknown shapes only, since files are attachments."""
        return [] if operation in ("upload", "audio") else bodies.runs(request.body)

    def model(self, request: Request) -> str:
        """The model that a path or a query names."""
        found = _PATH_MODEL.match(request.path)
        return shapes.clean(unquote(_VERB.sub("", found[1])) if found else request.query.get("model"))

    def stream(self, request: Request) -> bool | None:
        """Whether the path or the query asks for a stream."""
        return True if "stream" in request.path.lower().rpartition("/")[2] else None

    def account(self, request: Request) -> Account:
        """Whose credential it is."""
        headers = request.headers
        return Account(
            shapes.clean(headers.get("openai-organization", "")),
            shapes.clean(headers.get("openai-project", "")),
            key=Secret(credential(request)),
        )

    def rewrite(self, request: Request, changes: Mapping[str, str]) -> bytes:
        """The body with other texts at places of `Text.where`. KeyError for one that is not there."""
        return bodies.write(request, changes)

    # -- the answer

    def response(self, status: int, headers: Mapping[str, str]) -> Reader:
        """A reader of the answer's body; header names in lower case."""
        return Reader(status, headers)

    def restorer(self, status: int, headers: Mapping[str, str], lookup: Lookup) -> Restorer:
        """Puts originals back in the answer's body as it passes."""
        return Restorer(status, headers, lookup)

    def error(self, verdict: str, message: str, request: Request, retry_after: int | None = None) -> Answer:
        """A refusal in the vendor's format: block and coach are 403, limit is 429. `retry_after`: s."""
        return errors.answer(self.dialect, verdict, message, retry_after)


def sizes(texts: list[Text], shape: shapes.Shape) -> tuple[Message, ...]:
    """The conversation, with the number of characters of each turn; names of files are none of it."""
    count = dict.fromkeys(shape.messages, 0)
    for text in texts:
        path = tuple(document.steps(text.where)) if text.where else ()
        region = next((path[:n] for n in range(min(len(path), 12) + 1) if path[:n] in count), None)
        if region is not None and text.role in (shape.messages[region], *SAID):
            count[region] += len(text.text)
    return tuple(Message(shape.messages[path], size) for path, size in count.items())
