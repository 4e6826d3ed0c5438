"""A browser through the real proxy: pages that are refused are pages, what scripts send is read and redacted."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import sync_playwright

from tests.sensor.proxy.lab import Lab

POLICY = """
version: lab
default: allow
rules:
  - {id: not-this-one, match: {service: grok}, verdict: block, message: "Please use ChatGPT."}
  - {id: hidden, match: {data_class: email}, verdict: redact}
"""
ASK = """async (text) => {
  const body = {action: "next", model: "auto", messages: [
    {id: "1", author: {role: "user"}, content: {content_type: "text", parts: [text]}}]};
  const answer = await fetch("/backend-api/conversation", {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)});
  return await answer.text();
}"""


def _spki(certificate: Path) -> str:
    """What Chromium trusts the proxy by: the authority's key, which its certificates have as well."""
    public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    encoded = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


@pytest.mark.browser
def test_chromium(lab: Lab) -> None:
    with lab.proxy(POLICY, {}, "--enforce") as proxy, sync_playwright() as playwright:
        proxy.received()
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                f"--ignore-certificate-errors-spki-list={_spki(proxy.certificate)}",
            ],
            proxy={"server": proxy.url},
        )
        page = browser.new_page()
        page.goto("https://grok.com/")
        assert page.locator("h1").inner_text() == "Not sent"
        assert "Please use ChatGPT." in page.content()
        page.goto("https://chatgpt.com/")
        answer = page.evaluate(ASK, "Write to jane.roe@corp-mail.com")
        browser.close()
        bodies = [base64.b64decode(one["body"]) for one in proxy.received() if one["method"] == "POST"]
        written = proxy.stop()
    assert "".join(re.findall(r'"v": ?"([^"]*)"', answer)).endswith("jane.roe@corp-mail.com")
    assert len(bodies) == 1
    assert b"<EMAIL_1>" in bodies[0]
    assert b"jane" not in bodies[0]
    (row,) = [row for row in written if row["table"] == "exchanges"]
    assert (row["service"], row["channel"], row["verdict"]) == ("chatgpt", "web", "redact")
