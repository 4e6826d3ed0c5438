from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from .commands import check_options

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = [
    (name, line)
    for name in ("delivery.md", "operations.md")
    for block in re.findall(r"^```\n(.*?)^```", (DOCS / name).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for line in re.findall(r"(?:^|bin/)aiscope (.*)$", block, re.MULTILINE)
]


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_commands_on_the_page_exist(name: str, line: str):
    words = shlex.split(line, comments=True)
    check_options(words[: words.index(">")] if ">" in words else words)


def test_there_are_commands():
    assert len(COMMANDS) > 12
