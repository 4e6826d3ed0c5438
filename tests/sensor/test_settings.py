from __future__ import annotations

from pathlib import Path

from sensor import settings

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    assert (ROOT / "docs/settings.md").read_text("utf-8") == settings.markdown(), (
        "run: aiscope settings --markdown > docs/settings.md"
    )


def test_every_setting_has_a_meaning():
    names = [name for name, _, meaning in settings.table() if not meaning and not name.startswith("limits.")]
    assert names == []
    assert len({name for name, *_ in settings.table()}) > 30
