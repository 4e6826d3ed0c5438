from __future__ import annotations

import pandas as pd

from dashboard import charts


def frame(services: int) -> pd.DataFrame:
    rows = [
        {"bucket": pd.Timestamp("2026-11-25"), "service": f"s{n:02}", "bytes_up": 100 - n}
        for n in range(services)
    ]
    return pd.DataFrame(rows)


def test_top_keeps_the_heaviest_and_calls_the_rest_other() -> None:
    kept = charts.top(frame(12), "service", "bytes_up")["service"]
    assert list(kept[:7]) == [f"s{n:02}" for n in range(7)]
    assert set(kept[7:]) == {"other"}


def test_volume_loses_no_byte() -> None:
    spec = charts.volume(frame(12)).to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert sum(row["bytes_up"] for row in rows) == frame(12)["bytes_up"].sum()
    assert len(charts.PALETTE) > charts.SHOWN


def test_matrix_adds_up_a_pair() -> None:
    rows = pd.DataFrame(
        {"client": ["a", "a"], "service": ["x", "x"], "bytes_up": [1, 2], "vendor": ["v", "v"]}
    )
    spec = charts.matrix(rows).to_dict()
    assert next(iter(spec["datasets"].values())) == [{"client": "a", "service": "x", "bytes_up": 3}]


def test_visibility_shows_every_class_it_is_given() -> None:
    rows = pd.DataFrame(
        {"label": ["seen", "VPN"], "bytes": [3, 1], "share": [0.75, 0.25], "kind": ["seen", "hidden"]}
    )
    spec = charts.visibility(rows).to_dict()
    assert len(spec["layer"]) == 2
    assert [row["label"] for row in next(iter(spec["datasets"].values()))] == ["seen", "VPN"]


def test_a_short_time_axis_writes_no_minute_twice() -> None:
    for minutes in (1, 3, 30):
        times = pd.Series(pd.date_range("2026-11-25", periods=minutes, freq="min"))
        assert charts.time_axis(times).to_dict()["tickCount"] == min(8, max(1, minutes - 1))
    hours = pd.Series(pd.date_range("2026-11-25", periods=8, freq="h"))
    assert charts.time_axis(hours).to_dict()["format"] == "%H:%M"
    days = pd.Series(pd.date_range("2026-11-25", periods=8, freq="D"))
    assert charts.time_axis(days).to_dict()["format"] == "%d %b"


def test_a_matrix_has_no_more_names_than_can_be_read() -> None:
    rows = [{"client": f"c{n % 90}", "service": f"s{n % 70}", "bytes_up": n} for n in range(630)]
    spec = charts.matrix(pd.DataFrame(rows)).to_dict()
    cells = pd.DataFrame(next(iter(spec["datasets"].values())))
    assert cells["client"].nunique() == cells["service"].nunique() == charts.MOST


def test_a_small_matrix_is_not_blown_up() -> None:
    rows = pd.DataFrame({"data_class": ["iban"], "service": ["x"], "exchanges": [2]})
    assert charts.matrix(rows, row="data_class", value="exchanges").to_dict()["width"] == {"step": 56}
