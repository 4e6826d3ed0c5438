"""One service: who uses it, under which names, in which way."""

from __future__ import annotations

import json

import pandas as pd
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
    service = parts.choose("Service", services, "service", parts.heaviest(filters, "service", services))
    if service is None:
        return
    use = fetch("overview", filters, service=service)
    if use.empty:
        parts.nothing("No connection in this time range.", "Widen the time range or clear the filters.")
        exchanges(filters, service=service)
        return
    known = fetch("service", filters, service=service).to_dict("records")
    for row in known:
        st.subheader(parts.plain(row["name"]))
        said = (row["vendor_name"], row["country"], row["category"], row["description"])
        st.caption(parts.plain(", ".join(filter(None, said))))
    score = next((row["score"] for row in known), None)
    numbers = parts.totals(filters, service=service)
    del numbers["Services"]
    numbers["Risk"] = "unknown" if score is None or pd.isna(score) else f"{score:.0f} of 100"
    parts.metrics(numbers, Risk=parts.RISK_HELP)
    st.altair_chart(charts.volume(fetch("volume", filters, service=service)))
    st.subheader("Clients")
    parts.table(use.drop(columns=["service", "vendor", "category", "risk"]))
    st.subheader("Names it was reached under")
    parts.table(fetch("names", filters, service=service))
    exchanges(filters, service=service)
    for row in known:
        facts(row["facts"])


def facts(text: str) -> None:
    """What the vendor states, and where: the reasons of the risk score."""
    found = json.loads(text or "{}")
    if not found:
        return
    rows = [
        {"fact": name.replace("_", " "), "stated": _stated(said["value"]), **said}
        for name, said in found.items()
    ]
    st.subheader("What is known of the vendor")
    parts.table(pd.DataFrame(rows, columns=["fact", "stated", "source", "checked"]))


def _stated(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def exchanges(filters: Filters, **only: str) -> None:
    """Requests that could be read, by model and operation: of one `service`, of one `client`, or all."""
    rows = fetch("exchanges", filters, **only)
    if rows.empty:
        return
    st.subheader("Exchanges that could be read")
    st.caption("From connections in clear or inspected by the proxy. Prompts themselves are not kept.")
    parts.table(rows)
