"""`aiscope dlp` as a user calls it. What is found is never shown whole."""

import json
import stat

import pytest
from click.testing import CliRunner

from sensor.dlp_cli import command

CARD = "4539 1488 0343 6467"


def run(*arguments, text=None):
    return CliRunner().invoke(command, list(map(str, arguments)), input=text)


def test_a_text_from_standard_input_is_tried_and_redacted():
    done = run("test", text=f"my card {CARD}\x1b[31m password: Winter2026!x")
    assert done.exit_code == 1
    assert "payment-card" in done.output
    assert "45…67 (19)" in done.output
    assert CARD not in done.output
    assert "Winter2026" not in done.output
    assert run("test", text="nothing to see").exit_code == 0


def test_a_file_and_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"text": f"pay {CARD}"}))
    done = run("test", path, "--json")
    row = json.loads(done.output)
    assert (row["data_class"], row["where"], row["redacted"]) == ("payment-card", "a.json.text", "45…67 (19)")


def test_lists_and_documents_from_making_to_finding(tmp_path):
    key, values, words = tmp_path / "key", tmp_path / "values", tmp_path / "projects.txt"
    values.write_text("KD-000123-11\nabc\n")
    words.write_text("Nightjar\n")
    made = run("hash-list", "customers", values, "--key", key)
    assert made.exit_code == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "left out: value 2" in made.stderr
    assert "KD-000123-11" not in made.output
    hashed = tmp_path / "customers.list"
    hashed.write_text(made.stdout)
    done = run("test", "--list", hashed, "--key", key, "--words", words, text="kd-000123-11 of nightjar")
    assert "exact-match-customers" in done.output
    assert "words-projects" in done.output


def test_a_document(tmp_path):
    key, path = tmp_path / "key", tmp_path / "plan.txt"
    path.write_text(
        "The brewery will westward keep growing. Between villages and backwater, workers wanted better bridges. "
        * 3
    )
    made = run("hash-document", "plan", path, "--key", key, "--similarity", "0.4")
    assert made.output.startswith("aiscope-document-1 plan 0.4\n")
    path.write_text("short")
    assert "too little text" in run("hash-document", "plan", path, "--key", key).output


@pytest.mark.parametrize("arguments", [("hash-list", "BAD NAME"), ("hash-list", "ok")])
def test_what_cannot_be_used_is_said(tmp_path, arguments):
    values, key = tmp_path / "values", tmp_path / "key"
    values.write_text("KD-000123-11\n" if arguments[1] != "ok" else "x\n")
    done = run(*arguments, values, "--key", key)
    assert done.exit_code == 2
    assert "name is lower case" in done.output or "no value that could be used" in done.output
    key.write_bytes(b"short")
    assert "not a key" in run(*arguments, values, "--key", key).output


def test_check_says_what_is_wrong(tmp_path):
    assert run("check").exit_code == 0
    (tmp_path / "a.yaml").write_text("about: x\n")
    done = run("check", tmp_path)
    assert done.exit_code == 1
    assert "a.yaml:1: detectors: Field required" in done.output
    assert run("test", "--detectors", tmp_path, text="x").exit_code == 2


def test_the_schema_is_json():
    assert json.loads(run("schema").output)["title"] == "aiscope detector file"


def test_a_key_that_cannot_be_made_is_said_without_a_number(tmp_path):
    values, key = tmp_path / "values", tmp_path / "none" / "key"
    values.write_text("KD-000123-11\n")
    done = run("hash-list", "customers", values, "--key", key)
    assert done.exit_code == 2
    assert f"{key}: No such file or directory" in done.output
    assert "Errno" not in done.output
