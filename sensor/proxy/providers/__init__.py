"""What a request asks of an AI service and what the answer says, for the proxy. Pure functions: no I/O, no
clock.

    provider = recognise(request, service)            # service: the catalogue's id, "" when it has none
    call = provider.request(request)                  # None: no exchange (page, poll, telemetry)
    body = provider.rewrite(request, {text.where: "<CARD_1>" for text in call.texts ...})
    answer = provider.error("block", message, request)          # or coach, limit (retry_after=seconds)

    reader = provider.response(status, headers)       # before the first byte of the answer's body
    reader.feed(data); reader.began                   # True: a text came, the time to first token is now
    result = reader.finish()

    restorer = provider.restorer(status, headers, lookup)       # lookup("<CARD_1>") -> original, or None
    sent_on = restorer.feed(data)                     # decoded: drop content-encoding and content-length
    sent_on += restorer.finish()

Header names are lower case in all mappings. Ask servers for no other coding than `CODINGS`; what has another
is not read.

Bodies too large to hold: `upload = provider.upload(request_without_body)`, then `upload.feed(data)`;
`upload.finish()` gives text fields, files (size, SHA-256, beginning) and whether something was not read.
None: a JSON body, which must be held to be read.

WebSocket: `turn = provider.turn(request, data)` makes a client's message a request for `request` and
`rewrite`. A server's messages go into `provider.response(101, headers)`, one `feed` each, until
`reader.over`: the turn ended, begin a new reader. `restorer.messages(data)` gives the messages to send on
instead of one.

MCP's answers may come on a GET stream (`listens`): read it with `response` as well.

Texts whose `where` is None cannot be rewritten. `call.cut`: not everything was read; `call.flaws`: the server
might read something else than we did, unless it gets `provider.rewrite(request, {})`; `call.shape`: known,
unknown, opaque.
"""

from __future__ import annotations

import re

from sensor.proxy.providers import web
from sensor.proxy.providers.anthropic import Anthropic
from sensor.proxy.providers.bedrock import Bedrock
from sensor.proxy.providers.cohere import Cohere
from sensor.proxy.providers.google import Google
from sensor.proxy.providers.huggingface import HuggingFace
from sensor.proxy.providers.mcp import Mcp
from sensor.proxy.providers.mistral import Mistral
from sensor.proxy.providers.model import (
    Account,
    Answer,
    Attachment,
    Call,
    Message,
    Request,
    Result,
    Secret,
    Text,
)
from sensor.proxy.providers.ollama import Ollama
from sensor.proxy.providers.openai import Azure, OpenAI
from sensor.proxy.providers.provider import Provider
from sensor.proxy.providers.reader import Reader
from sensor.proxy.providers.restore import Restorer
from sensor.proxy.providers.unknown import Copilot, Cursor, Unknown
from sensor.proxy.providers.upload import Upload

__all__ = [
    "CODINGS",
    "Account",
    "Answer",
    "Attachment",
    "Call",
    "Message",
    "Provider",
    "Reader",
    "Request",
    "Restorer",
    "Result",
    "Secret",
    "Text",
    "Upload",
    "listens",
    "recognise",
]

CODINGS = "gzip, deflate, zstd"  # for accept-encoding

# Services of the catalogue with a format. The provider's name is the service's id, and all others are read by
# their paths.
SERVICES: dict[str, type[Provider]] = {
    "openai-api": OpenAI,
    "azure-openai": Azure,
    "azure-ai-foundry": Azure,
    "claude-api": Anthropic,
    "claude-code": Anthropic,
    "gemini-api": Google,
    "vertex-ai": Google,
    "gemini-code-assist": Google,
    "amazon-bedrock": Bedrock,
    "mistral-api": Mistral,
    "cohere": Cohere,
    "ollama": Ollama,
    "hugging-face-inference": HuggingFace,
    "text-generation-inference": HuggingFace,
    "text-embeddings-inference": HuggingFace,
    "github-copilot": Copilot,
    "cursor": Cursor,
    "chatgpt": web.ChatGpt,
    "openai-codex": web.ChatGpt,
    "claude": web.Claude,
    "gemini": web.Gemini,
    "microsoft-copilot": web.Copilot,
    "m365-copilot": web.Copilot,
    "perplexity": web.Perplexity,
    "deepseek": web.DeepSeek,
    "grok": web.Grok,
    "mcp-server": Mcp,
    **dict.fromkeys(
        ("groq", "together-ai", "fireworks-ai", "openrouter", "deepseek-api", "xai-api", "perplexity-api",
         "vllm", "lm-studio", "github-models", "openai-compatible"),
        OpenAI,
    ),
}  # fmt: skip
# Many services speak somebody else's format; the path says whose. First match.
_DIALECTS: tuple[tuple[re.Pattern[str], type[Provider]], ...] = tuple(
    (re.compile(path), dialect)
    for path, dialect in (
        (r"/v1/messages(?:/|$)", Anthropic),
        (
            r":(?:generateContent|streamGenerateContent|(?:batchE|e)mbedContents?|countTokens|rawPredict)$",
            Google,
        ),
        (r"^/model/[^/]+/(?:invoke|converse)", Bedrock),
        (
            r"/chat/completions$|/v\d/(?:responses|completions|embeddings|realtime|audio/\w+|images/\w+|moderations)$",
            OpenAI,
        ),
        (r"^/api/(?:chat|generate|embed|embeddings)$", Ollama),
        (r"/generate_stream$", HuggingFace),
    )
)
_NAMES = {"openai": "openai-compatible"}
_FIXED = (web.Web, Cursor, Copilot, Azure, Mistral, Mcp)  # whose errors and accounts hold on every path


def recognise(request: Request, service: str) -> Provider | None:
    """Who reads this request. Without a service, what a path or MCP's marks tell; else at least `Unknown`."""
    known = SERVICES.get(service)
    if known is None and Mcp.spoken(request):
        return _provider(Mcp, service or "mcp-server")
    if known is None or not issubclass(known, _FIXED):
        spoken = next((dialect for path, dialect in _DIALECTS if path.search(request.path)), None)
        known = spoken or known or (Unknown if service else None)
    return _provider(known, service or _NAMES.get(known.dialect, known.dialect)) if known else None


_MADE: dict[tuple[type[Provider], str], Provider] = {}  # stateless, so one object a service is enough


def _provider(kind: type[Provider], name: str) -> Provider:
    return _MADE.get((kind, name)) or _MADE.setdefault((kind, name), kind(name))


def listens(request: Request) -> bool:
    """A GET whose answer is a stream of an MCP server's messages."""
    return request.method == "GET" and "text/event-stream" in request.headers.get("accept", "") and (
        Mcp.spoken(request) or request.path.rstrip("/").endswith(("/sse", "/mcp"))
    )  # fmt: skip
