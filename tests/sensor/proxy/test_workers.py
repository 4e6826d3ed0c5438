from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from sensor.proxy.analyse import Options
from sensor.proxy.workers import INLINE, ScanFailed, Workers


def where(setting: Any) -> tuple[int, str]:
    return os.getpid(), type(setting).__name__


def die(setting: Any) -> None:
    os._exit(1)


def sleep(setting: Any) -> None:
    time.sleep(30)


def swallow(setting: Any) -> int:
    return len(bytearray(8 << 30))


def fail(setting: Any) -> None:
    raise ZeroDivisionError


async def _all(workers: Workers) -> None:
    here = await workers.run(INLINE, where)
    there = await workers.run(INLINE + 1, where)
    assert here == (os.getpid(), "Setting")
    assert there[0] != os.getpid()
    assert there[1] == "Setting"
    with pytest.raises(ZeroDivisionError):
        await workers.run(INLINE + 1, fail)
    assert (await workers.run(INLINE + 1, where))[0] == there[0], "one that says what is wrong stays"
    with pytest.raises(ScanFailed, match="MemoryError"):
        await workers.run(INLINE + 1, swallow)
    with pytest.raises(ScanFailed, match="BrokenProcessPool"):
        await workers.run(INLINE + 1, die)
    replaced = await workers.run(INLINE + 1, where)
    assert replaced[0] != there[0]
    workers._timeout, begun = 0.3, time.monotonic()
    with pytest.raises(ScanFailed, match="TimeoutError"):
        await workers.run(INLINE + 1, sleep)
    assert time.monotonic() - begun < 5
    workers._timeout = 10
    assert (await workers.run(INLINE + 1, where))[0] != replaced[0]
    assert workers.failures == 3
    with pytest.raises(ProcessLookupError):
        os.kill(replaced[0], 0)


def test_what_fails_in_a_worker_fails_alone() -> None:
    workers = Workers(Options(), 1)
    try:
        asyncio.run(_all(workers))
    finally:
        workers.close()
