"""Landlock in a process of its own: what is outside stays outside, whoever asks."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector import confine
from collector.limits import Bounds

TRY = """
import json, os, signal, socket, subprocess, sys
from pathlib import Path
from collector import confine

inside, outside, port, parent = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
held = confine.restrict(confine.needed(), [inside])

def fails(call):
    try:
        call()
    except OSError as error:
        return error.errno in (1, 13)
    return False

(inside / "x").write_text("ok")
(inside / "x").rename(inside / "y")
print(json.dumps({
    "version": held.version,
    "read": fails(lambda: (outside / "secret").read_text()),
    "list": fails(lambda: os.listdir(outside)),
    "write": fails(lambda: (outside / "new").write_text("x")),
    "truncate": fails(lambda: os.truncate(outside / "secret", 0)),
    "environment": fails(lambda: Path("/proc/self/environ").read_bytes()),
    "passwd": fails(lambda: Path("/etc/passwd").read_text()),
    "link": fails(lambda: os.link(inside / "y", outside / "z")),
    "connect": fails(lambda: socket.create_connection(("127.0.0.1", port), 2)),
    "bind": fails(lambda: socket.create_server(("127.0.0.1", 0))),
    "signal": fails(lambda: os.kill(parent, 0)),
    "program": fails(lambda: subprocess.run(["/bin/true"])),
    "library": fails(lambda: subprocess.run(["/lib64/ld-linux-x86-64.so.2", "/bin/true"])),
    "memory": int(Path("/proc/self/statm").read_text().split()[1]) > 0,
    "own": (inside / "y").read_text() == "ok",
}))
"""

# ClickHouse's getauxval (base/glibc-compatibility/musl/getauxval.c) reads /proc/self/auxv, or else what follows
# `environ`. That is the vector as the kernel made it only as long as nobody has called setenv, which moves `environ`.
MOVED = """
import ctypes, os, sys
from pathlib import Path
from collector import confine
from collector.limits import Bounds

folder = Path(sys.argv[1])
config = confine.configuration(folder, Bounds(), "key")
confine.restrict(confine.needed(), [folder])
AT_SYSINFO_EHDR, NOWHERE = 33, 0x3A
variable = ctypes.create_string_buffer(b"TMPDIR=" + bytes(folder))
moved = (ctypes.c_size_t * 5)(ctypes.addressof(variable), 0, AT_SYSINFO_EHDR, NOWHERE, 0)
ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value = ctypes.addressof(moved)

import chdb

print(chdb.connect(f"{folder}?config-file={config}").query("SELECT 42").bytes().decode())
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("walls")
    for name in ("in", "out"):
        (folder / name).mkdir()
    (folder / "out" / "secret").write_text("secret")
    other = subprocess.Popen(["sleep", "60"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        command = [sys.executable, "-c", TRY, folder / "in", folder / "out", port, str(other.pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    other.kill()
    other.wait()
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "what",
    "read list write environment passwd link program library truncate connect bind signal memory own".split(),  # noqa: SIM905
)
def test_walls(tried: dict[str, Any], what: str):
    since = {"truncate": 3, "connect": 4, "bind": 4, "signal": 6}.get(what, 1)
    assert tried[what] or tried["version"] < since


def test_the_engine_opens_when_the_environment_has_moved(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", MOVED, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "42"), done.stderr


def test_without_landlock_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    class Nothing:
        @staticmethod
        def syscall(*_: object) -> int:
            return -1

    monkeypatch.setattr(confine.ctypes, "CDLL", lambda *_, **__: Nothing)
    held = confine.restrict([], [])
    assert (held.version, held.missing) == (0, ("files", "TCP connections", "signals"))


def test_the_configuration_is_private_and_grants_little(tmp_path: Path):
    config = confine.configuration(tmp_path, Bounds(), "key")
    text = (tmp_path / "aiscope-users.xml").read_text()
    assert "GRANT ALL" not in text
    assert "key-investigator" in text
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0
    assert str(Bounds().server_bytes) in config.read_text()
    confine.configuration(tmp_path, Bounds(), None)
    assert "GRANT ALL" in (tmp_path / "aiscope-users.xml").read_text()


def test_a_child_migrates(tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]):
    confine.migrate(tmp_path / "store")
    confine.migrate(tmp_path / "store")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"^{tmp_path}/file is a file; a store is a directory$"):
        confine.migrate(tmp_path / "file")
