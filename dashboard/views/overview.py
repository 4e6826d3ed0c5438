"""Who uses which service, and how much data goes there."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, parts
from dashboard.data import Filters, fetch


def show(filters: Filters) -> None:
    """The first page."""
    use = fetch("overview", filters)
    if use.empty:
        parts.nothing(
            "No connection to an AI service was seen here.",
            "Widen the time range or clear the filters. What the proxy alone has read is on the Data page, what "
            "a sensor cannot see on the Visibility page.",
        )
    else:
        numbers(filters)
        st.subheader("Data sent, over time")
        st.altair_chart(charts.volume(fetch("volume", filters)), height="content")
        st.subheader("Who sends how much to which service")
        if max(use["client"].nunique(), use["service"].nunique()) > charts.MOST:
            st.caption(f"The {charts.MOST} heaviest services and clients; the table has the rest.")
        parts.heatmap(charts.matrix(parts.savable(use)))
        parts.table(use.drop(columns=["vendor"]))
    lookups(filters)


def numbers(filters: Filters) -> None:
    """The page's headline: how many, how much, and how much of the traffic could be read at all."""
    seen = fetch("visibility", filters)
    total = int(seen["bytes"].sum())
    readable = int(seen.loc[seen["class"].isin(["named", "quic_named", "ech_grease"]), "bytes"].sum())
    parts.metrics(
        {
            **parts.totals(filters),
            "Readable names": f"{readable / total:.1%}" if total else "unknown",
        },
        **{"Readable names": "Of the bytes of all traffic in this time; the other filters do not narrow it."},
    )


def lookups(filters: Filters) -> None:
    """Looked up but not connected to: not use, and never counted as such."""
    rows = fetch("lookups_only", filters)
    if rows.empty:
        return
    st.subheader("Looked up, no connection seen")
    st.caption("A DNS question is not use: browsers look names up in advance, or the use passes elsewhere.")
    parts.table(rows)
