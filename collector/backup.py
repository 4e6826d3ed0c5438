"""Backups by the engine's own BACKUP and RESTORE: a consistent state of every table, while rows come in.

They are folders on the disk that the engine's configuration calls `backups`: of an embedded store `backups/`
in its directory. What a restored store no longer has is what came in since.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collector.store import DATABASE, Store, StoreError

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
# What `backup` sends: `aiscope collect` takes exactly this from an admin.
STATEMENT = re.compile(
    rf"BACKUP DATABASE {DATABASE} TO Disk\('backups', '{_NAME}'\)"
    rf"( SETTINGS base_backup = Disk\('backups', '{_NAME}'\))?"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A table as the engine read it again, checksum by checksum. `problem` is empty when it is sound."""

    table: str
    rows: int
    parts: int
    problem: str


def backup(store: Store, name: str, base: str = "") -> None:
    """Write a backup; with `base`, another backup's name, only what came in since. It refers to that one."""
    since = f" SETTINGS base_backup = {_place(base)}" if base else ""
    store.command(f"BACKUP DATABASE {DATABASE} TO {_place(name)}{since}")


def restore(store: Store, name: str) -> None:
    """Fill a store that has no `aiscope` yet."""
    if store.rows("SELECT 1 AS one FROM system.databases WHERE name = {name:String}", {"name": DATABASE}):
        raise StoreError(f"{store.url}: has rows already: restore into an empty store, then put it in place")
    store.command(f"RESTORE DATABASE {DATABASE} FROM {_place(name)}")
    store.use()


def offer(folder: Path, directory: Path) -> str:
    """Put a backup's folder where the store in `directory` may read it, by links if possible; its name.

    The backup that it is based on lies beside it.
    """
    if not (folder / ".backup").is_file():
        raise StoreError(f"{folder}: no backup: it has no .backup file")
    target = directory / "backups" / folder.name
    if not target.exists():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            shutil.copytree(folder, target, copy_function=os.link)
        except shutil.Error:  # another file system
            shutil.copytree(folder, target, dirs_exist_ok=True)
        if base := re.search(
            rf"<base_backup>Disk\('backups', '({_NAME})'\)<", (folder / ".backup").read_text("utf-8")
        ):
            offer(folder.with_name(base[1]), directory)
    return folder.name


def verify(store: Store) -> Iterator[Checked]:
    """Read every part of every table again and compare checksums."""
    for row in store.rows(
        "SELECT name, coalesce(total_rows, 0) AS rows FROM system.tables "
        f"WHERE database = '{DATABASE}' AND engine LIKE '%MergeTree' ORDER BY name"
    ):
        parts = store.rows(
            f"CHECK TABLE {DATABASE}.{row['name']} SETTINGS check_query_single_value_result = 0"
        )
        broken = [part for part in parts if not part["is_passed"]]
        problem = "; ".join(f"{part['part_path']}: {part['message']}" for part in broken)
        yield Checked(row["name"], row["rows"], len(parts), problem)


def _place(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        raise StoreError(f"{name!a}: a backup's name has letters, digits, dots, dashes and underscores")
    return f"Disk('backups', '{name}')"
