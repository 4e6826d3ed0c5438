from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .commands import check_options

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
NAMES = sorted(path.name for path in UNITS.glob("*.service"))
EXPOSURE = 2.0

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with a program that exists on every machine, templates with an instance."""
    for path in UNITS.glob("*.service"):
        text = path.read_text("utf-8").replace("/opt/aiscope/bin/aiscope", "/bin/true")
        (tmp_path / path.name.replace("@", "@eth1")).write_text(text)
    return tmp_path


def test_systemd_understands_the_units(installed: Path):
    units = [str(path) for path in sorted(installed.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_exposure_is_small(installed: Path, name: str):
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    unit = str(installed / name.replace("@", "@eth1"))
    done = subprocess.run([*command, unit], capture_output=True, text=True, check=False)
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) <= EXPOSURE


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_addresses(name: str):
    text = (UNITS / name).read_text("utf-8")
    (command,) = re.findall(r"^ExecStart=/opt/aiscope/bin/aiscope (.*)$", text, re.MULTILINE)
    check_options(command.split())
    assert re.search(r"^IPAddressDeny=", text, re.MULTILINE)
    assert re.search(r"^RestrictAddressFamilies=", text, re.MULTILINE)


def test_every_user_of_a_unit_is_made():
    made = re.findall(r"^u (\S+)", (UNITS / "aiscope.sysusers.conf").read_text("utf-8"), re.MULTILINE)
    used = {
        name for unit in NAMES for name in re.findall(r"^User=(\S+)", (UNITS / unit).read_text("utf-8"), re.M)
    }
    assert set(made) == used
