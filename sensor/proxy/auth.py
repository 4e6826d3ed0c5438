"""Whether a client is who it says: names and passwords by a file (htpasswd) or a directory (LDAP).

A check takes milliseconds, or a directory's time: it runs in a thread, and whom it let in, is let in for a
minute, for each connection asks again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import secrets
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import ldap3
import ldap3.utils.conv
import passlib.apache  # type: ignore[import-untyped]
from ldap3.core.exceptions import LDAPException
from mitmproxy import http
from mitmproxy.addons import proxyauth
from mitmproxy.exceptions import OptionsError
from mitmproxy.proxy.layers import modes
from passlib.exc import MissingBackendError  # type: ignore[import-untyped]

REMEMBERED = 10_000
MINUTE = 60.0
PATIENCE = 5  # seconds for a directory
_FORM = "ldaps:HOST[:PORT]:BIND-DN:PASSWORD:SUBTREE[?search_filter_key=NAME]"
_log = logging.getLogger("aiscope.proxy")
Check = Callable[[str, str], bool]


class Auth(proxyauth.ProxyAuth):  # type: ignore[misc]
    """mitmproxy's, but the proxy's own site is for everybody."""

    def __init__(self, check: Check | None, local: Callable[[http.HTTPFlow], bool]) -> None:
        super().__init__()
        self.validator = check
        self._local = local

    def configure(self, updated: set[str]) -> None:
        """What is checked is given; the option only has SOCKS ask."""

    async def socks5_auth(self, data: modes.Socks5AuthData) -> None:
        await asyncio.to_thread(super().socks5_auth, data)

    async def http_connect(self, f: http.HTTPFlow) -> None:
        await asyncio.to_thread(super().http_connect, f)

    async def requestheaders(self, f: http.HTTPFlow) -> None:
        if not self._local(f) and self.validator:
            if f.client_conn in self.authenticated:
                super().requestheaders(f)
            else:
                await asyncio.to_thread(super().requestheaders, f)


def _basic(said: str) -> tuple[str, str, str]:
    """mitmproxy's, but a password may have colons (RFC 7617 2)."""
    scheme, _, encoded = said.partition(" ")
    name, colon, password = base64.b64decode(encoded).decode("utf-8", "replace").partition(":")
    if scheme.lower() != "basic" or not colon:
        raise ValueError("not a name and a password")
    return scheme, name, password


proxyauth.parse_http_basic_auth = _basic


def check(spec: str) -> Check | None:
    """Of setting `proxy.auth`. Raises ValueError with what is wrong, OSError for a directory that is not there."""
    if not spec:
        return None
    if spec.startswith("@"):
        return Remembering(HashedFile(Path(spec[1:])))
    if spec.startswith(("ldap:", "ldaps:")):
        return Remembering(Directory(spec))
    raise ValueError(f"proxy.auth: expected @FILE or {_FORM}")


class Remembering:
    """A check, and whom it let in. Passwords are kept as hashes under a key of this run."""

    def __init__(self, inner: Check, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner, self._clock, self._key = inner, clock, secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()

    def __call__(self, name: str, password: str) -> bool:
        said = f"{len(name)}:{name}{password}".encode("utf-8", "surrogatepass")
        which, now = hashlib.blake2b(said, key=self._key).digest(), self._clock()
        if now - self._known.get(which, -MINUTE) < MINUTE:
            return True
        if not self._inner(name, password):
            return False
        self._known[which] = now
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return True


class HashedFile:
    """A file of `htpasswd`, read again when it changes."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = passlib.apache.HtpasswdFile(str(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        for name in self._file.users():
            try:
                self._file.check_password(name, "")
            except (MissingBackendError, ValueError):
                raise ValueError(
                    f"{path}: {name}: a kind of hash that is not read here, bcrypt perhaps; "
                    "`openssl passwd -6` makes one that is"
                ) from None

    def __call__(self, name: str, password: str) -> bool:
        try:
            self._file.load_if_changed()
            return bool(self._file.check_password(name, password))
        except (OSError, ValueError, MissingBackendError) as error:
            _log.error("proxy.auth: the file of passwords: %s", type(error).__name__)
            return False


class Directory:
    """An LDAP server (RFC 4511): who is found once in the subtree and can bind, is let in.

    With `ldaps` its certificate must be of an authority that the system trusts, or those in SSL_CERT_FILE.
    """

    def __init__(self, spec: str) -> None:
        try:
            secure, host, port, *self._own, self._subtree, self._attribute = proxyauth.Ldap.parse_spec(spec)
        except OptionsError:
            raise ValueError(f"proxy.auth: expected {_FORM}") from None
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED)
        self._server = ldap3.Server(
            host, port=port, use_ssl=secure, tls=tls, get_info=ldap3.NONE, connect_timeout=PATIENCE
        )
        try:
            self._find("nobody")  # now, so that what is wrong is said at the start
        except LDAPException as error:
            why = str(error).strip("(),'\"")  # often a tuple in a tuple
            raise OSError(f"proxy.auth: {host}: {why}") from None

    def __call__(self, name: str, password: str) -> bool:
        if not name or not password:  # a bind without a password is anonymous, and succeeds (RFC 4513 5.1.2)
            return False
        try:
            found = self._find(name)
            if len(found) == 1:
                self._bound(found[0], password).unbind()
            return len(found) == 1
        except LDAPException as error:
            if type(error).__name__ != "LDAPInvalidCredentialsResult":
                _log.error("proxy.auth: the directory: %s", type(error).__name__)
            return False

    def _find(self, name: str) -> list[str]:
        connection = self._bound(*self._own)
        asked = f"({self._attribute}={ldap3.utils.conv.escape_filter_chars(name)})"
        connection.search(self._subtree, asked, attributes=ldap3.NO_ATTRIBUTES, size_limit=2)
        found = [str(entry["dn"]) for entry in connection.response if entry["type"] == "searchResEntry"]
        connection.unbind()
        return found

    def _bound(self, name: str, password: str) -> ldap3.Connection:
        """A new connection: one that is kept is closed by the server some day. Raises LDAPException."""
        made = ldap3.Connection(
            self._server, name, password, read_only=True, raise_exceptions=True, receive_timeout=PATIENCE
        )
        made.bind()
        return made
