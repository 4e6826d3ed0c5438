"""The audit trail: logins, changes of users, statements that were refused. Rows wait here for the next write."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable

from collector.engine import Engine, literal, send
from collector.errors import Refused
from collector.gate import DATABASE
from collector.users import Change

WAITING = 10_000  # rows; of more the oldest go, and are counted
DETAIL = 500  # characters of a statement that was refused

_log = logging.getLogger("aiscope.collect")


class Audit:
    """Notes and writes rows of `aiscope.audit`. Safe from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[dict[str, str | float]] = deque(maxlen=WAITING)
        self._lock = threading.Lock()
        self._written: set[str] = set()
        self.lost = 0

    def note(
        self, actor: str, address: str, action: str, outcome: str, subject: str = "", detail: str = ""
    ) -> None:
        """One row, and one line of the log."""
        row: dict[str, str | float] = {
            "time": f"{time.time():.6f}",
            "actor": actor[:64],
            "address": address if ":" in address or address.count(".") == 3 else "::",
            "action": action,
            "object": subject[:DETAIL],
            "outcome": outcome,
            "detail": detail[:DETAIL],
        }
        _log.info(action, extra={"fields": row})
        with self._lock:
            self.lost += len(self._waiting) == WAITING
            self._waiting.append(row)

    def flush(self) -> None:
        """Write what waits. What cannot be written stays for the next time."""
        with self._lock:
            rows = list(self._waiting)
        if not rows:
            return
        try:
            self._insert(rows, uuid.uuid4().hex)
        except Refused as error:
            _log.warning("audit rows wait: %s", error.reason)
            return
        with self._lock:
            for _ in rows:
                self._waiting.popleft()

    def changes(self, changes: Iterable[Change]) -> None:
        """The journal of the users file; a change is written once, whoever reads the journal how often."""
        for change in changes:
            if change.id in self._written:
                continue
            row: dict[str, str | float] = {
                "time": f"{change.time:.6f}",
                "actor": change.actor,
                "address": "::",
                "action": change.action,
                "object": change.user,
                "outcome": "done",
                "detail": change.detail,
            }
            try:
                self._insert([row], change.id)
            except Refused as error:
                _log.warning("audit of users waits: %s", error.reason)
                return
            self._written.add(change.id)

    def _insert(self, rows: list[dict[str, str | float]], token: str) -> None:
        handle = self._engine.handle({"date_time_input_format": "best_effort"}, DATABASE)
        statement = (
            f"INSERT INTO audit ({', '.join(rows[0])}) SETTINGS insert_deduplication_token = {literal(token)}"
        )
        try:
            send(handle, statement, "JSONEachRow", ["\n".join(map(json.dumps, rows)).encode()])
        finally:
            handle.close()
