"""Every service proves itself by its `fires` and `silent` cases, and the catalogue by what it promises."""

from __future__ import annotations

from functools import cache

import pytest

from sensor.knowledge.catalogue import Catalogue, load
from sensor.knowledge.catalogue_check import asked, said
from sensor.knowledge.catalogue_files import PACKAGED
from sensor.knowledge.catalogue_model import CATEGORIES, RequestCase

FILES = sorted(path.stem for path in (PACKAGED / "services").glob("*.yaml"))


@cache
def catalogue() -> Catalogue:
    return load(cache=False)


@pytest.mark.parametrize("vendor", FILES)
def test_cases(vendor: str) -> None:
    services = [e.service for e in catalogue().services.values() if e.vendor.vendor == vendor]
    assert services
    for service in services:
        for case in service.fires:
            found = asked(catalogue(), case)
            assert found is not None, f"{said(case)} is silent"
            assert (found.service, found.vendor) == (service.id, vendor), f"{said(case)} is {found.service}"
        for case in service.silent:
            found = asked(catalogue(), case)
            assert found is None or found.service != service.id, f"{said(case)} fires"


def test_breadth() -> None:
    entries = catalogue().services.values()
    assert len(entries) >= 500
    assert len({entry.vendor.vendor for entry in entries}) >= 400
    assert {entry.service.category for entry in entries} == set(CATEGORIES)
    assert sum(bool(entry.service.servers) for entry in entries) >= 65


# Roles decide about the channel, and whether a connection is use at all.
ROLES = {
    "docs-1a2b3c4.svc.aped-4627-b74a.pinecone.io": ("pinecone", "api"),
    "docs-1a2b3c4.svc.us-east1-gcp.pinecone.io": ("pinecone", "api"),
    "app.pinecone.io": ("pinecone", "app"),
    "text.pollinations.ai": ("pollinations", "api"),
    "pollinations.ai": ("pollinations", "app"),
    "chat.cerebras.ai": ("cerebras", "app"),
    "www.cerebras.ai": ("cerebras", "cdn"),
    "api.kilocode.ai": ("kilo-code", "api"),
    "api-uw.minimax.io": ("minimax-api", "api"),
    "api.minimaxi.chat": ("minimax-api", "api"),
    "agent.minimaxi.com": ("minimax-agent", "app"),
    "metrics.cursor.sh": ("cursor", "telemetry"),
    "downloads.cursor.com": ("cursor", "cdn"),
    "api2.cursor.sh": ("cursor", "api"),
    "api2.qoder.sh": ("qoder", "api"),
    "docs.claude.com": ("claude-api", "cdn"),
    "status.claude.com": ("claude", "cdn"),
    "claude.com": ("claude", "app"),
    "docs.litellm.ai": ("litellm-cloud", "cdn"),
    "docs.perplexity.ai": ("perplexity-api", "cdn"),
    "us.aws.cdn.hf.co": ("hugging-face", "cdn"),
    "portal.qwen.ai": ("qwen", "api"),
    "chat.sensetime.com": ("sensechat", "app"),
    "www.sensetime.com": ("sensenova", "cdn"),
    "fal.ai": ("fal", "app"),
    "rest.alpha.fal.ai": ("fal", "api"),
    "hf.co": ("hugging-face", "app"),
    "runtime.us-east-1.kiro.dev": ("kiro", "api"),
    "prod.download.desktop.kiro.dev": ("kiro", "cdn"),
    "desktop-release.q.us-east-1.amazonaws.com": ("amazon-q-developer", "cdn"),
}


@pytest.mark.parametrize("name", ROLES)
def test_roles(name: str) -> None:
    found = catalogue().match(name)
    assert found
    assert (found.service, found.role) == ROLES[name]


LOCAL: list[tuple[str, int, str | None]] = [
    ("POST /api/chat", 11434, "ollama"),
    ("POST /api/generate", 11434, "ollama"),
    ("GET /api/tags", 11434, "ollama"),
    ("POST /api/embeddings", 11434, "ollama"),
    ("POST /v1/chat/completions", 11434, "ollama"),
    ("GET /v1/models", 11434, "ollama"),
    ("POST /v1/chat/completions", 1234, "lm-studio"),
    ("POST /v1/chat/completions", 8000, "openai-compatible"),
    ("POST /v1/chat/completions", 8080, "openai-compatible"),
    ("POST /v1/embeddings", 5000, "openai-compatible"),
    ("POST /chat/completions", 9000, "openai-compatible"),
    ("POST /api/v1/chat/completions", 8000, "openai-compatible"),
    ("POST /api/chat/completions", 3000, "open-webui"),
    ("POST /mcp", 8080, "mcp-server"),
    ("GET /v1/models", 8000, None),
    ("POST /generate", 8000, None),
    ("POST /generate", 80, None),
    ("POST /predict", 5000, None),
    ("GET /health", 8000, None),
    ("GET /info", 8080, None),
    ("GET /", 80, None),
    ("GET /", 11434, None),
    ("GET /metrics", 9090, None),
    ("POST /login", 3000, None),
    ("GET /api/config", 8080, None),
    ("GET /api/version", 80, None),
    ("GET /docs", 8000, None),
    ("POST /graphql", 80, None),
    ("POST /api/chat", 3000, None),  # the default of a JavaScript library for any model
    ("GET /api/tags", 80, None),
    # Paths that many programs have, on the ports that many programs have.
    ("GET /v1/users", 4000, None),
    ("GET /api/v1/orders", 1234, None),
    ("POST /v1/events", 8080, None),
    ("GET /api/conversations", 3000, None),
    ("GET /api/workspaces", 3001, None),
    ("POST /api/token/", 3000, None),
    ("POST /load", 8080, None),
    ("GET /api/v1/collections/spring", 8000, None),
    ("GET /v1/health/ready", 8000, None),
]


@pytest.mark.parametrize(("request_", "port", "wanted"), LOCAL)
def test_software_in_clear(request_: str, port: int, wanted: str | None) -> None:
    method, path = request_.split(" ")
    found = catalogue().match_request(method, "10.0.0.9", port, path)
    assert (found.service if found else None) == wanted


def test_a_marker_names_the_software() -> None:
    found = catalogue().match_request(
        "POST", "10.0.0.9", 8080, "/v1/chat/completions", response_headers={"server": "llama.cpp"}
    )
    assert found
    assert found.service == "llama-cpp"


def test_engines_are_not_told_to_watch_every_web_server() -> None:
    watch = catalogue().watch()
    assert not watch.ports & {80, 443, 3000, 5000, 8000, 8080}
    assert not watch.paths & {"/", "/v1/", "/api/", "/health", "/generate", "/metrics"}


# Paths of all kinds of web applications, where only another part of request or response tells.
EVERYDAY = ("/", "/health", "/info", "/metrics", "/rpc", "/version")


def test_engines_are_told_of_what_fires_in_clear() -> None:
    watch = catalogue().watch()
    assert not [path for path in watch.paths if "?" in path], "an engine sees no query"
    for entry in catalogue().services.values():
        for case in entry.service.fires:
            if not isinstance(case, RequestCase) or case.host or case.port in watch.ports:
                continue
            path = case.request.split(" ")[1].partition("?")[0]
            told = path.startswith(tuple(watch.paths)) or path in EVERYDAY
            assert told or entry.service.id == "bedrock-compatible", f"{entry.service.id}: {said(case)}"


def test_no_pattern_is_a_public_suffix_or_shared_hosting() -> None:
    shared = (
        "azurewebsites.net",
        "cloudfront.net",
        "herokuapp.com",
        "vercel.app",
        "github.io",
        "pages.dev",
        "co.uk",
    )
    for name in shared:
        assert catalogue().match(name) is None
        assert catalogue().match(f"anything.{name}") is None
