"""What the proxy itself serves, at `http://aiscope.proxy/` through it and at its own address: how to trust
its certificates, the certificate, a PAC file, and the pages that people see instead of what was refused. No
script, nothing from elsewhere.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from string import Template

HOST = "aiscope.proxy"
HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #1b1f24; }
pre { background: #f3f4f6; padding: .6rem .8rem; white-space: pre-wrap; }
pre, code { overflow-wrap: anywhere; }
textarea { width: 100%; font: inherit; } button { font: inherit; padding: .4rem 1rem; margin-top: .6rem; }
</style>
<h1>$title</h1>
$body
</html>
""")

# What a client needs besides the system's store. Sources: each runtime's own documentation.
TRUST = (
    ("Debian, Ubuntu", "cp aiscope-ca.crt /usr/local/share/ca-certificates/ && update-ca-certificates"),
    ("Fedora, RHEL", "cp aiscope-ca.crt /etc/pki/ca-trust/source/anchors/ && update-ca-trust"),
    (
        "macOS",
        "security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain aiscope-ca.crt",
    ),
    ("Windows (as administrator, or by group policy)", "certutil -addstore -f ROOT aiscope-ca.crt"),
    (
        "Python (requests, httpx, aiohttp, the SDKs)",
        "export SSL_CERT_FILE=$PWD/aiscope-bundle.pem REQUESTS_CA_BUNDLE=$PWD/aiscope-bundle.pem",
    ),
    ("Node.js", "export NODE_EXTRA_CA_CERTS=$PWD/aiscope-ca.crt"),
    (
        "Node.js 20 and older reads no proxy variables",
        "use undici's EnvHttpProxyAgent as the global dispatcher",
    ),
    (
        "Java",
        "keytool -importcert -noprompt -cacerts -storepass changeit -alias aiscope -file aiscope-ca.crt",
    ),
    ("curl, git", "export CURL_CA_BUNDLE=$PWD/aiscope-bundle.pem GIT_SSL_CAINFO=$PWD/aiscope-bundle.pem"),
    ("Go, Ruby, .NET on Linux", "use the system's store; or export SSL_CERT_FILE=$PWD/aiscope-bundle.pem"),
    (
        "Chromium, Edge",
        "use the system's store; on Linux: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n aiscope -i aiscope-ca.crt",
    ),
    (
        "Firefox",
        "policies.json: Certificates.ImportEnterpriseRoots = true, or Certificates.Install = [aiscope-ca.crt]",
    ),
)


def page(title: str, body: str) -> bytes:
    """A page; `body` is HTML."""
    return _PAGE.substitute(title=html.escape(title), body=body).encode()


def trust_text(proxy: str, fingerprint: str) -> str:
    """How to trust the proxy's certificates, for a terminal."""
    lines = [
        f"SHA-256 of the certificate: {fingerprint}",
        f"fetch it: curl -O http://{proxy}/aiscope-ca.crt -O http://{proxy}/aiscope-bundle.pem",
        "",
    ]
    for name, command in TRUST:
        lines += [f"{name}:", f"    {command}"]
    return "\n".join(lines)


def setup(proxy: str, fingerprint: str) -> bytes:
    """The page at the proxy's address."""
    items = "".join(
        f"<h3>{html.escape(name)}</h3><pre>{html.escape(command)}</pre>" for name, command in TRUST
    )
    where = html.escape(proxy)
    return page(
        "Connect through aiscope",
        f"<p>This proxy reads requests to AI services under your organisation's policy. It passes everything else "
        f"through unread. Programs must trust its certificate: <a href='/aiscope-ca.crt'>aiscope-ca.crt</a>, or "
        f"<a href='/aiscope-bundle.pem'>aiscope-bundle.pem</a>, which has the public authorities as well.</p>"
        f"<p>SHA-256: <code>{html.escape(fingerprint)}</code>. Compare it with what your administrator says.</p>"
        f"<p>Proxy: <code>http://{where}</code>; automatic: <code>http://{where}/proxy.pac</code>; this page for a "
        f"terminal: <code>curl http://{where}/setup.txt</code></p>{items}",
    )


def pac(proxy: str, names: Iterable[str]) -> bytes:
    """A proxy auto-config file: names of AI services go through the proxy, everything else directly."""
    suffixes = sorted({name.removeprefix("=") for name in names if "*" not in name} | {HOST})
    globs = sorted(name for name in names if "*" in name)
    return (
        f"var names = new Set({json.dumps(suffixes)}), patterns = {json.dumps(globs)};\n"
        "function FindProxyForURL(url, host) {\n"
        "  host = host.toLowerCase();\n"
        "  var proxied = patterns.some(function (pattern) { return shExpMatch(host, pattern); });\n"
        "  for (var name = host; name && !proxied; name = name.slice(name.indexOf('.') + 1)) {\n"
        "    proxied = names.has(name);\n"
        "    if (name.indexOf('.') < 0) break;\n"
        "  }\n"
        f"  return proxied ? {json.dumps(f'PROXY {proxy}')} : 'DIRECT';\n"
        "}\n"
    ).encode()


def refusal(title: str, message: str, rule: str, link: str = "") -> bytes:
    """What a person sees instead of a page that was refused."""
    more = f"<p><a href='{html.escape(link)}'>Say what you need it for, and go on</a></p>" if link else ""
    return page(title, f"<p>{html.escape(message)}</p><p>Rule: <code>{html.escape(rule)}</code></p>{more}")


def ask(message: str, minutes: int) -> bytes:
    """The form of a coached person."""
    return page(
        "Before you go on",
        f"<p>{html.escape(message)}</p><form method='post'>"
        "<label>What do you need it for?<textarea name='reason' rows='3' maxlength='500' required></textarea></label>"
        f"<button>Go on for {minutes} minutes</button></form>",
    )


def granted(minutes: int) -> bytes:
    """After the form."""
    return page("You may go on", f"<p>For {minutes} minutes. Go back and try again.</p>")


def gone() -> bytes:
    """A link that is too old."""
    return page("Not valid any more", "<p>Try again what was refused: it shows a new link.</p>")
