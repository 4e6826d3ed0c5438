"""`aiscope packets`: what is asked for, and hostile text in packets."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sensor.packets.evidence import Kept
from sensor.packets.evidence_ring import EvidenceRing, ring_files
from sensor.packets.facts import Frame
from sensor.packets_cli import packets
from tests.sensor.packets.build import CLIENT, SERVER, START, ethernet, ipv4, tcp

ROOT = Path(__file__).parents[2]
REAL = shutil.which("tshark")
TSHARK = pytest.mark.skipif(REAL is None, reason="tshark is not installed")


def ring(folder: Path, payload: bytes) -> str:
    data = ethernet(ipv4(tcp(payload, 40_000, 80), 6))
    kept = Kept("tcp", CLIENT, 40_000, SERVER, 80, Frame(START, 1, data, len(data)))
    made = EvidenceRing(folder, 1 << 20)
    made.write([kept])
    made.close()
    return kept.community_id


@TSHARK
def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    flow = ring(
        tmp_path, b"GET /\x1b]0;owned\x07\x1b[31m HTTP/1.1\r\nHost: a\x9b2Jb\r\nUser-Agent: [bold]x\r\n\r\n"
    )
    asyncio.set_event_loop(None)  # as after an `asyncio.run` in this thread
    shown = CliRunner().invoke(packets, [flow, "--evidence", str(tmp_path), "-v"])
    assert shown.exit_code == 0, shown.output
    assert "HTTP" in shown.output
    assert all(c.isprintable() or c == "\n" for c in shown.output)


@TSHARK
def test_children_can_be_waited_for_afterwards(tmp_path: Path) -> None:
    """pyshark sets a watcher of children for the whole process, and it is of a loop that is closed."""
    CliRunner().invoke(packets, [ring(tmp_path, b"x"), "--evidence", str(tmp_path)])

    async def child() -> int:
        process = await asyncio.create_subprocess_exec("true")
        return await process.wait()

    loop = asyncio.new_event_loop()  # not `asyncio.run`, which gives the watcher another loop
    assert loop.run_until_complete(child()) == 0
    loop.close()


@TSHARK
def test_what_is_not_there(tmp_path: Path) -> None:
    ring(tmp_path, b"x")
    other = "1:" + "A" * 27 + "="
    shown = CliRunner().invoke(packets, [other, "--evidence", str(tmp_path)])
    assert (shown.exit_code, f"no packet of {other}" in shown.output) == (1, True)


def test_no_such_folder(tmp_path: Path) -> None:
    shown = CliRunner().invoke(packets, ["1:" + "A" * 27 + "=", "--evidence", str(tmp_path / "none")])
    assert (shown.exit_code, "none: there is no such folder" in shown.output) == (1, True)


@TSHARK
def test_a_damaged_file_and_those_that_are_whole(tmp_path: Path) -> None:
    _, _, flow = (ring(tmp_path, b"x" * 99) for _ in range(3))
    first, second, _ = ring_files(tmp_path)
    first.write_bytes(first.read_bytes()[:-20])
    second.write_bytes(second.read_bytes() * 2 + b"cut")
    shown = CliRunner().invoke(packets, [flow, "--evidence", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert len(shown.stdout.splitlines()) == 3
    assert [line.split(": byte")[0] for line in shown.stderr.splitlines()] == [
        f"aiscope: {first}",
        f"aiscope: {second}",
    ]


@TSHARK
@pytest.mark.parametrize("end", ["exit 11", "kill -SEGV $$"])
def test_a_tshark_that_breaks_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    flow, _, _ = (ring(tmp_path / "ring", b"x" * 99) for _ in range(3))
    broken = tmp_path / "tshark"
    broken.write_text(
        f'#!/bin/sh\n[ "$1" = -v ] && more="" || more="-c 2"\n{REAL} "$@" $more\n[ "$more" ] && {end}\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    shown = CliRunner().invoke(packets, [flow, "--evidence", str(tmp_path / "ring")])
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (1, 2)
    assert shown.stderr == "Error: tshark failed: of 3 packets it took 2 apart\n"


@TSHARK
def test_a_reader_who_has_seen_enough(tmp_path: Path) -> None:
    flow = ring(tmp_path, b"x" * 99)
    code = "from sensor.cli import main; main()"
    command = [sys.executable, "-c", code, "packets", flow, "--evidence", str(tmp_path), "-v"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as shown:
        assert shown.stdout
        assert shown.stderr
        shown.stdout.close()
        assert shown.stderr.read() == b""


@pytest.mark.parametrize("text", ['1:" || frame', "1:", "", "2:" + "A" * 27 + "=", "1:" + "A" * 27 + "=\n"])
def test_no_community_id(text: str, tmp_path: Path) -> None:
    shown = CliRunner().invoke(packets, ["--evidence", str(tmp_path), "--", text])
    assert (shown.exit_code, "is no Community ID" in shown.output) == (2, True)
