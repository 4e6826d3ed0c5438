"""`aiscope store doctor`: what a store says of itself, check by check."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from collector import figures, migrate
from collector.store import DATABASE, Store, StoreError

MANY_PARTS = 300  # in one partition: ClickHouse slows inserts down at 1,000
SKEW = 2.0  # seconds
SILENT = 3600  # seconds
LITTLE = 0.1  # of the disk


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, and whether that is as it should be."""

    name: str
    state: str
    good: bool


def checks(store: Store, retention: Mapping[str, int]) -> Iterator[Check]:
    """All checks. One that the user may not make says so, and is not good."""
    looks: list[Callable[[Store, Mapping[str, int]], Check]] = [_schema]
    looks += [_retention, _window, _size, _disk, _parts, _mutations, _rollups, _sensors, _losses, _clocks]
    for look in looks:
        try:
            check = look(store, retention)
        except StoreError as error:
            check = Check(look.__name__.strip("_"), f"cannot tell: {error}", False)
        yield check
        if look is _schema and not check.good:
            return


def _schema(store: Store, _: Mapping[str, int]) -> Check:
    missing = len(migrate.pending(store))
    version = store.rows("SELECT version() AS version")[0]["version"]
    state = f"{missing} migrations missing: run `aiscope migrate`" if missing else "current"
    return Check("schema", f"{state}, ClickHouse {version}", not missing)


def _retention(store: Store, retention: Mapping[str, int]) -> Check:
    changes = migrate.retention_changes(store, retention)
    state = f"{len(changes)} tables differ from the settings: run `aiscope migrate`"
    return Check("retention", state if changes else "as in the settings", not changes)


def _window(store: Store, _: Mapping[str, int]) -> Check:
    """Without a deduplication window a retried batch counts twice."""
    rows = store.rows(
        f"SELECT name FROM system.tables WHERE database = '{DATABASE}' AND engine LIKE '%MergeTree' "
        "AND name != 'migrations' AND engine_full NOT LIKE '%deduplication_window%'"
    )
    names = ", ".join(row["name"] for row in rows)
    return Check("window", f"none for {names}" if names else "every table drops what it has", not names)


def _size(store: Store, _: Mapping[str, int]) -> Check:
    (row,) = store.rows(figures.SIZE)
    return Check(
        "size", f"{row['rows']:,} rows, {row['bytes'] / 1e6:,.1f} MB in {row['parts']:,} parts", True
    )


def _disk(store: Store, _: Mapping[str, int]) -> Check:
    if store.directory:
        usage = shutil.disk_usage(store.directory)
        free, total = usage.free, usage.total
    else:
        (row,) = store.rows(figures.DISK)
        free, total = row["free"], row["total"]
    return Check("disk", f"{free / 1e9:,.1f} GB free of {total / 1e9:,.1f}", free > total * LITTLE)


def _parts(store: Store, _: Mapping[str, int]) -> Check:
    (most,) = store.rows(figures.PARTS)
    broken = store.rows(figures.DETACHED)
    parts, detached = most["parts"] or 0, broken[0]["parts"]
    state = f"at most {parts:,} in a partition, {detached:,} detached"
    return Check("parts", state, parts < MANY_PARTS and not detached)


def _mutations(store: Store, _: Mapping[str, int]) -> Check:
    rows = store.rows(figures.MUTATIONS)
    failed = [f"{row['table']}: {row['reason']}" for row in rows if row["reason"]]
    return Check("mutations", "; ".join(failed) or f"{len(rows)} under way", not failed)


def _rollups(store: Store, retention: Mapping[str, int]) -> Check:
    """Rows of this month that retention cannot have taken are in both: raw sums must be those of the rollups."""
    kept = min((days for name in ("events", "rollups") if (days := retention[name])), default=31)
    (row,) = store.rows(
        f"""
        WITH greatest(toStartOfMonth(now('UTC')), toDate(now('UTC')) - {kept - 1}) AS since
        SELECT toString(since) AS day,
        (SELECT sum(bytes_up) FROM {DATABASE}.connections WHERE service != '' AND time >= since) AS raw,
        (SELECT sum(bytes_up) FROM {DATABASE}.usage_hourly WHERE hour >= since) AS hourly,
        (SELECT sum(bytes_up) FROM {DATABASE}.usage_daily WHERE day >= since) AS daily
        """
    )
    good = row["raw"] == row["hourly"] == row["daily"]
    state = ", ".join(f"{name} {row[name] or 0:,}" for name in ("raw", "hourly", "daily"))
    return Check("rollups", f"bytes up since {row['day']}: {state}", good)


def _sensors(store: Store, _: Mapping[str, int]) -> Check:
    """Live sensors report every minute; those of files (`file:...`) came once."""
    rows = store.rows(
        "SELECT sensor, toUnixTimestamp(now()) - toUnixTimestamp(max(ingested)) AS silent "
        f"FROM {DATABASE}.sensor_stats WHERE ingested > now() - INTERVAL 7 DAY AND sensor NOT LIKE 'file:%' "
        "GROUP BY sensor ORDER BY silent DESC"
    )
    silent = [f"{row['sensor']} for {row['silent'] / 3600:,.0f} h" for row in rows if row["silent"] > SILENT]
    return Check("sensors", f"silent: {', '.join(silent)}" if silent else f"{len(rows)} report", not silent)


def _losses(store: Store, _: Mapping[str, int]) -> Check:
    rows = store.rows(
        f"SELECT sensor, sum(spool_lost) AS lost FROM {DATABASE}.sensor_stats "
        "WHERE ingested > now() - INTERVAL 7 DAY GROUP BY sensor HAVING lost > 0 ORDER BY lost DESC"
    )
    lost = ", ".join(f"{row['sensor']} {row['lost']:,} rows" for row in rows)
    return Check(
        "losses", f"dropped from full spools in 7 days: {lost}" if lost else "none in 7 days", not lost
    )


def _clocks(store: Store, _: Mapping[str, int]) -> Check:
    rows = store.rows(
        f"SELECT sensor, argMax(clock_skew, ingested) AS skew FROM {DATABASE}.sensor_stats "
        "WHERE ingested > now() - INTERVAL 7 DAY AND clock_skew IS NOT NULL "
        f"GROUP BY sensor HAVING abs(skew) > {SKEW} ORDER BY sensor"
    )
    off = ", ".join(f"{row['sensor']} {row['skew']:+.1f} s" for row in rows)
    return Check("clocks", f"differ from the store's: {off}" if off else "agree", not off)
