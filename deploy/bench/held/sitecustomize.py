"""On the path of a process that is measured: how long each callback of its loop takes, in CPU time of the thread, so
that other processes do not count. At the end `BENCH_HELD` gets one line: callbacks, the longest in ms, what it was."""

from __future__ import annotations

import asyncio
import atexit
import os
import time
from pathlib import Path
from typing import Any

LONG = 1_000_000  # ns
_run: Any = asyncio.events.Handle._run
_seen = {"callbacks": 0}
_long: list[tuple[int, str]] = []


def _timed(handle: Any) -> None:
    begun = time.thread_time_ns()
    _run(handle)
    took = time.thread_time_ns() - begun
    _seen["callbacks"] += 1
    if took > LONG and "coro=<run()" not in repr(getattr(handle._callback, "__self__", "")):  # start and end
        _long.append((took, repr(getattr(handle._callback, "__self__", handle._callback))[:120]))


def _write(path: str) -> None:
    if _seen["callbacks"]:
        rows = [f"{took / 1e6:.2f} {what}" for took, what in sorted(_long, reverse=True)[:200]]
        Path(f"{path}.{os.getpid()}").write_text("\n".join([str(_seen["callbacks"]), *rows]) + "\n")


if "BENCH_HELD" in os.environ:
    asyncio.events.Handle._run = _timed  # type: ignore[method-assign]
    atexit.register(_write, os.environ["BENCH_HELD"])
