from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sensor import cli

HEAVY = ("chdb", "pandas", "pyarrow", "pydantic", "rich", "scapy", "streamlit", "yaml", "clickhouse_connect")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "sensor.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_help_imports_nothing_heavy():
    code = "import sys; from sensor.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"  {name} " in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_there_and_explains_itself(name: str):
    command = cli.LazyGroup().get_command(click.Context(cli.aiscope), name)
    assert command is not None
    assert command.name == name
    assert command.help
    if not isinstance(command, click.Group):
        assert all(p.help for p in command.params if isinstance(p, click.Option))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_list_of_commands_says_whole_sentences(name: str):
    context = click.Context(cli.aiscope)
    command = cli.LazyGroup().get_command(context, name)
    assert command is not None
    text = command.get_help(click.Context(command, context, name, terminal_width=80))
    assert not [line for line in text.partition("Commands:")[2].splitlines() if line.endswith("...")]


def test_unknown_command_is_one_line():
    done = run("reed")
    assert done.returncode == 2
    assert done.stderr == "aiscope: No such command 'reed'.\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError("no route\x1b[31m"), 1, "aiscope: no route\\x1b[31m\n"),
        (ValueError("bad"), 1, "aiscope: bad\n"),
        (ImportError("x.so: file too short"), 1, "aiscope: x.so: file too short\n"),
        (click.UsageError("what?"), 2, "aiscope: what?\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_errors_are_one_line_and_a_code(error, code, said, monkeypatch, capfd):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.aiscope, "invoke", fail)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == code
    assert capfd.readouterr().err == said


def test_a_missing_part_is_named(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "dashboard", ("dashboard.none:x", ""))
    with pytest.raises(click.ClickException, match=r"pip install 'aiscope\[dashboard\]'"):
        cli.LazyGroup().get_command(click.Context(cli.aiscope), "dashboard")


@pytest.mark.parametrize(
    ("missing", "words", "extra"),
    [
        ("re2", ["dlp", "check"], "aiscope[dlp]"),
        ("cryptography.exceptions", ["unseal", "key", os.devnull], "aiscope[proxy]"),
        ("yaml", ["catalogue", "check", os.curdir], "aiscope"),
    ],
)
def test_what_a_command_imports_late_is_named_too(missing: str, words: list[str], extra: str):
    script = f"import sys; sys.modules[{missing!r}] = None; from sensor.cli import main; main({words!r})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(cli.__file__).parents[1]
    )
    assert done.returncode == 1
    assert (
        done.stderr == f"aiscope: {words[0]} needs {missing}, which is not installed: pip install '{extra}'\n"
    )


def test_what_belongs_to_python_is_not_pips():
    script = (
        "import sys; sys.modules['sqlite3'] = None; from sensor.cli import main; main(['spool', 'status'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(cli.__file__).parents[1]
    )
    assert (done.returncode, done.stderr) == (
        1,
        "aiscope: spool needs sqlite3, which this Python was built without\n",
    )


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    become = "import os; os.getuid() or os.setresuid(65534, 65534, 65534); "
    script = (
        f"import sys, sensor.cli as c; sys.path.insert(1, {str(closed)!r}); sys.modules['logging'] = None\n"
    )
    script += (
        f"import click; {become}\ntry: import logging\nexcept ImportError as e: print(c._missing('watch', e))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(cli.__file__).parents[1]
    )
    assert done.stdout.startswith("watch needs logging, which may be in /"), done
    assert done.stdout.endswith(": this user cannot read that\n")


def test_config_reaches_the_settings(tmp_path: Path):
    file = tmp_path / "c.toml"
    file.write_text('[store]\nurl = "http://u:secret@h:1/"\n')
    done = run("--config", file, "settings")
    assert f'store.url                "http://u:***@h:1/"                          # {file}' in done.stdout
    assert "secret" not in done.stdout
    file.write_text('[proxy]\nauth = "ldaps:h:636:cn=proxy:secret:dc=example?search_filter_key=uid"\n')
    shown = run("--config", file, "settings").stdout
    assert '"ldaps:h:636:cn=proxy:***:dc=example?search_filter_key=uid"' in shown
    file.write_text('[store]\nurll = "x"\n')
    done = run("--config", file, "settings")
    assert done.returncode == 1
    assert done.stderr == f"aiscope: {file}: store.urll: unknown setting, did you mean store.url?\n"


def test_printable_keeps_words_and_lines():
    assert cli.printable("Zoë\nb") == "Zoë\nb"
    assert cli.printable("\x1b]0;x\x07\r\u202e\udc80") == "\\x1b]0;x\\x07\\r\\u202e\\udc80"


def shell(line: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `aiscope` in a line of sh, as "$@"."""
    command = ["bash", "-o", "pipefail", "-c", line, "sh", sys.executable, "-W", "error", "-m", "sensor.cli"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("arguments", [["catalogue", "list"], ["settings", "--markdown"]])
def test_a_reader_that_has_seen_enough_is_no_failure(arguments: list[str]):
    done = shell('"$@" | true', *arguments)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["catalogue", "list"], ["--help"], ["doctor"], ["nosuch"]])
def test_closed_output_is_no_traceback(arguments: list[str]):
    code = shell('"$@"', *arguments).returncode
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = shell(f'"$@" {closed}', *arguments)
        assert "Traceback" not in done.stderr
        assert "Error" not in done.stderr
        assert done.returncode == code


@pytest.mark.parametrize("words", [["dlp", "--help"], ["dlp", "test", "--help"]])
def test_help_of_a_part_that_is_not_installed(words: list[str]):
    absent = "re2", "phonenumbers", "stdnum", "PIL", "pypdf", "defusedxml"
    script = f"import sys; sys.modules.update(dict.fromkeys({absent})); from sensor.cli import main; main({words!r})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(cli.__file__).parents[1]
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: aiscope dlp" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["settings"], "aiscope: ~/.local/share: this user has no home directory: set HOME\n"),
        (["sql", "SELECT 1", "--store", "~nosuch/x"], "aiscope: ~nosuch/x: no such user\n"),
    ],
)
def test_who_has_no_home_is_told(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # nobody in /etc/passwd
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 1
    assert capfd.readouterr().err == said


def test_an_installed_package_does_not_speak_of_make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd):
    monkeypatch.setattr("sensor.proxy.cli.__file__", str(tmp_path / "sensor/proxy/cli.py"))
    monkeypatch.delenv("AISCOPE_PROXY_PYTHON", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main(["proxy"])
    assert ended.value.code == 1
    assert "pip install 'aiscope[proxy]' in an environment of its own" in capfd.readouterr().err
