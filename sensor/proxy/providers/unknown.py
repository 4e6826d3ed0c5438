"""Services without a format of ours: sizes, media type, and the text that is found. And those whose payload
is not to be read.

Cursor speaks Connect with protobuf (`application/connect+proto`, often gzip within the envelope): recognised,
not read. GitHub Copilot speaks OpenAI's and Anthropic's formats; the host says whose plan it is.
"""

from __future__ import annotations

import re
from typing import Any

from sensor.proxy.providers import body as bodies
from sensor.proxy.providers import shapes
from sensor.proxy.providers.credential import credential
from sensor.proxy.providers.model import Account, Request, Secret, Text
from sensor.proxy.providers.openai import OpenAI
from sensor.proxy.providers.provider import Provider

_CURSOR = re.compile(r"/aiserver\.v1\.\w*/(\w+)$")
_CHAT = re.compile(r"Chat|Composer|Agent|Bugbot|Generate|Edit|Prompt")
_PLANS = {"individual": "personal", "business": "corporate", "enterprise": "corporate"}


class Unknown(Provider):
    """Says honestly that it guesses."""

    shape = "unknown"


class Cursor(Provider):
    """The method's name is in the path, and that is all."""

    shape = "opaque"

    def operation(self, request: Request, tree: Any, shape: shapes.Shape) -> str:
        """Tab completion, chat; whatever else the editor does is not told apart from its housekeeping."""
        found = _CURSOR.search(request.path)
        if not found:
            return ""
        if found[1].startswith("StreamCpp"):
            return "completion"
        return "chat" if _CHAT.search(found[1]) else ""

    def runs(self, request: Request, operation: str) -> list[Text]:
        """Frames that are not compressed hold readable strings."""
        return bodies.runs(request.body)


class Copilot(OpenAI):
    """`api.business.githubcopilot.com` and the like name the plan."""

    def account(self, request: Request) -> Account:
        plan = next((kind for name, kind in _PLANS.items() if f".{name}." in request.host), "unknown")
        return Account(kind=plan, key=Secret(credential(request)))
