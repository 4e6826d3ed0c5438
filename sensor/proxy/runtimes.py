"""Which runtimes of this machine trust the authority, in this environment. Each is asked itself where it keeps
what it trusts, and none makes a connection: one that is refused would count as a gap at the proxy.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from sensor.proxy import ca

TIMEOUT = 30.0  # seconds; Java takes some
_SSL = "import ssl; p = ssl.get_default_verify_paths(); print(p.cafile or '', p.capath or '', sep='\\n')"
_REQUESTS = (
    "import os, requests.certs; e = os.environ.get; "
    "print(e('REQUESTS_CA_BUNDLE') or e('CURL_CA_BUNDLE') or requests.certs.where())"
)
_CERTIFI = "import os, certifi; print(os.environ.get('SSL_CERT_FILE') or certifi.where())"
_NODE = """
const fs = require("fs"), tls = require("tls"), file = process.env.NODE_EXTRA_CA_CERTS;
const pems = tls.getCACertificates ? tls.getCACertificates("default")
  : [...tls.rootCertificates, file && fs.existsSync(file) ? fs.readFileSync(file, "utf8") : ""];
const plain = (text) => text.replace(/\\s/g, "");
process.exit(pems.some((pem) => plain(pem).includes(plain(fs.readFileSync(process.argv[1], "utf8")))) ? 0 : 1);
"""


def trusting(home: Path) -> Iterator[tuple[str, str, bool]]:
    """Name, what to do about it or "", and whether it trusts; only runtimes that are here. Raises CaError."""
    certificate, fingerprint = str(home / ca.PUBLIC), ca.fingerprint(home)
    tests: dict[str, tuple[str, Callable[[], bool | None], str]] = {
        "OpenSSL": ("openssl", lambda: _verify(certificate), "the system's store, or SSL_CERT_FILE"),
        "Python": ("python3", lambda: _python(_SSL, certificate), "the system's store, or SSL_CERT_FILE"),
        "Python requests": ("python3", lambda: _python(_REQUESTS, certificate), "REQUESTS_CA_BUNDLE"),
        "Python httpx, SDKs": ("python3", lambda: _python(_CERTIFI, certificate), "SSL_CERT_FILE"),
        "Node.js": (
            "node",
            lambda: _run("node", "-e", _NODE, certificate) is not None,
            "NODE_EXTRA_CA_CERTS",
        ),
        "Java": ("keytool", lambda: _java(fingerprint), "keytool -importcert -cacerts"),
        "Chromium": ("certutil", lambda: _nss(certificate), "certutil -A"),
    }
    for name, (tool, test, remedy) in tests.items():
        if shutil.which(tool) and (trusts := test()) is not None:
            yield (
                name,
                "" if trusts else f"does not trust the proxy: {remedy}; see `aiscope proxy trust`",
                trusts,
            )


def _run(*command: str) -> str | None:
    """What it prints; None when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout


def _verify(certificate: str, *where: str) -> bool:
    return _run("openssl", "verify", *where, certificate) is not None


def _python(script: str, certificate: str) -> bool | None:
    """The script prints a file of authorities, and perhaps a folder; None when what it imports is not there."""
    printed = _run("python3", "-c", script)
    if printed is None or not shutil.which("openssl"):
        return None
    file, _, folder = printed.rstrip("\n").partition("\n")
    options = ["-CAfile", file] if file else ["-no-CAfile"]
    return _verify(certificate, *options, *(["-CApath", folder] if folder else ["-no-CApath"]), "-no-CAstore")


def _java(fingerprint: str) -> bool | None:
    listed = _run("keytool", "-list", "-cacerts", "-storepass", "changeit")
    return None if listed is None else fingerprint in listed


def _nss(certificate: str) -> bool | None:
    store = f"sql:{Path.home() / '.pki' / 'nssdb'}"
    if _run("certutil", "-L", "-d", store) is None:
        return None
    return _run("certutil", "-V", "-u", "L", "-d", store, "-n", "aiscope") is not None
