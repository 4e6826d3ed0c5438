from __future__ import annotations

import json

import pytest

from collector.store import Store, StoreError
from collector.subject import export, forget, person
from sensor.delivery.event import Finding, Identity

from .conftest import START, connection, exchange, lookup

DAY = 86_400 * 10**9


def rows(name: str, ip: str) -> list:
    who = {"user": name, "client_host": f"{name}-laptop", "client_ip": ip}
    about = {"time": START, "client_ip": ip, "user": name, "groups": (), "source": "dhcp", "confidence": 0.9}
    finding = {"rule": "r", "severity": "low", "title": "t", "service": "x", "evidence_query": "", "tags": ()}
    return [
        connection(**who),
        connection(**who, time=START + DAY, first=False, bytes_up=7),
        lookup(**who),
        exchange(**who, id=f"x-{name}"),
        Identity(**about, valid_until=None, client_mac="02:aa", client_host=f"{name}-laptop"),
        Finding(id=f"f-{name}", time=START, client_ip=ip, user=name, **finding),
    ]


@pytest.fixture
def office(store: Store) -> Store:
    people = [("alice", "10.0.0.5"), ("bob", "10.0.0.6"), ("carol", "10.0.0.7")]
    for number, (name, ip) in enumerate(people):
        store.insert(rows(name, ip), sensor="s", batch=number, token=f"t{number}")
        store.command(f"INSERT INTO aiscope.sealed (id, ciphertext) VALUES ('x-{name}', 'c')")
        store.command(
            f"INSERT INTO aiscope.finding_states (time, finding, state) VALUES (now(), 'f-{name}', 'closed')"
        )
    return store


RAW = {"connections": 2, "lookups": 1, "exchanges": 1, "identities": 1, "findings": 1}
HANGING = {"sealed": 1, "finding_states": 1}
ROLLUPS = {"usage_hourly": 2, "lookups_hourly": 1, "exchanges_hourly": 1}


def daily(store: Store) -> list[dict]:
    return store.rows(
        "SELECT toString(day) AS day, service, sum(bytes_up) AS up, sum(connections) AS n, "
        "uniqMerge(clients) AS clients, uniqIfMerge(users) AS users, "
        "length(quantilesTDigestMerge(0.5, 0.9, 0.99)(slice_up)) AS quantiles "
        "FROM usage_daily GROUP BY day, service ORDER BY day"
    )


def test_export_gives_every_row_and_nobody_else_s(office: Store):
    found = list(export(office, person(["alice", "alice-laptop", "10.0.0.5"])))
    counted: dict[str, int] = {}
    for row in found:
        counted[row["table"]] = counted.get(row["table"], 0) + 1
        text = json.dumps(row, default=str)
        assert "bob" not in text
        assert "10.0.0.6" not in text
    assert counted == RAW | HANGING | ROLLUPS
    (first, _) = [row for row in found if row["table"] == "connections"]
    assert (first["client_ip"], first["user"], first["time"]) == (
        "10.0.0.5",
        "alice",
        "2023-11-14 22:13:20.000000",
    )


def test_an_address_alone_finds_the_same_rows(office: Store):
    assert len(list(export(office, person(["10.0.0.5"])))) == len(list(export(office, person(["alice"]))))


def test_forget_takes_out_rows_and_rollups_and_nobody_else_s(office: Store):
    before = daily(office)
    assert [(row["up"], row["clients"], row["users"]) for row in before] == [(3000, 3, 3), (21, 3, 3)]
    assert forget(office, person(["alice", "10.0.0.5"])) == RAW | HANGING | ROLLUPS
    assert list(export(office, person(["alice", "alice-laptop", "10.0.0.5"]))) == []
    for name in ("bob", "carol"):
        assert len(list(export(office, person([name])))) == sum((RAW | HANGING | ROLLUPS).values())
    assert [(row["up"], row["clients"], row["users"], row["quantiles"]) for row in daily(office)] == [
        (2000, 2, 2, 3),
        (14, 2, 2, 3),
    ]
    assert forget(office, person(["alice"])) == {}
    tables = office.rows("SELECT name FROM system.tables WHERE database = 'aiscope' AND name LIKE 'forg%'")
    assert tables == []


STEPS = [
    "aiscope.usage_hourly ",
    "RENAME",
    "ALTER TABLE aiscope.usage_daily",
    "INSERT INTO aiscope.usage_daily",
]


@pytest.mark.parametrize("step", [*STEPS, "DROP TABLE aiscope.forgotten"])
def test_an_interrupted_forget_is_finished_by_the_next(
    office: Store, step: str, monkeypatch: pytest.MonkeyPatch
):
    run = Store.command

    def stop(self: Store, text: str, *arguments: object) -> None:
        if step in text:
            raise KeyboardInterrupt
        run(self, text, *arguments)

    monkeypatch.setattr(Store, "command", stop)
    with pytest.raises(KeyboardInterrupt):
        forget(office, person(["alice"]))
    monkeypatch.undo()
    forget(office, person(["bob"]))  # whoever is next
    forget(office, person(["alice"]))
    assert [(row["up"], row["clients"], row["n"]) for row in daily(office)] == [(1000, 1, 1), (7, 1, 0)]
    assert list(export(office, person(["alice", "bob"]))) == []


def test_a_retried_batch_brings_nobody_back_and_counts_nobody_twice(store: Store):
    """As long as something of it is left: a part without rows is dropped, and with it that it was there."""
    batch = [*rows("alice", "10.0.0.5"), *rows("bob", "10.0.0.6")]
    store.insert(batch, sensor="s", batch=0, token="t")
    forget(store, person(["alice"]))
    store.insert(batch, sensor="s", batch=0, token="t")
    assert list(export(store, person(["alice"]))) == []
    assert [(row["up"], row["clients"]) for row in daily(store)] == [(1000, 1), (7, 1)]


def test_nobody_is_no_person():
    with pytest.raises(StoreError, match="name or address"):
        person([""])
    assert person(["::ffff:10.0.0.5", "10.0.0.5", "x"]).names == ("x",)


def test_quotes_in_names_are_only_names(office: Store):
    assert forget(office, person(["' OR 1 = 1 --", "\\'", "a\tb"])) == {}
    assert len(daily(office)) == 2
