from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from collector.backup import backup, offer, restore, verify
from collector.store import Store, StoreError

from .conftest import connection, exchange, lookup

RESTORED = """
import sys
from pathlib import Path
from collector.backup import offer, restore, verify
from collector.store import Store, open_store
folder, target = map(Path, sys.argv[1:])
with Store(f"chdb://{target}") as store:
    restore(store, offer(folder, target))
with open_store(f"chdb://{target}") as store:
    print(sum(checked.rows for checked in verify(store) if checked.table == "connections"))
    print([checked.problem for checked in verify(store) if checked.problem])
    print(store.rows("SELECT sum(connections) AS n FROM usage_hourly")[0]["n"])
    store.insert([], sensor="s", batch=1, token="t")
"""


@pytest.fixture
def folder(store: Store):
    path = store.directory / "backups" / "b1"
    yield path
    shutil.rmtree(path.parent, ignore_errors=True)


def test_a_backup_taken_while_rows_come_in_restores_elsewhere(
    store: Store, folder: Path, tmp_path: Path, python
):
    store.insert([connection() for _ in range(50)], sensor="s", batch=0, token="t0")
    stop = threading.Event()

    def insert() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.insert([connection(), lookup()], sensor="s", batch=number, token=f"t{number}")

    writing = threading.Thread(target=insert)
    writing.start()
    try:
        backup(store, "b1")
    finally:
        stop.set()
        writing.join()
    copied = shutil.copytree(folder, tmp_path / "elsewhere" / "b1")
    done = python(RESTORED, copied, tmp_path / "new")
    raw, problems, rolled = done.stdout.splitlines()
    assert int(raw) >= 50, done.stderr
    assert problems == "[]"
    assert int(rolled) >= 50


def test_a_later_backup_holds_what_came_since(store: Store, folder: Path):
    store.insert([connection(ja3=f"{k:032}") for k in range(20_000)], sensor="s", batch=0, token="t0")
    backup(store, "b1")
    store.insert([connection()], sensor="s", batch=1, token="t1")
    backup(store, "b2", base="b1")
    first, second = (
        sum(file.stat().st_size for file in (folder.parent / name).rglob("*")) for name in ("b1", "b2")
    )
    assert second < first / 2


def test_a_store_with_rows_is_not_restored_into(store: Store, folder: Path):
    backup(store, "b1")
    with pytest.raises(StoreError, match="has rows already"):
        restore(store, "b1")


@pytest.mark.parametrize("name", ["", "../x", "a'b", "/etc/x", ".hidden", "a/b"])
def test_a_backup_s_name_is_no_path(store: Store, name: str):
    with pytest.raises(StoreError, match="a backup's name"):
        backup(store, name)


def test_a_backup_that_is_there_is_not_written_over(store: Store, folder: Path):
    backup(store, "b1")
    with pytest.raises(StoreError, match="BACKUP_ALREADY_EXISTS"):
        backup(store, "b1")


def test_what_is_no_backup_is_not_offered(tmp_path: Path):
    with pytest.raises(StoreError, match="no backup"):
        offer(tmp_path, tmp_path / "store")


def test_verify_finds_a_damaged_part(store: Store):
    store.insert([exchange(id=str(k)) for k in range(100)], sensor="s", batch=0, token="t")
    assert all(not checked.problem for checked in verify(store))
    (part,) = store.rows(
        "SELECT path FROM system.parts WHERE database = 'aiscope' AND table = 'exchanges' AND active"
    )
    file = next(path for path in Path(part["path"]).iterdir() if path.name in ("data.bin", "id.bin"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    (problem,) = [checked for checked in verify(store) if checked.problem]
    assert problem.table == "exchanges"
