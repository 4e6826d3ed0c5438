"""Names and passwords through the real proxy, checked by a real directory and a real file."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.sensor.proxy.lab import ROOT, Lab, Proxy
from tests.sensor.proxy.test_addon import CHAT, curl, prompt, rows
from tests.sensor.proxy.vendors import certify

SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/bin")
CONFIGURATION = """
include /etc/ldap/schema/core.schema
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
TLSCACertificateFile {folder}/ca.pem
database ldif
suffix "dc=example,dc=com"
rootdn "cn=proxy,dc=example,dc=com"
rootpw bind-secret
directory {home}
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""
PEOPLE = """
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=berta,dc=example,dc=com
objectClass: person
cn: berta
sn: B
userPassword: of-berta
"""


@contextlib.contextmanager
def directory(folder: Path, home: Path, port: int) -> Iterator[None]:
    """OpenLDAP with one person, until it is left."""
    home.mkdir(exist_ok=True)
    configuration = home.with_suffix(".conf")
    configuration.write_text(CONFIGURATION.format(folder=folder, home=home))
    if not any(home.iterdir()):
        add = [SLAPD, "-T", "add", "-f", str(configuration)]
        done = subprocess.run(add, input=PEOPLE.encode(), capture_output=True)
        assert done.returncode == 0, done.stderr
    command = [SLAPD, "-f", str(configuration), "-h", f"ldaps://localhost:{port}/", "-d", "0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                    break
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def ask(proxy: Proxy, user: str) -> bytes:
    done = curl(proxy, CHAT, "--proxy-user", user, data=prompt("x"))
    return done.stdout + done.stderr


@pytest.mark.skipif(not SLAPD, reason="slapd is not installed")
def test_a_directory(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = certify(tmp_path, ("localhost",))[0]
    port, home = free_port(), tmp_path / "people"
    bind = "cn=proxy,dc=example,dc=com:bind-secret:dc=example,dc=com"
    settings = {"proxy.auth": f"ldaps:localhost:{port}:{bind}"}
    with directory(tmp_path, home, port):
        with pytest.raises(AssertionError, match=r"aiscope: proxy\.auth: localhost: .*certificate"):
            lab.proxy("", settings).__enter__()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        stack = lab.proxy("", settings)
        proxy = stack.__enter__()
        for wrong in ("berta:guess", "berta:", "*:of-berta", "nobody:of-berta", "berta)(cn=*:of-berta"):
            assert b"407" in ask(proxy, wrong), wrong
        assert b"You said" in ask(proxy, "berta:of-berta")
    try:
        assert b"You said" in ask(proxy, "berta:of-berta"), "remembered for a minute"
        assert b"407" in ask(proxy, "berta:guess"), "the directory is gone"
        with directory(tmp_path, home, port):
            assert b"407" in ask(proxy, "berta:guess")
        assert {row["user"] for row in rows(proxy, "exchanges")} == {"berta"}
        assert "LDAPSocketOpenError" in proxy.log
        assert "secret" not in proxy.log
        assert "of-berta" not in proxy.log
    finally:
        stack.__exit__(None, None, None)


def test_a_file_that_grows(lab: Lab, tmp_path: Path) -> None:
    """`htpasswd` and `openssl passwd` write it; who is added is known without a restart."""
    users = tmp_path / "users"
    md5, sha512 = (
        subprocess.run(["openssl", "passwd", kind, password], capture_output=True, text=True).stdout
        for kind, password in (("-apr1", "of-anna"), ("-6", "of:carla"))
    )
    bcrypt = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    users.write_text(f"anna:{md5}dora:{bcrypt}\n")
    with lab.proxy("", {"proxy.auth": f"@{users}"}) as proxy:
        assert b"407" in ask(proxy, "carla:of:carla")
        assert b"You said" in ask(proxy, "anna:of-anna")
        assert b"You said" in ask(proxy, "dora:U*U")
        users.write_text(f"anna:{md5}carla:{sha512}")
        assert b"You said" in ask(proxy, "carla:of:carla")
        for wrong in ("carla:of-anna", "carla:of", "carla"):
            assert b"407" in ask(proxy, wrong), wrong
        assert {row["user"] for row in rows(proxy, "exchanges")} == {"anna", "carla", "dora"}


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    """Without the passwords that may be in it."""
    cases = {
        "anna:secret": "proxy.auth: expected @FILE or ldaps:HOST[:PORT]",
        "ldaps:host:secret": "proxy.auth: expected ldaps:HOST[:PORT]",
        "@/nowhere": "[Errno 2] No such file or directory: '/nowhere'",
        f"@{tmp_path / 'broken'}": f"{tmp_path / 'broken'}: malformed",
    }
    (tmp_path / "broken").write_text("no colon\n")
    script = (
        "import sys\nfrom sensor.proxy.auth import check\nfor spec in sys.argv[1:]:\n"
        "    try:\n        print(check(spec))\n    except (OSError, ValueError) as error:\n        print(error)"
    )
    command = [str(ROOT / ".venv-proxy/bin/python"), "-c", script, *cases]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    assert len(said) == len(cases)
    for line, expected in zip(said, cases.values(), strict=True):
        assert line.startswith(expected)
        assert "secret" not in line


def test_modes_that_cannot_ask(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "users").touch()
    with pytest.raises(AssertionError, match="in transparent mode clients are not asked who they are"):
        lab.proxy("", {"proxy.auth": f"@{tmp_path / 'users'}"}, "--mode", "transparent").__enter__()
