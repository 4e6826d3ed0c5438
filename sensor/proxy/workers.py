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
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from sensor.proxy.analyse import Options, Setting

INLINE = 12_288  # bytes that are looked at in the loop: a millisecond or so
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
        self.setting = Setting(options)
        self.failures = 0
        self._options, self._count, self._timeout = options, count, timeout
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        return ProcessPoolExecutor(self._count, context, _begin, (self._options,))

    async def warm(self) -> None:
        """Start all workers, before there is traffic."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._pool, _ready) for _ in range(self._count)))

    async def run(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments, setting)`. Raises ScanFailed; in the loop also what `function` raises."""
        if size <= INLINE:
            return function(*arguments, self.setting)
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
    return function(*arguments, _setting)
