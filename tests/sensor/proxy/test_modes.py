"""The proxy on a gateway between a client and the vendors, in each of its modes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sensor.wire.community import community_id
from tests.sensor.proxy.gateway import CLIENT, CLIENT6, GATEWAY, PORT, SERVER, SERVER6, Gateway, gateway
from tests.sensor.wire_pair import reason_to_skip

pytestmark = pytest.mark.skipif(bool(why := reason_to_skip()), reason=why)
CHAT = "https://api.openai.com/v1/chat/completions"
PLAIN = "https://plain.example.com/"
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
    """The certificate that the client is shown."""
    at = f"[{address}]:443" if ":" in address else f"{address}:443"
    shown = machines.client("openssl", "s_client", "-connect", at, "-servername", name).stdout
    return shown[shown.index(b"-----BEGIN CERT") : shown.index(b"-----END CERT")]


def test_transparent(machines: Gateway) -> None:
    original = (machines.lab.folder / "cert.pem").read_bytes()
    with (
        machines.lab.proxy("", OPEN, "--mode", "transparent") as proxy,
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
        rows = exchanges(proxy.stop())
        assert "failed" not in proxy.log
    assert [row["client_ip"] for row in rows] == [CLIENT, CLIENT6]
    assert rows[0]["client_flow_id"] == community_id("tcp", CLIENT, port, SERVER, 443)
