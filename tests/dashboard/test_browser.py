"""What a person sees, in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from dashboard.charts import VISIBILITY_COLOURS
from dashboard.cli import OPTIONS
from tests.dashboard.conftest import serving
from tests.ports import free_port

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian package chromium)"),
]


@pytest.fixture(scope="module")
def tab(served: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1400, "height": 1600}, base_url=served, timezone_id="America/New_York"
        )
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.problems = []  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: page.problems.append(str(error)))  # type: ignore[attr-defined]
        page.on("dialog", lambda dialog: page.problems.append(dialog.message))  # type: ignore[attr-defined]
        page.on(
            "request",
            lambda r: (
                None
                if served[7:] in r.url or r.url.startswith(("data:", "blob:"))
                else page.problems.append(r.url)
            ),
        )  # type: ignore[attr-defined]
        yield page
        browser.close()


def metric(page: Page, label: str) -> str:
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue").inner_text()


def test_overview_shows_who_what_and_how_much(tab: Page) -> None:
    tab.goto("/")
    expect(tab.get_by_text("Who sends how much to which service")).to_be_visible()
    assert metric(tab, "Clients") == "3"
    assert metric(tab, "Services") == "4"
    assert metric(tab, "Sent") == "4.8 MB"  # neither the relayed leg nor what is not AI
    assert metric(tab, "Readable names") == "60.0%"
    expect(tab.get_by_text("Looked up, no connection seen")).to_be_visible()


def test_a_browsers_tab_says_which_page_it_has(tab: Page) -> None:
    tab.goto("/")
    expect(tab).to_have_title("Overview \u00b7 aiscope")
    tab.get_by_role("link", name="Visibility").click()
    expect(tab).to_have_title("Visibility \u00b7 aiscope")


def test_a_chart_saved_as_csv_has_no_formulas(tab: Page) -> None:
    tab.goto("/")
    expect(tab.locator("svg.marks").nth(1).get_by_text("'=<script>")).to_be_visible()


def test_times_are_utc_wherever_the_browser_is(tab: Page) -> None:
    tab.goto("/")
    chart = tab.locator("svg.marks").first
    expect(chart.get_by_text("10:00", exact=True)).to_be_visible()  # 05:00 in New York
    chart.locator(".mark-rect path").first.hover()
    expect(tab.locator("#vg-tooltip-element")).to_contain_text("2026-11-25 10:00")


def test_filters_survive_a_reload(tab: Page) -> None:
    tab.goto("/?services=chatgpt&time=Everything")
    expect(tab.get_by_text("Who sends how much to which service")).to_be_visible()
    assert metric(tab, "Services") == "1"
    tab.reload()
    expect(tab.get_by_text("Who sends how much to which service")).to_be_visible()
    assert metric(tab, "Services") == "1"
    assert "services=chatgpt" in tab.url


def test_a_links_filters_stay_on_every_page(tab: Page) -> None:
    tab.goto("/?services=chatgpt")
    expect(tab.get_by_text("Who sends how much to which service")).to_be_visible()
    tab.get_by_role("link", name="Data").click()
    expect(tab.get_by_text("Exchanges that could be read")).to_be_visible()
    assert "services=chatgpt" in tab.url
    assert metric(tab, "Exchanges read") == "2"


def test_an_old_range_is_empty_and_says_what_to_do(tab: Page) -> None:
    tab.goto("/?time=Between+two+days&from=2001-01-01&until=2001-01-02")
    expect(tab.get_by_text("No connection to an AI service was seen here.")).to_be_visible()


def test_a_range_that_ends_before_it_begins_is_said(tab: Page) -> None:
    tab.goto("/?time=Between+two+days&from=2026-11-26&until=2026-11-25")
    expect(tab.get_by_text("From is later than Until")).to_be_visible()
    tab.goto("/?time=Between+two+days&from=2026-11-25&until=2026-11-25")
    expect(tab.get_by_text("Who sends how much to which service")).to_be_visible()
    assert tab.get_by_text("From is later than Until").count() == 0


def test_a_link_to_what_is_not_there_shows_nobody_else(tab: Page) -> None:
    for page, name in (("client", "carla.diaz"), ("service", "*nosuch*")):
        tab.goto(f"/{page}?{page}={name}")
        expect(tab.get_by_text(f"{name} is not in this store.")).to_be_visible()
        assert tab.get_by_test_id("stMetric").count() == 0
    tab.goto("/?services=nosuch")
    expect(tab.get_by_text("nosuch is not in this store: the filter is left out.")).to_be_visible()


def test_a_mistyped_time_in_a_link_is_said(tab: Page) -> None:
    tab.goto("/?time=nonsense")
    expect(tab.get_by_text("nonsense is no time range: everything is shown.")).to_be_visible()
    tab.goto("/?time=Between+two+days&from=2026-13-45&until=2026-11-25")
    expect(tab.get_by_text("2026-13-45 is no day that can be shown: another one is taken.")).to_be_visible()
    tab.goto("/?time=Between+two+days&from=2026-11-25&until=2026/11/25")
    expect(tab.get_by_text("Who sends how much to which service")).to_be_visible()
    assert tab.get_by_test_id("stAlert").count() == 0


def test_what_was_only_looked_up_can_be_asked_for(tab: Page) -> None:
    tab.goto("/?services=character-ai")
    expect(tab.get_by_text("Looked up, no connection seen")).to_be_visible()
    assert tab.get_by_text("is not in this store").count() == 0
    tab.goto("/service?service=character-ai")
    expect(tab.get_by_text("No connection in this time range.")).to_be_visible()


def test_numbers_are_whole_in_a_narrow_window(tab: Page) -> None:
    tab.set_viewport_size({"width": 1100, "height": 1600})
    tab.goto("/content?services=ollama")
    expect(tab.get_by_text("Exchanges that could be read")).to_be_visible()
    cut = "values => values.filter(v => v.scrollWidth > v.clientWidth).map(v => v.innerText)"
    values = tab.locator("[data-testid=stMetricValue], [data-testid=stMetricValue] *")
    assert values.evaluate_all(cut) == []
    tab.set_viewport_size({"width": 1400, "height": 1600})


def test_findings_begin_with_the_worst(tab: Page) -> None:
    tab.goto("/findings")
    expect(tab.get_by_text("The rows behind a finding")).to_be_visible()
    assert metric(tab, "high") == "1"
    assert metric(tab, "low") == "0"


def test_data_page_says_what_was_in_the_prompts(tab: Page) -> None:
    tab.goto("/content")
    expect(tab.get_by_text("Kinds of data in what was asked")).to_be_visible()
    assert metric(tab, "Exchanges read") == "3"  # one that was sent again is the same exchange
    assert metric(tab, "With a kind of data") == "2"
    assert metric(tab, "Tokens in") == "2,040"
    assert metric(tab, "Cost") == "$0.50"
    tab.goto("/content?services=claude")
    expect(tab.get_by_text("No exchange could be read here.")).to_be_visible()


def test_service_page(tab: Page) -> None:
    tab.goto("/service?service=ollama")
    expect(tab.get_by_text("Exchanges that could be read")).to_be_visible()
    assert metric(tab, "Connections") == "1"


def test_client_page_begins_with_a_client_of_the_filters(tab: Page) -> None:
    tab.goto("/client?services=claude")  # who comes first by name is not one of them
    expect(tab.get_by_text("Server names")).to_be_visible()
    assert metric(tab, "Sent") == "90.0 kB"


def test_client_page_shows_hostile_names_as_text(tab: Page) -> None:
    tab.goto("/client")
    expect(tab.get_by_text("Server names")).to_be_visible()
    tab.goto("/service?service=openai-api")
    expect(tab.get_by_text("Names it was reached under")).to_be_visible()
    assert tab.locator("script", has_text="alert(1)").count() == 0


def test_visibility_says_what_was_hidden(tab: Page) -> None:
    tab.goto("/visibility")
    expect(tab.get_by_text("Sensors")).to_be_visible()
    assert metric(tab, "Hidden") == "15.0%"


def test_the_legend_is_whole_on_a_phone(tab: Page) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.goto("/visibility")
    chart = tab.locator("svg.marks")
    for kind in VISIBILITY_COLOURS:
        label = chart.get_by_text(kind, exact=True)
        expect(label).to_be_visible()
        (inner, outer) = (one.bounding_box() for one in (label, chart))
        assert inner
        assert outer
        assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1, kind  # of rounding
    tab.set_viewport_size({"width": 1400, "height": 1600})


def test_visibility_says_which_filters_narrow_it(tab: Page) -> None:
    tab.goto("/visibility?clients=anna.berg")
    expect(tab.get_by_text("of the filters only the time narrows this page")).to_be_visible()
    assert metric(tab, "All traffic") == "10.0 MB"


def flags(port: int) -> list[str]:
    options = OPTIONS | {"server.address": "127.0.0.1", "server.port": str(port)}
    return [f"--{name}={value}" for name, value in options.items()]


def test_a_failure_of_our_own_sends_nobody_outside(tab: Page, tmp_path: Path) -> None:
    script, port = tmp_path / "broken.py", free_port()
    script.write_text("raise RuntimeError('secret')")
    browser = tab.context.browser
    assert browser
    with (
        serving(port, "-m", "streamlit", "run", str(script), *flags(port)) as url,
        browser.new_page() as page,
    ):
        page.goto(url)
        expect(page.get_by_test_id("stException")).to_be_visible()
        assert page.get_by_test_id("stException").get_by_role("link").count() == 0
        assert page.get_by_text("secret").count() == 0


def test_a_slow_store_is_said(tab: Page, tmp_path: Path) -> None:
    script, port = tmp_path / "slow.py", free_port()
    script.write_text(
        "import time\nfrom dashboard import data\n"
        "data.store = lambda: time.sleep(60)\ndata.fetch('overview', data.Filters())\n"
    )
    browser = tab.context.browser
    assert browser
    with (
        serving(port, "-m", "streamlit", "run", str(script), *flags(port)) as url,
        browser.new_page() as page,
    ):
        page.goto(url)
        expect(page.get_by_text("Asking the store…")).to_be_visible()


def test_nothing_broke_and_nothing_was_asked_of_the_outside(tab: Page) -> None:
    assert tab.problems == []  # type: ignore[attr-defined]
