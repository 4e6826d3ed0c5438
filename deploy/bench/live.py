"""`aiscope watch` at one end of a wire in a namespace, a sender at the other: sent against received."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "aiscope-bench"
INSIDE = ["ip", "netns", "exec", NAMESPACE]
SECONDS = 30


@dataclass(frozen=True, slots=True)
class Flood:
    """What was sent, what arrived at the interface, what the engine read, what the kernel says it dropped."""

    sender: str
    workers: int
    seconds: float
    sent: int
    arrived: int
    read: int
    dropped: int
    cpu: float

    @property
    def unexplained(self) -> int:
        return self.arrived - self.read - self.dropped


def possible() -> bool:
    """Whether this is Linux, root, and has `ip`."""
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("ip") is not None


@contextmanager
def wire() -> Iterator[None]:
    """`there0` is connected to `here0`."""
    _ip("netns", "add", NAMESPACE)
    try:
        _ip("-n", NAMESPACE, "link", "add", "there0", "type", "veth", "peer", "name", "here0")
        for name in ("there0", "here0"):
            _inside("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6")
            _ip("-n", NAMESPACE, "link", "set", name, "up")
        yield
    finally:
        _ip("netns", "del", NAMESPACE)


def flood(sender: str, command: list[str], workers: int) -> Flood:
    """Send for a while; the command prints the number of packets on its last line, or tcpreplay's report."""
    before = _arrived()
    options = ["--json", "--engine", "native", "--workers", str(workers)]
    watch = subprocess.Popen(
        [*INSIDE, sys.executable, "-m", "sensor.cli", "watch", "here0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout  # noqa: S101
    assert watch.stderr  # noqa: S101
    watch.stderr.readline()
    time.sleep(1.5)
    start = time.monotonic()
    said = _inside(*command)
    seconds = time.monotonic() - start
    time.sleep(1)
    watch.send_signal(signal.SIGTERM)
    stats = [row for line in watch.stdout if (row := json.loads(line))["table"] == "sensor_stats"]
    _, _, usage = os.wait4(watch.pid, 0)
    watch.returncode = 0
    words = said.split()
    sent = int(words[words.index("Actual:") + 1] if "Actual:" in words else words[-1])
    return Flood(
        sender,
        workers,
        seconds,
        sent,
        _arrived() - before,
        sum(row["packets"] + row["duplicates"] for row in stats),
        sum(row["dropped_kernel"] for row in stats),
        usage.ru_utime + usage.ru_stime,
    )


def senders(tools: Path, capture: Path) -> Iterator[tuple[str, list[str]]]:
    """Those that are installed."""
    yield "sendmmsg", [str(tools), "send", "there0", str(capture), str(SECONDS)]
    if shutil.which("tcpreplay"):
        limit = ["--duration", str(SECONDS), "--loop", "100000"]
        yield "tcpreplay", ["tcpreplay", "-q", "-K", "--topspeed", *limit, "-i", "there0", str(capture)]


def _arrived() -> int:
    return int(_inside("cat", "/sys/class/net/here0/statistics/rx_packets"))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _inside(*command: str) -> str:
    return subprocess.run([*INSIDE, *command], check=True, capture_output=True, text=True).stdout
