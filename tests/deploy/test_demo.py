from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "deploy/demo"
START = "1795975200"  # 2026-11-29 18:00 UTC, README.md's


def test_the_readme_shows_what_the_command_prints(tmp_path: Path):
    capture, scratch = tmp_path / "office.pcap", tmp_path / "scratch"
    scratch.mkdir()
    environment = os.environ | {"TMPDIR": str(scratch)}
    made = [sys.executable, DEMO / "office.py", capture, "--start", START]
    subprocess.run(made, check=True, env=environment, capture_output=True, timeout=250)
    assert list(scratch.iterdir()) == []
    read = [sys.executable, "-m", "sensor.cli", "read", capture, "--no-store"]
    printed = subprocess.run(read, check=True, cwd=ROOT, text=True, capture_output=True, timeout=60).stdout
    _, sample, *_ = re.findall(r"^```\w*\n(.*?)^```", _own_capture(), re.DOTALL | re.MULTILINE)
    period, head, *rows, total = sample.splitlines()
    said = [line.rstrip() for line in printed.splitlines()]
    assert said[:2] == [period, head]
    assert total.partition(" packets")[0] == said[-1].partition(" packets")[0]
    # Sizes of real TLS differ by some bytes from run to run.
    assert {_named(row) for row in rows if row != "..."} <= {_named(row) for row in said}


def _own_capture() -> str:
    return (ROOT / "README.md").read_text("utf-8").partition("## Your own capture")[2]


def _named(row: str) -> str:
    return row[:66]


def test_who_has_seen_enough_sees_no_traceback(tmp_path: Path):
    shutil.copytree(DEMO, tmp_path / "deploy/demo")
    command = [sys.executable, tmp_path / "deploy/demo/run.py"]
    # Who is in the background of a shell has SIGINT ignored, and so would the demo.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heard)  # type: ignore[call-overload]
    assert demo.stdout
    assert "An hour in a small office" in demo.stdout.readline()
    demo.send_signal(signal.SIGINT)
    assert demo.communicate(timeout=60) == ("", "")
    assert demo.returncode == 130
