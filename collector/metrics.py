"""Counters of the server, in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

# name: (kind, help)
KNOWN = {
    "aiscope_collect_requests_total": ("counter", "Requests by kind and ClickHouse error code (0: none)."),
    "aiscope_collect_request_seconds_total": ("counter", "Time spent on requests by kind."),
    "aiscope_collect_rows_written_total": ("counter", "Rows inserted by table."),
    "aiscope_collect_bytes_received_total": ("counter", "Decoded bytes of bodies."),
    "aiscope_collect_logins_failed_total": ("counter", "Logins that failed."),
    "aiscope_collect_audit_lost_total": ("counter", "Audit rows that were dropped because too many waited."),
    "aiscope_collect_running": ("gauge", "Statements that run now."),
    "aiscope_collect_resident_bytes": ("gauge", "Memory of the process."),
    "aiscope_collect_disk_free_bytes": ("gauge", "Free space where the store is."),
}


class Metrics:
    """Adds up; `text` is what a scrape gets. Label values are ours, not a client's."""

    def __init__(self) -> None:
        self._values: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._values[name, tuple(sorted(labels.items()))] += value  # type: ignore[assignment]  # floats add too

    def text(self, gauges: Mapping[str, float]) -> str:
        """All of them, and gauges as they are now."""
        with self._lock:
            values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = dict(self._values)
        values |= {(name, ()): value for name, value in gauges.items()}
        lines = []
        for name, (kind, about) in KNOWN.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            for (owner, labels), value in sorted(values.items()):
                if owner == name:
                    inner = ",".join(f'{label}="{text}"' for label, text in labels)
                    lines.append(f"{name}{{{inner}}} {value:g}" if inner else f"{name} {value:.17g}")
        return "\n".join(lines) + "\n"
