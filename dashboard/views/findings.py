"""What somebody should look at: policy hits, sensitive data, blind spots."""

from __future__ import annotations

import streamlit as st

from dashboard import parts
from dashboard.data import Filters, fetch


def show(filters: Filters) -> None:
    """The page to begin the day with."""
    found = fetch("findings", filters)
    if found.empty:
        parts.nothing(
            "No findings here.",
            "They come from a policy (`aiscope read --policy FILE`, setting policy.file) and from the proxy.",
        )
        return
    counts = fetch("severities", filters).set_index("severity")["rows"]
    parts.metrics({name: int(counts.get(name, 0)) for name in ("critical", "high", "medium", "low", "info")})
    parts.table(found.drop(columns=["evidence_query"]))
    st.caption("The rows behind a finding: run its query with `aiscope sql`.")
    with st.expander("Queries"):
        parts.table(found[["title", "evidence_query"]])
