"""The vendors' own SDKs for Python, as a program of theirs would use them. Run in an environment that has
them.

    python python_sdks.py SDK < scenarios.json

A scenario is `{"text": ..., "stream": ..., "model": ..., "retries": ...}`; prints a list of `{"text": ...}`
or `{"error": CLASS, "status": ...}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any


def _openai(text: str, stream: bool, model: str, retries: int) -> str:
    from openai import OpenAI

    client = OpenAI(api_key="k-openai", organization="org-sdk", max_retries=retries)
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    if not stream:
        return client.chat.completions.create(model=model, messages=messages).choices[0].message.content or ""
    chunks = client.chat.completions.create(
        model=model, messages=messages, stream=True, stream_options={"include_usage": True}
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def _openai_responses(text: str, stream: bool, model: str, retries: int) -> str:
    from openai import OpenAI

    client = OpenAI(api_key="k-openai", max_retries=retries)
    if not stream:
        return client.responses.create(model=model, input=text).output_text
    events = client.responses.create(model=model, input=text, stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def _anthropic(text: str, stream: bool, model: str, retries: int) -> str:
    from anthropic import Anthropic

    client = Anthropic(api_key="k-anthropic", max_retries=retries)
    messages: Any = [{"role": "user", "content": text}]
    if not stream:
        return client.messages.create(model=model, max_tokens=64, messages=messages).content[0].text  # type: ignore[union-attr]
    with client.messages.stream(model=model, max_tokens=64, messages=messages) as events:
        return "".join(events.text_stream)


def _genai(text: str, stream: bool, model: str, retries: int) -> str:
    from google import genai

    client = genai.Client(api_key="k-google")
    if not stream:
        return client.models.generate_content(model=model, contents=text).text or ""
    return "".join(
        part.text or "" for part in client.models.generate_content_stream(model=model, contents=text)
    )


def _mistral(text: str, stream: bool, model: str, retries: int) -> str:
    from mistralai.client import Mistral

    client = Mistral(api_key="k-mistral")
    messages: Any = [{"role": "user", "content": text}]
    if not stream:
        return str(client.chat.complete(model=model, messages=messages).choices[0].message.content)
    events = client.chat.stream(model=model, messages=messages)
    return "".join(str(event.data.choices[0].delta.content or "") for event in events)


def _cohere(text: str, stream: bool, model: str, retries: int) -> str:
    import cohere

    client = cohere.ClientV2(api_key="k-cohere")
    messages: Any = [{"role": "user", "content": text}]
    options: Any = {"max_retries": retries}
    if not stream:
        found = client.chat(model=model, messages=messages, request_options=options)
        return found.message.content[0].text  # type: ignore[index,union-attr]
    events = client.chat_stream(model=model, messages=messages, request_options=options)
    return "".join(event.delta.message.content.text for event in events if event.type == "content-delta")  # type: ignore[union-attr]


def _ollama(text: str, stream: bool, model: str, retries: int) -> str:
    from ollama import Client

    client = Client("https://ollama.example.com")
    messages = [{"role": "user", "content": text}]
    if not stream:
        return client.chat(model=model, messages=messages).message.content or ""
    return "".join(
        part.message.content or "" for part in client.chat(model=model, messages=messages, stream=True)
    )


def _litellm(text: str, stream: bool, model: str, retries: int) -> str:
    import litellm

    options: Any = {
        "api_key": "k-litellm",
        # Its own retries repeat every error, a refusal too; the OpenAI client below it repeats what may pass.
        "max_retries": retries,
        "messages": [{"role": "user", "content": text}],
    }
    found: Any = litellm.completion(model=f"openai/{model}", stream=stream, **options)
    if not stream:
        return str(found.choices[0].message.content)
    return "".join(chunk.choices[0].delta.content or "" for chunk in found)


def _mcp(text: str, stream: bool, model: str, retries: int) -> str:
    from mcp import Client

    async def call() -> str:
        async with Client("https://mcp.example.com/mcp") as client:
            found = await client.call_tool("echo", {"text": text})
            return str(found.content[0].text)  # type: ignore[union-attr]

    return asyncio.run(call())


SDKS: dict[str, Callable[[str, bool, str, int], str]] = {
    "openai": _openai,
    "openai-responses": _openai_responses,
    "anthropic": _anthropic,
    "google-genai": _genai,
    "mistralai": _mistral,
    "cohere": _cohere,
    "ollama": _ollama,
    "litellm": _litellm,
    "mcp": _mcp,
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
