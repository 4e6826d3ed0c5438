from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP

from sensor.wire.cursor import Malformed
from sensor.wire.dhcp import parse_dhcp
from tests.sensor.wire.samples import vec

MAC = bytes.fromhex("02005e10a0ff")


def message(*options: object, **fields: object) -> bytes:
    """A message as scapy writes it."""
    return bytes(BOOTP(chaddr=MAC + bytes(10), **fields) / DHCP(options=[*options, "end"]))


def test_a_request() -> None:
    dhcp = parse_dhcp(
        message(
            ("message-type", "request"),
            ("requested_addr", "192.0.2.7"),
            ("hostname", "Ann-Laptop"),
            (81, b"\0\0\0Ann-Laptop.corp.example"),
            op=1,
            xid=7,
        )
    )
    assert (dhcp.type, dhcp.is_reply, dhcp.transaction, dhcp.client_mac) == (3, False, 7, "02:00:5e:10:a0:ff")
    assert (dhcp.host_name, dhcp.fqdn) == ("ann-laptop", "ann-laptop.corp.example")
    assert (dhcp.requested_ip, dhcp.client_ip, dhcp.your_ip, dhcp.lease) == ("192.0.2.7", "", "", None)


def test_an_acknowledgement() -> None:
    dhcp = parse_dhcp(
        message(("message-type", "ack"), ("lease_time", 3_600), op=2, yiaddr="192.0.2.7", ciaddr="192.0.2.6")
    )
    assert (dhcp.type, dhcp.is_reply, dhcp.lease) == (5, True, 3_600)
    assert (dhcp.your_ip, dhcp.client_ip) == ("192.0.2.7", "192.0.2.6")
    assert dict(dhcp.options) == {53: b"\5", 51: b"\0\0\x0e\x10"}


@pytest.mark.parametrize(
    ("option", "fqdn"),
    [
        (b"\4\0\0" + vec(1, b"Lab") + vec(1, b"example") + b"\0", "lab.example"),
        (b"\4\0\0" + vec(1, b"partial"), "partial"),
        (b"\4\0\0\xc0\0", ""),
        (b"\0\0\0plain.example\0", "plain.example"),
        (b"\0\0\0", ""),
    ],
)
def test_fqdn_in_either_form(option: bytes, fqdn: str) -> None:
    assert parse_dhcp(message((81, option))).fqdn == fqdn


def test_odd_options() -> None:
    head = message()[: 236 + 4]
    dhcp = parse_dhcp(
        head + b"\0\0" + b"\x0c" + vec(1, b"ann\0") + b"\x0c" + vec(1, b"x") + b"\x33\1\1\x32\1\1"
    )
    assert dhcp.options == ((12, b"ann\0x"), (51, b"\1"), (50, b"\1"))  # no end, parts of one option joined
    assert (dhcp.host_name, dhcp.lease, dhcp.requested_ip, dhcp.type) == (r"ann\x00x", None, "", 0)
    token_ring = bytearray(head)
    token_ring[1] = 6
    assert parse_dhcp(bytes(token_ring)).client_mac == ""


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        message()[:239],
        message()[:236] + b"nope\xff",
        b"\3" + message()[1:],
        message()[:240] + b"\x0c\5a",
    ],
)
def test_what_is_not_dhcp(payload: bytes) -> None:
    with pytest.raises(Malformed):
        parse_dhcp(payload)


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    for payload in (data, message()[:240] + data):
        with suppress(Malformed):
            parse_dhcp(payload)
