from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sensor.proxy import sdks
from tests.sensor.proxy.lab import ROOT, Lab, laboratory


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The vendors' server and the environment of the proxy, which is made when it is not there."""
    if not (ROOT / ".venv-proxy" / "ready").exists():
        subprocess.run(["make", "proxy"], cwd=ROOT, check=True, timeout=280)
    with laboratory(tmp_path_factory.mktemp("lab")) as found:
        yield found


@pytest.fixture(scope="session")
def python_sdks() -> Path:
    return sdks.python_sdks()


@pytest.fixture(scope="session")
def node_sdks() -> Path:
    return sdks.node_sdks()
