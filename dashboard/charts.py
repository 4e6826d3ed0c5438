"""Data frames to Altair charts. Pure: no store, no Streamlit."""

from __future__ import annotations

import altair as alt
import pandas as pd

# Okabe and Ito's palette: told apart by colour-blind readers too (jfly.uni-koeln.de/color).
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"]
SHOWN = 7  # services with a colour of their own; the rest is "other"

# What could be seen is calm, what was hidden stands out.
VISIBILITY_COLOURS = {
    "seen": "#0072B2",
    "partly": "#56B4E9",
    "hidden": "#D55E00",
    "not AI traffic": "#BBBBBB",
}

UTC = alt.Scale(type="utc")  # else the browser's time zone is used

MOST = 40  # rows and columns of a matrix: the names of more cannot be read
WIDE = 12  # services from which on a matrix takes the whole width
TITLES = {"bytes_up": "bytes sent"}

# A Vega expression: decimal units on axes and legends.
BYTES = " : ".join(
    [
        f"datum.value >= 1e{p} ? format(datum.value/1e{p}, '~r') + ' {u}'"
        for p, u in ((9, "GB"), (6, "MB"), (3, "kB"))
    ]
    + ["datum.value + ' B'"]
)


def heaviest(frame: pd.DataFrame, column: str, weight: str, count: int) -> pd.Index[str]:
    """The `count` values of `column` with most `weight` in all."""
    return frame.groupby(column)[weight].sum().nlargest(count).index


def top(frame: pd.DataFrame, column: str, weight: str) -> pd.DataFrame:
    """The same rows with all but the `SHOWN` heaviest values of `column` called "other"."""
    kept = frame[column].isin(heaviest(frame, column, weight, SHOWN))
    return frame.assign(**{column: frame[column].where(kept, "other")})


def time_axis(times: pd.Series[pd.Timestamp]) -> alt.Axis:
    """Hours within a day, dates beyond; no minute is written twice."""
    span = times.max() - times.min()
    minutes = max(1, int(span / pd.Timedelta(minutes=1)))
    return alt.Axis(format="%H:%M" if span < pd.Timedelta(days=1) else "%d %b", tickCount=min(8, minutes))


def volume(frame: pd.DataFrame) -> alt.Chart:
    """Bytes sent to services over time: columns `bucket`, `service`, `bytes_up`."""
    frame = top(frame, "service", "bytes_up").groupby(["bucket", "service"], as_index=False).sum()
    order = frame.groupby("service")["bytes_up"].sum().sort_values(ascending=False).index.tolist()
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("bucket:T", title=None, axis=time_axis(frame["bucket"]), scale=UTC),
            y=alt.Y("bytes_up:Q", title="sent", axis=alt.Axis(labelExpr=BYTES, tickCount=4)),
            color=alt.Color("service:N", title=None, sort=order, scale=alt.Scale(range=PALETTE)),
            tooltip=[
                # A tooltip has no scale: its time unit says that it is UTC.
                alt.Tooltip(
                    "bucket:T", timeUnit="utcyearmonthdatehoursminutes", format="%Y-%m-%d %H:%M", title="time"
                ),
                "service:N",
                alt.Tooltip("bytes_up:Q", format=",", title="bytes sent"),
            ],
        )
        .properties(height=240)
    )
    return chart


def matrix(frame: pd.DataFrame, row: str = "client", value: str = "bytes_up") -> alt.Chart:
    """Who, or what, × which service × how much, the `MOST` heaviest: columns `row`, `service`, `value`."""
    for name in ("service", row):
        frame = frame[frame[name].isin(heaviest(frame, name, value, MOST))]
    cells = frame.groupby([row, "service"], as_index=False)[value].sum()
    top = alt.Axis(labelAngle=-40, labelOverlap=False, orient="top")
    tooltip = [f"{row}:N", "service:N", alt.Tooltip(f"{value}:Q", format=",", title=TITLES.get(value, value))]
    chart: alt.Chart = (
        alt.Chart(cells)
        .mark_rect(cornerRadius=2)
        .encode(
            x=alt.X("service:N", title=None, sort="-color", axis=top),
            y=alt.Y(f"{row}:N", title=None, sort="-color"),
            color=alt.Color(f"{value}:Q", scale=alt.Scale(type="symlog", scheme="blues"), legend=None),
            tooltip=tooltip,
        )
        .properties(
            height=alt.Step(26), width=alt.Step(56) if cells["service"].nunique() < WIDE else "container"
        )
    )
    return chart


def visibility(frame: pd.DataFrame) -> alt.LayerChart:
    """Bytes by visibility class: columns `label`, `bytes`, `share` (0..1), `kind` of VISIBILITY_COLOURS."""
    scale = alt.Scale(domain=list(VISIBILITY_COLOURS), range=list(VISIBILITY_COLOURS.values()))
    legend = alt.Legend(orient="top", columns=2, padding=0)  # in one row it is wider than a phone leaves it
    bars = alt.Chart(frame).encode(
        x=alt.X("bytes:Q", title=None, axis=alt.Axis(labelExpr=BYTES, tickCount=5)),
        y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)),
        color=alt.Color("kind:N", title=None, scale=scale, legend=legend),
        tooltip=["label:N", alt.Tooltip("bytes:Q", format=","), alt.Tooltip("share:Q", format=".2%")],
    )
    text = bars.mark_text(align="left", dx=4).encode(text=alt.Text("share:Q", format=".1%"))
    chart: alt.LayerChart = (bars.mark_bar() + text).properties(height=alt.Step(26))
    return chart
