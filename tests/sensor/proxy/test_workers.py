from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from sensor.proxy.analyse import Options, Setting, finished
from sensor.proxy.providers import Result, Text
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


DENSE = {  # 12 kB of what takes longest
    "phones": "+1 (415) 555-2671 call 415-555-2671 ",
    "cards": "4539 5787 6362 1486 ",
    "mails": "jane.roe@corp-mail.com, ",
    "keys": "api_key = 'a8f3k29dk3jd92kd83jd', password: Xk39!dk2 ",
    "numbers": "DE89370400440532013000 GB82WEST12345698765432 123-45-6789 ",
}


def pieces(name: str) -> list[float]:
    """Seconds of each piece of the work: the least of five runs, so that only what the piece itself takes counts."""
    text = (DENSE[name] * 1_000)[:INLINE]
    setting = Setting(Options())
    runs = []
    for _ in range(6):  # in the first, automata are built as they are needed
        work, times, begun = finished(Result(200, texts=(Text(None, text),)), setting), [], time.thread_time()
        for _ in work:
            times.append(time.thread_time() - begun)
            begun = time.thread_time()
        runs.append(times)
    return [min(same) for same in zip(*runs[1:], strict=True)]


def test_the_loop_is_not_held_by_what_is_looked_at_in_it():
    found = {name: pieces(name) for name in DENSE}
    # without pieces, the loop would be held so long
    longest_work = max(sum(times) for times in found.values())
    for name, times in found.items():
        assert len(times) > 100, name
        assert max(times) < longest_work / 5, name


async def _beside(workers: Workers) -> int:
    """How often another task runs while 12 kB are looked at."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(tick())
    result = Result(200, texts=(Text(None, (DENSE["phones"] * 1_000)[:INLINE]),))
    told = await workers.run(INLINE, finished, result)
    task.cancel()
    assert told.data_classes == ("phone",)
    return ticks


def test_others_have_the_loop_meanwhile() -> None:
    workers = Workers(Options(), 1)
    try:
        assert asyncio.run(_beside(workers)) >= 5
    finally:
        workers.close()


def test_what_fails_in_a_worker_fails_alone() -> None:
    workers = Workers(Options(), 1)
    try:
        asyncio.run(_all(workers))
    finally:
        workers.close()
