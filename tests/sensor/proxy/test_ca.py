from __future__ import annotations

import datetime as dt
import ipaddress
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sensor.proxy import ca


def test_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    assert ca.ensure(tmp_path / "home")
    key = tmp_path / "home" / ca.FILE
    assert key.stat().st_mode & 0o777 == 0o600
    before = ca.fingerprint(tmp_path / "home")
    assert not ca.ensure(tmp_path / "home")
    assert ca.fingerprint(tmp_path / "home") == before
    assert b"PRIVATE" not in (tmp_path / "home" / ca.PUBLIC).read_bytes()
    key.chmod(0o640)
    with pytest.raises(ca.CaError, match="others may read it"):
        ca.ensure(tmp_path / "home")


def test_constraints_are_the_outermost_names(tmp_path: Path) -> None:
    names = [
        "openai.com",
        "api.openai.com",
        "=claude.ai",
        "bedrock.*.amazonaws.com",
        "x-*.googleapis.com",
        "*.*",
    ]
    assert [name.value for name in ca.constraints(names)] == [
        "amazonaws.com", "claude.ai", "googleapis.com", "openai.com",
    ]  # fmt: skip
    ca.ensure(tmp_path, names)
    extension = ca.certificate(tmp_path).extensions.get_extension_for_class(x509.NameConstraints)
    assert extension.critical
    assert len(extension.value.permitted_subtrees or ()) == 4


def test_before_the_first_start_there_is_none_and_it_is_said_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ca.CaError, match="none there yet; the first start of `aiscope proxy` makes it"):
        ca.certificate(tmp_path)


def _leaf(home: Path, name: x509.GeneralName) -> Path:
    """A server's certificate that the authority signed."""
    authority, key = ca.certificate(home), ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key((home / ca.FILE).read_bytes(), None)
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(authority.subject, x509.Name([]), key.public_key(), 7)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    file = home / "leaf.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.mark.parametrize(
    ("name", "constrained", "free"),
    [
        (x509.DNSName("api.openai.com"), "OK", "OK"),
        (x509.DNSName("openai.com"), "OK", "OK"),
        (x509.DNSName("bank.example"), "permitted subtree violation", "OK"),
        (x509.DNSName("notopenai.com"), "permitted subtree violation", "OK"),
        (x509.IPAddress(ipaddress.ip_address("192.0.2.1")), "excluded subtree violation", "OK"),
        (x509.IPAddress(ipaddress.ip_address("2001:db8::1")), "excluded subtree violation", "OK"),
    ],
)
def test_openssl_refuses_what_is_outside(
    tmp_path: Path, name: x509.GeneralName, constrained: str, free: str
) -> None:
    for names, expected in ((["openai.com"], constrained), ((), free)):
        home = tmp_path / f"home{len(names)}"
        ca.ensure(home, names)
        command = [
            "openssl",
            "verify",
            "-x509_strict",
            "-CAfile",
            str(home / ca.PUBLIC),
            str(_leaf(home, name)),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert expected in done.stdout + done.stderr
