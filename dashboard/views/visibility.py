"""What we could not see."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import charts, parts
from dashboard.data import Filters, fetch

# class: (label, kind, what it means)
CLASSES = {
    "named": ("TLS and HTTP with a readable name", "seen", ""),
    "quic_named": ("QUIC with a readable name", "seen", ""),
    "ech_grease": ("Readable name, ECH only as decoy", "seen", ""),
    "dns": ("DNS and other name services in clear", "seen", ""),
    "unnamed": (
        "TCP and UDP without a name",
        "partly",
        "Known only by address, or by a name learnt from DNS.",
    ),
    "ech_offered": (
        "Encrypted ClientHello",
        "hidden",
        "Only the front's name is visible; the real name is encrypted.",
    ),
    "doh": ("DNS over HTTPS", "hidden", "Questions are encrypted; names of connections stay readable."),
    "dot": ("DNS over TLS", "hidden", "Questions are encrypted; names of connections stay readable."),
    "doq": ("DNS over QUIC", "hidden", "Questions are encrypted; names of connections stay readable."),
    "tunnelled": ("VPN and other tunnels", "hidden", "What is inside cannot be seen here."),
    "undecodable": (
        "Damaged or unknown headers",
        "hidden",
        "Cut off by the capture's snap length, or malformed.",
    ),
    "dropped_limit": (
        "Not looked at: a limit was reached",
        "hidden",
        "The sensor is too small for this traffic.",
    ),
    "other": ("Not TCP or UDP", "not AI traffic", ""),
}


def show(filters: Filters) -> None:
    """The page auditors read first."""
    seen = fetch("visibility", filters)
    if seen.empty:
        parts.nothing(
            "No sensor has reported here.",
            "No data does not mean no AI use: check that a sensor runs and delivers.",
        )
        return
    if filters.services or filters.categories or filters.clients:
        st.caption("Sensors count all traffic: of the filters only the time narrows this page.")
    if seen["bytes"].sum():
        classes(seen)
    else:
        parts.nothing("No traffic was seen here.", "Check that packets reach the sensor's interface.")
    st.subheader("Sensors")
    st.caption("Packets the kernel dropped or a limit kept back are use we may have missed.")
    parts.table(fetch("sensors", filters))


def classes(seen: pd.DataFrame) -> None:
    """How much of the traffic could be seen, and why not the rest."""
    rows = labelled(seen)
    hidden = rows.loc[rows["kind"] == "hidden", "share"].sum()
    named = rows.loc[rows["class"].isin(["named", "quic_named", "ech_grease"]), "share"].sum()
    parts.metrics(
        {
            "All traffic": parts.bytes_text(rows["bytes"].sum()),
            "With a readable name": f"{named:.1%}",
            "Hidden from us": f"{hidden:.1%}",
        }
    )
    st.altair_chart(charts.visibility(rows))
    explain(rows)


def labelled(seen: pd.DataFrame) -> pd.DataFrame:
    """Classes in the order of CLASSES, with label, kind and share."""
    rows = seen[seen["bytes"] > 0].copy()
    order = {name: place for place, name in enumerate(CLASSES)}
    rows = rows.sort_values("class", key=lambda names: names.map(order))
    for place, column in enumerate(("label", "kind", "meaning")):
        rows[column] = rows["class"].map(lambda name, place=place: CLASSES[name][place])
    return rows.assign(share=rows["bytes"] / rows["bytes"].sum())


def explain(rows: pd.DataFrame) -> None:
    meanings = rows.loc[rows["meaning"] != "", ["label", "meaning"]]
    if not meanings.empty:
        with st.expander("What these mean"):
            st.dataframe(meanings, hide_index=True)
