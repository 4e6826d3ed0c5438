"""`aiscope read` from the outside: each run is a process, as a store belongs to one."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sensor.packets.engine import select

from .office import CLIENT, capture

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `aiscope` with a data directory of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AISCOPE_")}
    environment["XDG_DATA_HOME"] = str(tmp_path / "data")

    def aiscope(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "sensor.cli", *map(str, arguments)]
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=120, check=False, env=environment
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    return aiscope


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return capture(tmp_path / "office.pcap")


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_summary(run: Run, file: Path):
    done = run("read", file, "--no-store")
    assert done.returncode == 0
    assert done.stderr == ""
    period, head, *lines = done.stdout.splitlines()
    assert period == "2023-11-14 22:13:20 to 2023-11-14 22:13:20 UTC"
    assert head.split()[:4] == ["client", "service", "evidence", "connections"]
    assert lines[0].split()[:4] == [CLIENT, "ollama", "decrypted", "1"]
    assert lines[1].split()[:4] == [CLIENT, "chatgpt", "dns", "0"]
    assert "10 packets" in lines[2]


def test_json_has_one_object_per_row(run: Run, file: Path):
    found = rows(run("read", file, "--no-store", "--json"))
    assert {row["table"] for row in found} == {"connections", "lookups", "exchanges", "sensor_stats"}
    assert {row["sensor"] for row in found} == {"file:office.pcap"}
    (exchange,) = (row for row in found if row["table"] == "exchanges")
    assert (exchange["service"], exchange["model"], exchange["client_ip"]) == ("ollama", "llama3", CLIENT)
    assert exchange["time"].startswith("2023-11-14T22:13:20.")


def test_csv_is_the_whole_summary(run: Run, file: Path):
    found = list(csv.DictReader(io.StringIO(run("read", file, "--no-store", "--csv").stdout)))
    assert [(row["client"], row["service"], row["connections"]) for row in found] == [
        (CLIENT, "ollama", "1"),
        (CLIENT, "chatgpt", "0"),
    ]


def test_all_reports_what_no_service_has(run: Run, file: Path, tmp_path: Path):
    quiet = [row for row in rows(run("read", file, "--no-store", "--json")) if row.get("service") == ""]
    assert quiet == []
    capture_of_nothing = tmp_path / "plain.pcap"
    capture_of_nothing.write_bytes(file.read_bytes().replace(b"chatgpt", b"weather"))
    found = rows(run("read", capture_of_nothing, "--no-store", "--json", "--all"))
    assert [row["question"] for row in found if row["table"] == "lookups"] == ["weather.com"]


def test_inventory_names_the_client(run: Run, file: Path, tmp_path: Path):
    inventory = tmp_path / "who.csv"
    inventory.write_text(f"address,host,user,groups\n{CLIENT},laptop,=cmd|x,staff;it\n")
    found = rows(run("read", file, "--no-store", "--json", "--inventory", inventory))
    (connection,) = (row for row in found if row["table"] == "connections")
    assert (connection["client_host"], connection["groups"]) == ("laptop", ["staff", "it"])
    assert f"=cmd|x laptop ({CLIENT})" in run("read", file, "--no-store", "--inventory", inventory).stdout
    cells = run("read", file, "--no-store", "--inventory", inventory, "--csv").stdout
    assert f"\n'=cmd|x laptop ({CLIENT})," in cells
    inventory.write_text("nothing\n")
    done = run("read", file, "--no-store", "--inventory", inventory)
    assert done.returncode == 1
    assert done.stderr.startswith(f"aiscope: {inventory}:1: ")


def test_names_are_sealed_when_the_settings_say_so(run: Run, file: Path, tmp_path: Path):
    inventory, settings = tmp_path / "who.csv", tmp_path / "aiscope.toml"
    inventory.write_text(f"address,user\n{CLIENT},alice\n")
    settings.write_text('[sensor]\nnames = "sealed"\n')
    done = run("--config", settings, "read", file, "--no-store", "--json", "--inventory", inventory)
    users = {row["user"] for row in rows(done) if row.get("user")}
    assert all(str(user).startswith("~") for user in users)
    assert len(users) == 1
    assert (tmp_path / "data/aiscope/names.key").stat().st_mode & 0o077 == 0


def test_standard_input(run: Run, file: Path):
    done = run("read", "-", "--no-store", "--json", stdin=file.read_bytes())
    assert {str(row["sensor"])[:6] for row in rows(done)} == {"stdin:"}


def test_a_pipe_is_read_once(run: Run, file: Path, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=lambda: pipe.write_bytes(file.read_bytes()), daemon=True)
    writing.start()
    done = run("read", pipe, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert "rows stored" in done.stderr
    assert not done.stderr.startswith("0 ")
    writing.join(10)
    assert not writing.is_alive()


SUMS = (
    "SELECT (SELECT count() FROM connections), (SELECT sum(connections) FROM usage_hourly), "
    "(SELECT sum(connections) FROM usage_daily), (SELECT count() FROM lookups), "
    "(SELECT sum(lookups) FROM lookups_hourly), (SELECT sum(exchanges) FROM exchanges_hourly), "
    "(SELECT countIf(complete) FROM inputs FINAL), (SELECT count() > 100 FROM services)"
)


def sums(run: Run, store: Path) -> str:
    done = run("sql", SUMS, "--store", store, "--format", "TSV")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_file_is_stored_once_and_replaced_when_asked(run: Run, file: Path, tmp_path: Path):
    store = tmp_path / "store"
    done = run("read", file, "--store", store)
    assert "rows stored in chdb://" in done.stderr
    once = "1\t1\t1\t1\t1\t1\t1\t1"
    assert sums(run, store) == once
    again = run("read", file, "--store", store)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert f"{file}: already stored as file:" in again.stderr
    assert "rows; --replace stores it again\n" in again.stderr
    inventory = tmp_path / "who.csv"
    inventory.write_text(f"address,user\n{CLIENT},alice\n")
    named = run("read", file, "--store", store, "--inventory", inventory)
    assert f"alice ({CLIENT})" in named.stdout
    assert "rows; --replace brings --inventory to these\n" in named.stderr
    assert rows(run("read", file, "--store", store, "--json"))  # rows that are asked for are given
    assert sums(run, store) == once
    assert run("read", file, "--store", store, "--replace").returncode == 0
    assert sums(run, store) == once


def test_nothing_is_said_of_traffic_that_was_not_read(run: Run, tmp_path: Path):
    no_capture = tmp_path / "notes.pcap"
    no_capture.write_text("no capture")
    done = run("read", no_capture, "--no-store")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_which_engine_read_and_why(run: Run, file: Path, engine: str):
    name, why = select(engine)
    done = run("read", file, "--no-store", "--engine", engine)
    assert f"{name} engine ({why})" in " ".join(done.stdout.split())


def test_replace_leaves_other_files_alone(run: Run, file: Path, tmp_path: Path):
    store, other = tmp_path / "store", capture(tmp_path / "other.pcap", start=1_600_000_000)
    run("read", file, other, "--store", store)
    run("read", file, "--store", store, "--replace")
    assert sums(run, store) == "2\t2\t2\t2\t2\t2\t2\t1"


def test_replace_refuses_when_files_share_a_sensor(run: Run, file: Path, tmp_path: Path):
    store, other = tmp_path / "store", capture(tmp_path / "other.pcap", start=1_600_000_000)
    run("read", file, other, "--store", store, "--sensor", "lab")
    done = run("read", file, "--store", store, "--replace", "--sensor", "lab")
    assert done.returncode == 1
    assert "sensor lab also holds 1 other files" in done.stderr
    assert sums(run, store) == "2\t2\t2\t2\t2\t2\t2\t1"


INTERRUPT = """
import sys
from pathlib import Path
from collector.store import open_store
from sensor import read_cli
put = read_cli._Sink._flush
def fail(sink):
    put(sink)
    raise OSError("the power went")
read_cli._Sink._flush = fail
from sensor.cli import main
main(["read", sys.argv[1], "--store", sys.argv[2]])
"""


def test_an_interrupted_reading_is_taken_out_and_read_again(run: Run, file: Path, tmp_path: Path):
    store = tmp_path / "store"
    command = [sys.executable, "-c", INTERRUPT, file, store]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (1, "aiscope: the power went\n")
    assert sums(run, store) == "1\t1\t1\t1\t1\t1\t0\t1"
    assert run("read", file, "--store", store).returncode == 0
    assert sums(run, store) == "1\t1\t1\t1\t1\t1\t1\t1"


def test_the_default_store_is_the_users_own(run: Run, file: Path, tmp_path: Path):
    assert run("read", file).returncode == 0
    assert (tmp_path / "data/aiscope/store").is_dir()
    assert run("sql", "SELECT service FROM usage").stdout == "service\nollama\n"


def test_damage_is_said_with_file_and_offset(run: Run, file: Path, tmp_path: Path):
    damaged = tmp_path / "cut\x1b[31m.pcap"
    damaged.write_bytes(file.read_bytes()[:-30])
    done = run("read", damaged, file, "--no-store")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "cut\\x1b[31m.pcap: byte " in done.stderr
    assert "ollama" in done.stdout


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xd4\xc3\xb2\xa1short", b"\x1f\x8b\x08broken"])
def test_what_is_no_capture(run: Run, file: Path, tmp_path: Path, content: bytes):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(content)
    done = run("read", wrong, file, "--no-store")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(wrong) in done.stderr
    assert "ollama" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["read"], ["read", "/no/such/file"], ["read", "--engine", "x", "-"], ["read", "--what"]]
)
def test_wrong_usage(run: Run, arguments: list[str]):
    done = run(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_store_that_cannot_be_reached(run: Run, file: Path):
    done = run("read", file, "--store", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_help_documents_the_exit_codes(run: Run):
    text = " ".join(run("read", "--help").stdout.split())
    assert "Exit codes: 0 all was read; 1 the store or a setting failed; 2 wrong usage" in text
    assert "3 a file is damaged" in text


def test_overrides_that_add_nothing_are_said(run: Run, file: Path, tmp_path: Path):
    own = tmp_path / "own"
    own.mkdir()
    settings = tmp_path / "aiscope.toml"
    settings.write_text(f"[catalogue]\noverrides = '{own}'\n")
    said = run("--config", settings, "read", file, "--no-store").stderr
    assert said == f"catalogue.overrides: {own}: no service files (*.yaml) in this folder\n"
    done = run("read", file, "--no-store", "--policy", "nosuch.yaml")
    assert (done.returncode, done.stderr) == (
        1,
        "aiscope: policy.file: nosuch.yaml: no such file or folder\n",
    )
