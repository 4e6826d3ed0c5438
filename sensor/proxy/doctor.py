"""Tests of a running proxy: what an administrator would try by hand, from the proxy's machine or a client's.

Each test yields its name, what was found, and whether it is as it should be: None where that is for the reader
to say.
"""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator

from cryptography import x509

from sensor.config import Settings
from sensor.listen import address
from sensor.proxy import ca, pages

TIMEOUT = 10.0  # seconds
Found = tuple[str, bool | None]
Where = tuple[str, int]


class AbsentError(Exception):
    """There is no proxy here to test: the rest would say the same again."""


class Doctor:
    """`host` is an AI service's name, `plain_host` one of none; `user` is NAME:PASSWORD or ""."""

    def __init__(self, settings: Settings, host: str, plain_host: str, user: str = "") -> None:
        self._settings, self._proxy = settings, settings.proxy
        self._host, self._plain, self._user = host, plain_host, user
        host, port = address(self._proxy.address or self._proxy.listen)
        self._where = host or "127.0.0.1", port

    def run(self) -> Iterator[tuple[str, str, bool | None]]:
        """All tests that the mode has."""
        mode = self._proxy.mode.partition(":")[0]
        tests: dict[str, Callable[[], Found]] = {
            "policy": self._policy,
            "spool": self._spool,
            "authority": self._authority,
            f"reaches {self._host}": self._upstream,
            "listening": self._listening,
        }
        if mode == "regular":
            tests |= {"setup page": self._page, "PAC file": self._pac}
        if mode == "transparent":
            tests["nftables"] = self._rules
        if mode != "reverse":
            tests |= {"decrypts": self._decrypts, "passes others": self._passes}
        for name, test in tests.items():
            try:
                yield name, *_tried(test)
            except AbsentError as error:
                yield name, str(error), False
                return

    def _authority(self) -> Found:
        home = self._proxy.home
        if (home / ca.PUBLIC).exists() and not (home / ca.FILE).exists():
            return "its certificate only, as on a client", None
        if not (home / ca.FILE).exists():
            raise AbsentError(f"{home / ca.FILE}: not there; start `aiscope proxy` once, with these settings")
        ca.ensure(home)
        found = ca.certificate(home)
        try:
            limits = found.extensions.get_extension_for_class(x509.NameConstraints).value
            scope = f"{len(limits.permitted_subtrees or ())} domains"
        except x509.ExtensionNotFound:
            scope = "any name; proxy.constrained limits it"
        return f"valid until {found.not_valid_after_utc:%Y-%m-%d}, for {scope}", True

    def _policy(self) -> Found:
        from sensor.knowledge.policy import load

        file, doing = self._settings.policy.file, "enforced" if self._proxy.enforce else "observed"
        if not file:
            return "none: everything is recorded, nothing refused", None
        return f"{file}: {len(load(file).file.rules)} rules, {doing}", True

    def _spool(self) -> Found:
        path = self._settings.spool.path
        missing = next((one for one in (path, *path.parents) if one.exists()), path)
        if os.access(missing, os.W_OK):
            return f"{path} can be written", True
        return f"{missing}: not writable for this user; run as the proxy's, or set spool.path", False

    def _listening(self) -> Found:
        at = f"{self._where[0]} port {self._where[1]}"
        if self._proxy.mode == "wireguard":
            return f"{at}, UDP, which does not answer strangers", None
        try:
            socket.create_connection(self._where, TIMEOUT).close()
        except ConnectionRefusedError:
            raise AbsentError(f"nothing at {at}; start `aiscope proxy`, with these settings") from None
        return at, True

    def _page(self) -> Found:
        status, body = _get(self._where, f"http://{pages.HOST}/")
        good = status == 200 and b"aiscope-ca.crt" in body
        return (f"http://{pages.HOST}/ through the proxy", True) if good else (f"answers {status}", False)

    def _pac(self) -> Found:
        status, body = _get(self._where, "/proxy.pac")
        good = status == 200 and b"FindProxyForURL" in body
        shown = f"http://{self._where[0]}:{self._where[1]}/proxy.pac"
        return (shown, True) if good else (f"{shown} answers {status}", False)

    def _upstream(self) -> Found:
        context = ssl.create_default_context(cafile=str(self._proxy.upstream_ca or "") or None)
        context.load_verify_locations(self._proxy.home / ca.PUBLIC)
        with socket.create_connection((self._host, 443), TIMEOUT) as connection:
            issuer = _issuer(connection, self._host, context)
        if issuer == ca.certificate(self._proxy.home).subject:
            return "through the gateway, as a client", None
        return f"directly, certificate of {issuer.rfc4514_string()}", True

    def _rules(self) -> Found:
        if not _is_here(self._where[0]):
            return "on the gateway; run this there, too", None
        done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode:
            return "cannot be read; run as root on the gateway", None
        missing = []
        if f"redirect to :{self._where[1]}" not in done.stdout:
            missing.append(f"TCP is not redirected to port {self._where[1]}: deploy/nftables/transparent.nft")
        if not any("udp dport" in line and "reject" in line for line in done.stdout.splitlines()):
            missing.append("QUIC passes: deploy/nftables/quic-fallback.nft")
        return "; ".join(missing) or "TCP is redirected, QUIC is refused", not missing

    def _decrypts(self) -> Found:
        ours = ca.certificate(self._proxy.home)
        context = ssl.create_default_context(cafile=str(self._proxy.home / ca.PUBLIC))
        try:
            issuer = self._issuer(self._host, context)
        except ssl.SSLCertVerificationError:
            return f"{self._host} has a certificate that is not of this proxy; {self._why()}", False
        good = issuer == ours.subject
        return f"{self._host}, with a certificate that clients can verify", good

    def _why(self) -> str:
        if self._proxy.mode == "regular":
            return (
                "is it an exception, or did this machine fail to trust the proxy before (proxy.pinned_hours)?"
            )
        return "run this on a client of the gateway"

    def _passes(self) -> Found:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # who signed it is all that counts
        if self._issuer(self._plain, context) == ca.certificate(self._proxy.home).subject:
            return f"{self._plain} is decrypted; is it in proxy.also?", False
        return f"{self._plain}, with its own certificate", True

    def _issuer(self, host: str, context: ssl.SSLContext) -> x509.Name:
        with self._tunnel(host) as connection:
            return _issuer(connection, host, context)

    def _tunnel(self, host: str) -> socket.socket:
        """A connection to a name as a client has it in this mode."""
        mode = self._proxy.mode
        if mode == "socks5":
            return _socks(self._where, host, self._user)
        if mode != "regular":
            return socket.create_connection((host, 443), TIMEOUT)
        connection = socket.create_connection(self._where, TIMEOUT)
        secret = base64.b64encode(self._user.encode()).decode()
        who = f"proxy-authorization: Basic {secret}\r\n" if self._user else ""
        connection.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n{who}\r\n".encode())
        answer = connection.recv(4096).split(b"\r\n", 1)[0]
        if b" 200 " not in answer:
            connection.close()
            hint = (
                "; use --user"
                if b" 407 " in answer
                else "; the proxy cannot reach it"
                if b" 502 " in answer
                else ""
            )
            raise ValueError(f"the proxy answers {answer[:80].decode('latin-1')!a}{hint}")
        return connection


def _is_here(address: str) -> bool:
    """Whether this machine has an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try:
            one.bind((address, 0))
        except OSError:
            return False
    return True


def _tried(test: Callable[[], Found]) -> Found:
    try:
        return test()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return str(error) or type(error).__name__, False


def _get(where: Where, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*where, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20)
    except http.client.HTTPException as error:
        raise ValueError(f"no answer in HTTP: {type(error).__name__}") from None
    finally:
        connection.close()


def _socks(where: Where, host: str, user: str) -> socket.socket:
    """RFC 1928 3 and 4, RFC 1929."""
    connection = socket.create_connection(where, TIMEOUT)
    connection.sendall(b"\5\1\2" if user else b"\5\1\0")
    method = connection.recv(2)[1:]
    if method == b"\xff":
        raise ValueError("the proxy asks for a name and a password: use --user")
    if method == b"\2":
        name, _, password = user.encode().partition(b":")
        connection.sendall(b"\1" + bytes([len(name)]) + name + bytes([len(password)]) + password)
        if connection.recv(2) != b"\1\0":
            raise ValueError("the proxy does not know this name and password")
    connection.sendall(b"\5\1\0\3" + bytes([len(host)]) + host.encode() + (443).to_bytes(2, "big"))
    answer = connection.recv(262)
    if answer[1:2] != b"\0":
        raise ValueError(f"the proxy cannot reach {host}: SOCKS reply {answer[1:2].hex()}")
    return connection


def _issuer(connection: socket.socket, host: str, context: ssl.SSLContext) -> x509.Name:
    """Whose certificate a client is shown. It sends a request: a client that leaves without counts as one that
    pins."""
    with context.wrap_socket(connection, server_hostname=host) as tls:
        issuer = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"").issuer
        tls.sendall(f"HEAD / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        tls.recv(1)
    return issuer
