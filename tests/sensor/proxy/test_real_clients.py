"""The vendors' own clients through the real proxy: what is written down is what was sent; refusals are the
SDKs' own errors."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sensor.proxy.lab import ROOT, Lab, Proxy

CLIENTS = Path(__file__).parent / "clients"
MAIL, CARD = "jane.roe@corp-mail.com", "4539 5787 6362 1486"
KEY = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"  # in the shape of a token, and none
POLICY = """
version: lab
default: allow
rules:
  - {id: no-keys, match: {data_class: credentials}, verdict: block}
  - {id: slowly, match: {data_class: custom}, verdict: limit, rate: 1/day}
  - {id: hidden, match: {data_class: [email, payment-card]}, verdict: redact}
"""


@dataclass(frozen=True)
class Client:
    """An SDK, the service it uses, and what it raises."""

    name: str
    service: str
    refused: str
    limited: str
    operation: str = "chat"
    streams: bool = True


PYTHON = [
    Client("openai", "openai-api", "PermissionDeniedError", "RateLimitError"),
    Client("openai-responses", "openai-api", "PermissionDeniedError", "RateLimitError"),
    Client("anthropic", "claude-api", "PermissionDeniedError", "RateLimitError"),
    Client("google-genai", "gemini-api", "ClientError", "ClientError"),
    Client("mistralai", "mistral-api", "SDKError", "SDKError"),
    Client("cohere", "cohere", "ForbiddenError", "TooManyRequestsError"),
    Client("ollama", "ollama", "ResponseError", "ResponseError"),
    Client("litellm", "openai-api", "APIError", "RateLimitError"),
    Client("mcp", "mcp-server", "MCPError", "MCPError", "tool_call", streams=False),
]
NODE = [
    Client("openai", "openai-api", "PermissionDeniedError", "RateLimitError"),
    Client("anthropic", "claude-api", "PermissionDeniedError", "RateLimitError"),
    Client("genai", "gemini-api", "ApiError", "ApiError"),
]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("words") / "projects.txt"
    file.write_text("bluebird\n")
    return file


@pytest.fixture
def proxy(lab: Lab, words: Path) -> Iterator[Proxy]:
    settings = {"dlp.words": [str(words)], "proxy.also": ["ollama.example.com", "mcp.example.com"]}
    with lab.proxy(POLICY, settings, "--enforce") as found:
        found.received()
        yield found


def scenarios(client: Client) -> list[dict[str, Any]]:
    """Not streaming, then streaming: plain, to be redacted, blocked; and one that is limited the second
    time."""
    texts = [
        "What is the capital of France?",
        f"Write to {MAIL} about {CARD}, please",
        f"Is {KEY} still good?",
    ]
    found = [
        {"text": text, "stream": stream, "model": "model-x", "retries": 2}
        for stream in ((False, True) if client.streams else (False,))
        for text in texts
    ]
    limited = {"text": "About bluebird", "stream": False, "model": "model-y", "retries": 0}
    return [*found, limited, limited]


def check(client: Client, proxy: Proxy, results: list[dict[str, Any]]) -> None:
    asked = scenarios(client)
    received = [base64.b64decode(one["body"]).decode() for one in proxy.received()]
    rows = [row for row in proxy.stop() if row["table"] == "exchanges"]
    for scenario, result in zip(asked, results, strict=True):
        if KEY in scenario["text"]:
            assert result.get("error") == client.refused, result
            assert "no-keys" in result["message"]
        elif scenario is not asked[-1]:
            assert scenario["text"] in result.get("text", ""), result
    assert results[-1].get("error") == client.limited, results[-1]

    everything = "\n".join(received)
    assert MAIL not in everything
    assert CARD not in everything
    assert KEY not in everything
    assert "<EMAIL_1>" in everything
    assert "<CARD_1>" in everything

    for row in rows:
        assert row["service"] == client.service
        assert row["operation"] == client.operation
        assert row["model"] in (("",) if client.operation == "tool_call" else ("model-x", "model-y"))
        assert row["evidence"] == "decrypted"
    blocked = [row for row in rows if row["policy"] == "no-keys"]
    assert len(blocked) == (2 if client.streams else 1), "refused once each, never tried again"
    assert all(row["data_classes"] == ["credentials"] and row["bytes_down"] == 0 for row in blocked)
    passed = [row for row in rows if row["policy"] in ("hidden", "default")]
    assert {(tuple(row["data_classes"]), row["stream"]) for row in passed} == {
        (classes, stream)
        for classes in ((), ("email", "payment-card"))
        for stream in ({False, True} if client.streams else {False})
    } or not client.streams
    assert all(row["status"] == 200 and row["duration_ms"] > 0 for row in passed)
    assert "failed" not in proxy.log, proxy.log


@pytest.mark.parametrize("client", PYTHON, ids=lambda client: client.name)
def test_python_sdk(client: Client, proxy: Proxy, python_sdks: Path) -> None:
    command = [str(python_sdks), str(CLIENTS / "python_sdks.py"), client.name]
    check(client, proxy, _run(command, client, proxy.environment))


@pytest.mark.parametrize("client", NODE, ids=lambda client: client.name)
def test_node_sdk(client: Client, proxy: Proxy, node_sdks: Path) -> None:
    command = ["node", str(CLIENTS / "node_sdks.mjs"), client.name]
    check(client, proxy, _run(command, client, {**proxy.environment, "SDK_HOME": str(node_sdks)}))


def _run(command: list[str], client: Client, environment: dict[str, str]) -> list[dict[str, Any]]:
    done = subprocess.run(
        command,
        input=json.dumps(scenarios(client)),
        capture_output=True,
        text=True,
        env=environment,
        timeout=90,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]
