"""What is decrypted, for whom, and what becomes of clients that do not accept it: with real clients."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sensor.proxy import ca
from tests.sensor.proxy.lab import Lab, Proxy
from tests.sensor.proxy.test_addon import CHAT, KEY, POLICY, curl, prompt, rows


@pytest.fixture
def proxy(lab: Lab) -> Iterator[Proxy]:
    with lab.proxy(POLICY, {}, "--enforce") as found:
        yield found


def test_who_does_not_trust_passes_from_the_next_try(lab: Lab, proxy: Proxy) -> None:
    trusting_the_server = ("--cacert", str(lab.authority))
    assert curl(proxy, CHAT, *trusting_the_server, data=prompt("one")).returncode == 60
    assert b"You said" in curl(proxy, CHAT, *trusting_the_server, data=prompt("two")).stdout
    program = "import sys, urllib.request as r; print(r.urlopen(r.Request(sys.argv[1], sys.argv[2].encode())).read())"
    other = [sys.executable, "-c", program, CHAT, prompt("three").decode()]
    assert b"You said: three" in subprocess.run(other, env=proxy.environment, capture_output=True).stdout
    written = proxy.stop()
    (finding,) = (row for row in written if row["table"] == "findings")
    assert finding["rule"] == "inspection-gap"
    assert finding["service"] == "openai-api"
    assert len([row for row in written if row["table"] == "exchanges"]) == 1, (
        "the other program on this machine"
    )


def test_who_pins_passes_from_the_next_try(lab: Lab, proxy: Proxy) -> None:
    """TLS 1.3 lets the client finish the handshake before it looks at the key: no alert, only a closed connection."""
    certificate = x509.load_pem_x509_certificate((lab.folder / "cert.pem").read_bytes())
    public = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pin = f"sha256//{base64.b64encode(hashlib.sha256(public).digest()).decode()}"
    both = lab.folder / "both.pem"
    both.write_bytes(proxy.certificate.read_bytes() + lab.authority.read_bytes())
    options = ("--cacert", str(both), "--pinnedpubkey", pin)
    assert curl(proxy, CHAT, *options, data=prompt("one")).returncode == 90
    assert b"You said" in curl(proxy, CHAT, *options, data=prompt("two")).stdout
    assert [row["rule"] for row in rows(proxy, "findings")] == ["inspection-gap"]


def test_a_service_that_is_forbidden_is_no_gap(lab: Lab) -> None:
    policy = "version: x\ndefault: allow\nrules: [{id: no, match: {service: openai-api}, verdict: block}]\n"
    with lab.proxy(policy, {}, "--enforce") as proxy:
        for _ in range(2):
            assert curl(proxy, CHAT, "--cacert", str(lab.authority), data=prompt("x")).returncode == 60


def test_exceptions_are_never_decrypted(lab: Lab) -> None:
    with lab.proxy(POLICY, {"proxy.exceptions": ["service:openai-api"]}, "--enforce") as proxy:
        done = curl(proxy, CHAT, "--cacert", str(lab.authority), data=prompt(KEY))
        assert b"You said" in done.stdout
        assert proxy.stop() == []


def test_who_does_not_trust_fails_where_the_settings_say_so(lab: Lab, tmp_path: Path) -> None:
    """On its second start the proxy has its authority, and says nothing of trust."""
    ca.ensure(tmp_path / "home")
    settings = {"proxy.pinned": "refuse", "proxy.home": str(tmp_path / "home")}
    with lab.proxy("", settings) as proxy:
        assert "authority" not in proxy.said
        for _ in range(2):
            assert curl(proxy, CHAT, "--cacert", str(lab.authority), data=prompt("x")).returncode == 60
        (finding,) = rows(proxy, "findings")
    assert finding["rule"] == "inspection-gap"
