"""What a test found out is told at the end, from whichever process it ran in: `record_property("found", text)`.

Every process that runs tests must name them alike. pytest names a case of bytes by all of its bytes, and those that a
test compresses hold the second it was done (RFC 1952 section 2.3.1, MTIME): such a case is called after its argument.

Property tests have the same examples in each run: what fails then is due to the change. `make fuzz` looks for others.
No example has a deadline: how long one takes says more of the machine than of the code.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("anew", deadline=None, database=None, print_blob=True, max_examples=1000)
settings.load_profile("same")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "found":
                terminalreporter.write_line(str(text))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    short = not isinstance(val, bytes) or (len(val) <= 40 and val.isascii())
    return None if short else argname
