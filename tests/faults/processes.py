"""Processes that the fault test kills: a sensor, a shipper. `python processes.py KIND JUMP ARGUMENTS`.

A clock that jumps is put in place of `time.time` before anything of ours is imported.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

DAY = 86_400 * 10**9
NOW = 1_760_000_000 * 10**9  # October 2025
MONTHS = (NOW, NOW, NOW - 31 * DAY, NOW - 62 * DAY, NOW - 2200 * DAY)  # the last one in 2019


def jump(seconds: float) -> None:
    real = time.time
    time.time = lambda: real() + seconds


def sensor(path: str, name: str, limit: str, seed: str) -> None:
    """Rows with running numbers in `bytes_up`, until killed. Sensors of one seed see the same connections."""
    from sensor.delivery.spool import Spool
    from tests.collector.conftest import connection, exchange, lookup, stats

    draw, number = random.Random(seed), int(time.monotonic_ns()) // 1000  # numbers never come twice
    with Spool(Path(path), name, limit=int(limit), interval=0.05) as spool:
        while True:
            month = draw.choice(MONTHS)
            events = []
            for _ in range(draw.randrange(1, 60)):
                number += 1
                flow = f"1:{draw.getrandbits(64):x}"
                client = f"10.0.0.{draw.randrange(1, 50)}"
                events.append(
                    connection(time=month, flow_id=flow, bytes_up=number, client_ip=client, ja3=flow)
                )
            number += 1
            events.append(lookup(time=month, question=f"{number}.example"))
            events.append(exchange(time=month, id=str(number), bytes_up=number))
            if draw.random() < 0.1:
                events.append(stats(time=month, packets=number))
            spool.put(events)
            time.sleep(0.03)


def ship(path: str, url: str) -> None:
    """`aiscope ship`, less patient than usual: there is little time."""
    from sensor.cli import main
    from sensor.delivery import ship

    ship.LONGEST_WAIT = 0.3
    main(["ship", "--spool", path, "--url", url])


if __name__ == "__main__":
    kind, offset, *arguments = sys.argv[1:]
    jump(float(offset))
    {"sensor": sensor, "ship": ship}[kind](*arguments)
