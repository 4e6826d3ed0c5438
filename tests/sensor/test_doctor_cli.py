from __future__ import annotations

import sys
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


def test_what_is_configured_and_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "own/services").mkdir(parents=True)
    absent = {"policy.file", "inventory.csv", "place.country_db", "place.asn_db", "ship.ca"}
    for name in absent:
        monkeypatch.setenv(f"AISCOPE_{name.replace('.', '_').upper()}", str(tmp_path / "nosuch"))
    monkeypatch.setenv("AISCOPE_WATCH_EVIDENCE", str(tmp_path / "file/evidence"))
    monkeypatch.setenv("AISCOPE_CATALOGUE_OVERRIDES", str(tmp_path / "own"))
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 1
    wrong = dict(line[3:].split(maxsplit=1) for line in done.output.splitlines() if line.startswith("!!"))
    assert wrong.keys() == absent | {"watch.evidence", "catalogue.overrides"}
    assert wrong["place.asn_db"] == f"{tmp_path}/nosuch: No such file or directory"
    assert "services are not read" in wrong["catalogue.overrides"]


def test_what_is_configured_and_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("AISCOPE_POLICY_FILE", "deploy/policy.example.yaml")
    monkeypatch.setenv("AISCOPE_WATCH_EVIDENCE", str(tmp_path / "not/yet"))
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 0, done.output
    assert "deploy/policy.example.yaml: " in done.output


def test_an_engine_that_is_asked_for_and_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISCOPE_READ_ENGINE", "native")
    monkeypatch.setitem(sys.modules, "sensor._core", None)
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 1
    assert "!!  read.engine          the native engine is not installed: " in done.output
