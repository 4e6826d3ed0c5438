"""The site of the proxy, in the programs that use it: a PAC file in Node and in a browser, the page in a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import Page, sync_playwright

from sensor.knowledge.catalogue import load
from sensor.proxy import pages
from tests.sensor.proxy.lab import Lab
from tests.sensor.proxy.test_addon import curl

# What a browser gives a PAC file, as far as ours uses it.
EVALUATE = """
const [pac, hosts] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const glob = (pattern) => new RegExp("^" + pattern.replace(/[.+^${}()|[\\]\\\\]/g, "\\\\$&").replace(/\\*/g, ".*").replace(/\\?/g, ".") + "$");
const shExpMatch = (text, pattern) => glob(pattern).test(text);
const find = new Function("shExpMatch", pac + "; return FindProxyForURL;")(shExpMatch);
console.log(JSON.stringify(hosts.map((host) => find("https://" + host + "/", host))));
"""  # noqa: E501 - code


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_pac_in_node() -> None:
    patterns = [
        host for entry in load().services.values() for hosts in entry.service.hosts.values() for host in hosts
    ]
    plain = [host.removeprefix("=") for host in patterns if "*" not in host]
    inside = [
        *plain,
        "API.OpenAI.com",
        "eu.api.openai.com",
        "bedrock-runtime.eu-central-1.amazonaws.com",
        pages.HOST,
    ]
    outside = [
        "example.com",
        "notopenai.com",
        "api.openai.com.evil.example",
        "com",
        "localhost",
        "s3.amazonaws.com",
        "",
    ]
    pac = pages.pac("proxy.corp.example:8080", patterns).decode()
    done = subprocess.run(
        ["node", "-e", EVALUATE], input=json.dumps([pac, [*inside, *outside]]), capture_output=True, text=True
    )
    answers = json.loads(done.stdout)
    assert len(plain) > 1000
    assert {answer for answer, _ in zip(answers, inside, strict=False)} == {"PROXY proxy.corp.example:8080"}
    assert answers[len(inside) :] == ["DIRECT"] * len(outside)


def test_what_is_shown_is_escaped() -> None:
    for shown in (
        pages.refusal("t", "<b>&", "<r>", 'x"onclick'),
        pages.ask("<b>&", 3),
        pages.setup("<b>&", "<r>"),
    ):
        assert b"<b>" not in shown
        assert b"<r>" not in shown
        assert b'x"on' not in shown


def _look(page: Page) -> None:
    """Nothing is cut off or wider than the window, and the page is what the text says."""
    assert page.locator("h1").inner_text() == "Connect through aiscope"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.querySelectorAll('pre')].every((e) => e.scrollWidth <= e.clientWidth)")
    assert page.locator("pre").count() == len(pages.TRUST)


@pytest.mark.browser
def test_in_a_browser(lab: Lab, tmp_path: Path) -> None:
    policy = "version: x\ndefault: allow\nrules: [{id: no, match: {service: grok}, verdict: block}]\n"
    with lab.proxy(policy, {}, "--enforce") as proxy, sync_playwright() as playwright:
        text = curl(proxy, f"{proxy.url}/setup.txt").stdout.decode()
        assert all(command in text for _, command in pages.TRUST)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[
                *("--no-sandbox", "--disable-background-networking", "--ignore-certificate-errors"),
                f"--proxy-pac-url={proxy.url}/proxy.pac",
                "--host-resolver-rules=MAP plain.example.com 127.0.0.1:9",
            ],
        )
        page = browser.new_page(viewport={"width": 390, "height": 800})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto("http://aiscope.proxy/")
        _look(page)
        page.set_viewport_size({"width": 1400, "height": 1000})
        _look(page)
        page.goto("https://grok.com/")
        assert page.locator("h1").inner_text() == "Not sent"
        with pytest.raises(BrowserError, match="ERR_CONNECTION_REFUSED"):
            page.goto("https://plain.example.com/")
        browser.close()
    assert not [line for line in said if "403" not in line]
