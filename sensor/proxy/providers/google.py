"""Google: the Gemini API and Vertex AI. The model and the method are the end of the path.

Sources: ai.google.dev/api; cloud.google.com/vertex-ai/generative-ai/docs/model-reference.
"""

from __future__ import annotations

import re
from typing import Any

from sensor.proxy.providers import shapes
from sensor.proxy.providers.credential import credential
from sensor.proxy.providers.model import Account, Request, Secret
from sensor.proxy.providers.provider import OPERATIONS, Provider

_PROJECT = re.compile(r"/projects/([^/]{1,100})/")
_IMAGES = re.compile(r"/models/(?:imagen|veo|imagegeneration)")
_EMBEDDINGS = re.compile(r"/models/[^/]*embedding")


class Google(Provider):
    """`predict` is an old method for whatever the model does."""

    dialect = "google"
    operations = ((r":predict", "completion"), (r"/upload/v\d\w*/files", "upload"), *OPERATIONS)

    def operation(self, request: Request, tree: Any, shape: shapes.Shape) -> str:
        """Files come in two requests: the first only announces them."""
        if request.headers.get("x-goog-upload-command", "") == "start":
            return ""
        if request.path.endswith((":predict", ":predictLongRunning")) and _EMBEDDINGS.search(request.path):
            return "embedding"
        return "image" if _IMAGES.search(request.path) else super().operation(request, tree, shape)

    def account(self, request: Request) -> Account:
        """Vertex: the project whose model it is, or that pays."""
        found = _PROJECT.search(request.path)
        project = found[1] if found else request.headers.get("x-goog-user-project", "")
        return Account(project=shapes.clean(project), key=Secret(credential(request)))
