"""Resolvers and clients: the package's own files are sound, and clients are classes, never products."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.knowledge.catalogue_files import PACKAGED, CatalogueError
from sensor.knowledge.catalogue_match import ClientClasses
from sensor.knowledge.catalogue_side import Clients, Resolvers, read_side

JA4 = "t13d1516h2_8daaf6152771_d8a2da3f94cd"
CLIENTS = Clients.model_validate(
    {
        "classes": [{"class": "chromium", "ja4": [JA4], "sample": "Chromium 156", "source": "lab"}],
        "user_agents": [
            {"pattern": "python", "class": "python"},
            {"pattern": "OpenAI/Python", "class": "openai-sdk", "vendor": "openai"},
        ],
    }
)
CLASSES = ClientClasses(CLIENTS.by_ja4, CLIENTS.by_length)


def test_a_ja4_gives_a_class() -> None:
    assert CLASSES.of(JA4) == "chromium"
    assert CLASSES.of("t13d1516h2_8daaf6152771_000000000000") == ""
    assert CLASSES.of("") == ""


def test_a_user_agent_says_more_and_the_longest_pattern_wins() -> None:
    assert CLASSES.of(JA4, "openai/PYTHON 2.54.0") == "openai-sdk"
    assert CLASSES.of(JA4, "python-httpx/0.28") == "python"
    assert CLASSES.of(JA4, "something") == "chromium"


ENGINE = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) {}Chrome/132.0 {}Safari/537.36"
)


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (ENGINE.format("", ""), "browser"),
        (ENGINE.format("SomeChat/1.0 ", "Electron/34.5.1 "), "desktop-app"),
        (ENGINE.format("Claude/0.9 ", "Electron/34.5.1 "), "desktop-app"),
        (ENGINE.format("Cursor/1.2.4 ", "Electron/34.5.1 "), "editor"),
        (ENGINE.format("Windsurf/1.12 ", "Electron/34.5.1 "), "editor"),
        (ENGINE.format("Trae/1.0 ", "Electron/34.5.1 "), "editor"),
        (ENGINE.format("Kiro/0.2 ", "Electron/34.5.1 "), "editor"),
    ],
)
def test_a_program_says_more_than_the_engine_it_is_built_on(user_agent: str, expected: str) -> None:
    clients = read_side(PACKAGED, "clients.yaml", Clients)
    assert ClientClasses(clients.by_ja4, clients.by_length).of("", user_agent) == expected


@given(st.text(), st.text())
def test_any_text(ja4: str, user_agent: str) -> None:
    assert isinstance(CLASSES.of(ja4, user_agent), str)


def test_the_packages_resolvers() -> None:
    found = read_side(PACKAGED, "resolvers.yaml", Resolvers)
    assert len(found.names) >= 100
    assert {"cloudflare-dns.com", "dns.google", "dns.quad9.net", "dns.nextdns.io"} <= found.names
    assert {"1.1.1.1", "8.8.8.8", "2606:4700:4700::1111"} <= found.ips
    assert "cloudflare-ech.com" in found.front_names
    assert {"use-application-dns.net", "mask.icloud.com"} <= {canary.name for canary in found.canaries}
    names = [name for resolver in found.resolvers for name in resolver.names]
    addresses = [address for resolver in found.resolvers for address in resolver.addresses]
    assert len(names) == len(set(names))
    assert len(addresses) == len(set(addresses))


def test_a_missing_file_is_nothing_known(tmp_path: Path) -> None:
    assert read_side(tmp_path, "resolvers.yaml", Resolvers) == Resolvers()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "resolvers: [{provider: P, addresses: [1.2.3]}]",
            r"resolvers.yaml:1: resolvers\[0\].addresses\[0\]: '1.2.3'",
        ),
        ("fronts: [{name: a.b}]", r"resolvers.yaml:1: fronts\[0\].means: field required"),
        ("a: &x 1", r"resolvers.yaml:1: anchors"),
    ],
)
def test_a_wrong_file_is_an_error_with_key(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "resolvers.yaml").write_text(text)
    with pytest.raises(CatalogueError, match=error):
        read_side(tmp_path, "resolvers.yaml", Resolvers)
