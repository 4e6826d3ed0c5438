"""Running a command and what it cost: wall and CPU seconds of it and its children, its peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LONG = 20.0  # seconds: what takes longer runs once


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of `runs`. CPU is user and system time, `rss` in MiB."""

    wall: float
    cpu: float
    rss: float
    runs: int
    said: str


Command = Sequence[str | Path]
Once = tuple[float, float, float]  # wall, CPU, memory


def run(command: Command, runs: int = 3, stdin: Command | None = None) -> Cost:
    """Medians. Raises RuntimeError when the command fails. `stdin` is a command whose output it reads."""
    found: list[Once] = []
    said = ""
    for _ in range(runs):
        once, said = _once(command, stdin)
        found.append(once)
        if once[0] > LONG:
            break
    return _cost(found, said)


def rounds(
    commands: Mapping[str, Command],
    times: int,
    before: Callable[[str], None],
) -> dict[str, Cost]:
    """Medians of rounds in which each command has its turn, so that what else the machine does weighs on all.

    `before` is told which is next. What takes longer than LONG runs once; what fails is left out, and said.
    """
    found: dict[str, list[Once]] = {name: [] for name in commands}
    texts: dict[str, str] = {}
    for number in range(times):
        for name, command in commands.items():
            if number and not (found[name] and found[name][0][0] <= LONG):
                continue
            print(f"bench: round {number + 1}, {name}", file=sys.stderr, flush=True)
            before(name)
            try:
                once, texts[name] = _once(command)
                found[name].append(once)
            except RuntimeError as error:
                print(f"bench: {error}", file=sys.stderr, flush=True)
    return {name: _cost(costs, texts[name]) for name, costs in found.items() if costs}


def _cost(found: list[Once], said: str) -> Cost:
    wall, cpu, rss = (statistics.median(column) for column in zip(*found, strict=True))
    return Cost(wall, cpu, rss, len(found), said)


def _once(command: Command, stdin: Command | None = None) -> tuple[Once, str]:
    feeder = subprocess.Popen(stdin, stdout=subprocess.PIPE) if stdin else None
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=feeder.stdout if feeder else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )
    if feeder and feeder.stdout:
        feeder.stdout.close()
    assert process.stdout  # noqa: S101
    tail = ""
    while piece := process.stdout.read(1 << 16):
        tail = (tail + piece)[-4000:]
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    wall, cpu = time.monotonic() - start, usage.ru_utime + usage.ru_stime
    words = tail.split()
    if len(words) == 4 and "." in words[0]:  # what an engine says it took itself, without the start of Python
        wall, cpu = float(words[0]), float(words[1])
    process.returncode = os.waitstatus_to_exitcode(status)
    if feeder:
        feeder.wait()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {tail[-300:]}")
    return (wall, cpu, usage.ru_maxrss / 1024), tail


def warm(file: Path) -> None:
    """Into the page cache."""
    with file.open("rb") as data:
        while data.read(1 << 24):
            pass
