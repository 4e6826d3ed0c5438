"""A real `aiscope collect` for tests: its process, its users, and requests to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from collector import users
from tests.ports import free_port

ROLES = {"tap-1": "sensor", "rita": "reader", "ann": "analyst", "ivy": "investigator", "adam": "admin"}


@dataclass
class Reply:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> int:
        """ClickHouse's error code, 0 for none."""
        return int(self.headers.get("x-clickhouse-exception-code", "0"))

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass
class Served:
    """A running collector. `tokens` by user; an owner's instance has none."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path
    log: Path
    users: Path | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    def request(
        self,
        who: str | None,
        sql: str | bytes = b"",
        /,
        *,
        method: str = "POST",
        path: str = "/",
        headers: dict[str, str] | None = None,
        timeout: float = 30,
        **fields: str,
    ) -> Reply:
        """One request; `fields` are the URL's arguments."""
        sent = dict(headers or {})
        if who in self.tokens:
            sent.setdefault("Authorization", f"Bearer {self.tokens[who]}")
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            target = path + ("?" + urlencode(fields) if fields else "")
            client.request(method, target, sql.encode() if isinstance(sql, str) else sql, sent)
            answer = client.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())
        finally:
            client.close()

    def rows(self, user: str | None, sql: str) -> list[list[object]]:
        """Of a SELECT that must work."""
        reply = self.request(user, sql + " FORMAT JSONCompact")
        assert reply.status == 200, reply.text
        found: list[list[object]] = json.loads(reply.body)["data"]
        return found

    def resident(self) -> int:
        """Bytes of memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(30)


# A collector that is less patient: deadlines and delays are what they are, only shorter.
HURRIED = """
import sys
from collector import access, serve
access.LONGEST_DELAY, serve.HEADER_SECONDS = 0.5, 3
from sensor.cli import main
main(sys.argv[1:])
"""


def start(folder: Path, *arguments: str, owner: bool = False, port: int = 0, hurried: bool = False) -> Served:
    """Start one on a directory below `folder` and wait until it answers."""
    port = port or free_port()
    store, log = folder / "store", folder / "collect.log"
    place = (
        ["--owner", str(store)] if owner else ["--store", str(store), "--users", str(folder / "users.json")]
    )
    entry = ["-c", HURRIED] if hurried else ["-m", "sensor.cli"]
    command = [sys.executable, *entry, "collect", *place, "--listen", f"127.0.0.1:{port}", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AISCOPE_")}
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    served = Served(process, port, store, log, None if owner else folder / "users.json")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return served
        except OSError:
            time.sleep(0.05)
    served.stop(signal.SIGKILL)
    raise AssertionError(f"no collector: {log.read_text()[-2000:]}")


def with_users(folder: Path) -> dict[str, str]:
    """A users file with one of every role; their tokens."""
    path = folder / "users.json"
    tokens = {name: users.add(path, name, role) for name, role in ROLES.items()}
    for name in ROLES:
        users.change(path, name, per_second=5000.0, at_once=32)
    return tokens


def parted(fields: dict[str, bytes], files: dict[str, bytes]) -> tuple[dict[str, str], bytes]:
    """The header and the body of a multipart form."""
    lines = [(f'name="{name}"', data) for name, data in fields.items()]
    lines += [(f'name="{name}"; filename="{name}.bin"', data) for name, data in files.items()]
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in lines
    )
    return {"Content-Type": "multipart/form-data; boundary=b"}, body + b"--b--\r\n"
