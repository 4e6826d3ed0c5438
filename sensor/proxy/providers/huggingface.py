"""Hugging Face: the inference router, endpoints, and text-generation-inference. The task may be in the path,
else the model's own decides: `completion` when it cannot be told.

Sources: huggingface.co/docs/inference-providers; huggingface.co/docs/text-generation-inference.
"""

from __future__ import annotations

import re
from typing import Any

from sensor.proxy.providers import shapes
from sensor.proxy.providers.model import Request
from sensor.proxy.providers.provider import OPERATIONS, Provider

_MODEL = re.compile(r"/models/([^/]{1,100}/[^/]{1,100}|[^/]{1,100})")


class HuggingFace(Provider):
    """Models are named `owner/name`."""

    dialect = "huggingface"
    operations = (
        (r"/pipeline/(?:feature-extraction|sentence-similarity)", "embedding"),
        *OPERATIONS,
        (r"/models/[^/]+(?:/[^/]+)?", "completion"),
    )

    def operation(self, request: Request, tree: Any, shape: shapes.Shape) -> str:
        """An endpoint's own address has no path."""
        found = super().operation(request, tree, shape)
        return "completion" if found == "other" and isinstance(tree, dict) and "inputs" in tree else found

    def model(self, request: Request) -> str:
        found = _MODEL.search(request.path)
        return shapes.clean(found[1]) if found else ""
