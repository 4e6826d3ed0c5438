from __future__ import annotations

from pathlib import Path

import pytest

from sensor.proxy import ca, pages
from sensor.proxy.coach import REASON, Grants
from sensor.proxy.local import BODY, Local

WHO = ("anna", "chatgpt", "think")


@pytest.fixture
def grants() -> Grants:
    return Grants(60)


@pytest.fixture
def local(tmp_path: Path, grants: Grants) -> Local:
    ca.ensure(tmp_path)
    certificate, fingerprint = tmp_path / ca.PUBLIC, ca.fingerprint(tmp_path)
    return Local(
        "proxy.corp:8080", certificate, fingerprint, ["api.openai.com"], grants, 600, clock=lambda: 5
    )


@pytest.mark.parametrize(
    ("host", "port", "path", "own", "served"),
    [
        (pages.HOST, 80, "/anything", None, True),
        ("proxy.corp", 8080, "/proxy.pac", None, True),
        ("10.0.0.1", 8080, "/", ("10.0.0.1", 8080), True),
        ("10.0.0.1", 8080, "/coach/x", ("10.0.0.1", 8080), True),
        ("10.0.0.1", 8080, "/other", ("10.0.0.1", 8080), False),
        ("www.example.com", 80, "/", ("10.0.0.1", 8080), False),
        ("www.example.com", 80, "/", None, False),
    ],
)
def test_what_is_for_the_site(
    local: Local, host: str, port: int, path: str, own: tuple[str, int] | None, served: bool
) -> None:
    assert local.serves(host, port, path, own) is served


def test_files(local: Local, tmp_path: Path) -> None:
    assert local.answer("GET", "/aiscope-ca.crt", b"").body == (tmp_path / ca.PUBLIC).read_bytes()
    bundle = local.answer("GET", "/aiscope-bundle.pem", b"").body
    assert bundle.count(b"BEGIN CERTIFICATE") > 50
    assert bundle.endswith((tmp_path / ca.PUBLIC).read_bytes())
    text = local.answer("GET", "/setup.txt", b"").body.decode()
    assert ca.fingerprint(tmp_path) in text
    assert "http://proxy.corp:8080/aiscope-ca.crt" in text
    for name in ("/mitmproxy-ca.pem", "/../aiscope-ca.crt", "/hash.key"):
        assert local.answer("GET", name, b"").status == 404


def test_a_person_says_why_and_goes_on_once(local: Local, grants: Grants) -> None:
    token = grants.ticket(WHO, "Is it <needed>?", 0)
    assert local.link(token) == f"http://{pages.HOST}/coach/{token}"
    path = f"/coach/{token}"
    form = local.answer("GET", path, b"")
    assert b"Is it &lt;needed&gt;?" in form.body
    assert b"10 minutes" in form.body
    for silent in (b"", b"reason=", b"reason=%20", b"other=x", b"&" * BODY):
        assert local.answer("POST", path, silent).justified is None
    assert not grants.holds(WHO, 5)
    done = local.answer("POST", path, b"reason=" + b"x" * BODY)
    assert done.justified
    assert (done.justified[0].who, len(done.justified[1])) == (WHO, REASON)
    assert grants.holds(WHO, 5)
    assert local.answer("POST", path, b"reason=x").status == 410
