"""The doctor beside a real proxy; whoever follows the printed instructions has runtimes that trust it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensor.proxy import ca
from tests.sensor.proxy.lab import ROOT, Lab, Proxy
from tests.sensor.proxy.test_addon import CHAT, curl, prompt

# A machine of its own, as far as stores of authorities go.
STORES = """
cp -a /etc/ssl ssl; mount --bind ssl /etc/ssl
mkdir local; mount --bind local /usr/local/share/ca-certificates
"""


def doctor(
    proxy: Proxy,
    *flags: str,
    before: str = "",
    folder: Path = ROOT,
    at: tuple[str, ...] = (),
    **environment: str,
) -> tuple[int, dict[str, tuple[str, str]]]:
    """Its exit code, and mark and finding by name."""
    command = [*at, "unshare", "--mount", "bash", "-ec", f'mount --bind "$0" /etc/hosts\n{before}\nexec "$@"']
    command += [str(proxy.home / "hosts"), sys.executable, "-m", "sensor.cli"]
    command += [
        "--config",
        str(proxy.home / "aiscope.toml"),
        "proxy",
        "doctor",
        "--plain-host",
        "plain.example.com",
    ]
    done = subprocess.run(
        [*command, *flags],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(proxy.home), **environment},
    )
    assert done.stderr == "", done.stderr
    lines = [re.fullmatch(r"(ok|!!|--)  (.{24}) (.+)", line) for line in done.stdout.splitlines()]
    assert all(lines), done.stdout
    return done.returncode, {line[2].strip(): (line[1], line[3]) for line in lines if line}


@pytest.fixture(scope="module")
def proxy(lab: Lab) -> Iterator[Proxy]:
    with lab.proxy("", {"proxy.constrained": True}) as found:
        yield found


def test_all_is_well_when_the_printed_instructions_are_followed(proxy: Proxy, tmp_path: Path) -> None:
    told = dict(re.findall(r"(?m)^(\S.*):\n    (.+)$", proxy.said))
    names = ("Debian, Ubuntu", "Java", "Python (requests, httpx, aiohttp, the SDKs)", "Node.js")
    fetch = re.findall(r"(?m)^fetch it: (.+)$", proxy.said)
    before = STORES + "\n".join([*fetch, *(told[name] for name in names)])
    quiet = re.sub(
        r"(?m)^(curl|cp|keytool|update)(.*)$", r"( \1\2 ) >log 2>\&1 || { cat log >\&2; exit 9; }", before
    )
    code, found = doctor(proxy, "--client", before=quiet, folder=tmp_path)
    assert {name: mark for name, (mark, _) in found.items() if mark != "ok"} == {"policy": "--"}, found
    assert code == 0
    assert {"OpenSSL", "Python", "Node.js", "Java"} <= set(found)
    assert re.fullmatch(r"valid until 20\d\d-\d\d-\d\d, for \d{3,} domains", found["authority"][1])
    assert ca.fingerprint(proxy.home / "home") in proxy.said


def test_who_does_not_trust_is_named(proxy: Proxy) -> None:
    code, found = doctor(proxy)
    assert code == 0, "the doctor before was not taken for a client that pins"
    assert found["OpenSSL"][0] == found["Node.js"][0] == "--"
    assert found["Node.js"][1].startswith("does not trust the proxy: NODE_EXTRA_CA_CERTS")
    code, found = doctor(proxy, "--client", NODE_EXTRA_CA_CERTS=str(proxy.certificate))
    assert code == 1
    assert found["Node.js"][0] == "ok"
    assert found["OpenSSL"][0] == "!!"


def test_certificates_of_a_constrained_authority_are_good(proxy: Proxy) -> None:
    """The server's certificate has names outside the constraints; the proxy's copy has not."""
    assert b"You said" in curl(proxy, CHAT, data=prompt("x")).stdout


def test_what_is_wrong_is_said(proxy: Proxy) -> None:
    key = proxy.home / "home" / ca.FILE
    key.chmod(0o640)
    code, found = doctor(proxy, "--host", "nowhere.invalid")
    assert code == 1
    problem = f"{key}: others may read it: chmod 600, or remove it and have clients trust a new one"
    assert found["authority"] == ("!!", problem)
    assert found["decrypts"] == (
        "!!",
        "the proxy answers 'HTTP/1.1 502 Bad Gateway'; the proxy cannot reach it",
    )
    proxy.stop()
    code, found = doctor(proxy)
    assert code == 1
    assert found["listening"][1].endswith("start `aiscope proxy`, with these settings")
    assert "decrypts" not in found  # what needs a proxy is not tried without one
    assert found["reaches api.openai.com"][0] == "ok"
