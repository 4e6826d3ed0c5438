"""Three machines in a row, as network namespaces: a client, the gateway that the proxy runs on, and the vendors'
server. Needs root."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.sensor.proxy import vendors
from tests.sensor.proxy.lab import NAMES, ROOT, Lab, running

CLIENT, GATEWAY, SERVER = "10.91.1.2", "10.91.1.1", "10.91.2.2"
PUBLIC = "9.91.1.2"  # of the client as well: no private address
CLIENT6, GATEWAY6, SERVER6 = "fd91:1::2", "fd91:1::1", "fd91:2::2"
RULES = ROOT / "deploy" / "nftables"
PORT = 8080  # that of the rules


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@dataclass
class Gateway:
    """`hosts` is the client's /etc/hosts, with the vendors' names at SERVER."""

    lab: Lab
    hosts: Path
    name: str
    resolver: Path = field(default=Path("/etc/resolv.conf"))

    def at(self, machine: str) -> tuple[str, ...]:
        """What starts a command on `client`, `gateway` or `server`."""
        return ("ip", "netns", "exec", f"{self.name}-{machine}")

    def client(self, *command: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """A command on the client, which finds the names in `hosts` and asks the resolver of `resolver`."""
        files = 'mount --bind "$0" /etc/hosts; mount --bind "$1" /etc/resolv.conf; shift; exec "$@"'
        inside = [*self.at("client"), "sh", "-ec", files, str(self.hosts), str(self.resolver)]
        return subprocess.run(
            [*inside, *command], input=data if data is not None else b"", capture_output=True, timeout=40
        )

    def curl(
        self, authority: Path, url: str, *options: str, data: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """curl on the client, trusting one authority."""
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", str(authority)]
        if data is not None:
            command += ["--data-binary", "@-", "-H", "content-type: application/json"]
        return self.client(*command, *options, url, data=data)

    @contextmanager
    def rules(self, file: str) -> Iterator[None]:
        """The gateway with one of our rule sets."""
        _run(*self.at("gateway"), "nft", "-f", str(RULES / file))
        try:
            yield
        finally:
            table = re.findall(r"(?m)^table (.+) \{", (RULES / file).read_text())[0]
            _run(*self.at("gateway"), "nft", "delete", "table", *table.split())

    def counted(self) -> int:
        """Packets that the rules met."""
        command = [*self.at("gateway"), "nft", "list", "ruleset"]
        words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")


def _wire(name: str) -> None:
    for machine in ("client", "gateway", "server"):
        _run("ip", "netns", "add", f"{name}-{machine}")
        _run("ip", "-n", f"{name}-{machine}", "link", "set", "lo", "up")
    for one, two, net in (("client", "gateway", 1), ("server", "gateway", 2)):
        here, there = f"{name}-{one}", f"{name}-{two}"
        link = f"link add eth0 type veth peer name eth{net} netns {there}"
        _run("ip", "-n", here, *link.split())
        for where, link, last in ((here, "eth0", 2), (there, f"eth{net}", 1)):
            _run("ip", "-n", where, "address", "add", f"10.91.{net}.{last}/24", "dev", link)
            _run("ip", "-n", where, "address", "add", f"fd91:{net}::{last}/64", "dev", link, "nodad")
            _run("ip", "-n", where, "link", "set", link, "up")
        _run("ip", "-n", here, "route", "add", "default", "via", f"10.91.{net}.1")
        _run("ip", "-n", here, "route", "add", "default", "via", f"fd91:{net}::1")
    _run("ip", "-n", f"{name}-client", "address", "add", f"{PUBLIC}/32", "dev", "eth0")
    _run("ip", "-n", f"{name}-gateway", "route", "add", PUBLIC, "dev", "eth1")
    forwarding = ("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    _run("ip", "netns", "exec", f"{name}-gateway", *forwarding)


@contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """The machines, and the vendors on theirs: with TLS at port 443, in clear at port 80."""
    authority, certificate, key = vendors.certify(folder, (*vendors.NAMES, *NAMES))
    name, hosts = f"ais{os.getpid()}", folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{SERVER} {name}\n" for name in NAMES))
    serve = [sys.executable, "-m", "tests.sensor.proxy.vendors", "--host", ""]
    tls = [*serve, "--port", "443", "--certificate", str(certificate), "--key", str(key)]
    with ExitStack() as stack:
        for machine in ("client", "gateway", "server"):
            remove = ["ip", "netns", "del", f"{name}-{machine}"]
            stack.callback(subprocess.run, remove, capture_output=True)
        _wire(name)
        lab = Lab(folder, SERVER, authority, stack, GATEWAY, PORT)
        found = Gateway(lab, hosts, name)
        lab.inside = found.at("gateway")
        for command in (tls, [*serve, "--port", "80"]):
            stack.enter_context(running([*found.at("server"), *command], "listening", cwd=ROOT))
        yield found
