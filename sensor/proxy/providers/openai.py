"""OpenAI: chat completions, responses, completions, embeddings, images, audio, files, batches, assistants,
realtime. And Azure, which puts the deployment in the path and the resource in the host's name.

Sources: platform.openai.com/docs/api-reference; learn.microsoft.com/azure/ai-services/openai/reference.
"""

from __future__ import annotations

from dataclasses import replace

from sensor.proxy.providers import shapes
from sensor.proxy.providers.credential import credential
from sensor.proxy.providers.model import Account, Answer, Request, Secret
from sensor.proxy.providers.provider import WEBSOCKET, Provider


class OpenAI(Provider):
    """Also everybody who copies it, under their own names."""

    dialect = "openai"

    def error(self, verdict: str, message: str, request: Request, retry_after: int | None = None) -> Answer:
        """Over a WebSocket it is an event."""
        answer = super().error(verdict, message, request, retry_after)
        if request.method != WEBSOCKET:
            return answer
        return replace(answer, body=answer.body.replace(b"{", b'{"type":"error",', 1))


class Azure(OpenAI):
    """The account is the resource."""

    def account(self, request: Request) -> Account:
        """`RESOURCE.openai.azure.com`."""
        return Account(
            organisation=shapes.clean(request.host.partition(".")[0]), key=Secret(credential(request))
        )
