"""A laboratory of the real parts: the vendors' server under the vendors' names, the real proxy, and what it
wrote.

Only the proxy sees the names: it runs in a mount namespace of its own with another /etc/hosts, and nothing
outside is changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensor.delivery.outbox import Outbox
from sensor.delivery.spool import unpacked
from tests.ports import free_port
from tests.sensor.proxy import vendors

ROOT = Path(__file__).parents[3]
NAMES = tuple(name for name in vendors.NAMES if "*" not in name and name != "localhost")
NAMES += ("plain.example.com", "bedrock-runtime.us-east-1.amazonaws.com", "my-resource.openai.azure.com")
START = 60.0  # seconds


def _errors(options: Mapping[str, Any]) -> str:
    file = options.get("stderr")
    return f": {Path(file.name).read_text()}" if file else ""


@contextmanager
def running(
    command: list[str], ready: str, said: list[str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """A process from when it has printed `ready`; ended with SIGTERM. `said` gets the lines until then."""
    lines = [] if said is None else said
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            assert process.stdout
            for line in process.stdout:
                lines.append(line)
                if ready in line:
                    break
            else:
                raise AssertionError(f"{command} ended before it was ready{_errors(options)}")
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass
class Lab:
    """`address` is the vendors' server's, always at port 443; `host` and `port` (0: any) are where proxies listen,
    `inside` starts a command where they run."""

    folder: Path
    address: str
    authority: Path
    stack: ExitStack = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 0
    inside: tuple[str, ...] = ()

    @contextmanager
    def proxy(
        self, policy: str = "", settings: Mapping[str, object] | None = None, *flags: str
    ) -> Iterator[Proxy]:
        """A proxy with a policy (YAML) and settings `section.key`."""
        home = self.folder / f"proxy-{time.monotonic_ns()}"
        home.mkdir()
        port = self.port or free_port()
        values: dict[str, object] = {
            "proxy.listen": f"{self.host}:{port}",
            "proxy.home": str(home / "home"),
            "proxy.upstream_ca": str(self.authority),
            "proxy.workers": 1,
            "spool.path": str(home / "proxy.spool"),
            "sensor.names": "plain",
            **(settings or {}),
        }
        if policy:
            (home / "policy.yaml").write_text(policy)
            values["policy.file"] = str(home / "policy.yaml")
        sections: dict[str, list[str]] = {}
        for name, value in values.items():
            section, key = name.split(".")
            sections.setdefault(section, []).append(f"{key} = {json.dumps(value)}")
        config = home / "aiscope.toml"
        config.write_text(
            "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())
        )
        hosts = home / "hosts"
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{self.address} {name}\n" for name in NAMES))
        with (home / "log").open("w") as log:
            command = [
                *self.inside,
                *("unshare", "--mount", "sh", "-ec", 'mount --bind "$0" /etc/hosts; exec "$@"', str(hosts)),
                *(sys.executable, "-m", "sensor.cli", "--config", str(config), "proxy", *flags),
            ]
            said: list[str] = []
            with running(command, "setup at", said, cwd=ROOT, stderr=log) as process:
                yield Proxy(self, home, port, process, "".join(said))


@dataclass
class Proxy:
    lab: Lab
    home: Path
    port: int
    process: subprocess.Popen[str]
    said: str  # when it started

    @property
    def url(self) -> str:
        return f"http://{self.lab.host}:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.home / "home" / "aiscope-ca.crt"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to go through the proxy and trust it."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "HTTPS_PROXY": self.url,
            "HTTP_PROXY": self.url,
            "https_proxy": self.url,
            "http_proxy": self.url,
            "SSL_CERT_FILE": str(self.certificate),
            "REQUESTS_CA_BUNDLE": str(self.certificate),
            "NODE_EXTRA_CA_CERTS": str(self.certificate),
            "CURL_CA_BUNDLE": str(self.certificate),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would fetch one
        }

    def stop(self) -> list[dict[str, Any]]:
        """End the proxy and read what it wrote: rows with their `table`."""
        self.process.terminate()
        assert (code := self.process.wait(30)) == 0, f"{code}: {self.log}"
        rows = []
        with Outbox(self.home / "proxy.spool") as outbox:
            while batch := outbox.batch(rows=100_000, age=0):
                rows += [{"table": batch.table, **row} for row in unpacked(batch.data).to_pylist()]
                outbox.done(batch, None)
        return rows

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def received(self) -> list[dict[str, Any]]:
        """What the vendors' server got, and forget it."""
        resolve = ("--resolve", f"api.openai.com:443:{self.lab.address}", "--noproxy", "*")
        command = [*self.lab.inside, "curl", "--silent", "--cacert", str(self.lab.authority), *resolve]
        found = [
            subprocess.run([*command, f"https://api.openai.com/{path}"], capture_output=True, timeout=20)
            for path in ("_received", "_reset")
        ]
        return json.loads(found[0].stdout)  # type: ignore[no-any-return]


@contextmanager
def laboratory(folder: Path, pace: float = 0.0) -> Iterator[Lab]:
    """The vendors' server, and what makes proxies."""
    authority, certificate, key = vendors.certify(folder, (*vendors.NAMES, *NAMES))
    address = f"127.77.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 1}"
    command = [sys.executable, "-m", "tests.sensor.proxy.vendors", "--certificate", str(certificate)]
    command += ["--key", str(key), "--host", address, "--port", "443", "--pace", str(pace)]
    with ExitStack() as stack, running(command, "listening", cwd=ROOT):
        yield Lab(folder, address, authority, stack)
