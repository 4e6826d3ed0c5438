from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

SETUP = Path(__file__).parents[2] / "setup.py"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """setup.py in a folder of its own; what it calls does nothing."""
    for name in ("setuptools", "setuptools_rust"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    return Path(shutil.copy(SETUP, tmp_path))


def test_nothing_of_an_earlier_build_goes_along(copy: Path):
    left = copy.parent / "build/lib.linux-x86_64-cpython-311/signatures/services/gone.yaml"
    left.parent.mkdir(parents=True)
    left.touch()
    runpy.run_path(str(copy))
    assert list((copy.parent / "build").iterdir()) == []


def test_a_choice_that_is_none(copy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISCOPE_NATIVE", "maybe")
    with pytest.raises(SystemExit, match="AISCOPE_NATIVE=maybe: expected auto, yes or no"):
        runpy.run_path(str(copy))
