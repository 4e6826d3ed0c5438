from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sensor import config
from sensor.doctor_cli import doctor
from sensor.packets.engine import select


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(config, "FILES", ())


def test_a_sound_installation():
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 0, done.output
    lines = dict(line[3:].split(maxsplit=1) for line in done.output.splitlines())
    assert lines["engine"].startswith(select()[0])
    assert lines["store"].endswith("nothing stored yet")
    assert "services" in lines["catalogue"]


def test_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISCOPE_STORE_URL", "http://u:secret@127.0.0.1:9/")
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 1
    assert (
        "!!  store                http://u:***@127.0.0.1:9/: cannot be reached: Connection refused"
        in done.output
    )


def test_wrong_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISCOPE_X", "1")
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 1
    assert "!!  settings             environment: AISCOPE_X: unknown setting" in done.output
