"""Where the rows of `aiscope watch` go: a spool that is shipped from here, or a store of this machine."""

from __future__ import annotations

import json
import os
import select
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collector.store import Store
    from sensor.config import Settings
    from sensor.delivery.event import Event
    from sensor.delivery.spool import Spool

_ROWS, _SECONDS = 10_000, 2.0  # of one insert
_PATIENCE = 2.0  # seconds for a reader to take something, once the run is to end


class Sink(Protocol):
    """Takes rows. `put` with none now and then, for what has to be done in time."""

    seals: bool  # names of people on their way through, if they are to be sealed

    def put(self, events: Iterable[Event]) -> None: ...

    def close(self) -> None:
        """Everything is on disk when it returns."""


class StoreSink:
    """Rows into a store of this machine; what waits goes every few seconds."""

    seals = False

    def __init__(self, store: Store, sensor: str) -> None:
        self._store, self._sensor = store, sensor
        self._token = uuid.uuid4().hex
        self._waiting: list[Event] = []
        self._batch = 0
        self._inserted = time.monotonic()

    def put(self, events: Iterable[Event]) -> None:
        self._waiting.extend(events)
        if len(self._waiting) >= _ROWS or time.monotonic() - self._inserted >= _SECONDS:
            self._insert()

    def close(self) -> None:
        self._insert()
        self._store.close()

    def _insert(self) -> None:
        if self._waiting:
            token = f"{self._token}:{self._batch}"
            self._store.insert(self._waiting, sensor=self._sensor, batch=self._batch, token=token)
            self._batch += 1
            self._waiting.clear()
        self._inserted = time.monotonic()


class JsonSink:
    """One JSON object per row. A reader that takes nothing is waited for, but not once `ended` is true."""

    seals = False

    def __init__(self, out: int, sensor: str, ended: Callable[[], bool]) -> None:
        self._out, self._sensor, self._ended = out, sensor, ended
        self._patience = _PATIENCE

    def put(self, events: Iterable[Event]) -> None:
        from sensor.delivery.event import as_json

        rows = (json.dumps({**as_json(event), "sensor": self._sensor}) + "\n" for event in events)
        self._write(memoryview("".join(rows).encode()))

    def close(self) -> None:
        """Nothing waits here."""

    def _write(self, data: memoryview) -> None:
        """So little at a time that a pipe which takes any takes it all: no `write` waits."""
        while data:
            _, ready, _ = select.select([], [self._out], [], self._patience)
            if ready:
                data = data[os.write(self._out, data[: select.PIPE_BUF]) :]
            elif self._ended():
                self._patience = 0.0
                raise TimeoutError("standard output: nobody reads it; the last rows are lost")


class SpoolSink:
    """Rows into the spool, and a thread that ships it, where there is somewhere to ship to.

    Without one, or while another process ships, the spool is `aiscope ship`'s.
    """

    seals = True

    def __init__(self, spool: Spool, settings: Settings) -> None:
        self._spool, self._settings = spool, settings
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if settings.ship.urls or settings.store.url.startswith("http"):
            self._thread = threading.Thread(target=self._ship, name="ship", daemon=True)
            self._thread.start()

    def put(self, events: Iterable[Event]) -> None:
        self._spool.put(events)

    def close(self) -> None:
        """Commits; what is under way to the store may still be sent, the rest is for the next start."""
        whole = self._spool.close()
        self._stop.set()
        if self._thread:
            self._thread.join(_SECONDS)
        if not whole:
            raise OSError("the last rows are lost")

    def _ship(self) -> None:
        from sensor.delivery.outbox import Outbox
        from sensor.delivery.spool import SpoolError
        from sensor.ship_cli import shipper

        while not self._stop.is_set():
            try:
                with Outbox(Path(self._settings.spool.path)) as outbox:
                    shipping = shipper(self._settings, outbox)
                    try:
                        shipping.run(self._stop)
                    finally:
                        shipping.close()
            except SpoolError:
                self._stop.wait(_SECONDS)  # another process ships, or the file is being replaced
