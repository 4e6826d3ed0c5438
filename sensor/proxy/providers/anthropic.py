"""Anthropic: messages, batches of them, token counts, files; the old text completions.

Source: docs.claude.com/en/api.
"""

from __future__ import annotations

from sensor.proxy.providers.provider import OPERATIONS, Provider


class Anthropic(Provider):
    """Organisation and workspace are not in the request; the answer's `anthropic-organization-id` tells."""

    dialect = "anthropic"
    operations = ((r"/messages/batches", "batch"), *OPERATIONS)
