from __future__ import annotations

from sensor.delivery.columns import arrow, month, pieces
from tests.collector.conftest import START, connection, lookup

DAY = 86_400 * 10**9


def test_pieces_split_by_table_and_month():
    january, february = 1_706_659_200 * 10**9, 1_706_745_600 * 10**9  # 31 January, 1 February 2024
    rows = [
        connection(time=january),
        lookup(time=february),
        connection(time=february),
        connection(time=january),
    ]
    found = {(table, of): len(piece) for table, of, piece in pieces(rows)}
    assert found == {("connections", 202401): 2, ("connections", 202402): 1, ("lookups", 202402): 1}


def test_month_is_that_of_utc_and_bounded():
    assert month(0) == 197001
    assert month(1_706_745_600 * 10**9 - 1) == 202401
    assert month(2**64) == 210602


def test_arrow_has_the_stores_units_and_types():
    table = arrow([connection(), connection(client_ip="", upload_bytes=7)], "s1", 4)
    assert table.schema.names[:3] == ["sensor", "batch", "time"]
    row = table.slice(0, 1).to_pylist()[0]
    assert row["time"].timestamp() == START // 10**9
    assert row["groups"] == ["staff", "finance"]
    assert table["upload_bytes"].to_pylist() == [None, 7]
    assert table["client_ip"].to_pylist() == ["10.0.0.5", "::"]


def test_text_that_is_no_unicode_is_kept_escaped():
    table = arrow([connection(client_host="a\udcffb", groups=("\udc80",))], "s", 0)
    assert table["client_host"].to_pylist() == ["a\\udcffb"]
    assert table["groups"].to_pylist() == [["\\udc80"]]
