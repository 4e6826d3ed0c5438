from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.wire.cursor import Malformed
from sensor.wire.upgrade import OPENING, PREFACE_MAX, hello_offset
from tests.sensor.wire.samples import openssl_hello

HELLO = openssl_hello("mail.example")
PREFACES = {
    "smtp": b"EHLO client.example\r\nSTARTTLS\r\n",
    "smtp, a long name": b"ehlo " + b"x" * 60 + b"\r\nSTARTTLS\r\n",
    "imap": b". CAPABILITY\r\n. STARTTLS\r\n",
    "imap at once": b"a001 STARTTLS\r\n",
    "pop3": b"STLS\r\n",
    "pop3 asks first": b"CAPA\nSTLS\n",
    "ftp": b"FEAT\r\nAUTH TLS\r\n",
    "ftp at once": b"AUTH SSL\r\n",
    "xmpp": b"<?xml version='1.0'?><stream:stream to='a'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "ldap": bytes.fromhex("301d02010a77188016312e332e362e312e342e312e313436362e3230303337"),
    "postgresql": bytes.fromhex("0000000804d2162f"),
    "mysql": bytes.fromhex("200000018daeff0000000001210a") + bytes(22),
}


@pytest.mark.parametrize("preface", PREFACES.values(), ids=PREFACES)
def test_where_tls_begins(preface: bytes) -> None:
    stream = preface + HELLO
    first = next(cut for cut in range(len(stream)) if hello_offset(stream[:cut]) is not None)
    assert {hello_offset(stream[:cut]) for cut in range(first, len(stream) + 1)} == {len(preface)}
    assert first <= max(len(preface) + 7, OPENING)


@pytest.mark.parametrize(
    "stream",
    [
        b"\1",
        b"\xff\xff",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"EHLO\r\n",
        b"\0\0\0\x08" + bytes(44),
        b"0" + bytes(47),
        b"x" * OPENING,
        b"EHLO x\r\n" + b"MAIL FROM:<a@b>\r\n" * 200,
    ],
)
def test_what_does_not_turn_into_tls(stream: bytes) -> None:
    with pytest.raises(Malformed):
        hello_offset(stream)


def test_what_may_still_turn() -> None:
    for stream in (
        b"",
        b"E",
        b"EHLO x\r\n",
        b"\0\0",
        b"0" * (OPENING - 1),
        b"EHLO x\r\n".ljust(PREFACE_MAX - 1, b"x"),
    ):
        assert hello_offset(stream) is None


@given(st.binary(max_size=70) | st.binary(max_size=30).map(lambda raw: b"EHLO x\n" + raw + HELLO[:20]))
def test_any_bytes_and_no_decision_is_taken_back(data: bytes) -> None:
    decided: object = None
    for cut in range(len(data) + 1):
        try:
            outcome: object = hello_offset(data[:cut])
        except Malformed:
            outcome = "malformed"
        assert decided is None or outcome == decided
        decided = outcome
