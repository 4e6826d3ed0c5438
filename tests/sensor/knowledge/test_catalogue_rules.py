"""The rules in the cache: the same catalogue as from its files, and nothing that was changed is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensor.knowledge import catalogue_compile, catalogue_rules
from sensor.knowledge.catalogue import load
from sensor.knowledge.catalogue_rules import dump, read

PACKAGED = load()
RULES = catalogue_compile.rules(PACKAGED.contents, PACKAGED.id)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `load` keeps of the packaged catalogue."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(catalogue_compile, "read", lambda *_: PACKAGED.contents)
    load()
    (path,) = (tmp_path / "aiscope").glob("rules-*.json")
    return path


def test_what_comes_from_the_cache_is_the_same(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(catalogue_compile, "rules", lambda *_: pytest.fail("compiled again"))
    again = load()
    assert again.id == PACKAGED.id
    assert again.watch() == PACKAGED.watch()
    for entry in PACKAGED.services.values():
        for case in (case for case in entry.service.fires if isinstance(case, str)):
            assert again.match(case) == PACKAGED.match(case) is not None
    assert again.client_class("", "claude-cli/1.0") == PACKAGED.client_class("", "claude-cli/1.0") != ""


def test_what_was_changed_is_made_again(kept: Path) -> None:
    good = kept.read_bytes()
    kept.write_bytes(good.replace(b"api.openai.com", b"api.evil.example"))
    found = load().match("api.openai.com")
    assert found
    assert found.service == "openai-api"
    assert kept.read_bytes() == good


def test_another_release_reads_the_files(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept.read_bytes()
    monkeypatch.setattr(catalogue_rules, "FORM", "of the next release")
    load()
    assert kept.read_bytes() != before


def test_dump_and_read() -> None:
    assert dump(read(dump(RULES)) or RULES) == dump(RULES)


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", b"x" * 64 + b"\n{}", dump(RULES)[:-1]])
def test_what_is_not_whole_is_nothing(data: bytes) -> None:
    assert read(data) is None
