"""The proxy on a gateway between a client and the vendors, in each of its modes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sensor.wire.community import community_id
from tests.sensor.proxy.gateway import (
    CLIENT,
    CLIENT6,
    GATEWAY,
    PORT,
    PUBLIC,
    SERVER,
    SERVER6,
    Gateway,
    gateway,
)
from tests.sensor.proxy.lab import ROOT, Proxy, running
from tests.sensor.proxy.test_doctor import doctor
from tests.sensor.wire_pair import reason_to_skip

pytestmark = pytest.mark.skipif(bool(why := reason_to_skip()), reason=why)
CLIENTS = Path(__file__).parent / "clients"
CHAT = "https://api.openai.com/v1/chat/completions"
PLAIN = "https://plain.example.com/"
BARE = "PATH=/usr/sbin:/sbin"  # nft, and no runtimes to ask: they take seconds
OPEN = {"proxy.listen": f":{PORT}", "proxy.address": f"{GATEWAY}:{PORT}"}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway")) as found:
        yield found


def prompt(text: str) -> bytes:
    return json.dumps({"model": "model-x", "messages": [{"role": "user", "content": text}]}).encode()


def exchanges(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["table"] == "exchanges"]


def served(machines: Gateway, name: str, address: str = SERVER) -> bytes:
    """The certificate that the client is shown, to a program of its own: it leaves, as one that pins."""
    at = f"[{address}]:443" if ":" in address else f"{address}:443"
    shown = machines.client("openssl", "s_client", "-connect", at, "-servername", name, "-alpn", "h2").stdout
    return shown[shown.index(b"-----BEGIN CERT") : shown.index(b"-----END CERT")]


def test_transparent(machines: Gateway, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(f"address,host,user,groups\n{CLIENT},desk,anna,staff\n")
    settings = {**OPEN, "inventory.csv": str(tmp_path / "people.csv")}
    original = (machines.lab.folder / "cert.pem").read_bytes()
    with (
        machines.lab.proxy("", settings, "--mode", "transparent") as proxy,
        machines.rules("transparent.nft"),
    ):
        before = machines.counted()
        done = machines.curl(proxy.certificate, CHAT, "-w", "\n%{local_port}", data=prompt("one"))
        assert b"You said: one" in done.stdout, done.stderr
        port = int(done.stdout.split()[-1])
        six = ("--resolve", f"api.openai.com:443:[{SERVER6}]")
        assert b"You said: two" in machines.curl(proxy.certificate, CHAT, *six, data=prompt("two")).stdout
        for address in (SERVER, SERVER6):
            assert served(machines, "plain.example.com", address) in original
            assert served(machines, "api.openai.com", address) not in original
        assert machines.curl(machines.lab.authority, PLAIN).stdout.startswith(b"<!doctype html><title>Vendor")
        plain = machines.curl(machines.lab.authority, "http://plain.example.com/").stdout
        assert plain.startswith(b"<!doctype html><title>Vendor"), "not the page of the proxy"
        assert b"aiscope-ca.crt" in machines.curl(proxy.certificate, f"{proxy.url}/").stdout
        assert machines.counted() > before
        mode = {"AISCOPE_PROXY_MODE": "transparent"}
        _, here = doctor(proxy, before=BARE, at=machines.at("gateway"), **mode)
        assert here["nftables"] == ("!!", "QUIC passes: deploy/nftables/quic-fallback.nft")
        assert here["listening"][0] == here["passes others"][0] == "ok"
        assert here["decrypts"][1].endswith("run this on a client of the gateway")
        with http3(machines, proxy, "three") as ask:
            assert machines.client(*ask).stdout == b"h3 past the proxy\n", "what the rule is for"
            with machines.rules("quic-fallback.nft"):
                answer = machines.client(*ask).stdout
            assert answer.startswith(b"http/1.1 ")
            assert b"You said: three" in answer
        code, there = doctor(proxy, before=BARE, at=machines.at("client"), **mode)
        assert code == 0, there
        assert there["nftables"] == ("--", "on the gateway; run this there, too")
        assert there["reaches api.openai.com"] == ("--", "through the gateway, as a client")
        assert there["decrypts"][0] == there["passes others"][0] == "ok"
        rows = exchanges(proxy.stop())
        assert "failed" not in proxy.log
    assert [(row["client_ip"], row["client_host"], row["user"]) for row in rows] == [
        (CLIENT, "desk", "anna"),
        (CLIENT6, "", ""),
        (CLIENT, "desk", "anna"),
    ]
    assert rows[0]["client_flow_id"] == community_id("tcp", CLIENT, port, SERVER, 443)


@contextmanager
def http3(machines: Gateway, proxy: Proxy, text: str) -> Iterator[tuple[str, ...]]:
    """The server speaks HTTP/3 as well: the command of a client that tries it, and falls back to TCP."""
    command = (str(ROOT / ".venv-proxy/bin/python"), str(CLIENTS / "http3.py"))
    tls = (str(machines.lab.folder / "cert.pem"), str(machines.lab.folder / "key.pem"))
    both = machines.lab.folder / "both.pem"
    both.write_bytes(machines.lab.authority.read_bytes() + proxy.certificate.read_bytes())
    with running([*machines.at("server"), *command, "serve", *tls], "listening", cwd=ROOT):
        yield (*command, "ask", str(both), CHAT, prompt(text).decode())


def test_socks5(machines: Gateway, tmp_path: Path) -> None:
    users = tmp_path / "users"
    hashed = subprocess.run(["openssl", "passwd", "-apr1", "secret"], capture_output=True, text=True).stdout
    users.write_text(f"anna:{hashed}")
    machines.hosts, before = Path("/dev/null"), machines.hosts  # the proxy is asked for names
    try:
        with machines.lab.proxy("", {"proxy.auth": f"@{users}"}, "--mode", "socks5") as proxy:
            at = ("--socks5-hostname", f"{GATEWAY}:{PORT}")
            anna, nobody = ("--proxy-user", "anna:secret"), ("--proxy-user", "anna:guess")
            done = machines.curl(proxy.certificate, CHAT, *at, *anna, data=prompt("one"))
            assert b"You said: one" in done.stdout, done.stderr
            assert machines.curl(proxy.certificate, CHAT, *at, *nobody, data=prompt("two")).returncode == 97
            assert machines.curl(proxy.certificate, CHAT, *at, data=prompt("two")).returncode == 97
            mode = {"AISCOPE_PROXY_MODE": "socks5"}
            assert doctor(proxy, before=BARE, at=machines.at("gateway"), **mode)[1]["decrypts"][1].endswith(
                "use --user"
            )
            code, found = doctor(
                proxy, "--user", "anna:secret", before=BARE, at=machines.at("gateway"), **mode
            )
            assert code == 0, found
            page = machines.curl(machines.lab.authority, PLAIN, *at, *anna).stdout
            assert page.startswith(b"<!doctype html><title>Vendor")
            public = (*at, *anna, "--interface", PUBLIC)
            assert (
                b"You said: far" in machines.curl(proxy.certificate, CHAT, *public, data=prompt("far")).stdout
            )
            rows = exchanges(proxy.stop())
    finally:
        machines.hosts = before
    assert [(row["user"], row["client_ip"]) for row in rows] == [("anna", CLIENT), ("anna", PUBLIC)]


def test_reverse(machines: Gateway) -> None:
    """A program's base URL is the proxy's."""
    with machines.lab.proxy("", {}, "--mode", "reverse:https://api.openai.com") as proxy:
        proxy.received()
        done = machines.curl(proxy.certificate, f"{proxy.url}/v1/chat/completions", data=prompt("one"))
        assert b"You said: one" in done.stdout, done.stderr
        far = machines.curl(proxy.certificate, f"{proxy.url}/v1/models", "--interface", PUBLIC)
        assert far.returncode, "nobody is asked who it is: not for the Internet"
        assert [one["host"] for one in proxy.received() if one["body"]] == ["api.openai.com"]
        (row,) = exchanges(proxy.stop())
    assert (row["service"], row["server_name"], row["client_ip"]) == ("openai-api", "api.openai.com", CLIENT)


@pytest.mark.skipif(not shutil.which("wireguard-go"), reason="wireguard-go is not installed")
def test_wireguard(machines: Gateway, tmp_path: Path) -> None:
    """The client has nothing but the file that the proxy wrote: names are resolved through the tunnel, too."""
    resolver = tmp_path / "resolv.conf"
    with machines.lab.proxy("", {"proxy.address": f"{GATEWAY}:{PORT}"}, "--mode", "wireguard") as proxy:
        conf = proxy.home / "home" / "wireguard-client.conf"
        assert str(conf) in proxy.said
        assert {path.stat().st_mode & 0o777 for path in conf.parent.glob("wireguard*")} == {0o600}
        found = dict(re.findall(r"(?m)^(\w+) = (.*)$", conf.read_text()))
        assert found["Endpoint"] == f"{GATEWAY}:{PORT}"
        resolver.write_text(f"nameserver {found['DNS']}\n")
        stripped = tmp_path / "wg0.conf"
        stripped.write_text(re.sub(r"(?m)^(Address|DNS) = .*\n", "", conf.read_text()))
        tunnel = (
            "wireguard-go wg0; wg setconf wg0 $0; ip address add $1 dev wg0; ip link set wg0 up; "
            "ip route add 10.91.2.0/24 dev wg0; ip route add $2 dev wg0"
        )
        up = machines.client("sh", "-ec", tunnel, str(stripped), found["Address"], found["DNS"])
        assert up.returncode == 0, up.stderr
        machines.hosts, machines.resolver, before = (
            Path("/dev/null"),
            resolver,
            (machines.hosts, machines.resolver),
        )
        try:
            done = machines.curl(proxy.certificate, CHAT, data=prompt("one"))
            assert b"You said: one" in done.stdout, done.stderr
            page = machines.curl(machines.lab.authority, PLAIN).stdout
            assert page.startswith(b"<!doctype html><title>Vendor")
            with http3(machines, proxy, "two") as ask:
                assert b"You said: two" in machines.client(*ask).stdout, "the proxy drops QUIC"
        finally:
            machines.hosts, machines.resolver = before
            machines.client("ip", "link", "del", "wg0")
        rows = exchanges(proxy.stop())
        assert "failed" not in proxy.log
        assert "Error" not in proxy.log
    assert [row["client_ip"] for row in rows] == [found["Address"].partition("/")[0]] * 2
