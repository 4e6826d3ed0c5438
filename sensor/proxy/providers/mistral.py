"""Mistral: OpenAI's formats and agents, fill-in-the-middle, conversations, OCR; errors of its own.

Source: docs.mistral.ai/api.
"""

from __future__ import annotations

from sensor.proxy.providers.provider import Provider


class Mistral(Provider):
    """Nothing but the errors differs for us."""

    dialect = "mistral"
