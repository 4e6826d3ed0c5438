"""The proxy's certificate authority. Its key can read what its clients say to AI services, so it is made
here, for this proxy only, and never leaves it; name constraints (RFC 5280 4.2.1.10) make it worthless for
all other names.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sensor.proxy.keys import private_file
from sensor.reason import why

FILE = "mitmproxy-ca.pem"  # the name that mitmproxy looks for in its folder: key and certificate
PUBLIC = "aiscope-ca.crt"
YEARS = 3
# Where only names are permitted, addresses are not constrained (RFC 5280 4.2.1.10).
NO_ADDRESSES = [x509.IPAddress(ipaddress.ip_network(one)) for one in ("0.0.0.0/0", "::/0")]


class CaError(ValueError):
    """An authority that cannot be used; says which file and why."""


def ensure(home: Path, names: Iterable[str] = ()) -> bool:
    """Make the authority at the first run; True if it was made. With `names` (host patterns) it is good for
    these only.

    Raises CaError for a key that others can read, or that is another user's.
    """
    path = home / FILE
    made = not path.exists()
    if made:
        _make(home, names)
    status = path.stat()
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CaError(f"{path}: others may read it: chmod 600, or remove it and have clients trust a new one")
    if status.st_uid != os.geteuid():
        raise CaError(f"{path}: belongs to another user")
    until = certificate(home).not_valid_after_utc
    if until < dt.datetime.now(dt.UTC):
        raise CaError(f"{path}: expired on {until:%Y-%m-%d}; remove it and have clients trust a new one")
    return made


def certificate(home: Path) -> x509.Certificate:
    """The authority's certificate. Raises CaError."""
    try:
        return x509.load_pem_x509_certificate((home / PUBLIC).read_bytes())
    except FileNotFoundError:
        raise CaError(
            f"{home / PUBLIC}: none there yet; the first start of `aiscope proxy` makes it"
        ) from None
    except (OSError, ValueError) as error:
        raise CaError(f"{home / PUBLIC}: {why(error)}") from None


def fingerprint(home: Path) -> str:
    """SHA-256 as people compare it: `AB:CD:...`."""
    return certificate(home).fingerprint(hashes.SHA256()).hex(":").upper()


def constraints(names: Iterable[str]) -> list[x509.GeneralName]:
    """The subtrees of host patterns: of a glob, what is right of its last `*`; none within another."""
    bases = {pattern.removeprefix("=").rpartition("*")[2].lstrip(".-") for pattern in names}
    bases = {base for base in bases if "." in base or base == "localhost"}
    outer = [
        base
        for base in sorted(bases)
        if not any(base.endswith(f".{other}") for other in bases if other != base)
    ]
    return [x509.DNSName(base) for base in outer]


def _make(home: Path, names: Iterable[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "aiscope"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"aiscope proxy {now:%Y-%m-%d}"),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
    )
    if permitted := constraints(names):
        builder = builder.add_extension(x509.NameConstraints(permitted, NO_ADDRESSES), critical=True)
    made = builder.sign(key, hashes.SHA256())
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    private_file(home / FILE, private + public)
    (home / PUBLIC).write_bytes(public)
