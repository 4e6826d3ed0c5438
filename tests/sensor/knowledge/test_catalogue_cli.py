"""`aiscope catalogue`: output other programs read, exit codes, and nothing hostile on the terminal."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sensor.knowledge.catalogue import load
from sensor.knowledge.catalogue_cli import catalogue
from sensor.knowledge.catalogue_files import PACKAGED
from sensor.knowledge.catalogue_terminal import printable

KEYS = ["name", "service", "vendor", "category", "role", "rule"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISCOPE_CATALOGUE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.chdir(tmp_path)  # no aiscope.toml
    for name in ("AISCOPE_CATALOGUE_OVERRIDES", "AISCOPE_CATALOGUE_KEY"):
        monkeypatch.delenv(name, raising=False)


def run(*words: str, stdin: bytes = b"", code: int = 0) -> Result:
    result = CliRunner().invoke(catalogue, words, input=stdin)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """The package's catalogue with one vendor for each category."""
    folder = tmp_path / "few"
    shutil.copytree(PACKAGED, folder, ignore=lambda at, names: names if at.endswith("services") else [])
    kept = {entry.service.category: entry.vendor.vendor for entry in load().services.values()}
    for vendor in set(kept.values()):
        shutil.copy(PACKAGED / "services" / f"{vendor}.yaml", folder / "services")
    return folder


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy") / "signatures"
    shutil.copytree(PACKAGED, folder)
    return folder


def test_list_is_aligned() -> None:
    lines = run("list", "--category", "companion").stdout.splitlines()
    columns = [line.index(word) for line, word in ((lines[0], "VENDOR"), (lines[0], "CATEGORY"))]
    assert all(line[column - 1] == " " != line[column] for line in lines for column in columns)
    assert all("companion" in line for line in lines[1:])


def test_list_as_json() -> None:
    rows = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert {"id", "name", "vendor", "vendor_name", "category", "hosts", "sources", "checked"} <= rows[
        0
    ].keys()
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


def test_explain_as_json_is_one_object_per_name() -> None:
    result = run("explain", "--json", "WWW.ChatGPT.com.", "example.org", "160.79.104.10", "")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(row) for row in rows] == [KEYS] * 4
    assert rows[0] == {
        "name": "WWW.ChatGPT.com.",
        "service": "chatgpt",
        "vendor": "openai",
        "category": "chat",
        "role": "app",
        "rule": "chatgpt.com",
    }
    assert set(rows[1].values()) == {"example.org", None}
    assert rows[2]["vendor"] == "anthropic"


def test_explain_reads_standard_input() -> None:
    result = run(
        "explain", "--json", stdin=b"chatgpt.com\r\n\n  claude.ai\nb\xffad.claude.ai\n\x1b[31m\x7f.claude.ai"
    )
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["name"] for row in rows] == [
        "chatgpt.com",
        "claude.ai",
        "b\ufffdad.claude.ai",
        "\x1b[31m\x7f.claude.ai",
    ]
    assert (
        run("explain", "--json", "-", stdin=b"chatgpt.com").stdout
        == result.stdout.splitlines(keepends=True)[0]
    )
    assert "\x1b" not in result.stdout
    assert "\x7f" not in result.stdout


def test_explain_says_that_only_a_path_of_a_shared_host_belongs_to_a_service() -> None:
    shared, other = run("explain", "api.github.com", "example.org").stdout.splitlines()
    assert shared == "api.github.com: no rule for the name; by a path: /copilot_internal/ (github-copilot)"
    assert other == "example.org: no rule for it or for a name above it"


def test_explain_in_words() -> None:
    lines = run("explain", "api.openai.com", "example.org").stdout.splitlines()
    assert lines[0].startswith("api.openai.com: OpenAI API (openai-api) of OpenAI, llm-api, api (use), by ")
    assert lines[1] == "example.org: no rule for it or for a name above it"


def test_nothing_hostile_reaches_the_terminal() -> None:
    names = ("\x1b[2J.example", "\u202egnp.exe", "a\x9bb", "a\r\nb", "\udc80")
    assert all(printable(name).isprintable() for name in names)
    lines = run("explain", *names).stdout.split("\n")[:-1]
    assert len(lines) == len(names)
    assert all(line.isprintable() for line in lines)


def test_check_of_the_package() -> None:
    assert "no findings" in run("check").stderr


def test_check_finds_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("vendor: [mine\n")
    result = run("check", str(tmp_path), code=1)
    assert result.stdout.startswith("mine.yaml")
    assert "1 findings" in result.stderr
    run("check", str(tmp_path / "none"), code=2)


def test_a_broken_override_is_said_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("vendor: other\nname: M\nservices: []\n")
    result = run("--overrides", str(tmp_path), "list", code=2)
    assert "mine.yaml:3: services" in result.stderr
    assert result.stdout == ""


def test_overrides_are_used(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "vendor: mine\nname: Mine\nservices:\n  - id: chatgpt\n    name: Ours\n    category: chat\n"
        "    hosts: {app: [ai.corp.example]}\n    sources: [https://corp.example]\n    checked: 2026-11-22\n"
        "    fires: [ai.corp.example]\n    silent: [corp.example]\n"
    )
    result = run("--overrides", str(tmp_path), "explain", "ai.corp.example", "chatgpt.com")
    assert result.stdout.splitlines()[0].startswith("ai.corp.example: Ours (chatgpt) of Mine")
    assert "no rule" in result.stdout.splitlines()[1]


def test_diff(copy: Path) -> None:
    assert run("diff", str(PACKAGED), str(PACKAGED)).stdout == ""
    vendor = copy / "services" / "openai.yaml"
    vendor.write_text(
        vendor.read_text().replace("app: [chatgpt.com", "app: [new.chatgpt.example, chatgpt.com", 1)
    )
    result = run("diff", str(PACKAGED), str(copy), code=1)
    assert result.stdout == "+ suffix new.chatgpt.example  chatgpt app\n"
    assert run("diff", str(copy), str(PACKAGED), code=1).stdout.startswith("- ")


def test_stats() -> None:
    counts = json.loads(run("stats", "--json").stdout)
    assert counts["services"] == sum(counts["categories"].values())
    assert len(counts["categories"]) == 17
    assert ["services", str(counts["services"])] in [
        line.split() for line in run("stats").stdout.splitlines()
    ]


def test_export_as_csv_has_every_rule() -> None:
    rows = list(csv.DictReader(io.StringIO(run("export", "--format", "csv").stdout)))
    counts = json.loads(run("stats", "--json").stdout)
    assert len(rows) == sum(counts["rules"].values())
    assert not any(
        value.startswith(("=", "+", "@")) for row in rows for value in row.values() if row["kind"] == "exact"
    )


def test_export_as_json() -> None:
    value = json.loads(run("export").stdout)
    assert value["catalogue"] == json.loads(run("stats", "--json").stdout)["catalogue"]
    assert any(service["id"] == "chatgpt" for service in value["services"])


def test_score(tmp_path: Path) -> None:
    result = json.loads(run("score", "--json", "chatgpt").stdout)
    assert {"service", "score", "low", "high", "known", "reasons"} <= result.keys()
    assert "chatgpt: risk " in run("score", "chatgpt").stdout
    rubric = tmp_path / "mine.yaml"
    rubric.write_text("criteria: [{fact: country, weight: 1, why: w, values: {US: 0.3}}]")
    assert "risk 30 of 100" in run("score", "chatgpt", "--rubric", str(rubric)).stdout
    rubric.write_text("criteria: 1")
    assert "mine.yaml:1: criteria" in run("score", "chatgpt", "--rubric", str(rubric), code=2).stderr
    assert "no service" in run("score", "nothing", code=2).stderr


def test_page(tmp_path: Path) -> None:
    run("page", str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert text.count("<article") == json.loads(run("stats", "--json").stdout)["services"]
    run("page", str(tmp_path / "none" / "page.html"), code=2)


def test_settings_that_are_wrong_end_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISCOPE_CATALOGUE_HOMME", "x")
    assert "did you mean catalogue.home?" in run("stats", code=2).stderr


def test_schema() -> None:
    assert run("schema").stdout == (PACKAGED / "schema" / "service.schema.json").read_text()


def test_bundles_from_key_to_update(tmp_path: Path, few: Path) -> None:
    key, out = str(tmp_path / "key"), str(tmp_path / "out")
    pin = run("keygen", key).stdout.strip()
    assert "exists" in run("keygen", key, code=2).stderr
    run("bundle", "--key", key, "--from", str(few), out)
    assert "not newer" in run("update", out, "--pin", pin, code=2).stderr
    (few / "version.yaml").write_text("999999999999\n")
    run("bundle", "--key", key, "--from", str(few), out)
    assert "no key to trust" in run("update", out, code=2).stderr
    assert "32 bytes" in run("update", out, "--pin", "x", code=2).stderr
    other = run("keygen", str(tmp_path / "other")).stdout.strip()
    assert "signature" in run("update", out, "--pin", other, code=2).stderr
    name = run("update", out, "--pin", pin).stdout.strip()
    assert name.startswith("999999999999-")
    assert json.loads(run("stats", "--json").stdout)["catalogue"] == name


def test_help_says_the_exit_codes() -> None:
    assert "0 fine, 1 there are findings, 2" in run("--help").stdout
