"""What several pages show in the same way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from dashboard.data import Filters, fetch

EVIDENCE_HELP = (
    "How sure we are, weakest first. ip: an address, or a name learnt from DNS. sni: the name on the wire. "
    "flow: that, and application data both ways. inferred: exchanges read from sizes and times. "
    "decrypted: content was read, because it was in clear or passed the inspecting proxy."
)

RISK_HELP = (
    "0 (least) to 100, by the rubric of the catalogue from what vendors state. Empty: too little is known, which "
    "is not the same as no risk. `aiscope catalogue score NAME` shows the reasons."
)

LIMITS = (1_000, 10_000)  # of the queries: a table of so many rows may be cut

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how one begins for a spreadsheet

# Bidi_Control of Unicode's UAX #9: one of these turns the rest of its cell around.
TURNS = dict.fromkeys(
    (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\N{REPLACEMENT CHARACTER}"
)

COLUMNS: dict[str, Any] = {
    "client": st.column_config.TextColumn("client"),
    "service": st.column_config.TextColumn("service"),
    "vendor": st.column_config.TextColumn("vendor"),
    "category": st.column_config.TextColumn("category"),
    "risk": st.column_config.NumberColumn("risk", help=RISK_HELP, format="%d"),
    "evidence": st.column_config.TextColumn("evidence", help=EVIDENCE_HELP),
    "connections": st.column_config.NumberColumn("connections", format="localized"),
    "exchanges": st.column_config.NumberColumn("exchanges", format="localized"),
    "lookups": st.column_config.NumberColumn("lookups", format="localized"),
    "bytes_up": st.column_config.NumberColumn("sent", format="bytes"),
    "bytes_down": st.column_config.NumberColumn("received", format="bytes"),
    "first_seen": st.column_config.DatetimeColumn("first seen", format="YYYY-MM-DD HH:mm:ss"),
    "last_seen": st.column_config.DatetimeColumn("last seen", format="YYYY-MM-DD HH:mm:ss"),
    "server": st.column_config.TextColumn("server"),
    "name_source": st.column_config.TextColumn("read from"),
    "tokens_in": st.column_config.NumberColumn("tokens in", format="localized"),
    "severity": st.column_config.TextColumn("severity"),
    "title": st.column_config.TextColumn("finding", width="large"),
    "evidence_query": st.column_config.TextColumn("query", width="large"),
    "clients": st.column_config.NumberColumn("clients", format="localized"),
    "packets": st.column_config.NumberColumn("packets", format="localized"),
    "bytes": st.column_config.NumberColumn("traffic", format="bytes"),
    "dropped_kernel": st.column_config.NumberColumn("dropped by kernel", format="localized"),
    "dropped_limit": st.column_config.NumberColumn("dropped for a limit", format="localized"),
    "duplicates": st.column_config.NumberColumn("duplicates", format="localized"),
    "undecodable": st.column_config.NumberColumn("undecodable", format="localized"),
    "spool_lost": st.column_config.NumberColumn("lost in delivery", format="localized"),
    "client_host": st.column_config.TextColumn("host"),
    "client_mac": st.column_config.TextColumn("MAC"),
    "data_class": st.column_config.TextColumn("kind of data"),
    "data_classes": st.column_config.ListColumn("kinds of data"),
    "stopped": st.column_config.NumberColumn(
        "stopped", format="localized", help="Redacted or blocked before it left."
    ),
    "account_type": st.column_config.TextColumn("account"),
    "account": st.column_config.TextColumn("organisation or key"),
    "cost_usd": st.column_config.NumberColumn("cost", help="By the price list; empty: no price."),
    "stated": st.column_config.TextColumn("stated", width="large"),
    "tokens_out": st.column_config.NumberColumn("tokens out", format="localized"),
}


def plain(text: str) -> str:
    """Text from the network for a place that takes markup: shown, never interpreted."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~:$&])", r"\\\1", printable)


def unmarked(text: str) -> str:
    """What `plain` and bold signs were put into, for a place that takes no markup."""
    return re.sub(r"\\(.)|\*\*", lambda found: found[1] or "", text)


def inert(value: object) -> object:
    """A cell of tables and charts, which can be saved as CSV: no formula, and read as it is written."""
    if isinstance(value, str):
        value = value.translate(TURNS)
        return f"'{value}" if value.startswith(FORMULA) else value
    return [inert(one) for one in value] if isinstance(value, np.ndarray) else value


def savable(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with cells that are `inert`."""
    texts = frame.select_dtypes(["object", "string"])
    return frame.assign(**{str(name): texts[name].map(inert) for name in texts})


def table(frame: pd.DataFrame, **options: Any) -> Any:
    """A table with the columns' standard names, units and help. Cells are data, never markup."""
    config = {name: COLUMNS[name] for name in frame.columns if name in COLUMNS}
    rows = savable(frame)
    cells = rows.style.format({"cost_usd": dollars}) if "cost_usd" in rows else rows
    shown = st.dataframe(cells, hide_index=True, column_config=config, placeholder="", **options)
    if len(frame) in LIMITS:
        st.caption(f"The first {len(frame):,} rows. There may be more: narrow the filters.")
    return shown


def heatmap(chart: alt.Chart) -> None:
    """A matrix in its own width, so that few cells stay cells."""
    st.altair_chart(chart, width="stretch" if chart.width == "container" else "content")


def bytes_text(count: float) -> str:
    """Decimal units, as network people count."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5:  # else it is written as 1000
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} PB"


def dollars(cost: Any) -> str:
    """Cents, and of less than one the first two figures: what costs something is never `$0.00`."""
    if pd.isna(cost):
        return ""
    decimals = 2 if not cost or cost >= 0.01 else 1 - math.floor(math.log10(cost))
    return f"${cost:,.{decimals}f}"


def metrics(values: dict[str, str | int], **helps: str) -> None:
    """A row of numbers, each as wide as it is; in a narrow window more rows."""
    with st.container(horizontal=True, gap="medium"):
        for label, value in values.items():
            text = f"{value:,}" if isinstance(value, int) else value
            st.metric(label, text, help=helps.get(label), width="content")


def totals(filters: Filters, **only: str) -> dict[str, str | int]:
    """How many and how much in all, of one `service` or one `client` too: tables may be cut, these are not."""
    (found,) = fetch("totals", filters, **only).to_dict("records")
    return {
        "Clients": int(found["clients"]),
        "Services": int(found["services"]),
        "Connections": int(found["connections"]),
        "Sent": bytes_text(found["bytes_up"]),
        "Received": bytes_text(found["bytes_down"]),
    }


def heaviest(filters: Filters, column: str, options: Sequence[str]) -> int:
    """Where the client or service that sends most is among `options`, which may be older; else the first."""
    first = next(iter(fetch("overview", filters)[column]), None)
    return options.index(first) if first in options else 0


def choose(label: str, options: Sequence[str], key: str, first: int = 0) -> str | None:
    """One of `options`, kept in the address. None, and said, when the address names what is not there."""
    wanted = st.query_params.get(key)
    index = first if wanted is None or wanted in options else None
    chosen: str | None = st.selectbox(label, options, index=index, key=key, bind="query-params")
    if chosen is None:
        nothing(f"{plain(wanted) if wanted else 'What was asked for'} is not in this store.", "Choose above.")
    return chosen


def absent(key: str, there: Callable[[str], bool], said: str) -> None:
    """Say which values of a widget in the address are not there: Streamlit leaves them out silently."""
    for value in st.query_params.get_all(key):
        if not there(value):
            st.warning(f"{plain(value)} {said}")


def nothing(what: str, advice: str) -> None:
    """An empty state says what is absent and what to do about it."""
    st.info(f"**{what}** {advice}", icon=":material/inbox:")
