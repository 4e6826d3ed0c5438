from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.wire import quic
from sensor.wire.cursor import Malformed
from sensor.wire.quic import (
    VERSION_1,
    VERSION_2,
    ClientCrypto,
    Probe,
    crypto_frames,
    initial_keys,
    parse_packets,
)
from sensor.wire.tls import parse_client_hello
from tests.sensor.wire.samples import (
    DCID,
    RFC_HELLO,
    crypto,
    handshake,
    hello_body,
    initial,
    sni,
    varint,
    vec,
)

# RFC 9001 A.3 and RFC 9369 A.3: the server's Initials, whole.
SERVER_1 = bytes.fromhex(
    "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf7"
    "3c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f"
    "58891850abbdca3d20398c276456cbc42158407dd074ee"
)
SERVER_2 = bytes.fromhex(
    "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf87263017915358230035f7"
    "fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707f0a0812d8cd5a6881eaf21ce"
    "da98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140"
)
SERVER_PAYLOAD = bytes.fromhex(
    "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200130100002e003300"
    "24001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304"
)
DRAFTS = {
    22: "7fbcdb0e",
    23: "c3eef712",
    28: "c3eef712",
    29: "afbfec28",
    32: "afbfec28",
    33: "38762cf7",
    34: "38762cf7",
}
HELLO = handshake(hello_body([sni(b"gemini.google.com"), (0x33, bytes(1_500))]))


def fed(*datagrams: bytes, crypto_state: ClientCrypto | None = None) -> ClientCrypto:
    state = crypto_state or ClientCrypto()
    for datagram in datagrams:
        state.feed(datagram)
    return state


def test_client_keys_of_rfc_9001_and_9369() -> None:
    one, two = initial_keys(VERSION_1, DCID), initial_keys(VERSION_2, DCID)
    assert one.key.hex() == "1f369613dd76d5467730efcbe3b1a22d"
    assert one.iv.hex() == "fa044b2f42a3fd3b46fb255c"
    assert one.hp.hex() == "9f50449e04a0e810283a1e9933adedd2"
    assert two.key.hex() == "8b1a0bc121284290a29e0971b5cd045d"
    assert two.iv.hex() == "91f73e2351d8fa91660e909f"
    assert two.hp.hex() == "45b95e15235d6f45a6b19cbcb0294ba9"


@pytest.mark.parametrize(
    ("version", "head", "tail"),
    [
        (
            VERSION_1,
            "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
            "e221af44860018ab0856972e194cd934",
        ),
        (
            VERSION_2,
            "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
            "a18b2faa745b6fe189cf772a9f84cbfc",
        ),
    ],
)
def test_the_clients_initial_of_appendix_a(version: int, head: str, tail: str) -> None:
    datagram = initial(crypto(0, RFC_HELLO), version=version)
    assert datagram.startswith(bytes.fromhex(head))  # and the tag at its end vouches for the rest
    assert datagram.endswith(bytes.fromhex(tail))
    state = fed(datagram)
    assert (state.probe, state.version, state.hello) == (Probe.HELLO, version, RFC_HELLO)
    assert parse_client_hello(state.hello).sni == "example.com"


@pytest.mark.parametrize(("version", "datagram"), [(VERSION_1, SERVER_1), (VERSION_2, SERVER_2)])
def test_the_servers_initial_of_appendix_a(version: int, datagram: bytes) -> None:
    (packet,) = parse_packets(datagram)
    assert (packet.kind, packet.version, packet.dcid, packet.scid.hex()) == (
        quic.INITIAL,
        version,
        b"",
        "f067a5502a4262b5",
    )
    number, payload = quic.unprotect(datagram, packet, initial_keys(version, DCID, server=True))
    assert (number, payload) == (1, SERVER_PAYLOAD)
    ((offset, data),) = crypto_frames(payload)
    assert (offset, data[:1]) == (0, b"\2")


@pytest.mark.parametrize(("draft", "salt"), DRAFTS.items())
def test_drafts(draft: int, salt: str) -> None:
    version = 0xFF000000 + draft
    found = quic.salt(version)
    assert found is not None
    assert found.hex().startswith(salt)
    assert len(found) == 20
    assert fed(initial(crypto(0, RFC_HELLO), version=version)).hello == RFC_HELLO


def test_versions() -> None:
    assert quic.salt(0xFACEB001) == quic.salt(0xFF000016)
    assert quic.salt(0xFACEB002) == quic.salt(0xFF00001B)
    for unreadable in (0xFF000015, 0xFF000023, 0, 2, 0x51303530, 0x1A2A3A4A):
        assert quic.salt(unreadable) is None
    for known in (1, VERSION_2, 0xFF00001D, 0xFF000010, 0x51303530, 0x54303531, 0xFACEB003, 0x1A2A3A4A):
        assert quic.is_version(known)
    for other in (0, 2, 0x12345678):
        assert not quic.is_version(other)


def pieces(size: int = 300) -> list[bytes]:
    return [crypto(at, HELLO[at : at + size]) for at in range(0, len(HELLO), size)]


def test_frames_in_any_order_over_several_datagrams() -> None:
    parts = pieces()
    half = len(parts) // 2
    for order in (parts, parts[::-1], parts[half:] + parts[:half]):
        one = initial(b"\1".join(order[:half]), number=0)
        two = initial(b"\0\0\0\1\0".join(order[half:]), number=1)
        state = fed(one)
        assert (state.probe, state.hello) == (Probe.MORE, b"")
        assert fed(two, crypto_state=state).hello == HELLO
        assert fed(two, one).hello == HELLO


def test_overlapping_and_repeated_frames() -> None:
    payload = (
        crypto(0, HELLO[:500])
        + crypto(100, HELLO[100:200])
        + crypto(0, HELLO[:50])
        + crypto(400, HELLO[400:900])
    )
    assert (
        fed(initial(payload), initial(payload, number=3), initial(crypto(900, HELLO[900:]), number=4)).hello
        == HELLO
    )


def test_coalesced_packets_and_what_follows_them() -> None:
    one = initial(crypto(0, HELLO[:600]), size=700, number=0)
    two = initial(crypto(600, HELLO[600:]), size=1_700, number=1)
    zero_rtt = b"\xd0" + (1).to_bytes(4, "big") + vec(1, DCID) + b"\0" + varint(30) + bytes(30)
    assert fed(one + zero_rtt + two + b"\0" * 20).hello == HELLO
    kinds = [packet.kind for packet in parse_packets(one + zero_rtt + two + b"\x40rest")]
    assert kinds == [quic.INITIAL, quic.ZERO_RTT, quic.INITIAL, quic.SHORT]


def test_connection_id_changed_by_the_server_keeps_the_keys() -> None:
    one = initial(crypto(0, HELLO[:600]))
    two = initial(crypto(600, HELLO[600:]), dcid=b"chosen by server", keys_from=DCID, number=3, size=1_700)
    assert fed(one, two).hello == HELLO


def test_keys_after_retry_come_from_the_new_connection_id() -> None:
    first = initial(crypto(0, HELLO[:600]), number=0)
    again = [
        initial(crypto(0, HELLO[:600]), dcid=b"retry-scid", token=b"token", number=1),
        initial(crypto(600, HELLO[600:]), dcid=b"retry-scid", token=b"token", number=2, size=1_700),
    ]
    for order in (again, again[::-1]):
        assert fed(first, *order).hello == HELLO


def test_keys_and_hello_after_version_negotiation() -> None:
    other = initial(crypto(0, b"\1" + HELLO[1:300]), version=0xFF00001D)
    assert fed(other, initial(crypto(0, RFC_HELLO), dcid=b"another", version=VERSION_2)).hello == RFC_HELLO


def test_packet_numbers_continue_from_the_largest() -> None:
    parts = [
        initial(crypto(0, HELLO[:600]), number=250, number_size=1),
        initial(crypto(600, HELLO[600:]), number=260, number_size=1, size=1_700),
    ]
    assert fed(*parts).hello == HELLO
    assert quic._full_number(0x9B32, 16, 0xA82F30EB) == 0xA82F9B32  # RFC 9000 A.3
    assert quic._full_number(0xFF, 8, 0x100) == 0xFF


def test_other_frames_of_an_initial() -> None:
    ack = b"\2" + varint(5) + varint(0) + varint(1) + varint(2) + varint(1) + varint(1)
    ecn = b"\3" + varint(5) + varint(0) + varint(0) + varint(2) + varint(1) * 3
    close = b"\x1c" + varint(10) + varint(6) + vec(1, b"why")
    application_close = b"\x1d" + varint(10) + vec(1, b"why")
    payload = ack + ecn + b"\1\0\0" + crypto(7, b"data") + close + application_close
    assert crypto_frames(payload) == ((7, b"data"),)


@pytest.mark.parametrize("payload", [b"\x08", b"\6\0\5abc", b"\2\0\0\x20\0", b"\x1c\0"])
def test_what_is_no_payload_of_an_initial(payload: bytes) -> None:
    with pytest.raises(Malformed):
        crypto_frames(payload)
    assert fed(initial(payload + b"\x08", size=1)).probe is Probe.MORE


def test_retry_and_negotiation_headers() -> None:
    for version, first in ((VERSION_1, 0xF0), (VERSION_2, 0xC0)):
        retry = (
            bytes((first,))
            + version.to_bytes(4, "big")
            + vec(1, b"dst")
            + vec(1, b"source")
            + b"token"
            + bytes(16)
        )
        (packet,) = parse_packets(retry)
        assert (packet.kind, packet.token, packet.scid) == (quic.RETRY, b"token", b"source")
    (packet,) = parse_packets(b"\xff" + bytes(4) + vec(1, b"dst") + vec(1, b"src") + b"\0\0\0\1")
    assert (packet.kind, packet.dcid) == (quic.NEGOTIATION, b"dst")


@pytest.mark.parametrize(
    ("datagram", "version"),
    [
        (b"\xc3Q050" + vec(1, DCID) + b"\0" + bytes(1_200), 0x51303530),
        (b"\xc3Q046\x50" + DCID + bytes(1_200), 0x51303436),
        (b"\xc0\x1a\x2a\x3a\x4a" + vec(1, bytes(200)) + b"\0" + bytes(1_200), 0x1A2A3A4A),
    ],
)
def test_versions_that_hide_their_name(datagram: bytes, version: int) -> None:
    state = fed(*[datagram] * 15)
    assert (state.probe, state.version) == (Probe.MORE, version)
    assert (state.feed(datagram), state.version) == (Probe.UNREADABLE, version)
    assert state.feed(initial(crypto(0, RFC_HELLO))) is Probe.UNREADABLE
    state = fed(datagram, initial(crypto(0, RFC_HELLO)))  # the server wanted another one
    assert (state.probe, state.version, state.hello) == (Probe.HELLO, VERSION_1, RFC_HELLO)


def test_before_quic_had_versions_that_servers_refuse() -> None:
    state = fed(b"\x0d" + DCID + b"Q043" + bytes(1_200))
    assert (state.probe, state.version) == (Probe.UNREADABLE, 0x51303433)
    assert state.feed(initial(crypto(0, RFC_HELLO))) is Probe.UNREADABLE


@pytest.mark.parametrize(
    "datagram",
    [
        b"\x40" + bytes(30),  # short header: the flow did not begin here
        b"\x16\xfe\xfd" + bytes(20),  # DTLS
        b"\x80\x60" + bytes(170),  # RTP
        b"\xc0\0\0\0\1\xff",
        b"\xc0\0\0\0\1" + vec(1, bytes(21)) + b"\0\0\0",
        b"\xc0\x12\x34\x56\x78\0\0" + bytes(1_200),
        b"\xff" + bytes(40),
        b"\x09" + DCID + b"Qx43",
    ],
)
def test_what_is_not_quic(datagram: bytes) -> None:
    state = fed(datagram)
    assert (state.probe, state.version) == (Probe.OTHER, 0)


def test_what_will_not_be_read() -> None:
    assert fed(initial(crypto(0, b"\2\0\0\0"))).probe is Probe.UNREADABLE  # no ClientHello
    assert fed(initial(crypto(0, b"\1\1\0\0"))).probe is Probe.UNREADABLE  # longer than the limit
    many = [initial(crypto(at, bytes(1_000)), number=at) for at in range(1, 20_000, 1_000)]
    assert fed(*many[:15]).probe is Probe.MORE
    assert fed(*many, crypto_state=ClientCrypto(datagrams=100)).probe is Probe.UNREADABLE
    assert fed(*[b"\x40rest"] * 3, crypto_state=fed(initial(b"\1"))).probe is Probe.MORE
    assert (
        fed(initial(b"\1"), initial(b"\1"), crypto_state=ClientCrypto(datagrams=2)).probe is Probe.UNREADABLE
    )


def test_a_packet_that_does_not_authenticate_is_passed_over() -> None:
    good = initial(crypto(0, RFC_HELLO))
    for at in (5, 200, len(good) - 1):
        bad = good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]
        state = fed(bad)
        assert state.hello == b""
    (packet,) = parse_packets(good)
    with pytest.raises(Malformed):
        quic.unprotect(good, packet, initial_keys(VERSION_1, b"other"))
    short = b"\xc0\0\0\0\1\0\0\0\x05" + bytes(5)
    assert fed(short).probe is Probe.MORE
    assert fed(b"").probe is Probe.MORE


@given(
    st.lists(
        st.binary(max_size=60) | st.binary(max_size=60).map(lambda raw: b"\xc0\0\0\0\1" + raw), max_size=5
    )
)
def test_any_datagrams(datagrams: list[bytes]) -> None:
    state = fed(*datagrams)
    assert state.hello == b""
    for datagram in datagrams:
        try:
            packets = parse_packets(datagram)
        except Malformed:
            continue
        assert all(0 <= packet.start <= packet.end <= len(datagram) for packet in packets)


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(1, 2_000))
def test_any_payload_that_authenticates(payloads: list[bytes], most: int) -> None:
    state = fed(
        *(initial(p, size=4, number=i) for i, p in enumerate(payloads)), crypto_state=ClientCrypto(most=most)
    )
    assert state.hello == b"" or state.hello[:1] == b"\1"
    for payload in payloads:
        with suppress(Malformed):
            crypto_frames(payload)


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(40, 700))
def test_any_split_and_order_of_a_hello(random: object, size: int) -> None:
    parts = pieces(size)
    random.shuffle(parts)  # type: ignore[attr-defined]
    cut = random.randint(0, len(parts))  # type: ignore[attr-defined]
    state = fed(initial(b"".join(parts[:cut]), number=0), initial(b"".join(parts[cut:]), number=1))
    assert state.hello == HELLO
