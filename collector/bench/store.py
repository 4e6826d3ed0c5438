"""`make bench-store`: what `aiscope collect` takes in and how fast it answers, tokens and rollups on.

Starts a collector on a directory of its own and measures from outside, over HTTP. Figures of one run on one machine.
"""

from __future__ import annotations

import http.client
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from urllib.parse import urlencode

import lz4.frame  # type: ignore[import-untyped]
import pyarrow as pa

from collector import users

PORT = 18723
ROWS = 20_000  # of a batch
BATCHES = 12
# name: goal, and whether more is better
GOALS = {
    "rows/s, 1 client": (150_000, True),
    "rows/s, 8 clients": (150_000, True),
    "point query over HTTP beyond the engine, ms p50": (4, False),
    "insert p50 under long reads, times": (2, False),
    "bytes per row": (45, False),
    "MB resident at rest": (600, False),
    "s to start": (2, False),
}


def batch(first: int) -> tuple[list[str], bytes]:
    """Column names and an Arrow stream of connections, as varied as an office's: 500 clients, 40 services."""
    random = Random(first)  # noqa: S311  # the same rows in every run
    start = 1_750_000_000_000_000 + first * 20_000
    times = [start + i * 20_000 for i in range(ROWS)]
    client = [random.randrange(500) for _ in range(ROWS)]
    service = [int(40 * random.random() ** 2) for _ in range(ROWS)]
    micros = pa.timestamp("us", "UTC")
    columns = {
        "batch": pa.array([first] * ROWS, pa.uint64()),
        "time": pa.array(times, pa.int64()).cast(micros),
        "end_time": pa.array([t + random.randrange(60_000_000) for t in times], pa.int64()).cast(micros),
        "start_time": pa.array([t - random.randrange(9_000_000) for t in times], pa.int64()).cast(micros),
        "flow_id": [f"1:{random.getrandbits(108):027x}=" for _ in range(ROWS)],
        "first": [random.random() < 0.7 for _ in range(ROWS)],
        "transport": ["tcp" if s % 3 else "udp" for s in service],
        "protocol": ["tls" if s % 3 else "quic" for s in service],
        "client_ip": [f"::ffff:10.1.{c >> 8}.{c & 255}" for c in client],
        "client_port": pa.array([random.randrange(32_768, 61_000) for _ in range(ROWS)], pa.uint64()),
        "client_host": [f"laptop-{c}" for c in client],
        "user": [f"user{c}" for c in client],
        "groups": [["staff", f"team-{c % 9}"] for c in client],
        "server_ip": [f"::ffff:104.18.{s}.{random.randrange(16)}" for s in service],
        "server_port": pa.array([443] * ROWS, pa.uint64()),
        "server_name": [f"api.service-{s}.example" for s in service],
        "name_source": ["sni"] * ROWS,
        "alpn": ["h2"] * ROWS,
        "tls_version": ["1.3"] * ROWS,
        "ja4": [f"t13d1516h2_8daaf6152771_{c % 12:012x}" for c in client],
        "ech": ["none"] * ROWS,
        "service": [f"service-{s}" for s in service],
        "vendor": [f"vendor-{s % 20}" for s in service],
        "category": [f"category-{s % 8}" for s in service],
        "role": ["api"] * ROWS,
        "evidence": ["flow"] * ROWS,
        "confidence": [0.9] * ROWS,
        "bytes_up": pa.array([int(random.expovariate(1 / 4000)) for _ in range(ROWS)], pa.uint64()),
        "bytes_down": pa.array([int(random.expovariate(1 / 30_000)) for _ in range(ROWS)], pa.uint64()),
        "packets_up": pa.array([random.randrange(2, 80) for _ in range(ROWS)], pa.uint64()),
        "packets_down": pa.array([random.randrange(2, 120) for _ in range(ROWS)], pa.uint64()),
        "server_country": ["US" if s % 4 else "IE" for s in service],
        "server_asn": pa.array([13_335 + s for s in service], pa.uint64()),
    }
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return table.schema.names, lz4.frame.compress(sink.getvalue())


class Bench:
    """A running collector and its users."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokens = {role: users.add(folder / "users.json", role, role) for role in ("sensor", "analyst")}
        for name in self.tokens:
            users.change(folder / "users.json", name, per_second=1e5, at_once=40)
        self.found: dict[str, float] = {}
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start; the time until it answers, schema made before."""
        place = ["--store", str(self.folder / "store"), "--users", str(self.folder / "users.json")]
        command = [sys.executable, "-m", "sensor.cli", "collect", *place, "--listen", f"127.0.0.1:{PORT}"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        begun = time.perf_counter()
        while True:
            try:
                self.ask(self.connection(), "analyst", b"SELECT 1")
                break
            except OSError:
                if process.poll() is not None:
                    raise
                time.sleep(0.01)
        self.found["s to start"] = time.perf_counter() - begun
        return process

    @staticmethod
    def connection() -> http.client.HTTPConnection:
        """A kept connection, without Nagle's delay."""
        return http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)

    def ask(self, connection: http.client.HTTPConnection, who: str, body: bytes, **fields: str) -> bytes:
        """One request on a kept connection."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        if who == "sensor":
            headers["Content-Encoding"] = "lz4"
        connection.request("POST", "/?" + urlencode(fields), body, headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise ValueError(data.decode("utf-8", "replace")[:500])
        return data

    def insert(self, connection: http.client.HTTPConnection, names: list[str], data: bytes) -> None:
        """One batch with its token."""
        self.ask(
            connection,
            "sensor",
            data,
            query=f"INSERT INTO connections ({', '.join(names)}) FORMAT ArrowStream",
            insert_deduplication_token=uuid.uuid4().hex,
            deduplicate_blocks_in_dependent_materialized_views="1",
        )

    def inserts(self, clients: int, batches: list[tuple[list[str], bytes]]) -> float:
        """Rows a second of so many clients together."""

        def client(mine: list[tuple[list[str], bytes]]) -> None:
            connection = self.connection()
            for names, data in mine:
                self.insert(connection, names, data)

        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as threads:
            list(threads.map(client, [batches[n::clients] for n in range(clients)]))
        return len(batches) * ROWS / (time.perf_counter() - begun)

    def resident(self) -> float:
        """MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6

    def point(self) -> float:
        """ms p50 of a point query over HTTP beyond what the engine says it took: more than it adds to chDB in process,
        where a call takes longer than that, too."""
        connection = self.connection()
        extra: list[float] = []
        body = b"SELECT count() FROM connections WHERE service = 'service-7' AND client_ip = '10.1.0.5' FORMAT JSON"
        for _ in range(100):
            begun = time.perf_counter()
            data = self.ask(connection, "analyst", body)
            extra.append((time.perf_counter() - begun - json.loads(data)["statistics"]["elapsed"]) * 1000)
        return statistics.median(extra)

    def under_reads(self, names: list[str], data: bytes) -> float:
        """How many times longer an insert takes while long reads run."""
        quiet = median_ms(lambda: self.insert(self.connection(), names, data), 20)
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                self.ask(
                    self.connection(), "analyst", b"SELECT uniqExact(flow_id), sum(bytes_up) FROM connections"
                )

        reader = threading.Thread(target=read)
        reader.start()
        busy = median_ms(lambda: self.insert(self.connection(), names, data), 20)
        stop.set()
        reader.join()
        return busy / quiet

    def bytes_per_row(self) -> float:
        """On disk, after merges, rollups not counted."""
        self.process.terminate()
        self.process.wait()
        code = (
            "import sys; from collector.store import Store\n"
            "store = Store('chdb://' + sys.argv[1]); store.command('OPTIMIZE TABLE aiscope.connections FINAL')\n"
            'print(store.rows("SELECT sum(bytes_on_disk) / sum(rows) AS n FROM system.parts WHERE active AND "\n'
            "\"database = 'aiscope' AND table = 'connections'\")[0]['n'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.folder / "store")], check=True, capture_output=True
        )
        return float(done.stdout)


def median_ms(call: Callable[[], None], times: int) -> float:
    """Of so many calls."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def main() -> None:
    """Run all, print a line each."""
    with tempfile.TemporaryDirectory() as folder:
        batches = [batch(n * ROWS) for n in range(2 * BATCHES + 1)]
        bench = Bench(Path(folder))
        try:
            bench.process.terminate()
            bench.process.wait()
            bench.process = bench.start()  # the first start made the schema
            time.sleep(2)
            bench.found["MB resident at rest"] = bench.resident()
            bench.found["rows/s, 1 client"] = bench.inserts(1, batches[:BATCHES])
            bench.found["rows/s, 8 clients"] = bench.inserts(8, batches[BATCHES : 2 * BATCHES])
            bench.found["point query over HTTP beyond the engine, ms p50"] = bench.point()
            bench.found["insert p50 under long reads, times"] = bench.under_reads(*batches[-1])
            bench.found["bytes per row"] = bench.bytes_per_row()
        finally:
            bench.process.terminate()
            bench.process.wait()
    for name, (goal, more) in GOALS.items():
        value = bench.found[name]
        met = value >= goal if more else value <= goal
        print(
            f"{name:50} {value:12,.1f}   goal {'≥' if more else '≤'} {goal:,}   {'met' if met else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
