from __future__ import annotations

import pytest

from collector.records import Input, forget_sensor, inputs, record_input, record_services
from collector.store import Store, StoreError

from .conftest import connection

SERVICE = {
    "id": "chatgpt",
    "name": "ChatGPT",
    "vendor": "openai",
    "vendor_name": "OpenAI",
    "country": "US",
    "category": "chat",
    "description": "",
    "score": None,
    "facts": {"sso": {"value": True}},
}


def test_the_later_word_on_an_input_counts(store: Store):
    assert inputs(store, "aa") == []
    record_input(store, Input("aa", "/x.pcap", "file:aa", 0, complete=False))
    record_input(store, Input("aa", "/x.pcap", "file:aa", 7, complete=True))
    record_input(store, Input("aa", "/x.pcap", "lab", 7, complete=True))
    found = sorted(inputs(store, "aa"), key=lambda entry: entry.sensor)
    assert found == [
        Input("aa", "/x.pcap", "file:aa", 7, complete=True),
        Input("aa", "/x.pcap", "lab", 7, complete=True),
    ]


def test_forgetting_takes_a_sensor_out_of_tables_and_rollups(store: Store):
    for sensor in ("file:aa", "file:bb"):
        record_input(store, Input(sensor[-2:], "/x", sensor, 1, complete=True))
        store.insert([connection()], sensor=sensor, batch=0, token=sensor)
    forget_sensor(store, "file:aa", "aa")
    for table in ("connections", "usage_hourly", "usage_daily", "inputs"):
        assert store.rows(f"SELECT DISTINCT sensor FROM aiscope.{table}") == [{"sensor": "file:bb"}], table
    assert inputs(store, "aa") == []


def test_a_sensor_with_other_files_is_not_forgotten(store: Store):
    for sha256 in ("aa", "bb"):
        record_input(store, Input(sha256, f"/{sha256}", "lab", 1, complete=True))
    with pytest.raises(StoreError, match=r"lab also holds 1 other files \(/bb\)"):
        forget_sensor(store, "lab", "aa")
    assert len(inputs(store, "aa")) == 1


def test_a_catalogue_is_written_once_and_a_newer_one_over_it(store: Store):
    def known() -> list[dict[str, object]]:
        return store.rows("SELECT id, name, catalogue, score, facts FROM services ORDER BY loaded")

    for _ in range(2):
        record_services(store, "1-a", [SERVICE])
    assert known() == [
        {
            "id": "chatgpt",
            "name": "ChatGPT",
            "catalogue": "1-a",
            "score": None,
            "facts": '{"sso": {"value": true}}',
        }
    ]
    record_services(store, "2-b", [{**SERVICE, "name": "New", "score": 40}])
    store.command("OPTIMIZE TABLE aiscope.services FINAL")
    assert [(row["name"], row["score"]) for row in known()] == [("New", 40.0)]
