"""One service: who uses it, under which names, in which way."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import charts, parts
from dashboard.data import Filters, choices, fetch


def show(filters: Filters) -> None:
    """The page of one service, chosen on the page and kept in the address."""
    services = choices("service")
    if not services:
        parts.nothing(
            "No AI service has been seen yet.", "Read a capture with `aiscope read`, or start a sensor."
        )
        return
    service = str(st.selectbox("Service", services, key="service", bind="query-params"))
    use = fetch("overview", filters)
    use = use[use["service"] == service]
    if use.empty:
        parts.nothing("Not used in this time range.", "Widen the time range or clear the filters.")
        return
    for row in fetch("service", filters, service=service).itertuples():
        st.subheader(parts.plain(str(row.name)))
        st.caption(parts.plain(f"{row.vendor_name}, {row.category}"))
    parts.metrics(
        {
            "Clients": use["client"].nunique(),
            "Connections": int(use["connections"].sum()),
            "Sent": parts.bytes_text(use["bytes_up"].sum()),
            "Received": parts.bytes_text(use["bytes_down"].sum()),
        }
    )
    st.altair_chart(charts.volume(fetch("volume", replace(filters, services=(service,)))))
    st.subheader("Clients")
    parts.table(use.drop(columns=["service", "vendor", "category"]))
    st.subheader("Names it was reached under")
    parts.table(fetch("names", filters, service=service, client=""))
    exchanges(filters, service=service, client="")


def exchanges(filters: Filters, service: str, client: str) -> None:
    """Requests that could be read, by model and operation."""
    rows = fetch("exchanges", filters, service=service, client=client)
    if rows.empty:
        return
    st.subheader("Exchanges that could be read")
    st.caption("From connections in clear or inspected by the proxy. Prompts themselves are not kept.")
    parts.table(rows)
