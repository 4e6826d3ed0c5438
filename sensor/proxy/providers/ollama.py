"""Ollama's own interface. Its answers are streams unless the request says `"stream": false`.

Source: docs.ollama.com/api.
"""

from __future__ import annotations

from typing import Any

from sensor.proxy.providers import shapes
from sensor.proxy.providers.model import Request
from sensor.proxy.providers.provider import OPERATIONS, Provider


class Ollama(Provider):
    """Copying, showing and pulling models is no use of them; creating one sends its prompts."""

    dialect = "ollama"
    operations = ((r"/api/(?:show|pull|push|copy|delete|ps|tags|version|blobs/[^/]+)", ""), *OPERATIONS)

    def operation(self, request: Request, tree: Any, shape: shapes.Shape) -> str:
        operation = super().operation(request, tree, shape)
        if request.path.endswith(("/api/chat", "/api/generate")) and shape.stream is None:
            shape.stream = True
        return operation
