"""Amazon Bedrock: invoke, converse, and their streams. The body of `invoke` is the model vendor's own.

Source: docs.aws.amazon.com/bedrock/latest/APIReference.
"""

from __future__ import annotations

from typing import Any

from sensor.proxy.providers import shapes
from sensor.proxy.providers.model import Request
from sensor.proxy.providers.provider import OPERATIONS, Provider

_INVOKE = ("/invoke", "/invoke-with-response-stream", "/async-invoke")
_MEMBERS = (("messages", "chat"), ("texts", "embedding"), ("query", "rerank"), ("taskType", "image"))


class Bedrock(Provider):
    """The credential is an access key's id, or a Bedrock API key."""

    dialect = "bedrock"
    operations = ((r"/guardrail/[^/]+/version/[^/]+/apply", "moderation"), *OPERATIONS)

    def operation(self, request: Request, tree: Any, shape: shapes.Shape) -> str:
        """Of `invoke`, what the model is for is seen from the members and the model's name."""
        if not request.path.endswith(_INVOKE):
            return super().operation(request, tree, shape)
        if "embed" in self.model(request):
            return "embedding"
        members = tree if isinstance(tree, dict) else {}
        return next((operation for name, operation in _MEMBERS if name in members), "completion")

    def stream(self, request: Request) -> bool | None:
        """Always by the path."""
        return "stream" in request.path.rpartition("/")[2]
