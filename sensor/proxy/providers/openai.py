"""OpenAI: chat completions, responses, completions, embeddings, images, audio, files, batches, assistants,
realtime. And Azure, which puts the deployment in the path and the resource in the host's name.

Sources: platform.openai.com/docs/api-reference; learn.microsoft.com/azure/ai-services/openai/reference.
"""

from __future__ import annotations

from sensor.proxy.providers import shapes
from sensor.proxy.providers.credential import credential
from sensor.proxy.providers.model import Account, Request, Secret
from sensor.proxy.providers.provider import Provider


class OpenAI(Provider):
    """Also everybody who copies it, under their own names."""

    dialect = "openai"


class Azure(OpenAI):
    """The account is the resource."""

    def account(self, request: Request) -> Account:
        """`RESOURCE.openai.azure.com`."""
        return Account(
            organisation=shapes.clean(request.host.partition(".")[0]), key=Secret(credential(request))
        )
