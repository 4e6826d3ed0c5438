"""The vendors' own SDKs for Python, as a program of theirs would use them. Run in an environment that has
them.

    python python_sdks.py SDK < scenarios.json

A scenario is `{"text": ..., "stream": ..., "model": ..., "retries": ..., "full": ...}`; prints a list of
`{"text": ...}` or `{"error": CLASS, "status": ...}`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from typing import Any

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
ABOUT = "Looks a word up"
Full = dict[str, str] | None  # system prompt, tool and picture (base64 of a PNG) of a scenario that has them


def _functions(full: Full) -> Any:
    """Tools as OpenAI has them, and those who copy it."""
    function = {"name": full["tool"], "description": ABOUT, "parameters": SCHEMA} if full else {}
    return [{"type": "function", "function": function}]


def _messages(text: str, full: Full) -> Any:
    """A conversation as OpenAI has it."""
    if not full:
        return [{"role": "user", "content": text}]
    url = {"url": f"data:image/png;base64,{full['picture']}"}
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
    return [{"role": "system", "content": full["system"]}, {"role": "user", "content": content}]


def _openai(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    from openai import OpenAI

    client = OpenAI(api_key="k-openai", organization="org-sdk", project="proj-sdk", max_retries=retries)
    options: Any = {"model": model, "messages": _messages(text, full)}
    options |= {"tools": _functions(full)} if full else {}
    if not stream:
        return client.chat.completions.create(**options).choices[0].message.content or ""
    options |= {"stream": True, "stream_options": {"include_usage": True}}
    chunks = client.chat.completions.create(**options)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def _openai_responses(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    from openai import OpenAI

    client = OpenAI(api_key="k-openai", max_retries=retries)
    options: Any = {"model": model, "input": text}
    if full:
        data = f"data:image/png;base64,{full['picture']}"
        file = {"type": "input_file", "filename": "plan.png", "file_data": data}
        parts = [{"type": "input_text", "text": text}, file]
        tool = {"type": "function", "name": full["tool"], "parameters": SCHEMA, "strict": False}
        options |= {"input": [{"role": "user", "content": parts}], "tools": [tool]}
        options |= {"instructions": full["system"]}
    if not stream:
        return client.responses.create(**options).output_text
    events: Any = client.responses.create(**options, stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def _anthropic(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    from anthropic import Anthropic

    client = Anthropic(api_key="k-anthropic", max_retries=retries)
    options: Any = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    if full:
        source = {"type": "base64", "media_type": "image/png", "data": full["picture"]}
        parts = [{"type": "text", "text": text}, {"type": "image", "source": source}]
        options |= {"system": full["system"], "messages": [{"role": "user", "content": parts}]}
        options |= {"tools": [{"name": full["tool"], "description": ABOUT, "input_schema": SCHEMA}]}
    if not stream:
        return getattr(client.messages.create(**options).content[0], "text", "")
    with client.messages.stream(**options) as events:
        return "".join(events.text_stream)


def _genai(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    from google import genai
    from google.genai import types

    client = genai.Client(api_key="k-google")
    options: Any = {"model": model, "contents": text}
    if full:
        picture = types.Part.from_bytes(data=base64.b64decode(full["picture"]), mime_type="image/png")
        options["contents"] = [text, picture]
        function = types.FunctionDeclaration(
            name=full["tool"], description=ABOUT, parameters_json_schema=SCHEMA
        )
        options["config"] = types.GenerateContentConfig(
            system_instruction=full["system"], tools=[types.Tool(function_declarations=[function])]
        )
    if not stream:
        return client.models.generate_content(**options).text or ""
    return "".join(part.text or "" for part in client.models.generate_content_stream(**options))


def _mistral(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    from mistralai.client import Mistral

    client = Mistral(api_key="k-mistral")
    options: Any = {"model": model, "messages": _messages(text, full)}
    options |= {"tools": _functions(full)} if full else {}
    if not stream:
        return str(client.chat.complete(**options).choices[0].message.content)
    events = client.chat.stream(**options)
    return "".join(str(event.data.choices[0].delta.content or "") for event in events)


def _cohere(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    import cohere

    client = cohere.ClientV2(api_key="k-cohere")
    options: Any = {"model": model, "messages": _messages(text, full)}
    options |= {"tools": _functions(full)} if full else {}
    options |= {"request_options": {"max_retries": retries}}
    if not stream:
        content = client.chat(**options).message.content
        return content[0].text if content else ""  # type: ignore[union-attr]
    events = client.chat_stream(**options)
    return "".join(event.delta.message.content.text for event in events if event.type == "content-delta")  # type: ignore[union-attr]


def _ollama(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    from ollama import Client

    client = Client("https://ollama.example.com")
    options: Any = {"model": model, "messages": [{"role": "user", "content": text}]}
    if full:
        asked = {"role": "user", "content": text, "images": [full["picture"]]}
        options["messages"] = [{"role": "system", "content": full["system"]}, asked]
        options["tools"] = _functions(full)
    if not stream:
        return client.chat(**options).message.content or ""
    return "".join(part.message.content or "" for part in client.chat(**options, stream=True))


def _litellm(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    import litellm

    options: Any = {
        "api_key": "k-litellm",
        # Its own retries repeat every error, a refusal too; the OpenAI client below it repeats what may pass.
        "max_retries": retries,
        "messages": _messages(text, full),
    }
    options |= {"tools": _functions(full)} if full else {}
    options |= {"stream_options": {"include_usage": True}} if stream else {}
    found: Any = litellm.completion(model=f"openai/{model}", stream=stream, **options)
    if not stream:
        return str(found.choices[0].message.content)
    return "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices)


def _mcp(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    from mcp import Client

    async def call() -> str:
        async with Client("https://mcp.example.com/mcp") as client:
            found = await client.call_tool("echo", {"text": text})
            return str(found.content[0].text)  # type: ignore[union-attr]

    return asyncio.run(call())


def _mcp_sse(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    """The first revision: answers come on a GET stream."""
    from mcp import ClientSession
    from mcp.client.sse import sse_client

    async def call() -> str:
        async with (
            sse_client("https://mcp.example.com/sse") as (reader, writer),
            ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            found = await session.call_tool("echo", {"text": text})
            return str(found.content[0].text)  # type: ignore[union-attr]

    return asyncio.run(call())


def _others(text: str, stream: bool, model: str, retries: int, full: Full) -> str:
    """What OpenAI's client does besides chats; `text` names it."""
    from openai import OpenAI

    client, file = OpenAI(api_key="k-openai"), ("notes.txt", b"Minutes of the meeting", "text/plain")
    calls: dict[str, Callable[[], Any]] = {
        "embedding": lambda: client.embeddings.create(model=model, input=["one", "three"]),
        "completion": lambda: client.completions.create(model=model, prompt="Once upon a time"),
        "image": lambda: client.images.generate(model=model, prompt="a heron"),
        "audio": lambda: client.audio.transcriptions.create(
            model=model, file=("a.wav", b"RIFF" * 9, "audio/wav")
        ),
        "moderation": lambda: client.moderations.create(model=model, input="hello"),
        "upload": lambda: client.files.create(file=file, purpose="assistants"),
    }
    calls[text]()
    return text


SDKS: dict[str, Callable[[str, bool, str, int, Full], str]] = {
    "openai": _openai,
    "openai-responses": _openai_responses,
    "anthropic": _anthropic,
    "google-genai": _genai,
    "mistralai": _mistral,
    "cohere": _cohere,
    "ollama": _ollama,
    "litellm": _litellm,
    "mcp": _mcp,
    "mcp-sse": _mcp_sse,
    "openai-others": _others,
}


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> None:
    results = []
    for scenario in json.load(sys.stdin):
        try:
            results.append({"text": SDKS[sys.argv[1]](**scenario)})
        except Exception as caught:  # noqa: BLE001 - what an SDK raises is what is asked
            error: Any = _leaf(caught)
            status = getattr(error, "status_code", None) or getattr(error, "code", None)
            results.append({"error": type(error).__name__, "status": status, "message": str(error)[:500]})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
