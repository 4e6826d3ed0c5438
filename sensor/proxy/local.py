"""The proxy's own small site: setup page, certificate, PAC file, and the form by which a coached person goes
on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import certifi

from sensor.proxy import pages
from sensor.proxy.coach import REASON, Grants, Ticket

BODY = 8_192  # bytes of a form
_TEXT = {"content-type": "text/plain; charset=utf-8"}


class Page(NamedTuple):
    """An answer; `justified` is the ticket and the reason when a person goes on."""

    status: int
    body: bytes
    headers: dict[str, str]
    justified: tuple[Ticket, str] | None = None


class Local:
    """One for a proxy. `address` is where clients reach it, `host:port`."""

    def __init__(
        self,
        address: str,
        certificate: Path,
        fingerprint: str,
        names: Iterable[str],
        grants: Grants,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._grants, self._clock = address, grants, clock
        self._minutes = max(1, round(seconds / 60))
        pem = certificate.read_bytes()
        bundle = Path(certifi.where()).read_bytes() + b"\n" + pem
        self._files = {
            "/": (pages.setup(address, fingerprint), pages.HEADERS),
            "/setup.txt": (pages.trust_text(address, fingerprint).encode() + b"\n", _TEXT),
            "/aiscope-ca.crt": (pem, {"content-type": "application/x-x509-ca-cert"}),
            "/aiscope-bundle.pem": (bundle, {"content-type": "application/x-pem-file"}),
            "/proxy.pac": (pages.pac(address, names), {"content-type": "application/x-ns-proxy-autoconfig"}),
        }

    def serves(self, host: str, port: int, path: str, own: tuple[str, int] | None) -> bool:
        """Whether a request is for this site: by its name, or for the address where clients reach it or that the
        connection came in at (`own`; None where that is another server's)."""
        mine = f"{host}:{port}" == self._address or (bool(own) and port == own[1])  # type: ignore[index]
        return host == pages.HOST or (mine and (path in self._files or path.startswith("/coach/")))

    @staticmethod
    def link(token: str) -> str:
        """Where the holder of a ticket goes on; "" without one."""
        return f"http://{pages.HOST}/coach/{token}" if token else ""

    def answer(self, method: str, path: str, body: bytes) -> Page:
        """The answer to any request."""
        if path.startswith("/coach/"):
            return self._coach(method, path.removeprefix("/coach/"), body[:BODY])
        if path not in self._files:
            return Page(404, pages.page("Not here", "<p><a href='/'>Setup</a></p>"), pages.HEADERS)
        data, headers = self._files[path]
        return Page(200, data, headers)

    def _coach(self, method: str, token: str, body: bytes) -> Page:
        now = self._clock()
        ticket = self._grants.find(token, now)
        if ticket is None:
            return Page(410, pages.gone(), pages.HEADERS)
        reason = _reason(body) if method == "POST" else ""
        if not reason:
            return Page(200, pages.ask(ticket.message, self._minutes), pages.HEADERS)
        self._grants.justify(token, now)
        return Page(200, pages.granted(self._minutes), pages.HEADERS, (ticket, reason))


def _reason(body: bytes) -> str:
    try:
        form = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=8))
    except ValueError:  # more fields
        return ""
    return form.get("reason", "").strip()[:REASON]
