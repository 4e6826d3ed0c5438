from __future__ import annotations

from pathlib import Path

import pytest

from sensor.proxy import keys
from sensor.proxy.keys import HashKey


def test_a_key_is_kept_and_then_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "home" / "hash.key"
    monkeypatch.setattr(keys.time, "time", lambda: 1000.0)
    key = HashKey(file, 1).key()
    assert file.stat().st_mode & 0o777 == 0o600
    assert HashKey(file, 1).key() == key
    monkeypatch.setattr(keys.time, "time", lambda: 1000.0 + keys.DAY)
    held = HashKey(file, 1)
    assert held.key() != key
    assert key.hex() not in file.read_text()
    assert HashKey(file, 0).key() == held.key()


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("hello")
    with pytest.raises(ValueError, match=r"k: not a key"):
        HashKey(tmp_path / "k", 1)
