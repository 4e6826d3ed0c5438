from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import parts


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (4_200, "4.2 kB"),
        (81_000, "81.0 kB"),
        (196_000, "196 kB"),
        (1_500_000, "1.5 MB"),
        (320e6, "320 MB"),
        (2e9, "2.0 GB"),
        (5e18, "5,000.0 PB"),
    ],
)
def test_bytes_text(count: float, text: str) -> None:
    assert parts.bytes_text(count) == text


@given(st.text())
def test_plain_leaves_no_control_character_and_no_bare_markup(text: str) -> None:
    shown = parts.plain(text)
    assert all(c.isprintable() for c in shown)
    for place, character in enumerate(shown):
        if character in "*_[]<>`$:":
            assert shown[place - 1] == "\\"
