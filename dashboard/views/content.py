"""With what data: kinds of data, models and accounts of the exchanges whose content could be read."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, parts
from dashboard.data import Filters, fetch
from dashboard.views.service import exchanges


def show(filters: Filters) -> None:
    """The page that inspection fills."""
    (total,) = fetch("content", filters).to_dict("records")
    if not total["exchanges"]:
        parts.nothing(
            "No exchange could be read here.",
            "Prompts inside TLS are read only when `aiscope proxy` inspects them; servers without TLS are read "
            "from the wire. How much was sent to whom is on the Overview.",
        )
        return
    numbers(total)
    kinds(fetch("data_classes", filters))
    accounts(fetch("accounts", filters))
    exchanges(filters)


def numbers(total: Mapping[Hashable, Any]) -> None:
    """The page's headline. Of all other traffic the volume is known and the content is not."""
    cost = total["cost_usd"]
    parts.metrics(
        {
            "Exchanges read": int(total["exchanges"]),
            "With a kind of data": int(total["classified"]),
            "Attachments": int(total["attachments"]),
            "Tokens in": _count(total["tokens_in"]),
            "Tokens out": _count(total["tokens_out"]),
            "Cost": parts.dollars(cost) or "unknown",
        },
        Cost="By the price list, of exchanges whose model and tokens are known.",
    )


def _count(value: float) -> str:
    return "unknown" if pd.isna(value) else f"{int(value):,}"


def kinds(rows: pd.DataFrame) -> None:
    """Which data goes to which service."""
    st.subheader("Kinds of data in what was asked")
    if rows.empty:
        st.caption("None of the data classes was found. Only the proxy looks for them.")
        return
    parts.heatmap(charts.matrix(rows, row="data_class", value="exchanges"))
    parts.table(rows)


def accounts(rows: pd.DataFrame) -> None:
    """Personal accounts come first: they are outside the organisation's contract."""
    if rows.empty:
        return
    st.subheader("Accounts")
    parts.table(rows)
