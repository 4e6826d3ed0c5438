"""The real proxy as its clients meet it: what passes, what is refused, what it says of itself, what it survives."""

from __future__ import annotations

import base64
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sensor import dlp_cli
from tests.sensor.proxy.lab import ROOT, Lab, Proxy

CHAT = "https://api.openai.com/v1/chat/completions"
KEY = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"  # in the shape of a token, and none
POLICY = """
version: lab
default: allow
rules:
  - {id: no-keys, match: {data_class: credentials}, verdict: block}
  - {id: think, match: {service: mistral-api}, verdict: coach, message: "Is it the right place?"}
  - {id: hidden, match: {data_class: email}, verdict: redact}
"""


def curl(
    proxy: Proxy, url: str, *arguments: str, data: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "", *arguments, url]
    if data is not None:
        command += ["--data-binary", "@-", "-H", "content-type: application/json"]
    return subprocess.run(command, input=data, env=proxy.environment, capture_output=True, timeout=30)


def prompt(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "model-x", "messages": [{"role": "user", "content": text}], **more}).encode()


def rows(proxy: Proxy, table: str) -> list[dict[str, Any]]:
    return [row for row in proxy.stop() if row["table"] == table]


@pytest.fixture
def proxy(lab: Lab) -> Iterator[Proxy]:
    with lab.proxy(POLICY, {}, "--enforce") as found:
        found.received()
        yield found


def test_what_is_no_ai_service_is_not_decrypted(lab: Lab, proxy: Proxy) -> None:
    passed = curl(
        proxy,
        "https://plain.example.com/v1/chat/completions",
        "--cacert",
        str(lab.authority),
        data=prompt(KEY),
    )
    assert b"You said" in passed.stdout
    assert proxy.received()[0]["host"] == "plain.example.com"
    assert proxy.stop() == []


def test_curl_streaming_and_not_with_placeholders_put_back(proxy: Proxy) -> None:
    for stream in (False, True):
        done = curl(proxy, CHAT, data=prompt("Ask jane.roe@corp-mail.com", stream=stream))
        assert b"jane.roe@corp-mail.com" in done.stdout
    bodies = [base64.b64decode(one["body"]) for one in proxy.received()]
    assert all(b"<EMAIL_1>" in body and b"jane.roe" not in body for body in bodies)
    found = rows(proxy, "exchanges")
    assert [row["stream"] for row in found] == [False, True]
    for row in found:
        assert (row["service"], row["operation"], row["model"]) == ("openai-api", "chat", "model-x")
        assert (row["messages"], row["attachments"], row["tools"]) == (["user;26"], [], [])
        assert (row["account"], row["key_hash"], row["cost_usd"]) == ("", "", None)
        assert (row["policy"], row["status"], row["retry"]) == ("hidden", 200, False)
        assert row["ttfb_ms"] > 0
    assert found[0]["tokens_out"] == len("You said: Ask <EMAIL_1>") // 4
    assert all(
        row["client_flow_id"].startswith("1:") and row["server_flow_id"].startswith("1:") for row in found
    )
    assert len({row["client_flow_id"] for row in found} | {row["server_flow_id"] for row in found}) == 4


def test_observing_says_what_it_would_have_done(lab: Lab) -> None:
    with lab.proxy(POLICY, {}, "--observe") as proxy:
        proxy.received()
        done = curl(proxy, CHAT, data=prompt(f"use {KEY}"))
        assert b"You said" in done.stdout
        assert KEY in base64.b64decode(proxy.received()[0]["body"]).decode()
        written = proxy.stop()
    assert [row["verdict"] for row in written if row["table"] == "exchanges"] == ["block"]
    found = {row["rule"] for row in written if row["table"] == "findings"}
    assert found == {"policy:no-keys", "answer-credentials"}, "the server's answer has it, too"


def test_values_of_ones_own_lists(lab: Lab, tmp_path: Path) -> None:
    """With the key as `aiscope dlp` makes it."""
    values, key, listed = (tmp_path / name for name in ("customers.txt", "dlp.key", "customers.list"))
    values.write_text("kd-000123-11\nkd-000124-42\n")
    made = CliRunner().invoke(dlp_cli.command, ["hash-list", "customers", str(values), "--key", str(key)])
    listed.write_text(made.output)
    policy = POLICY.replace("data_class: credentials", "data_class: exact-match")
    with lab.proxy(policy, {"dlp.lists": [str(listed)], "dlp.key": str(key)}, "--enforce") as proxy:
        assert b"no-keys" in curl(proxy, CHAT, data=prompt("What does kd-000123-11 owe us?")).stdout
        assert b"You said" in curl(proxy, CHAT, data=prompt("What does kd-000125-11 owe us?")).stdout
        assert [row["policy"] for row in rows(proxy, "exchanges")] == ["no-keys", "default"]


def test_a_coached_person_says_why_and_goes_on(proxy: Proxy) -> None:
    url = "https://api.mistral.ai/v1/chat/completions"
    refused = json.loads(curl(proxy, url, data=prompt("hello")).stdout)
    assert refused["message"].startswith("Is it the right place?")
    link = re.search(r"http://aiscope\.proxy/coach/\S+", refused["message"])
    assert link
    page = curl(proxy, url, "-H", "sec-fetch-mode: navigate").stdout
    assert b"<h1>Not sent</h1>" in page
    assert link[0].encode() in page
    assert b"<textarea" in curl(proxy, link[0]).stdout
    assert b"You may go on" in curl(proxy, link[0], "--data-urlencode", "reason=a translation").stdout
    assert b"You said" in curl(proxy, url, data=prompt("hello")).stdout
    assert b"Not valid any more" in curl(proxy, link[0]).stdout
    found = rows(proxy, "findings")
    assert any(row["title"].endswith("went on past rule think: a translation") for row in found)


def test_names_by_proxy_authentication(lab: Lab, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(
        "anna:"
        + subprocess.run(["openssl", "passwd", "-apr1", "secret"], capture_output=True, text=True).stdout
    )
    with lab.proxy(POLICY, {"proxy.auth": f"@{users}"}, "--enforce") as proxy:
        assert b"407" in curl(proxy, CHAT, data=prompt("x")).stderr
        assert b"You said" in curl(proxy, CHAT, "--proxy-user", "anna:secret", data=prompt("x")).stdout
        assert curl(proxy, f"{proxy.url}/proxy.pac").stdout.startswith(b"var names")
        assert [row["user"] for row in rows(proxy, "exchanges")] == ["anna"]


def test_tenant_headers(lab: Lab) -> None:
    with lab.proxy("", {"proxy.tenants": ["openai=ws-1"]}) as proxy:
        proxy.received()
        curl(proxy, CHAT, data=prompt("x"))
        curl(proxy, "https://api.anthropic.com/v1/messages", data=prompt("x"))
        headers = [one["headers"].get("chatgpt-allowed-workspace-id") for one in proxy.received()]
    assert headers == ["ws-1", None]


@pytest.mark.parametrize("set_to", ["closed", "open"])
def test_when_our_own_code_fails(lab: Lab, set_to: str) -> None:
    """What policy may forbid goes on only when set to fail open; the answer always does."""
    script = Path(__file__).parent / "clients" / "broken_addon.py"
    command = [str(ROOT / ".venv-proxy/bin/python"), str(script), set_to]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, env={"PYTHONPATH": str(ROOT)}, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    closed = set_to == "closed"
    assert json.loads(done.stdout) == {
        "request": 403 if closed else None,
        "client": {"dropped": closed, "problems": ["failed"]},
        "server": {"dropped": False, "problems": ["failed"]},
        "errors": 3,
    }
    assert "ZeroDivisionError" in done.stderr
    assert "a secret" not in done.stderr


def test_no_secret_is_written_anywhere(proxy: Proxy) -> None:
    for host in ("api.openai.com/v1/chat/completions", "api.anthropic.com/v1/messages"):
        curl(
            proxy,
            f"https://{host}",
            "-H",
            "authorization: Bearer sk-of-the-client",
            data=prompt(f"{KEY} jane.roe@corp-mail.com"),
        )
    curl(proxy, CHAT, data=prompt("write to jane.roe@corp-mail.com"))
    proxy.stop()
    files = [path for path in proxy.home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".spool" for path in files)
    for path in files:
        data = path.read_bytes()
        for secret in (KEY, "jane.roe", "sk-of-the-client"):
            assert secret.encode() not in data, path
    assert (proxy.home / "home" / "mitmproxy-ca.pem").stat().st_mode & 0o077 == 0


def test_the_site_of_the_proxy(proxy: Proxy) -> None:
    page = curl(proxy, "http://aiscope.proxy/").stdout.decode()
    assert "NODE_EXTRA_CA_CERTS" in page
    assert curl(proxy, f"{proxy.url}/aiscope-ca.crt").stdout == proxy.certificate.read_bytes()
    context = ssl.create_default_context(
        cadata=curl(proxy, "http://aiscope.proxy/aiscope-bundle.pem").stdout.decode()
    )
    assert context.cert_store_stats()["x509_ca"] > 50
