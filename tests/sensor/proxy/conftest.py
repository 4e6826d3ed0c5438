from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sensor.proxy.lab import ROOT, Lab, laboratory

SDKS = (
    "openai",
    "anthropic",
    "google-genai",
    "mistralai",
    "cohere",
    "ollama",
    "litellm",
    "mcp",
    "websockets",
)
NODE = ("openai", "@anthropic-ai/sdk", "@google/genai", "undici@6")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The vendors' server and the environment of the proxy, which is made when it is not there."""
    if not (ROOT / ".venv-proxy" / "ready").exists():
        subprocess.run(["make", "proxy"], cwd=ROOT, check=True, timeout=280)
    with laboratory(tmp_path_factory.mktemp("lab")) as found:
        yield found


@pytest.fixture(scope="session")
def python_sdks() -> Path:
    """A Python with the vendors' SDKs: their pins clash with mitmproxy's and with ours."""
    home = ROOT / ".venv-sdk"
    if not (home / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run(
            [home / "bin/python", "-m", "pip", "install", "--quiet", *SDKS], check=True, timeout=280
        )
        (home / "ready").touch()
    return home / "bin" / "python"


@pytest.fixture(scope="session")
def node_sdks() -> Path:
    """A folder with the SDKs for Node."""
    home = ROOT / ".venv-sdk" / "node"
    if not (home / "ready").exists():
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", *NODE]
        subprocess.run(command, cwd=home, check=True, timeout=280, env={**os.environ, "HOME": str(home)})
        (home / "ready").touch()
    return home
