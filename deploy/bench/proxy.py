"""What the proxy adds: side by side in one run with bare mitmproxy and a direct connection, to a local server.

    python deploy/bench/proxy.py [--requests 600] [--streams 500] [--uploads 100]

Prints medians in milliseconds and what is added; then what many at once cost (`proxy_load.py`). Needs
`make proxy`, and root for port 443.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.ports import free_port  # noqa: E402
from tests.sensor.proxy.lab import Lab, laboratory, running  # noqa: E402

WORDS = (
    "Please summarise the minutes of our meeting about the new warehouse and its opening hours in the city. "
)
POLICY = (
    "version: bench\ndefault: allow\nrules: [{id: keys, match: {data_class: credentials}, verdict: block}]\n"
)


class Client:
    """One connection that is kept, through a proxy or not."""

    def __init__(self, lab: Lab, proxy: int | None, authority: Path, name: str = "api.openai.com") -> None:
        address = ("127.0.0.1", proxy) if proxy else (lab.address, 443)
        plain = socket.create_connection(address, 30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy:
            plain.sendall(f"CONNECT {name}:443 HTTP/1.1\r\nhost: {name}:443\r\n\r\n".encode())
            assert b" 200 " in plain.recv(4096)  # noqa: S101
        context = ssl.create_default_context(cafile=str(authority))
        self._socket = context.wrap_socket(plain, server_hostname=name)
        self._name, self._rest = name, b""

    def send(self, body: bytes) -> None:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self._name}\r\ncontent-type: application/json\r\n"
        )
        self._socket.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def ask(self, body: bytes) -> float:
        """Seconds until the whole answer is there."""
        begun = time.perf_counter()
        self.send(body)
        while True:
            data = self._socket.recv(65_536)
            head, _, rest = (self._rest + data).partition(b"\r\n\r\n")
            if rest:
                break
            self._rest += data
        size = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        while len(rest) < size:
            rest += self._socket.recv(65_536)
        self._rest = b""
        return time.perf_counter() - begun

    def stream(self, body: bytes) -> tuple[float, float]:
        """Seconds to the first text, and the median of those between two events."""
        begun = time.perf_counter()
        self.send(body)
        data, times, seen = b"", [], 0
        while b"[DONE]" not in data:
            data += self._socket.recv(65_536)
            count = data.count(b'"content":')
            times += [time.perf_counter()] * (count - seen)
            seen = count
        return times[1] - begun, statistics.median(b - a for a, b in itertools.pairwise(times))


@contextmanager
def bare(lab: Lab, folder: Path, *options: str) -> Iterator[int]:
    """mitmproxy without an addon."""
    port, hosts = free_port(), folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{lab.address} api.openai.com plain.example.com\n")
    command = [
        *("unshare", "--mount", "sh", "-ec", 'mount --bind "$0" /etc/hosts; exec "$@"', str(hosts)),
        *(str(ROOT / ".venv-proxy/bin/mitmdump"), "--listen-host", "127.0.0.1", "--listen-port", str(port)),
        *("--set", f"confdir={folder}", "--set", f"ssl_verify_upstream_trusted_ca={lab.authority}"),
        *("--set", "flow_detail=0", *options),
    ]
    with (folder / "bare.log").open("w") as log, running(command, "listening", stderr=log):
        yield port


def prompt(size: int, **more: object) -> bytes:
    text = (WORDS * (size // len(WORDS) + 1))[:size]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def medians(rounds: int, ways: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Of several rounds, in each of which every way has its turn, in milliseconds."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            found[name].append(measure() * 1000)
    return {name: statistics.median(values) for name, values in found.items()}


def show(name: str, found: dict[str, float], over: str = "bare") -> None:
    added = found["aiscope"] - found[over]
    columns = "  ".join(f"{way} {value:8.2f}" for way, value in found.items())
    print(f"{name:32} {columns}  added over {over} {added:+8.2f}", flush=True)


def streams(lab: Lab, ports: dict[str, int | None], authority: dict[str, Path], rounds: int) -> None:
    """First text and spacing, on a connection that is kept and on one of its own."""
    body = prompt(100, stream=True)
    kept = {way: Client(lab, ports[way], authority[way]) for way in ports}
    for client in kept.values():
        client.ask(prompt(100))
    ways: dict[str, Callable[[str], Client]] = {
        "kept": kept.__getitem__,
        "new": lambda way: Client(lab, ports[way], authority[way]),
    }
    for label, client_of in ways.items():
        times = [{way: client_of(way).stream(body) for way in ports} for _ in range(rounds)]
        for name, column in (("first text", 0), ("between texts", 1)):
            found = {way: statistics.median(one[way][column] for one in times) * 1000 for way in ports}
            show(f"{name}, {label} connection, p50 ms", found, over="direct")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--uploads", type=int, default=100)
    arguments = parser.parse_args()
    from deploy.bench import proxy_load  # it has our prompts

    with tempfile.TemporaryDirectory() as name, laboratory(Path(name), pace=0.01) as lab:
        folder = Path(name)
        with bare(lab, folder) as other, lab.proxy(POLICY, {}, "--enforce") as proxy:
            ports = {"direct": None, "bare": other, "aiscope": proxy.port}
            authority = {
                "direct": lab.authority,
                "bare": folder / "mitmproxy-ca-cert.pem",
                "aiscope": proxy.certificate,
            }
            for label, size, share in (
                ("4 kB prompt, p50 ms", 4096, 1),
                ("1 MB prompt, p50 ms", 1 << 20, 10),
            ):
                body, clients = prompt(size), {w: Client(lab, ports[w], authority[w]) for w in ports}
                asking = {way: functools.partial(client.ask, body) for way, client in clients.items()}
                show(label, medians(max(15, arguments.requests // share), asking))
        with (
            bare(lab, folder, "--set", "stream_large_bodies=1") as other,
            lab.proxy(POLICY, {}, "--enforce") as proxy,
        ):
            ports = {"direct": None, "bare": other, "aiscope": proxy.port}
            authority["aiscope"] = proxy.certificate
            streams(lab, ports, authority, arguments.requests // 30)
        with (
            bare(lab, folder, "--set", "ignore_hosts=.*") as other,
            lab.proxy(POLICY, {}, "--enforce") as proxy,
        ):
            passing = {"direct": None, "bare": other, "aiscope": proxy.port}
            body = prompt(1 << 20)
            kept = {w: Client(lab, passing[w], lab.authority, "plain.example.com") for w in passing}
            asking = {way: functools.partial(client.ask, body) for way, client in kept.items()}
            found = medians(max(15, arguments.requests // 5), asking)
            show("passthrough of 1 MB, p50 ms", found)
            print(f"passthrough against bare mitmproxy: {found['bare'] / found['aiscope']:.2f}")
        proxy_load.run(lab, arguments.streams, arguments.uploads, 50)


if __name__ == "__main__":
    main()
