"""The rules in the cache: the same catalogue as from its files, and nothing that was changed is believed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sensor.knowledge import catalogue_compile, catalogue_files, catalogue_rules
from sensor.knowledge.catalogue import load
from sensor.knowledge.catalogue_rules import dump, read

ACME = """\
vendor: acme
name: Acme
services:
  - id: acme
    name: Acme
    category: chat
    hosts: {app: [acme.example], api: ["=api.acme.example", "*.ai.acme.example"]}
    addresses: [192.0.2.0/24]
    requests: [{host: shared.example, path: POST /acme/*/chat}]
    servers: [{ports: [4711], paths: [/v1/acme], response_headers: {server: acme}, body: hello}]
    sources: [https://acme.example]
    checked: 2026-11-22
    fires: [acme.example]
    silent: [notacme.example]
"""
CLIENTS = "user_agents: [{pattern: Acme-CLI, class: cli}, {pattern: acme, class: sdk}]\n"
RESOLVERS = (
    "resolvers: [{provider: P, names: [dns.example], addresses: [192.0.2.53], source: https://e.org}]\n"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(catalogue_files, "SETTLED_NS", 0)  # else nothing so fresh is kept
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "acme.yaml").write_text(ACME)
    for name, text in (("version", "7\n"), ("clients", CLIENTS), ("resolvers", RESOLVERS)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.fixture
def kept(root: Path) -> Path:
    """What `load` keeps of it."""
    load(root)
    time.sleep(0.02)  # a tick of the file system's clock: a test changes files at once
    (path,) = (root / "cache" / "aiscope").glob("rules-*.json")
    return path


def test_what_comes_from_the_cache_is_the_same(
    root: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept.stat().st_mode & 0o777 == 0o600
    first = load(root, cache=False)
    monkeypatch.setattr(catalogue_compile, "rules", lambda *_: pytest.fail("compiled again"))
    again = load(root)
    assert again.id == first.id
    assert again.watch() == first.watch()
    for name in ("www.acme.example", "api.acme.example", "x.ai.acme.example", "example"):
        assert again.match(name) == first.match(name)
    assert again.match_address("192.0.2.1") == first.match_address("192.0.2.1") is not None
    asked = ("POST", "shared.example", 443, "/acme/1/chat?x")
    assert again.match_request(*asked) == first.match_request(*asked) is not None
    served = ("GET", "h", 4711, "/v1/acme", {}, {"server": "Acme/1"}, b"hello, world")
    assert again.match_request(*served) == first.match_request(*served) is not None
    assert again.client_class("", "acme-cli/1.0") == first.client_class("", "acme-cli/1.0") == "cli"
    assert again.services == first.services  # read from the files now


def test_what_was_changed_is_made_again(root: Path, kept: Path) -> None:
    good = kept.read_bytes()
    kept.write_bytes(good.replace(b"acme.example", b"evil.example"))
    assert load(root).match("acme.example") is not None
    assert kept.read_bytes() == good


def test_a_changed_file_is_read_again(root: Path, kept: Path) -> None:
    before = load(root)
    (root / "clients.yaml").write_text(CLIENTS.replace("sdk", "library"))
    after = load(root)
    assert after.client_class("", "acme") == "library"
    assert after.id != before.id


def test_an_unchanged_catalogue_is_not_read(root: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_files, "_content", lambda path: pytest.fail(f"read {path}"))
    assert load(root).match("acme.example") is not None


def test_a_file_of_the_same_size_and_time_is_read_again(root: Path, kept: Path) -> None:
    path = root / "clients.yaml"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text(CLIENTS.replace("sdk", "ide"))
    os.utime(path, ns=times)  # what a copy that keeps times does; ctime is nobody's to set
    assert load(root).client_class("", "acme") == "ide"


def test_a_file_in_place_of_another_is_read(root: Path, kept: Path) -> None:
    path = root / "clients.yaml"
    (root / "new").write_text(CLIENTS.replace("sdk", "ide"))
    (root / "new").replace(path)
    assert load(root).client_class("", "acme") == "ide"


def test_what_was_written_a_moment_ago_is_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_files, "SETTLED_NS", 3_600_000_000_000)
    load(root)
    assert not list((root / "cache").rglob("rules-*.json"))


def test_a_change_while_the_files_are_read_is_not_missed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_file = catalogue_files._content

    def changed_first(path: str) -> bytes:
        if path.endswith("clients.yaml"):
            Path(path).write_text(CLIENTS.replace("sdk", "ide"))
        return read_file(path)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(catalogue_files, "_content", changed_first)
        load(root)
    (root / "clients.yaml").write_text(CLIENTS)
    assert load(root).client_class("", "acme") == "sdk"


def test_another_release_reads_the_files(root: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept.read_bytes()
    monkeypatch.setattr(catalogue_rules, "FORM", "of the next release")
    load(root)
    assert kept.read_bytes() != before


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", b"x" * 64 + b"\n{}"])
def test_what_is_not_whole_is_nothing(root: Path, data: bytes) -> None:
    made = catalogue_compile.rules(load(root).contents, "7-x")
    assert dump(read(dump(made)) or made) == dump(made)
    assert read(dump(made)[:-1]) is None
    assert read(data) is None
