"""The proxy's start and end."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from sensor.proxy import ca, pages
from tests.sensor.proxy.lab import ROOT, Lab


def test_the_first_start_says_how_to_trust_it(lab: Lab) -> None:
    with lab.proxy("", {}) as proxy:
        lines = proxy.said.splitlines()
        home = proxy.home / "home"
        assert lines[0] == f"A new authority: {home / ca.PUBLIC}"
        assert f"SHA-256 of the certificate: {ca.fingerprint(home)}" in lines
        assert [line[:-1] for line in lines if line.endswith(":")] == [name for name, _ in pages.TRUST]
        assert re.fullmatch(r"regular proxy at \S+, observes, without a policy; setup at \S+", lines[-1])
        assert (home / ca.FILE).stat().st_mode & 0o777 == 0o600
        assert home.stat().st_mode & 0o777 == 0o700
        assert proxy.stop() == []
        assert proxy.log == ""


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--mode", "upstream:http://x"), "proxy.mode"),
        (("--store", "chdb:///nowhere"), "chdb:///nowhere: ship goes to http(s)://user:password@host:port/"),
        (
            ("--listen", "127.0.0.1:{taken}"),
            "proxy.listen: cannot listen on 127.0.0.1:{taken}: Address already in use",
        ),
        (("DLP_KEY=/nosuch.key",), "dlp.key: /nosuch.key: no such file or folder"),
        (("DLP_KEY=/dev/null",), "/dev/null: shorter than 16 bytes: not a key"),
    ],
)
def test_what_is_wrong_is_one_line(flags: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [ROOT / ".venv-proxy/bin/python", "-m", "sensor.cli", "proxy", "--listen", "127.0.0.1:0"]
        command += [flag.replace("{taken}", port) for flag in flags if "=" not in flag]
        environment = {
            "AISCOPE_PROXY_HOME": str(tmp_path),
            "HOME": str(tmp_path),
            "AISCOPE_PROXY_WORKERS": "1",
            **dict(f"AISCOPE_{flag}".split("=") for flag in flags if "=" in flag),
        }
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert problem.replace("{taken}", port) in done.stderr
    assert "setup at" not in done.stdout
