"""The credential in a request, and what can be read of an account without asking anybody."""

from __future__ import annotations

import re
from typing import Any

from sensor.proxy.providers import body, document
from sensor.proxy.providers.model import Request

_HEADERS = ("x-api-key", "api-key", "x-goog-api-key", "xi-api-key")
_SIGV4 = re.compile(r"Credential=([A-Z0-9]{16,128})/")


def credential(request: Request) -> str:
    """The key itself; it goes into a `Secret` and nowhere else."""
    headers = request.headers
    said = headers.get("authorization", "")
    if signed := _SIGV4.search(said):
        return signed[1]  # the access key's id: the secret one is never sent
    scheme, _, value = said.partition(" ")
    if scheme.lower() in ("bearer", "token", "basic", "key") and value.strip():
        return value.strip()
    return next((headers[name] for name in _HEADERS if headers.get(name)), "") or request.query.get("key", "")


def claims(token: str) -> dict[str, Any]:
    """The payload of a JWT (RFC 7519 3), unverified: the vendor verifies it, we only read along."""
    parts = token.split(".")
    data = body.decode64(parts[1]) if len(parts) == 3 and len(token) < 16_384 else None
    found = document.load(data) if data else None
    return found.tree if found and isinstance(found.tree, dict) else {}


def retries(headers: Any) -> int:
    """How often the client tried before, where its SDK says so."""
    said = (headers.get("x-stainless-retry-count") or "")[:4]
    if said.isdecimal():
        return int(said)
    attempt = re.search(r"attempt=(\d{1,3})", headers.get("amz-sdk-request", ""))  # AWS SDKs count from 1
    return max(0, int(attempt[1]) - 1) if attempt else 0
