"""Self-hosted software of the facts: what each is known by is enough to name it, and a bare web server is not."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import pytest

from sensor.knowledge.catalogue import Catalogue, load

FACTS = Path(__file__).parents[3] / "shared" / "facts"

# Software as servers.tsv names it: service, request, port, what the answer's body holds.
SOFTWARE: dict[str, tuple[str, str, int, str]] = {
    "Ollama": ("ollama", "GET /api/tags", 11434, ""),
    "LM Studio": ("lm-studio", "GET /api/v0/models", 1234, ""),
    "vLLM": ("vllm", "GET /v1/models", 8000, '{"id":"m","object":"model","owned_by":"vllm"}'),
    "llama.cpp server": ("llama-cpp", "GET /v1/models", 8080, '{"owned_by":"llamacpp"}'),
    "llamafile": ("llamafile", "GET /flagz", 8080, ""),
    "text-generation-webui": ("text-generation-webui", "GET /v1/internal/model/info", 5000, ""),
    "LocalAI": ("localai", "POST /models/apply", 8080, ""),
    "Open WebUI": ("open-webui", "GET /api/config", 3000, '{"status":true,"name":"Open WebUI"}'),
    "ComfyUI": ("comfyui", "POST /prompt", 8188, ""),
    "Stable Diffusion WebUI (A1111/Forge)": ("stable-diffusion-webui", "POST /sdapi/v1/txt2img", 7860, ""),
    "Gradio apps": ("gradio", "GET /gradio_api/info", 7860, ""),
    "InvokeAI": ("invokeai", "GET /api/v1/app/version", 9090, ""),
    "Fooocus": ("fooocus", "POST /queue/join", 7865, ""),
    "HF TGI": ("text-generation-inference", "GET /info", 80, '{"max_batch_total_tokens":16000}'),
    "HF TEI": ("text-embeddings-inference", "POST /embed", 3000, ""),
    "NVIDIA Triton": ("triton", "POST /v2/models/m/infer", 8000, ""),
    "NVIDIA NIM": ("nvidia-nim-server", "GET /v1/metadata", 8000, '{"modelInfo":[],"assetInfo":[]}'),
    "NVIDIA Dynamo": ("nvidia-dynamo", "GET /metrics", 8000, "dynamo_frontend_requests_total 1"),
    "TensorRT-LLM serve": ("tensorrt-llm", "GET /metrics", 8000, '[{"kvCacheStats":{}}]'),
    "SGLang": ("sglang", "GET /get_server_info", 30000, ""),
    "LMDeploy": ("lmdeploy", "GET /docs", 23333, "<title>LMDeploy API Server - Swagger UI</title>"),
    "Ray Serve / dashboard": ("ray", "GET /api/serve/applications/", 8265, ""),
    "LiteLLM proxy": ("litellm", "GET /v1/models", 4000, ""),
    "Portkey gateway": ("portkey-gateway", "GET /", 8787, "AI Gateway says hey!"),
    "Bifrost": ("bifrost", "GET /health", 8080, '{"db_pings":"ok"}'),
    "Helicone (self)": ("helicone-server", "GET /healthcheck", 8585, '{"status":"healthy :)"}'),
    "TensorZero": ("tensorzero", "GET /metrics", 3000, "tensorzero_requests_total 1"),
    "Envoy AI Gateway": ("envoy-ai-gateway", "GET /v1/models", 80, '{"owned_by":"Envoy AI Gateway"}'),
    "OmniRoute": ("omniroute", "GET /api/cache", 20128, '{"semanticCache":{}}'),
    "Jan": ("jan", "GET /v1/models", 1337, ""),
    "GPT4All": ("gpt4all", "GET /v1/models", 4891, ""),
    "KoboldCpp": ("koboldcpp", "GET /api/extra/version", 5001, ""),
    "TabbyAPI": ("tabbyapi", "GET /.well-known/serviceinfo", 5000, '{"name":"TabbyAPI"}'),
    "Aphrodite": ("aphrodite", "GET /.well-known/serviceinfo", 2242, '{"name":"Aphrodite Engine"}'),
    "MLC-LLM": ("mlc-llm", "POST /microserving/prep_recv", 8000, ""),
    "DeepSpeed-MII": ("deepspeed-mii", "POST /mii/m", 28080, ""),
    "FastChat": ("fastchat", "POST /get_worker_address", 21001, ""),
    "PowerInfer": ("powerinfer", "GET /model.json", 8080, ""),
    "Petals": ("petals", "POST /api/v2/generate", 5000, ""),
    "Xinference": ("xinference", "GET /v1/cluster/version", 9997, ""),
    "BentoML / OpenLLM": ("bentoml", "GET /docs.json", 3000, '{"contact":{"name":"BentoML Team"}}'),
    "Baseten Truss": ("truss", "GET /openapi.json", 8080, '{"title":"Baseten Inference Server"}'),
    "Docker Model Runner": (
        "docker-model-runner",
        "POST /engines/llama.cpp/v1/chat/completions",
        12434,
        "",
    ),
    "AnythingLLM": ("anythingllm-server", "GET /api/setup-complete", 3001, ""),
    "LibreChat": ("librechat", "GET /", 3080, "<title>LibreChat</title>"),
    "LobeHub / LobeChat": ("lobechat-server", "GET /manifest.webmanifest", 3210, '{"id":"lobe-hub"}'),
    "SillyTavern": ("sillytavern", "GET /version", 8000, '{"agent":"SillyTavern:1.13"}'),
    "NextChat": ("nextchat", "GET /site.webmanifest", 3000, '{"name":"NextChat"}'),
    "HF chat-ui": ("hf-chat-ui", "GET /api/v2/public-config", 3000, ""),
    "Dify": ("dify-server", "GET /console/api/version", 80, ""),
    "Flowise": ("flowise-server", "GET /api/v1/chatflows", 3000, ""),
    "Langflow": ("langflow-server", "GET /api/v1/version", 7860, '{"package":"Langflow"}'),
    "n8n": ("n8n-server", "GET /", 5678, "<title>n8n.io - Workflow Automation</title>"),
    "RAGFlow": ("ragflow", "GET /v1/system/healthz", 80, '{"doc_engine":"ok"}'),
    "PrivateGPT": ("privategpt", "GET /v1/ingest/list", 8001, ""),
    "Quivr": ("quivr", "GET /openapi.json", 5050, '{"paths":{"/brains/":{}}}'),
    "Onyx": ("onyx-server", "GET /openapi.json", 3000, '{"title":"Onyx Backend"}'),
    "h2oGPT": ("h2ogpt", "GET /info", 7860, '{"named_endpoints":{"/submit_nochat_api":{}}}'),
    "AstrBot": ("astrbot", "GET /", 6185, "<title>AstrBot</title>"),
    "OpenClaw (Clawdbot, Moltbot)": (
        "openclaw-gateway",
        "GET /__openclaw/control-ui-config.json",
        18789,
        "",
    ),
    "Langfuse": ("langfuse-server", "GET /api/trpc/public.checkUpdate", 3000, ""),
    "MLflow": ("mlflow", "GET /", 5000, "<title>MLflow</title>"),
    "Qdrant": ("qdrant-server", "GET /", 6333, '{"title":"qdrant - vector search engine"}'),
    "Milvus": ("milvus", "GET /webui/", 9091, ""),
    "Chroma": ("chroma-server", "GET /api/v2/heartbeat", 8000, '{"nanosecond heartbeat":1}'),
    "Weaviate": ("weaviate-server", "GET /v1/schema", 8080, ""),
    "LightRAG": ("lightrag", "GET /health", 9621, '{"core_version":"1.4"}'),
    "MCP server (Streamable HTTP)": ("mcp-server", "POST /mcp", 8000, ""),
    "MCP server (old HTTP+SSE)": ("mcp-server", "POST /messages?session_id=5b1e", 8000, ""),
}
# Names in robots.txt only, and words that any program's user agent may hold.
NO_CLASS = {"Code", "Google-Extended", "LCC", "newsai", "OpenAI", "Operator", "Spider", "UseAI", "YaK"}


@cache
def catalogue() -> Catalogue:
    return load(cache=False)


@pytest.mark.parametrize("software", SOFTWARE)
def test_what_it_is_known_by_names_it(software: str) -> None:
    wanted, request, port, body = SOFTWARE[software]
    method, path = request.split(" ")
    found = catalogue().match_request(method, "10.0.0.9", port, path, body=body.encode())
    assert (found.service if found else None) == wanted


@pytest.mark.parametrize("request_", sorted({row[1] for row in SOFTWARE.values() if row[3]}))
def test_without_the_mark_it_is_any_web_server(request_: str) -> None:
    method, path = request_.split(" ")
    found = catalogue().match_request(method, "10.0.0.9", 8443, path, body=b"<html><title>Welcome</title>")
    assert found is None, found


@pytest.mark.shared
@pytest.mark.skipif(not FACTS.is_dir(), reason="../shared/facts is not there")
def test_no_row_of_the_facts_is_left_out() -> None:
    assert set(SOFTWARE) == {row["software"] for row in _rows("servers.tsv")}


@pytest.mark.shared
@pytest.mark.skipif(not FACTS.is_dir(), reason="../shared/facts is not there")
def test_agents_of_the_facts_have_a_class() -> None:
    said = {row["user_agent"] for row in _rows("ai_user_agents.tsv")}
    unknown = {
        name
        for name in said
        if not catalogue().client_class("", f"Mozilla/5.0 (compatible; {name}/1.0; +https://bot.example)")
    }
    assert unknown == NO_CLASS


def _rows(name: str) -> list[dict[str, str]]:
    with (FACTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
