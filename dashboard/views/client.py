"""One client: a user, a host or an address, and what it uses."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import charts, parts
from dashboard.data import Filters, choices, fetch
from dashboard.views.service import exchanges


def show(filters: Filters) -> None:
    """The page of one client, chosen on the page and kept in the address."""
    clients = choices("client")
    if not clients:
        parts.nothing(
            "No client has been seen yet.", "Read a capture with `aiscope read`, or start a sensor."
        )
        return
    client = parts.choose("Client", clients, "client", parts.heaviest(filters, "client", clients))
    if client is None:
        return
    use = fetch("overview", filters, client=client)
    if use.empty:
        parts.nothing("No connection in this time range.", "Widen the time range or clear the filters.")
    else:
        connections(filters, client, use)
    exchanges(filters, client=client)


def connections(filters: Filters, client: str, use: pd.DataFrame) -> None:
    """What a sensor saw of this client."""
    numbers = parts.totals(filters, client=client)
    del numbers["Clients"]
    parts.metrics(numbers)
    st.altair_chart(charts.volume(fetch("volume", filters, client=client)))
    st.subheader("Services")
    parts.table(use.drop(columns=["client"]))
    st.subheader("Addresses and names")
    parts.table(fetch("addresses", filters, client=client))
    st.subheader("Server names")
    parts.table(fetch("names", filters, client=client))
