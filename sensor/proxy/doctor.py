"""Tests of a running proxy from a client's place: what an administrator would try by hand."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator

from cryptography import x509

from sensor.config import Settings
from sensor.proxy import ca, pages

TIMEOUT = 10.0  # seconds


def run(settings: Settings, host: str, plain_host: str) -> Iterator[tuple[str, str]]:
    """Each test's name, and what is wrong or ""."""
    proxy = settings.proxy
    address, _, port = (proxy.address or proxy.listen).rpartition(":")
    where = address.strip("[]"), int(port)
    tests: tuple[tuple[str, Callable[[], str]], ...] = (
        ("the authority is there and its owner's alone", lambda: _authority(settings)),
        (f"the proxy answers at {address}:{port}", lambda: _setup(where)),
        (
            f"{host} is decrypted with a certificate that clients can trust",
            lambda: _decrypted(settings, where, host),
        ),
        (f"{plain_host} passes through untouched", lambda: _untouched(settings, where, plain_host)),
    )
    for name, test in tests:
        try:
            yield name, test()
        except (OSError, ValueError) as error:
            yield name, str(error) or type(error).__name__


def _authority(settings: Settings) -> str:
    if not (settings.proxy.home / ca.FILE).exists():
        return "none yet: start `aiscope proxy` once"
    ca.ensure(settings.proxy.home)
    return ""


def _setup(where: tuple[str, int]) -> str:
    with socket.create_connection(where, TIMEOUT) as connection:
        request = f"GET http://{pages.HOST}/ HTTP/1.1\r\nhost: {pages.HOST}\r\nconnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = connection.recv(4096).split(b"\r\n", 1)[0]
    return "" if b" 200 " in answer else f"its setup page answers {answer[:80]!a}"


def _decrypted(settings: Settings, where: tuple[str, int], host: str) -> str:
    context = ssl.create_default_context(cafile=str(settings.proxy.home / ca.PUBLIC))
    issuer = _issuer(where, host, context)
    return (
        "" if issuer == ca.certificate(settings.proxy.home).subject else "its certificate is not the proxy's"
    )


def _untouched(settings: Settings, where: tuple[str, int], host: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # we look at who signed it, nothing else
    issuer = _issuer(where, host, context)
    ours = ca.certificate(settings.proxy.home).subject
    return "its certificate is the proxy's: it is decrypted" if issuer == ours else ""


def _issuer(where: tuple[str, int], host: str, context: ssl.SSLContext) -> x509.Name:
    with socket.create_connection(where, TIMEOUT) as connection:
        connection.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n".encode())
        answer = connection.recv(4096).split(b"\r\n", 1)[0]
        if b" 200 " not in answer:
            raise ValueError(f"the proxy answers {answer[:80]!a}")
        with context.wrap_socket(connection, server_hostname=host) as tls:
            found = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    return found.issuer
