"""`aiscope sql` and `aiscope migrate`, each run in a process of its own."""

from __future__ import annotations

import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def aiscope(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "sensor.cli",
            *arguments,
            "--store",
            str(tmp_path / "s"),
        ]
        settings = {"capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run(command, check=False, **settings)  # type: ignore[call-overload]

    return aiscope


def test_migrate_plans_checks_applies(run: Run):
    plan = run("migrate", "--plan")
    assert plan.returncode == 0
    assert "CREATE TABLE IF NOT EXISTS aiscope.connections" in plan.stdout
    assert "migrations missing" in plan.stderr
    assert run("migrate", "--check").returncode == 1
    done = run("migrate")
    assert done.returncode == 0
    assert "0001 events" in done.stderr
    check = run("migrate", "--check")
    assert check.returncode == 0
    assert check.stderr.endswith(": 0 migrations missing\n")
    assert run("migrate", "--plan").stdout == ""
    known = run("sql", "SELECT name, score > 0 AS risk FROM services WHERE id = 'deepseek'")
    assert known.stdout == "name\trisk\nDeepSeek\t1\n"


def test_plan_for_a_cluster(run: Run):
    plan = run("migrate", "--plan", "--cluster", "c1")
    assert "ENGINE = ReplicatedMergeTree" in plan.stdout
    assert "ON CLUSTER 'c1'" in plan.stdout


def test_sql_is_tsv_in_a_pipe_and_what_is_asked_for(run: Run):
    run("migrate")
    assert run("sql", "SELECT 1 AS a, 'x\ty' AS b").stdout == "a\tb\n1\tx\\ty\n"
    assert run("sql", "SELECT 1 AS a", "--format", "JSONEachRow").stdout == '{"a":1}\n'
    assert run("sql", "-", input="SELECT count() AS n FROM connections").stdout == "n\n0\n"


def test_sql_in_a_format_of_its_own(run: Run):
    run("migrate")
    assert run("sql", "SELECT 1 AS a FORMAT JSONEachRow").stdout == '{"a":1}\n'
    assert run("sql", "SELECT 'x', 1\nformat CSV SETTINGS max_threads = 1;\n").stdout == '"x",1\n'
    assert run("sql", "SELECT ' FORMAT CSV' AS a").stdout == "a\n FORMAT CSV\n"


def test_sql_inserts(run: Run):
    run("migrate")
    for rows in (
        "VALUES (now(), 'a', 'no')",
        """FORMAT JSONEachRow {"service": "b"}""",
        "SELECT now(), 'c', ''",
    ):
        columns = "" if "JSON" in rows else "(time, service, decision)"
        done = run("sql", f"-- what was decided\nINSERT INTO reviews {columns} {rows}")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert run("sql", "SELECT service FROM reviews ORDER BY 1 FORMAT TSV").stdout == "a\nb\nc\n"


def test_sql_errors_are_one_line(run: Run):
    run("migrate")
    done = run("sql", "SELECT nonsense")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "UNKNOWN_IDENTIFIER" in done.stderr


def test_sql_errors_are_said_once(run: Run):
    run("migrate")
    assert run("sql", "SELECT 1", "--format", "nix").stderr.endswith(
        ": Code: 73. Unknown format nix. (UNKNOWN_FORMAT)\n"
    )


def test_sql_is_a_table_on_a_terminal_and_escapes(run: Run):
    run("migrate")
    screen, side = pty.openpty()
    done = run(
        "sql", "SELECT 'a\x1b[31m[b]' AS name, 5 AS n, NULL AS nothing", capture_output=False, stdout=side
    )
    with open(screen, "rb", buffering=0) as terminal:  # noqa: PTH123
        shown = terminal.read(4096).decode()
    assert done.returncode == 0
    assert "a\\x1b[31m[b]" in shown
    assert "name" in shown


@pytest.mark.parametrize("text", ["", "  ;", "-- nothing\n/* at\nall */"])
def test_no_statement(run: Run, text: str):
    done = run("sql", text)
    assert (done.returncode, done.stderr) == (2, "aiscope: no statement\n")


def test_sql_errors_show_the_statement_as_it_was_given(run: Run):
    run("migrate")
    said = run("sql", "SELEC 1").stderr
    assert "failed at position 7" in said
    assert "FORMAT" not in said
    assert len(said) < 250
