"""The vendors' SDKs, away from the rest: their pins clash with mitmproxy's and with ours.

`make test` makes both environments (`python -m tests.sensor.proxy.sdks`), and so does the first test that needs one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.sensor.proxy.lab import ROOT

HOME = ROOT / ".venv-sdk"
PYTHON = (
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


def python_sdks() -> Path:
    """A Python that has them."""
    with _once(HOME, PYTHON) as missing:
        if missing:
            _run(sys.executable, "-m", "venv", HOME)
            _run(HOME / "bin" / "python", "-m", "pip", "install", "--quiet", *PYTHON)
    return HOME / "bin" / "python"


def node_sdks() -> Path:
    """A folder that has those for Node."""
    home = HOME / "node"
    with _once(home, NODE) as missing:
        if missing:
            # Its home too: what npm keeps it keeps there.
            _run("npm", "install", "--silent", "--no-audit", "--no-fund", *NODE, cwd=home, HOME=str(home))
    return home


@contextmanager
def _once(home: Path, packages: tuple[str, ...]) -> Iterator[bool]:
    """Whether they are still to be installed there, which only one process does."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready, wanted = home / "ready", " ".join(packages)
        yield not ready.exists() or ready.read_text() != wanted
        ready.write_text(wanted)


def _run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> None:
    subprocess.run(command, check=True, cwd=cwd, env=os.environ | environment, timeout=280)


if __name__ == "__main__":
    python_sdks()
    if shutil.which("npm"):
        node_sdks()
