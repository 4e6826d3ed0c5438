"""Where requests are looked at: small ones at once, large ones in worker processes, so that no connection
waits for another's prompt. A worker that dies or takes too long is replaced, and its request fails.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import resource
import signal
import time
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import Any, TypeVar

from sensor.proxy.analyse import Options, Setting, Work

INLINE = (
    12_288  # bytes that are looked at in the loop: prose takes a millisecond or so, what is all numbers forty
)
SLICE = 0.001  # seconds of it at a time
TIMEOUT = 10.0  # seconds
MEMORY = 3 << 30  # bytes of address space of a worker
_log = logging.getLogger("aiscope.proxy")
T = TypeVar("T")
_setting: Setting | None = None


class ScanFailed(RuntimeError):  # noqa: N818 - it is a fact, as in the rows
    """A request could not be looked at."""


class Workers:
    """One for a proxy. Use from its loop."""

    def __init__(self, options: Options, count: int, timeout: float = TIMEOUT) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        forkserver.ensure_running()  # imports what workers need, while we read the detectors
        self.setting = Setting(options)
        self.failures = 0
        self._options, self._count, self._timeout = options, count, timeout
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._count, self._context, _begin, (self._options,))

    async def warm(self) -> None:
        """Start all workers, before there is traffic."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._pool, _ready) for _ in range(self._count)))

    async def run(self, size: int, function: Callable[..., T | Work[T]], *arguments: Any) -> T:
        """`function(*arguments, setting)`, or what its generator returns, which lets others have the loop meanwhile.
        Raises ScanFailed; in the loop also what `function` raises."""
        if size <= INLINE:
            made = function(*arguments, self.setting)
            return await _in_slices(made) if isinstance(made, Generator) else made
        pool = self._pool
        work = asyncio.get_running_loop().run_in_executor(pool, _work, function, arguments)
        try:
            return await asyncio.wait_for(work, self._timeout)
        except (TimeoutError, BrokenProcessPool, MemoryError) as error:
            self.failures += 1
            _log.error("a request could not be looked at: %s", type(error).__name__)
            if pool is self._pool and not isinstance(error, MemoryError):
                self._pool = self._new()
                _end(pool)
            raise ScanFailed(type(error).__name__) from None

    def close(self) -> None:
        """End the workers."""
        _end(self._pool)


def _end(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())  # there is no public way to end one that hangs
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()


def _begin(options: Options) -> None:
    global _setting
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no prompt in a core file
    _setting = Setting(options)
    gc.freeze()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _ready() -> bool:
    return _setting is not None


def _work(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    made = function(*arguments, _setting)
    return whole(made) if isinstance(made, Generator) else made


def whole(work: Work[T]) -> T:
    """What it returns, without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


async def _in_slices(work: Work[T]) -> T:
    begun = time.perf_counter()
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if time.perf_counter() - begun > SLICE:
            await asyncio.sleep(0)
            begun = time.perf_counter()
