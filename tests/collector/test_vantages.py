from __future__ import annotations

from collector.store import Store

from .conftest import START, connection

DAY = 86_400 * 10**9


def used(store: Store) -> dict[str, int]:
    rows = store.rows("SELECT sensor, sum(bytes_up) AS up FROM usage GROUP BY sensor ORDER BY sensor")
    return {row["sensor"]: row["up"] for row in rows}


def seen(store: Store) -> None:
    """`edge` sees all of three connections, `core` two of them (and one slice later), `lab` one of its own."""
    flows = [{"flow_id": f"1:{k}", "start_time": START} for k in range(3)]
    store.insert([connection(**flow, bytes_up=100) for flow in flows], sensor="edge", batch=0, token="e")
    late = [connection(**flow, bytes_up=60, time=START + 5) for flow in flows[:2]]
    late += [connection(**flow, bytes_up=40, time=START + 90 * 10**9, first=False) for flow in flows[:2]]
    store.insert(late, sensor="core", batch=0, token="c")
    again = connection(flow_id="1:0", start_time=START + 3 * DAY, time=START + 3 * DAY, bytes_up=7)
    store.insert([again], sensor="core", batch=1, token="d")  # the same ports, another day
    store.insert([connection(flow_id="1:0", bytes_up=1)], sensor="lab", batch=0, token="l")


def rank(store: Store, **ranks: int) -> None:
    for sensor, value in ranks.items():
        store.command(f"INSERT INTO aiscope.vantages (sensor, rank) VALUES ('{sensor}', {value})")


def test_without_ranks_every_sensor_counts(store: Store):
    seen(store)
    assert used(store) == {"core": 207, "edge": 300, "lab": 1}
    rank(store, core=1)
    assert used(store) == {"core": 207, "edge": 300, "lab": 1}


def test_a_connection_counts_at_the_sensor_that_goes_first(store: Store):
    seen(store)
    rank(store, core=1, edge=2)
    assert used(store) == {"core": 207, "edge": 100, "lab": 1}
    rank(store, edge=1, core=2)
    assert used(store) == {"core": 7, "edge": 300, "lab": 1}
    rank(store, lab=3)
    assert used(store) == {"core": 7, "edge": 300}


def test_midnight_between_two_clocks_hides_nothing(store: Store):
    midnight = START - START % DAY
    for sensor, offset in (("core", -2), ("edge", 3)):
        row = connection(flow_id="1:9", start_time=midnight + offset * 10**9, bytes_up=9)
        store.insert([row], sensor=sensor, batch=0, token=sensor)
    rank(store, core=1, edge=2)
    assert used(store) == {"core": 9}


def test_a_rank_of_zero_takes_a_sensor_off_the_list(store: Store):
    seen(store)
    rank(store, core=1, edge=2)
    rank(store, core=0)
    assert used(store) == {"core": 207, "edge": 300, "lab": 1}


def test_raw_rows_stay_what_the_sensors_saw(store: Store):
    seen(store)
    rank(store, core=1, edge=2)
    assert store.rows("SELECT sum(bytes_up) AS up FROM connections") == [{"up": 508}]
    assert store.rows("SELECT sum(bytes_up) AS up FROM usage_hourly") == [{"up": 508}]
