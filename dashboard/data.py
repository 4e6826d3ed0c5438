"""The dashboard's only I/O: named queries on the store. Views get data frames and never see SQL."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from collector.store import Store, open_store
from sensor.config import load

if TYPE_CHECKING:
    from collections.abc import Sequence

EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(
    2105, 1, 1, tzinfo=dt.UTC
)  # DateTime64's own end is 2299; rollups' DateTime ends in 2106


@dataclass(frozen=True)
class Filters:
    """What the user asked to see; the same for every page."""

    start: dt.datetime = EARLIEST
    end: dt.datetime = LATEST
    services: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """Bound parameters of every query on use."""
        return {
            "start": self.start,
            "end": self.end,
            "services": list(self.services),
            "categories": list(self.categories),
            "clients": list(self.clients),
        }


@st.cache_resource(show_spinner="Opening the store…")
def store() -> Store:
    """The one store of this process: chDB allows one opening of a directory. Raises StoreError, SettingsError."""
    return open_store(load().store.url, readonly=True)


@st.cache_data(ttl=10, max_entries=500, show_spinner="Asking the store…")
def fetch(query: str, filters: Filters, **parameters: str | int) -> pd.DataFrame:
    """Rows of `collector/queries/<query>.sql` for these filters."""
    rows: pd.DataFrame = store().fetch(query, **filters.parameters(), **parameters).to_pandas()
    return rows


def choices(kind: str) -> Sequence[str]:
    """Every service, category or client that occurs in the store, by name."""
    found = fetch("choices", Filters())
    return found.loc[found["kind"] == kind, "value"].tolist()
