"""Two ends of a wire in a network namespace of their own, and `aiscope watch` on one of them. Needs root."""

from __future__ import annotations

import json
import os
import pty
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Frames from standard input, each behind its length, onto an interface.
_SEND = """
import socket, struct, sys, time
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
data, at, pause = sys.stdin.buffer.read(), 0, float(sys.argv[2])
while at < len(data):
    (size,) = struct.unpack_from("<I", data, at)
    at += 4 + size
    while True:
        try:
            out.send(data[at - size : at])
            break
        except OSError as error:
            if error.errno != 105:
                raise
            time.sleep(0.001)
    if pause:
        time.sleep(pause)
"""
_WATCH = "from sensor.cli import main; main()"


def reason_to_skip() -> str:
    """Why no namespace can be made here; "" when it can."""
    if sys.platform != "linux" or os.geteuid():
        return "needs root on Linux"
    name = f"ai{uuid.uuid4().hex[:8]}"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True, timeout=10)
        subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces here: {error}"
    return ""


class Pair:
    """`here` is watched, what is sent enters at `there`."""

    def __init__(self) -> None:
        self.namespace = f"ai{uuid.uuid4().hex[:8]}"
        self.here, self.there = "here0", "there0"
        _run("ip", "netns", "add", self.namespace)
        _run("ip", "-n", self.namespace, "link", "add", self.there, "type", "veth", "peer", "name", self.here)
        for name in (self.here, self.there):
            # No IPv6: its neighbour discovery would be among the frames that are counted.
            self.sh(f"echo 1 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6")
            self.ip("link", "set", name, "up")

    def close(self) -> None:
        _run("ip", "netns", "del", self.namespace)

    def ip(self, *arguments: str) -> None:
        _run("ip", "-n", self.namespace, *arguments)

    def sh(self, command: str) -> None:
        _run("ip", "netns", "exec", self.namespace, "sh", "-c", command)

    def send(self, frames: Iterable[bytes], pause: float = 0.0) -> int:
        """Send frames from the other end; how many there were."""
        frames = list(frames)
        data = b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)
        command = [*self._inside(), sys.executable, "-c", _SEND, self.there, str(pause)]
        subprocess.run(command, input=data, check=True, timeout=60)
        return len(frames)

    def _inside(self, *prefix: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *prefix]

    @contextmanager
    def watch(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        terminal: bool = False,
        first: str = "",
    ) -> Iterator[Watch]:
        """`first` is Python to be run before."""
        command = [*self._inside(*prefix), sys.executable, "-c", first + _WATCH, "watch", self.here]
        watch = Watch([*command, *arguments], {"PYTHONPATH": str(ROOT), **(env or {})}, terminal)
        try:
            watch.says("aiscope: watching ")  # packets are let in
            yield watch
        finally:
            watch.kill()


class Watch:
    """A running `aiscope watch --json`."""

    def __init__(self, command: list[str], env: dict[str, str], terminal: bool = False) -> None:
        here, there = pty.openpty() if terminal else (-1, subprocess.PIPE)
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=there,
            env={**os.environ, **env},
            text=True,
        )
        if terminal:
            os.close(there)
            self._process.stderr = os.fdopen(here)
        self.pid, self.said, self.rows = self._process.pid, "", list[dict[str, Any]]()

    def says(self, text: str, times: int = 1) -> None:
        """Until it has said that so often. Read as `communicate` does, which would not find what a file holds back."""
        assert self._process.stderr
        while self.said.count(text) < times:
            got = os.read(self._process.stderr.fileno(), 4096)
            assert got, self.said
            self.said += got.decode().replace("\r\n", "\n").replace("\r", "\n")

    def lose(self) -> None:
        """Nobody reads what it says any more."""
        assert self._process.stderr
        self._process.stderr.close()

    def tell(self, number: int, pause: float = 0.0) -> None:
        self._process.send_signal(number)
        time.sleep(pause)

    def stop(self, number: int = signal.SIGTERM, pause: float = 0.3) -> int:
        """End it, and read all it said; the exit code. Frames on their way get the pause to arrive."""
        time.sleep(pause)
        self._process.send_signal(number)
        out, err = self._process.communicate(timeout=30)
        self.said += err
        self.rows = [json.loads(line) for line in out.splitlines()]
        return self._process.returncode

    def wait(self) -> int:
        """Until it ends, with nothing read of its rows meanwhile."""
        return self._process.wait(timeout=30)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=10)

    def table(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["table"] == name]

    def total(self, column: str) -> int:
        return sum(row[column] for row in self.table("sensor_stats"))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)
