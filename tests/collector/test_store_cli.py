from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from collector.users import add
from sensor.knowledge.seal import load
from tests.ports import free_port

PREPARE = """
import sys
from dataclasses import asdict
from collector.store import open_store
from sensor.config import load as settings
from sensor.knowledge.seal import load
from tests.collector.conftest import connection
from pathlib import Path
with open_store(f"chdb://{sys.argv[1]}", retention=asdict(settings().retention)) as store:
    sealed = load(Path(sys.argv[2]), create=True).seal("carol")
    others = {"bob": "10.0.0.6", sealed: "10.0.0.7"}
    rows = [connection(), *(connection(user=user, client_ip=ip) for user, ip in others.items())]
    store.insert(rows, sensor="s", batch=0, token="t")
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    command = [sys.executable, "-c", PREPARE, folder / "store", folder / "names.key"]
    subprocess.run(command, check=True, env={**os.environ, "HOME": str(folder)}, timeout=120)
    return folder


@pytest.fixture
def run(tmp_path: Path, prepared: Path):
    shutil.copytree(prepared, tmp_path, symlinks=True, dirs_exist_ok=True)
    environment = {**os.environ, "HOME": str(tmp_path), "AISCOPE_STORE_URL": f"chdb://{tmp_path}/store"}

    def run(
        *arguments: str | Path, code: int = 0, entry: tuple[str, ...] = ("-m", "sensor.cli", "store")
    ) -> str:
        command = [sys.executable, *entry, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=120, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return run


def test_backup_verify_restore(run, tmp_path: Path):
    folder = Path(run("backup", "one").strip())
    assert folder == tmp_path / "store/backups/one"
    assert "connections                       3 rows" in run("verify", folder)
    assert "sound" in run("verify")
    assert run("backup", "two", "--base", "one").strip().endswith("two")
    assert "connections                       3 rows" in run("verify", folder.with_name("two"))
    assert "restored; 3 connection rows" in run("restore", folder, "--store", tmp_path / "new")
    assert "has rows already" in run("restore", folder, "--store", tmp_path / "new", code=1)
    file = next(
        path
        for path in folder.rglob("*.bin")
        if "connections" in str(path.parent) or path.stat().st_size > 200
    )
    file.write_bytes(b"x" * file.stat().st_size)
    run("verify", folder, code=1)
    assert not list(folder.parent.glob(".verify*"))


def test_backup_of_a_store_that_is_served(run, tmp_path: Path):
    users = tmp_path / "users.json"
    tokens = {role: add(users, role, role) for role in ("admin", "analyst")}
    place = f"127.0.0.1:{free_port()}"
    command = [
        "-m",
        "sensor.cli",
        "collect",
        "--store",
        tmp_path / "store",
        "--listen",
        place,
        "--users",
        users,
    ]
    environment = {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, *map(str, command)], env=environment, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{place}/ping"):
                break
            time.sleep(0.1)
        urls = {role: f"http://{role}:{token}@{place}/" for role, token in tokens.items()}
        try:
            assert run("backup", "one", "--store", urls["admin"]).strip() == "one"
            assert "BACKUP_ALREADY_EXISTS" in run("backup", "one", "--store", urls["admin"], code=1)
            run("backup", "two", "--store", urls["analyst"], code=1)
        finally:
            process.terminate()
            process.wait(30)
    assert "connections                       3 rows" in run("verify", tmp_path / "store/backups/one")
    assert not (tmp_path / "store/backups/two").exists()


def test_export_and_forget_find_plain_and_sealed_names(run, tmp_path: Path):
    assert [json.loads(line)["user"] for line in run("export", "alice").splitlines()] == ["alice"] * 2
    assert run("export", "carol") == ""
    key = tmp_path / "names.key"
    found = run("export", "carol", "--names-key", key).splitlines()
    assert json.loads(found[0])["user"] == load(key).seal("carol")
    assert "Aborted" not in run("forget", "carol", "--names-key", key, "--yes")
    assert run("export", "carol", "--names-key", key) == ""
    assert len(run("export", "10.0.0.6").splitlines()) == 2
    run("forget", "bob", code=130)  # nobody there to say yes
    assert len(run("export", "bob").splitlines()) == 2
    audit = run("SELECT action, detail FROM audit ORDER BY time", entry=("-m", "sensor.cli", "sql"))
    assert "forget\t2 rows" in audit
    assert "carol" not in audit


def test_vantages(run):
    assert run("vantages", "edge", "2") == "    2 edge\n"
    assert run("vantages", "core", "1") == "    1 core\n    2 edge\n"
    assert run("vantages", "edge", "0") == "    1 core\n"
    run("vantages", "edge", code=2)


def test_doctor(run):
    assert "ok  schema" in run("doctor", code=0)


@pytest.mark.parametrize(
    "command",
    [
        ("store", "doctor"),
        ("store", "verify"),
        ("store", "export", "bob"),
        ("store", "vantages"),
        ("store", "backup"),
        ("sql", "SELECT 1"),
    ],
)
def test_who_only_reads_makes_no_store(run, tmp_path: Path, command: tuple[str, ...]):
    entry = ("-m", "sensor.cli", *command)
    said = run("--store", tmp_path / "stroe", code=1, entry=entry)
    assert said == f"aiscope: chdb://{tmp_path}/stroe: no store there yet: `aiscope read FILE` makes one\n"
    assert not (tmp_path / "stroe").exists()
    assert "has no name" in run("--store", "", code=1, entry=entry)


@pytest.mark.parametrize("hours", ["inf", "nan", "1e300", "-5"])
def test_an_old_secret_goes_on_for_a_time_that_ends(run, tmp_path: Path, hours: str):
    users = tmp_path / "users.json"
    add(users, "tap", "sensor")
    entry = ("-m", "sensor.cli", "collect", "user")
    assert "range" in run("rotate", "tap", f"--overlap={hours}", "--users", users, code=2, entry=entry)
    assert run("rotate", "tap", "--overlap=8760", "--users", users, entry=entry)
    assert "tap" in run("list", "--users", users, entry=entry)
