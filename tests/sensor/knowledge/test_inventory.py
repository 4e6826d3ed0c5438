import datetime as dt
from pathlib import Path

import pytest

from sensor.knowledge.inventory import InventoryError, load, parse


def ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text + "+00:00").timestamp()) * 1_000_000_000


INVENTORY = """address,from,until,host,user,groups
10.0.0.0/8,,,,,site
10.1.0.0/24,,,,guest,
10.1.0.7,2026-01-01,2026-02-01,ws-7,anna,staff; finance
10.1.0.7,2026-02-01,,ws-7,ben,staff
2001:db8::/64,,,,,lab

"""


@pytest.mark.parametrize(
    ("address", "time", "expected"),
    [
        ("10.1.0.7", "2026-01-01T00:00:00", ("ws-7", "anna", ("staff", "finance"))),
        ("10.1.0.7", "2026-01-31T23:59:59", ("ws-7", "anna", ("staff", "finance"))),
        ("10.1.0.7", "2026-02-01T00:00:00", ("ws-7", "ben", ("staff",))),
        ("10.1.0.7", "2025-12-31T23:59:59", ("", "guest", ())),
        ("10.2.0.7", "2026-01-15T00:00:00", ("", "", ("site",))),
        ("2001:db8::1", "2026-01-15T00:00:00", ("", "", ("lab",))),
    ],
)
def test_the_smallest_network_at_the_time(address: str, time: str, expected: tuple[object, ...]) -> None:
    entry = parse(INVENTORY, "i.csv").find(address, ns(time))
    assert entry is not None
    assert (entry.host, entry.user, entry.groups) == expected


def test_an_address_that_nobody_listed() -> None:
    inventory = parse(INVENTORY, "i.csv")
    assert inventory.find("192.0.2.1", 0) is None
    assert inventory.find("2001:db9::1", 0) is None


def test_columns_in_any_order_and_times_with_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    path.write_bytes("\ufeffuser, until ,address\r\nanna,2026-01-01T01:00+01:00,10.0.0.1\r\n".encode())
    inventory = load(path)
    end = ns("2026-01-01T00:00:00")
    assert inventory.find("10.0.0.1", end - 1) is not None
    assert inventory.find("10.0.0.1", end) is None


def test_every_error_with_file_and_line() -> None:
    text = """address,from,until,host,user,groups
10.0.0.300,,,a,,
10.0.0.1/8,,,a,,
10.0.0.1,yesterday,,a,,
10.0.0.1,2026-02-01,2026-01-01,a,,
10.0.0.1,,,,,
10.0.0.1,,,a,,,too many
10.0.0.2,,2026-01-01,a,,
10.0.0.2,2025-12-31,,b,,
10.0.0.2,2026-05-01,2026-06-01,c,,
"""
    with pytest.raises(InventoryError) as caught:
        parse(text, "i.csv")
    lines = str(caught.value).split("\n")
    assert [line.split(": ")[0] for line in lines] == [f"i.csv:{n}" for n in (2, 3, 4, 5, 6, 7, 9, 10)]
    for line, part in zip(
        lines,
        (
            "address: '10.0.0.300' does not appear to be",
            "address: 10.0.0.1/8 has host bits set",
            "from: 'yesterday' is no ISO 8601",
            "until: 2026-01-01 is not after 2026-02-01",
            "says nothing",
            "7 fields",
            "in line 8 too",
            "in line 9 too",
        ),
        strict=True,
    ):
        assert part in line


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the first line names the columns"),
        ("host,user\n", "the first line names the columns"),
        ("address,address,user\n", "the first line names the columns"),
        ("address,name\n", "unknown column 'name'; known are address"),
        ('address,user\n10.0.0.1,"anna\n', "i.csv:"),
    ],
)
def test_a_header_that_cannot_be_used(text: str, part: str) -> None:
    with pytest.raises(InventoryError, match=r"i\.csv:") as caught:
        parse(text, "i.csv")
    assert part in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"none\.csv: cannot be read"):
        load(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"address,user\n10.0.0.1,J\xf6rg\n")
    with pytest.raises(InventoryError, match=r"latin\.csv: cannot be read"):
        load(tmp_path / "latin.csv")
