"""What a store has, as JSON: run in a process of its own, which can open the directory."""

import json
import sys
from collections import defaultdict

from collector.store import open_store

NUMBER = {
    "connections": "bytes_up",
    "exchanges": "bytes_up",
    "sensor_stats": "packets",
    "lookups": "toUInt64(splitByChar('.', question)[1])",
}
ORDER = "GROUP BY sensor, day, service ORDER BY sensor, day, service"
SUMS = "sum(bytes_up) AS up, sum(connections) AS n FROM {} " + ORDER

with open_store(f"chdb://{sys.argv[1]}", readonly=True) as store:
    numbers, batches = defaultdict(dict), defaultdict(list)
    for table, number in NUMBER.items():
        for row in store.rows(
            f"SELECT sensor, arraySort(groupArray({number})) AS found FROM {table} GROUP BY sensor"
        ):
            numbers[row["sensor"]][table] = row["found"]
        for row in store.rows(f"SELECT sensor, batch, count() AS rows FROM {table} GROUP BY sensor, batch"):
            batches[row["sensor"]].append((row["batch"], table, row["rows"]))
    raw = "SELECT sensor, toString(toDate(time)) AS day, service, sum(bytes_up) AS up, countIf(first) AS n"
    found = {
        "numbers": numbers,
        "batches": {sensor: sorted(rows) for sensor, rows in batches.items()},
        "raw": store.rows(f"{raw} FROM connections {ORDER}"),
        "hourly": store.rows(
            "SELECT sensor, toString(toDate(hour)) AS day, service, " + SUMS.format("usage_hourly")
        ),
        "daily": store.rows(
            "SELECT sensor, toString(usage_daily.day) AS day, service, " + SUMS.format("usage_daily")
        ),
        "others": [
            store.rows(
                "SELECT (SELECT count() FROM lookups) AS lookups, (SELECT sum(bytes_up) FROM exchanges) AS up"
            ),
            store.rows(
                "SELECT (SELECT sum(lookups) FROM lookups_hourly) AS lookups, "
                "(SELECT sum(bytes_up) FROM exchanges_hourly) AS up"
            ),
        ],
    }
print(json.dumps(found))
