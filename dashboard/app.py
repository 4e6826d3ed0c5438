"""The Streamlit script: page frame, filters, navigation. Run by `aiscope dashboard`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from collector.store import StoreError
from dashboard import parts
from dashboard.data import EARLIEST, LATEST, Filters, choices
from dashboard.views import client, content, findings, overview, service, visibility
from sensor.config import SettingsError

# Our own file: a named icon would be fetched from a font host.
ICON = str(Path(__file__).with_name("icon.svg"))

RANGES = {
    "Everything": None,
    "Last hour": dt.timedelta(hours=1),
    "Last 24 hours": dt.timedelta(days=1),
    "Last 7 days": dt.timedelta(days=7),
    "Last 30 days": dt.timedelta(days=30),
    "Between two days": None,
}

Asked = Filters | StoreError | SettingsError


def filters() -> Filters:
    """The side bar. Widgets are bound to the address: a reload or a shared link shows the same."""
    with st.sidebar:
        parts.absent("time", RANGES.__contains__, "is no time range: everything is shown.")
        name = str(st.selectbox("Time", list(RANGES), key="time", bind="query-params"))
        start, end = span(name)
        services = several("Services", "service")
        categories = several("Categories", "category")
        clients = several("Clients", "client")
        st.caption("Times are UTC.")
    return Filters(start, end, services, categories, clients)


def several(label: str, kind: str) -> tuple[str, ...]:
    """Any number of the services, categories or clients in the store; none is all of them."""
    options, key = choices(kind), label.lower()
    parts.absent(key, options.__contains__, "is not in this store: the filter is left out.")
    return tuple(st.multiselect(label, options, key=key, bind="query-params", placeholder="All"))


def span(name: str) -> tuple[dt.datetime, dt.datetime]:
    """Start and end of a range; relative ones end now, to the minute so that queries can be cached."""
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    if name == "Between two days":
        today = now.date()
        # Streamlit's own bounds are ten years around the default: a link to anything older would lose its days.
        bounds = EARLIEST.date(), LATEST.date()
        for key in ("from", "until"):
            parts.absent(key, is_day, "is no day that can be shown: another one is taken.")
        first = st.date_input("From", today - dt.timedelta(days=7), *bounds, key="from", bind="query-params")
        last = st.date_input("Until", today, *bounds, key="until", bind="query-params")
        if first > last:
            st.warning("From is later than Until: nothing is between them.")
        return midnight(first), midnight(last) + dt.timedelta(days=1)
    length = RANGES[name]
    return (now - length, now) if length else (EARLIEST, LATEST)


def is_day(text: str) -> bool:
    """Whether Streamlit takes this from a link, within the bounds."""
    try:
        day = dt.datetime.strptime(text.replace("/", "-"), "%Y-%m-%d").replace(tzinfo=dt.UTC)
    except ValueError:
        return False
    return EARLIEST <= day <= LATEST


def midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def asked() -> Asked:
    """The filters, or why there is nothing to choose from."""
    try:
        return filters()
    except (StoreError, SettingsError) as error:
        return error


def why(error: StoreError | SettingsError) -> str:
    """The reason why there is no page; it is no fault of the store that a role may not read."""
    if "(ACCESS_DENIED)" in str(error):
        return "**This login may not read what the pages show.** They need one with the role analyst."
    return f"**The store cannot be read.** {parts.plain(str(error))}"


def page(show: Callable[[Filters], None], title: str, wanted: Asked) -> Callable[[], None]:
    """A page of what was asked for; a store that cannot be read is said in one sentence."""

    def run() -> None:
        st.title(title)
        try:
            if isinstance(wanted, Exception):
                raise wanted
            show(wanted)
        except (StoreError, SettingsError) as error:
            st.error(why(error), icon=":material/error:")

    return run


def main() -> None:
    """One run of the script."""
    st.set_page_config(page_title="aiscope", page_icon=ICON, layout="wide")
    wanted = asked()  # before the page: Streamlit forgets a link's widgets that one page has of its own
    pages = [
        st.Page(page(overview.show, "Who uses which AI services", wanted), title="Overview", default=True),
        st.Page(page(findings.show, "What to look at", wanted), title="Findings", url_path="findings"),
        st.Page(page(content.show, "With what data", wanted), title="Data", url_path="content"),
        st.Page(page(service.show, "Service", wanted), title="Service", url_path="service"),
        st.Page(page(client.show, "Client", wanted), title="Client", url_path="client"),
        st.Page(
            page(visibility.show, "What we could not see", wanted), title="Visibility", url_path="visibility"
        ),
    ]
    shown = st.navigation(pages, position="top")
    st.set_page_config(page_title=f"{shown.title} · aiscope")
    shown.run()


if __name__ == "__main__":
    main()
