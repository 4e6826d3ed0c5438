from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.wire.cursor import Malformed
from sensor.wire.socks import SocksRequest, parse_socks
from tests.sensor.wire.samples import vec

NAME = b"\3" + vec(1, b"API.OpenAI.com") + b"\1\xbb"
SAMPLES = {
    "4": (b"\4\1\1\xbb\xc0\0\2\1me\0", SocksRequest(4, 1, "192.0.2.1", 443, "me", 11)),
    "4 bind": (b"\4\2\0\x50\xc0\0\2\1\0", SocksRequest(4, 2, "192.0.2.1", 80, "", 9)),
    "4a": (b"\4\1\1\xbb\0\0\0\1\xff\0claude.ai\0", SocksRequest(4, 1, "claude.ai", 443, "\\xff", 20)),
    "5 name": (b"\5\1\0" + b"\5\1\0" + NAME, SocksRequest(5, 1, "api.openai.com", 443, "", 24)),
    "5 v4": (b"\5\2\0\1\5\1\0\1\xc0\0\2\1\1\xbb", SocksRequest(5, 1, "192.0.2.1", 443, "", 14)),
    "5 v6": (b"\5\1\0\5\3\0\4" + bytes(15) + b"\1\0\x35", SocksRequest(5, 3, "::1", 53, "", 25)),
    "5 password": (
        b"\5\2\0\2" + b"\1" + vec(1, b"ann") + vec(1, b"secret") + b"\5\1\0" + NAME,
        SocksRequest(5, 1, "api.openai.com", 443, "ann", 37),
    ),
}


@pytest.mark.parametrize(("raw", "request_"), SAMPLES.values(), ids=SAMPLES)
def test_requests_and_every_cut_before_them(raw: bytes, request_: SocksRequest) -> None:
    assert parse_socks(raw + b"\x16\3\1tunnelled") == request_
    assert parse_socks(raw) == request_
    assert {parse_socks(raw[:cut]) for cut in range(len(raw))} == {None}
    assert "secret" not in repr(request_)


@pytest.mark.parametrize(
    "raw",
    [
        b"\6",
        b"\x16\3\1",
        b"\4\3",
        b"\5\0",  # no method
        b"\5\1\0\4",
        b"\5\1\0\1\1a",  # a password nobody offered
        b"\5\1\0\5\7\0\1",
        b"\5\1\0\5\1\1\1",
        b"\5\1\0\5\1\0\2",
        b"\4\1\0\0\1\1\1\1" + b"u" * 256,
    ],
)
def test_what_is_not_socks(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_socks(raw)


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda raw: b"\5\1\2" + raw))
def test_any_bytes_and_no_decision_is_taken_back(data: bytes) -> None:
    decided: object = None
    for cut in range(len(data) + 1):
        try:
            outcome: object = parse_socks(data[:cut])
        except Malformed:
            outcome = "malformed"
        assert decided is None or outcome == decided
        decided = outcome
