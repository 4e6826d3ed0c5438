"""The commands and their exit codes, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "deploy" / "policy.example.yaml"
GOOD = """version: "1"
rules:
  - {id: no-chat, match: {service: chatgpt, user: anna}, verdict: block, message: no}
"""


@pytest.fixture
def aiscope(tmp_path: Path) -> object:
    def run(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "sensor.cli", "policy", *map(str, arguments)],
            capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[3],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    return run


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    return path


def test_the_example_is_sound(aiscope) -> None:  # type: ignore[no-untyped-def]
    assert aiscope("check", EXAMPLE) == ("", "no findings\n")
    assert aiscope("test", EXAMPLE)[1].endswith(" cases, 0 failed\n")


def test_check_and_test_fail_for_ci(aiscope, policy: Path) -> None:  # type: ignore[no-untyped-def]
    policy.write_text(GOOD + "tests: [{given: {service: chatgpt}, expect: {verdict: block}}]\n")
    assert aiscope("test", policy, code=1)[0] == "tests[0]: expected block, got tolerate by default\n"
    policy.write_text(GOOD.replace("chatgpt", "chat-gpt"))
    assert (
        f"{policy}:3: rules[0].match.service[0]: the catalogue has no" in aiscope("check", policy, code=1)[1]
    )
    policy.write_text("rules: 7\x1b[31m")
    assert "\x1b" not in aiscope("check", policy, code=1)[1]
    aiscope("test", policy, code=2)
    aiscope("check", code=2)


def test_explain_in_words_and_json(aiscope, policy: Path) -> None:  # type: ignore[no-untyped-def]
    said, _ = aiscope("explain", "--policy", policy, "service=chatgpt", "user=anna")
    assert said == "no-chat: block no\n"
    said, _ = aiscope("explain", "--policy", policy, "service=chatgpt", "group=a,b")
    assert said == "no-chat: no, user does not hold\ndefault: tolerate\n"
    row = json.loads(aiscope("explain", "--policy", policy, "--json", "service=claude")[0])
    said = aiscope("explain", "--policy", policy, "service=chatgptt")[1]
    assert said == "the catalogue has no service chatgptt, did you mean chatgpt?\n"
    assert (row["verdict"], row["rule"], row["skipped"]) == (
        "tolerate",
        "default",
        {"no-chat": ["service", "user"]},
    )
    for wrong in (
        "service", "colour=red", "volume.up=much", "volume=3", "volume=3 volume.up=3", "client_ip=here",
        "time=soon", "time=9999-12-31T23:59:59", "time=0001-01-01T00:00+14:00",
    ):  # fmt: skip
        said = aiscope("explain", "--policy", policy, *wrong.split(), code=2)[1]
        assert "Traceback" not in said


def test_export_and_its_difference(aiscope, policy: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    policy.write_text(GOOD.replace(", user: anna", ""))
    text, _ = aiscope("export", "rpz", "--policy", policy)
    assert "chatgpt.com IN CNAME .\n" in text
    before = tmp_path / "before"
    before.write_text(text)
    assert aiscope("export", "rpz", "--policy", policy, "--diff", before) == ("", "")
    policy.write_text(GOOD.replace(", user: anna", "").replace("chatgpt", "claude"))
    said, _ = aiscope("export", "rpz", "--policy", policy, "--diff", before, code=1)
    assert "-chatgpt.com IN CNAME .\n" in said
    assert "+claude.ai IN CNAME .\n" in said
    assert aiscope("export", "paloalto", "--policy", policy, "--verdict", "alert")[0].count("\n") == 1
    aiscope("export", "carrier-pigeon", "--policy", policy, code=2)


def test_backtest(aiscope, policy: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code = (
        "import sys\nfrom collector.store import open_store\n"
        "from tests.collector.conftest import connection\n"
        "with open_store('chdb://' + sys.argv[1]) as store:\n"
        "    row = connection(service='chatgpt', category='chat', user='anna')\n"
        "    store.insert([row], sensor='a', batch=1, token='t')\n"
    )
    store = tmp_path / "store"
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code, store], check=True, timeout=120, cwd=root)
    said, _ = aiscope("backtest", policy, "--store", store, "--since", "2020-01-01")
    assert "no-chat  block    1       1        1         1,000" in said
    found = json.loads(aiscope("backtest", policy, "--store", store, "--since", "9999d", "--json")[0])
    assert found["who"][0]["client"] == "anna"
    assert found["changes"] is None
    assert (
        "nothing" in aiscope("backtest", policy, "--store", store, "--since", "1h", "--against", EXAMPLE)[0]
    )
    for since in ("0001-01-01", "0001-01-01T00:00+14:00", "9999w"):
        assert aiscope("backtest", policy, "--store", store, "--since", since, "--json")[0]
    assert "no time like" in aiscope("backtest", policy, "--store", store, "--since", "ever", code=2)[1]


def test_schema_is_json(aiscope) -> None:  # type: ignore[no-untyped-def]
    assert json.loads(aiscope("schema")[0])["title"] == "PolicyFile"
