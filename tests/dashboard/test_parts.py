from __future__ import annotations

import re
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from collector.store import QUERIES
from dashboard import parts
from dashboard.data import Filters


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (4_200, "4.2 kB"),
        (81_000, "81.0 kB"),
        (196_000, "196 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_500_000, "1.5 MB"),
        (320e6, "320 MB"),
        (2e9, "2.0 GB"),
        (5e18, "5,000.0 PB"),
    ],
)
def test_bytes_text(count: float, text: str) -> None:
    assert parts.bytes_text(count) == text


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (float("nan"), ""),
        (0, "$0.00"),
        (0.000_015, "$0.000015"),
        (0.001, "$0.0010"),
        (0.012, "$0.01"),
        (0.5, "$0.50"),
        (1234.5, "$1,234.50"),
    ],
)
def test_dollars(cost: float, text: str) -> None:
    assert parts.dollars(cost) == text


def test_what_costs_less_than_a_cent_is_no_zero_in_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def page() -> None:
        import pandas as pd

        from dashboard import parts

        parts.table(pd.DataFrame({"cost_usd": [0.001, None]}))

    (table,) = AppTest.from_function(page).run().dataframe
    shown = pa.ipc.open_stream(table.proto.arrow_data.styler.display_values).read_pandas()
    assert shown.iloc[:, -1].tolist() == ["$0.0010", ""]
    assert table.value["cost_usd"].max() == 0.001  # a number still, by which rows are sorted


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_unmarked_is_what_was_written(text: str) -> None:
    assert parts.unmarked(f"**Said.** {parts.plain(text)}") == f"Said. {text}"


@given(st.text())
def test_plain_leaves_no_control_character_and_no_bare_markup(text: str) -> None:
    shown = parts.plain(text)
    assert all(c.isprintable() for c in shown)
    for place, character in enumerate(shown):
        if character in "*_[]<>`$:":
            assert shown[place - 1] == "\\"


def test_heaviest_is_the_first_while_the_options_lack_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "fetch", lambda *_: pd.DataFrame({"service": ["new", "b"]}))
    assert parts.heaviest(Filters(), "service", ["a", "b", "new"]) == 2
    assert parts.heaviest(Filters(), "service", ["a", "b"]) == 0
    monkeypatch.setattr(parts, "fetch", lambda *_: pd.DataFrame({"service": []}))
    assert parts.heaviest(Filters(), "service", ["a", "b"]) == 0


def test_a_table_saved_as_csv_has_no_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def page() -> None:
        import numpy as np
        import pandas as pd

        from dashboard import parts

        cells = {"client": ["=1+1", None], "tools": [np.array(["@a", "b"]), None], "bytes": [-1, 2]}
        parts.table(pd.DataFrame(cells))

    (table,) = AppTest.from_function(page).run().dataframe
    (first, _) = table.value.to_dict("records")
    assert (first["client"], list(first["tools"]), first["bytes"]) == ("'=1+1", ["'@a", "b"], -1)


@pytest.mark.parametrize("sign", ["\u202e", "\u202a", "\u2067", "\u2069", "\u200f", "\u061c"])
def test_no_cell_is_turned_around(sign: str) -> None:
    frame = pd.DataFrame(
        {"client": [f"a{sign}b"], "tools": [np.array([f"{sign}="])], "user": ["\u05d0\u05d1"]}
    )
    (row,) = parts.savable(frame).to_dict("records")
    assert (row["client"], list(row["tools"]), row["user"]) == ("a\ufffdb", ["\ufffd="], "\u05d0\u05d1")


def test_a_table_that_may_be_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def page() -> None:
        import pandas as pd

        from dashboard import parts

        parts.table(pd.DataFrame({"risk": range(999)}))
        parts.table(pd.DataFrame({"risk": range(1_000)}))

    (caption,) = AppTest.from_function(page).run().caption
    assert caption.value == "The first 1,000 rows. There may be more: narrow the filters."
    texts = [path.read_text("utf-8") for path in QUERIES.glob("*.sql") if path.stem != "choices"]
    found = {int(limit) for text in texts for limit in re.findall(r"LIMIT (\d+)", text)}
    assert found == set(parts.LIMITS)


def test_what_is_not_known_is_an_empty_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    # Streamlit leaves its script there, and what a later test forks would run it.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def page() -> None:
        import pandas as pd

        from dashboard import parts

        parts.table(pd.DataFrame({"risk": [None, 3.0]}))

    (table,) = AppTest.from_function(page).run().dataframe
    assert table.proto.HasField("placeholder")
    assert table.proto.placeholder == ""
