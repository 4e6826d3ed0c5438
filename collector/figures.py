"""What the engine tells of itself, from system tables whose rows nobody sees through `aiscope collect`.

Except that an admin may ask exactly these statements there, as `aiscope store doctor` does.
"""

from __future__ import annotations

import re

DATABASE = "aiscope"
DOCTOR = "doctor"  # the tier of these statements
TABLES = ("parts", "detached_parts", "mutations", "disks")

SIZE = (
    "SELECT sum(rows) AS rows, sum(bytes_on_disk) AS bytes, count() AS parts FROM system.parts "
    f"WHERE active AND database = '{DATABASE}'"
)
DISK = "SELECT min(free_space) AS free, min(total_space) AS total FROM system.disks"
PARTS = (
    "SELECT max(parts) AS parts FROM (SELECT count() AS parts FROM system.parts "
    f"WHERE active AND database = '{DATABASE}' GROUP BY table, partition)"
)
DETACHED = f"SELECT count() AS parts FROM system.detached_parts WHERE database = '{DATABASE}'"
MUTATIONS = (
    "SELECT table, latest_fail_reason AS reason FROM system.mutations "
    f"WHERE database = '{DATABASE}' AND NOT is_done"
)
_ASKED = re.compile(
    rf"({'|'.join(map(re.escape, (SIZE, DISK, PARTS, DETACHED, MUTATIONS)))})\s+FORMAT (\w+)\s*"
)


def asked(text: str) -> tuple[str, str] | None:
    """One of these statements and its output format; None when the text is anything else."""
    match = _ASKED.fullmatch(text)
    return (match[1], match[2]) if match else None
