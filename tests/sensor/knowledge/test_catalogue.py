"""The catalogue as a whole: what is asked of it, in which order rules decide, what engines are to watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.knowledge.catalogue import catalogue_id, load
from sensor.knowledge.catalogue_compile import compiled
from sensor.knowledge.catalogue_files import CatalogueError, version
from sensor.knowledge.catalogue_model import Vendor
from sensor.knowledge.catalogue_side import Resolvers


def vendor(name: str, *services: dict[str, Any]) -> Vendor:
    common = {
        "category": "chat",
        "sources": ["https://example.org"],
        "checked": "2026-11-22",
        "fires": ["x.example"],
        "silent": ["y.example"],
    }
    rows = [{"name": service["id"], **common, **service} for service in services]
    return Vendor.model_validate({"vendor": name, "name": name.title(), "services": rows})


GENERIC = vendor(
    "generic",
    {"id": "openai-compatible", "servers": [{"paths": ["POST /v1/chat/completions"]}]},
    {"id": "mcp-server", "servers": [{"request_headers": {"mcp-protocol-version": ""}}]},
)
LOCAL = vendor(
    "local",
    {"id": "ollama", "servers": [{"ports": [11434], "paths": ["/v1/"]}, {"paths": ["GET /api/tags"]}]},
    {
        "id": "vllm",
        "servers": [
            {"paths": ["/v1/"], "response_headers": {"server": "vLLM"}},
            {"paths": ["=/"], "body": "vLLM"},
        ],
    },
    {"id": "sglang", "servers": [{"ports": [8000, 30000], "paths": ["/server_info"]}]},
)
ACME = vendor(
    "acme",
    {"id": "acme", "hosts": {"app": ["acme.example"], "api": ["=api.acme.example", "*.ai.acme.example"]}},
    {"id": "acme-code", "requests": [{"host": "shared.example", "path": "/acme/", "role": "app"}]},
    {"id": "acme-any", "requests": [{"path": "POST /acme/v1/*/generate"}]},
    {"id": "acme-net", "addresses": ["192.0.2.0/24", "2001:db8::/32"]},
)
SMALL = compiled([GENERIC, LOCAL, ACME])


def test_a_match_says_everything() -> None:
    found = SMALL.match("www.acme.example")
    assert found
    assert (found.service, found.vendor, found.category, found.role, found.rule) == (
        "acme",
        "acme",
        "chat",
        "app",
        "acme.example",
    )


def test_addresses() -> None:
    found = SMALL.match_address("192.0.2.9")
    assert found
    assert (found.service, found.role) == ("acme-net", "")
    assert SMALL.match_address("198.51.100.1") is None


REQUESTS: list[tuple[str, str, int, str, dict[str, Any], str | None]] = [
    ("GET", "shared.example", 80, "/acme/x", {}, "acme-code"),
    ("GET", "shared.example", 80, "/other", {}, None),
    ("POST", "api.acme.example", 80, "/v1/chat/completions", {}, "acme"),
    ("POST", "anything.example", 80, "/acme/v1/m/generate", {}, "acme-any"),
    ("GET", "anything.example", 80, "/acme/v1/m/generate", {}, None),
    ("POST", "10.0.0.1", 11434, "/v1/chat/completions", {}, "ollama"),
    ("POST", "10.0.0.1", 8000, "/v1/chat/completions", {}, "openai-compatible"),
    ("POST", "10.0.0.1", 8000, "/v1/chat/completions", {"response_headers": {"server": "VLLM/1"}}, "vllm"),
    ("GET", "10.0.0.1", 8000, "/", {"body": b"this is vLLM"}, "vllm"),
    ("GET", "10.0.0.1", 8000, "/", {}, None),
    ("GET", "10.0.0.1", 9999, "/api/tags", {}, "ollama"),
    ("POST", "10.0.0.1", 9999, "/api/tags", {}, None),
    ("GET", "10.0.0.1", 30000, "/server_info", {}, "sglang"),
    ("GET", "10.0.0.1", 3000, "/server_info", {}, None),
    ("POST", "10.0.0.1", 8080, "/x", {"headers": {"mcp-protocol-version": "2026-07-28"}}, "mcp-server"),
    ("POST", "10.0.0.1", 8080, "/x", {"headers": {"accept": "*/*"}}, None),
    ("POST", "", 0, "", {}, None),
]


@pytest.mark.parametrize(("method", "host", "port", "path", "more", "wanted"), REQUESTS)
def test_requests(
    method: str, host: str, port: int, path: str, more: dict[str, Any], wanted: str | None
) -> None:
    found = SMALL.match_request(method, host, port, path, **more)
    assert (found.service if found else None) == wanted


@given(st.text(), st.text(), st.integers(), st.text(), st.dictionaries(st.text(), st.text()), st.binary())
def test_any_request(
    method: str, host: str, port: int, path: str, headers: dict[str, str], body: bytes
) -> None:
    SMALL.match_request(method, host, port, path, headers, headers, body)
    SMALL.match_address(host)


def test_the_rule_of_a_server_says_what_it_took() -> None:
    found = SMALL.match_request("POST", "h", 11434, "/v1/models")
    assert found
    assert found.rule == "port 11434, /v1/"
    found = SMALL.match_request("GET", "h", 1, "/", body=b"vLLM")
    assert found
    assert found.rule == "=/, body 'vLLM'"


def test_what_engines_watch() -> None:
    resolvers = Resolvers.model_validate(
        {
            "resolvers": [
                {
                    "provider": "P",
                    "names": ["dns.example"],
                    "addresses": ["2001:DB8::0"],
                    "source": "https://e.org",
                }
            ],
            "fronts": [{"name": "front.example", "means": "x", "source": "https://e.org"}],
        }
    )
    watch = compiled([GENERIC, LOCAL, ACME], resolvers=resolvers).watch()
    assert watch.names == {"acme.example", "api.acme.example"}
    assert watch.patterns == {"*.ai.acme.example"}
    assert watch.networks == ("192.0.2.0/24", "2001:db8::/32")
    assert watch.ports == {11434}
    assert watch.paths == {"/v1/chat/completions", "/api/tags", "/server_info", "/acme/", "/acme/v1/"}
    assert (watch.fronts, watch.resolvers) == ({"front.example"}, {"dns.example"})
    assert watch.resolver_ips == {"2001:db8::"}
    assert not watch.all


def test_overrides_add_replace_and_win() -> None:
    mine = vendor(
        "mine",
        {"id": "acme", "hosts": {"app": ["new.example"]}, "category": "coding"},
        {"id": "ours", "hosts": {"app": ["ai.corp.example"]}},
        {"id": "tighter", "addresses": ["192.0.2.0/24"]},
    )
    both = compiled([GENERIC, LOCAL, ACME], overrides=[mine])
    assert both.match("acme.example") is None
    assert both.match("new.example").category == "coding"  # type: ignore[union-attr]
    assert both.match("ai.corp.example").vendor == "mine"  # type: ignore[union-attr]
    assert both.match_address("192.0.2.1").service == "tighter"  # type: ignore[union-attr]
    assert both.match_request("GET", "h", 1, "/api/tags").service == "ollama"  # type: ignore[union-attr]


def test_a_replaced_service_wins_over_equal_patterns_too() -> None:
    first = vendor(
        "one", {"id": "a", "hosts": {"app": ["a.example"]}}, {"id": "b", "hosts": {"app": ["b.example"]}}
    )
    mine = vendor("mine", {"id": "a", "hosts": {"app": ["b.example"]}})
    assert compiled([first], overrides=[mine]).match("b.example").service == "a"  # type: ignore[union-attr]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "root" / "services").mkdir(parents=True)
    (tmp_path / "root" / "version.yaml").write_text("7\n")
    write(tmp_path / "root" / "services", "acme", "acme.example")
    return tmp_path / "root"


def write(folder: Path, name: str, host: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(
        f"vendor: {name}\nname: {name}\nservices:\n  - id: {name}\n    name: {name}\n    category: chat\n"
        f"    hosts: {{app: [{host}]}}\n    sources: [https://example.org]\n    checked: 2026-11-22\n"
        f"    fires: [{host}]\n    silent: [x{host}]\n"
    )


def test_load(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "mine", "ours", "ours.example")
    found = load(root, tmp_path / "mine")
    assert set(found.services) == {"acme", "ours"}
    assert found.id == catalogue_id(root, tmp_path / "mine")
    assert found.id != catalogue_id(root)
    assert found.id.startswith("7-")
    assert found.client_class("t13d1516h2_8daaf6152771_d8a2da3f94cd") == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "version.yaml").write_text("8"),
        lambda root: write(root / "services", "acme", "other.example"),
        lambda root: write(root / "services", "more", "more.example"),
        lambda root: (root / "resolvers.yaml").write_text("resolvers: []"),
    ],
)
def test_the_id_follows_the_content(root: Path, change: Callable[[Path], object]) -> None:
    before = catalogue_id(root)
    change(root)
    assert catalogue_id(root) != before


def test_an_empty_folder_is_an_error(root: Path) -> None:
    (root / "services" / "acme.yaml").unlink()
    with pytest.raises(CatalogueError, match="no vendor files"):
        load(root)


def test_a_bad_override_is_an_error(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "mine", "ours", "ours")
    with pytest.raises(CatalogueError, match=r"ours\.yaml:7: services\[0\]\.hosts\.app\[0\]"):
        load(root, tmp_path / "mine")


@pytest.mark.parametrize("text", ["", "x", "-1", "1" * 20, "1\n2", "²"])
def test_a_version_is_a_number(root: Path, text: str) -> None:
    (root / "version.yaml").write_text(text)
    with pytest.raises((CatalogueError, UnicodeDecodeError)):
        version(root)


def test_score_by_the_catalogues_rubric() -> None:
    with pytest.raises(KeyError):
        SMALL.score("nothing")
    assert SMALL.score("acme").score is None
