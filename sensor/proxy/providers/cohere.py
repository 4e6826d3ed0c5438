"""Cohere: chat in two generations (v1 `message`, v2 `messages`), embed, rerank, classify.

Source: docs.cohere.com/reference.
"""

from __future__ import annotations

from sensor.proxy.providers.provider import Provider


class Cohere(Provider):
    """Nothing but the errors differs for us."""

    dialect = "cohere"
