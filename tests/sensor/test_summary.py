from __future__ import annotations

import io
import re

import pytest

from sensor import summary
from sensor.summary import COLUMNS, Summary, volume
from tests.collector.conftest import START, connection, exchange, lookup, stats

SECOND = 10**9


def shown(found: Summary, width: int = 120, height: int = 25, styled: bool = False) -> list[str]:
    return list(found.lines(width, height, styled))


def added(*events: object) -> Summary:
    found = Summary()
    for event in events:
        found.add(event)  # type: ignore[arg-type]
    return found


def test_slices_add_up_and_the_highest_rung_counts():
    found = added(
        lookup(service="openai-api", time=START - SECOND),
        connection(evidence="sni"),
        connection(first=False, evidence="flow", time=START + SECOND, end_time=START + 9 * SECOND),
        connection(evidence="ip", role="relay"),
    )
    (use,) = found.uses()
    assert (use.connections, use.bytes_up, use.bytes_down, use.evidence) == (1, 2000, 10_000, "flow")
    assert (use.first_seen, use.last_seen) == (START - SECOND, START + 9 * SECOND)


def test_a_lookup_alone_is_no_use():
    (use,) = added(lookup()).uses()
    assert (use.evidence, use.connections, use.bytes_up) == ("dns", 0, 0)


def test_what_no_service_has_is_left_out():
    assert added(connection(service=""), lookup(service="")).uses() == []


def test_content_read_is_the_highest_rung():
    assert added(exchange(), connection(service="ollama")).uses()[0].evidence == "decrypted"


def test_names_learnt_later_count():
    found = added(connection(user="", client_host=""), connection(), connection(user="", client_host=""))
    assert found.uses()[0].client == "alice laptop (10.0.0.5)"


def test_order_is_by_upload_and_lookups_come_last():
    found = added(lookup(), connection(bytes_up=1), connection(client_ip="10.0.0.9", bytes_up=5))
    assert [(use.ip, use.service) for use in found.uses()] == [
        ("10.0.0.9", "openai-api"),
        ("10.0.0.5", "openai-api"),
        ("10.0.0.5", "claude"),
    ]


def test_memory_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(summary, "PAIRS", 3)
    found = added(*(connection(client_ip=f"10.0.0.{k}") for k in range(10)))
    assert len(found.uses()) == 3
    assert found.left_out == 7
    assert "7 rows of further pairs were not added up: more than 3 pairs." in shown(found)


def test_the_table_fits_the_screen_and_says_what_it_leaves_out():
    found = added(*(connection(client_ip=f"10.0.0.{k}", user="", client_host="") for k in range(100)))
    lines = shown(found, height=24, width=80, styled=True)
    assert len(lines) < 24
    assert lines[1].startswith("\x1b[1mclient")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert plain[1].split()[-2:] == ["last", "seen"]
    assert len({len(line) for line in plain[1:-1]}) == 1
    assert len(plain[1]) <= 80
    assert plain[2].startswith("10.0.0.")
    assert "86 more pairs" in lines[-1]


def test_on_eighty_columns_it_can_be_read_who_uses_what():
    found = added(
        connection(user="", client_host="build-server", client_ip="10.20.0.40", service="github-copilot"),
        connection(user="farid.haddad", client_host="finance-pc", client_ip="10.20.0.26"),
    )
    head, *lines = shown(found, width=80)[1:4]
    assert head.split() == ["client", "service", "evidence", "connections", "up", "down"]
    assert lines[0].startswith("farid.haddad finance-pc")
    assert lines[1].startswith("build-server (10.20.0.40)  github-copilot ")
    assert max(map(len, lines)) <= 80
    assert shown(found, width=100)[1].endswith("down last seen  ")
    assert shown(found, width=120)[1].endswith("down first seen  last seen  ")
    assert shown(found, width=60)[2].startswith("farid.hadda\u2026 openai-\u2026 flow")


def test_names_from_the_wire_cannot_write_on_the_terminal():
    text = "\n".join(shown(added(connection(user="[red]x[/red]", client_host="\x1b[2J"))))
    assert "\x1b" not in text
    assert "[red]x[/red] \\x1b[2J" in text


def test_long_and_wide_names_give_way_and_columns_stay():
    users = ("a" * 60, "\u6f22\u5b57" * 20, "e\u0301" * 30, "anna")
    found = added(
        *(connection(user=user, client_host="", client_ip=f"10.0.0.{i}") for i, user in enumerate(users))
    )
    head, *lines = shown(found, width=80)[1:5]
    at = head.index("evidence")
    assert lines[0][at : at + 5] == "flow "
    assert lines[0].startswith("aaaa")
    assert "a\u2026 " in lines[0]
    assert lines[1].count("\u6f22") + lines[1].count("\u5b57") + lines[1].index("flow") in (at, at - 1)
    assert lines[2].index("flow") - lines[2].count("\u0301") == at


def test_nothing_found_says_so():
    assert shown(Summary()) == ["No use of a known AI service."]


def test_what_could_not_be_seen_is_said():
    counts = {
        "packets": 1000,
        "bytes": 4000,
        "bytes_unnamed": 500,
        "bytes_tunnelled": 500,
        "dropped_limit": 2,
    }
    found = added(stats(**counts))
    found.why = "asked for"
    lines = shown(found)
    assert (
        "1,000 packets, 4.0 kB, portable engine (asked for); 25% of the bytes without a readable name."
        in lines
    )
    assert lines[-1].startswith("2 packets or flows were dropped")


def test_csv_has_the_columns_and_no_formulas():
    out = io.StringIO()
    added(connection(user="=1+1", client_host="")).write_csv(out)
    head, row = out.getvalue().splitlines()
    assert head == ",".join(COLUMNS)
    assert row.startswith("'=1+1 (10.0.0.5),openai-api,flow,1,1000,5000,2023-11-14T22:13:20.000000Z,")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_449, "99.4 kB"),
        (999_600, "1.0 MB"),
        (5e15, "5,000.0 TB"),
    ],
)
def test_volume(count: int, text: str):
    assert volume(count) == text
