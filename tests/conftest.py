"""What a test found out is told at the end, from whichever process it ran in: `record_property("found", text)`."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "found":
                terminalreporter.write_line(str(text))
