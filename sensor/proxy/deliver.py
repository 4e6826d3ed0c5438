"""Events to the spool, from a thread of their own: a commit waits for the disk, and the proxy's loop must
not."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable

from sensor.delivery.event import Event
from sensor.delivery.spool import Spool, SpoolError

WAITING = 100_000  # events
IDLE = 0.5  # seconds
_log = logging.getLogger("aiscope.proxy")


class Delivery:
    """`put` from any thread. When the disk is too slow the newest events are lost, and counted."""

    def __init__(self, open_spool: Callable[[], Spool]) -> None:
        """`open_spool` is called in the thread that writes. Raises what it raises."""
        self.lost = 0
        self._queue: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._opened: queue.Queue[BaseException | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(open_spool,), name="delivery", daemon=True)
        self._thread.start()
        if error := self._opened.get():
            raise error

    def put(self, events: Iterable[Event]) -> None:
        """Take events, at once."""
        for event in events:
            try:
                self._queue.put_nowait(event)
            except queue.Full:
                self.lost += 1

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()
        if self.lost:
            _log.error("%d events were lost: the disk was too slow", self.lost)

    def _run(self, open_spool: Callable[[], Spool]) -> None:
        try:
            spool = open_spool()
        except (OSError, ValueError) as error:
            self._opened.put(error)
            return
        self._opened.put(None)
        with spool:
            while (events := self._next()) is not None:
                try:
                    spool.put(events)
                except SpoolError as error:
                    self.lost += len(events)
                    _log.error("%s", error)

    def _next(self) -> list[Event] | None:
        """What came; nothing after a while, so that what waits in the spool is committed; None at the end."""
        try:
            event = self._queue.get(timeout=IDLE)
        except queue.Empty:
            return []
        return None if event is None else [event]
