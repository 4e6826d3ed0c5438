from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.wire import tls
from sensor.wire.cursor import Malformed
from sensor.wire.tls import ClientHello, client_hello, dtls_client_hello, parse_client_hello, server_hello
from tests.sensor.wire import samples
from tests.sensor.wire.samples import (
    alpn,
    handshake,
    hello_body,
    records,
    signatures,
    sni,
    u16s,
    vec,
    versions,
)

GREASE = (0x0A0A, 0x1A1A, 0xFAFA)


def test_a_real_hello() -> None:
    hello = client_hello(samples.openssl_hello())
    assert hello is not None
    assert hello.sni == "api.openai.com"
    assert hello.alpn == (b"h2", b"http/1.1")
    assert hello.supported_versions == (0x0304, 0x0303)
    assert hello.version == 0x0303
    assert 0x1301 in hello.cipher_suites
    assert 29 in hello.groups
    assert 0 in hello.point_formats
    assert 0x0403 in hello.signature_algorithms
    assert hello.compression == b"\0"
    assert len(hello.random) == 32
    assert not hello.ech


def test_every_field_of_the_hello_in_rfc_9001() -> None:
    hello = parse_client_hello(samples.RFC_HELLO)
    assert hello.sni == "example.com"
    assert hello.alpn == (b"alpn",)
    assert hello.cipher_suites == (0x1301, 0x1302)
    assert hello.groups == (29, 23, 24)
    assert [kind for kind, _ in hello.extensions] == [0, 65281, 10, 16, 5, 51, 43, 13, 45, 28, 57]
    assert hello.extension(28) == b"\x40\1"
    assert hello.extension(99) == b""


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100, 16_384])
def test_over_any_number_of_records(size: int) -> None:
    message = handshake(hello_body([sni(b"claude.ai")]))
    stream = records(message, size) + b"\x14\3\3\0\1\1"
    hello = client_hello(stream)
    assert hello == parse_client_hello(message)
    whole = len(records(message, size))
    assert all(client_hello(stream[:cut]) is None for cut in range(whole))


def test_prefixes_of_a_real_hello_need_more() -> None:
    stream = samples.openssl_hello()
    assert {client_hello(stream[:cut]) for cut in range(len(stream))} == {None}


def test_ssl3_hello_without_extensions() -> None:
    hello = client_hello(records(handshake(hello_body(None, version=0x0300))))
    assert hello is not None
    assert (hello.version, hello.extensions, hello.sni, hello.alpn) == (0x0300, (), "", ())


def test_odd_cipher_length_does_not_hide_the_name() -> None:
    body = b"\3\3" + bytes(32) + b"\0" + vec(2, b"\x13\1\x13") + b"\1\0" + hello_body([sni(b"x.ai")])[43:]
    hello = client_hello(records(handshake(body)))
    assert hello is not None
    assert hello.cipher_suites == (0x1301,)
    assert hello.sni == "x.ai"


def test_bytes_behind_the_extensions_must_have_come_too() -> None:
    stream = records(handshake(hello_body([sni(b"x.ai")]) + b"junk"))
    assert client_hello(stream[:-1]) is None
    assert client_hello(stream) is not None


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1",
        b"\x17\3\3",
        b"\x16\2",
        b"\x16\3\1\0\0",  # empty record
        b"\x16\3\1\x40\1",  # record beyond its limit
        b"\x16\3\1\0\4\2",  # a ServerHello
        b"\x16\3\1\0\5\1\x02\x02\0\0",  # longer than any hello
        b"\x16\3\1\0\4\1\0\0\0",  # empty hello
        b"\x16\3\1\0\1\1\x17",  # another record within the message
        records(
            handshake(b"\3\3" + bytes(32) + b"\0\0\2\x13\1\1\0\0\5\0\0\0\1")
        ),  # extensions beyond the message
        records(handshake(b"\3\3" + bytes(32) + b"\0\0\2\x13\1\1\0\0\1\0")),  # half an extension
    ],
)
def test_what_cannot_be_a_hello(stream: bytes) -> None:
    with pytest.raises(Malformed):
        client_hello(stream)


def test_a_broken_length_is_certain_before_the_rest_comes() -> None:
    body = b"\3\3" + bytes(32) + b"\0" + b"\xff\xf0"  # cipher suites far beyond the message
    with pytest.raises(Malformed):
        client_hello(records(handshake(body + bytes(60)))[:60])


@pytest.mark.parametrize(
    "message",
    [b"", b"\2\0\0\0", b"\1\0\0\5\0", handshake(hello_body())[:-1]],
)
def test_bare_messages_that_are_no_hello(message: bytes) -> None:
    with pytest.raises(Malformed):
        parse_client_hello(message)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0, b"\0"),
        (0, b"\0\5\0\0\xffab"),
        (0, vec(2, b"\7" + vec(2, b"other"))),
        (16, b"\0\3\5ab"),
        (43, b"\xff"),
        (10, b""),
        (13, b"\0"),
        (11, b""),
    ],
)
def test_broken_content_of_an_extension_reads_as_empty(kind: int, body: bytes) -> None:
    hello = parse_client_hello(handshake(hello_body([(kind, body)])))
    assert hello.extensions == ((kind, body),)
    assert (hello.sni, hello.alpn) == ("", ())
    assert (hello.supported_versions, hello.groups, hello.signature_algorithms, hello.point_formats) == (
        (),
    ) * 4


def test_names_and_protocols_that_are_not_ascii() -> None:
    hello = parse_client_hello(handshake(hello_body([sni(b"B\xfccher.EXAMPLE."), alpn(b"\xba\xad", b"h2")])))
    assert hello.sni == r"b\xfccher.example"
    assert hello.alpn == (b"\xba\xad", b"h2")


@pytest.mark.parametrize(("kind", "ech"), [(0xFE0D, True), (0xFE08, True), (0xFFCE, True), (0xFE0E, False)])
def test_ech(kind: int, ech: bool) -> None:
    assert parse_client_hello(handshake(hello_body([(kind, b"\0")]))).ech is ech


def test_grease() -> None:
    assert len(tls.GREASE) == 16
    assert set(GREASE) < tls.GREASE
    assert not tls.GREASE & {0x0A1A, 0x1301, 0, 0xABAB}


@pytest.mark.parametrize(("size", "version"), [(65_535, 0xFEFF), (20, 0xFEFD)])
def test_dtls_fragments_in_any_order(size: int, version: int) -> None:
    body = hello_body([sni(b"stun.example"), versions(0xFEFC, 0xFEFD)], version=0xFEFD, cookie=b"tasty")
    parts = samples.dtls_records(body, size, version)
    for order in (parts, parts[::-1], parts + parts):
        hello = dtls_client_hello(b"".join(order))
        assert hello is not None
        assert (hello.sni, hello.version, hello.cookie) == ("stun.example", 0xFEFD, b"tasty")
        assert hello.supported_versions == (0xFEFC, 0xFEFD)
    if len(parts) > 1:
        assert dtls_client_hello(b"".join(parts[1:])) is None
        assert dtls_client_hello(b"".join(parts[:-1])) is None


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x16\xfe\xfd",
        b"\x17\xfe\xfd" + bytes(10),
        b"\x16\3\1" + bytes(10),
        b"\x16\xfe\xfd\0\1" + bytes(8),  # epoch 1 is encrypted
        b"\x16\xfe\xfd" + bytes(8) + vec(2, b"\2" + bytes(11)),  # ServerHello
        b"\x16\xfe\xfd" + bytes(8) + vec(2, b"\1\0\0\1\0\0\0\0\1\0\0\1x"),  # fragment beyond the message
        samples.dtls_records(b"x" * 30)[0],
        samples.dtls_records(hello_body(cookie=b""))[0]
        + samples.dtls_records(hello_body(cookie=b"longer"))[0],
    ],
)
def test_what_is_no_dtls_hello(datagram: bytes) -> None:
    with pytest.raises(Malformed):
        dtls_client_hello(datagram)


def server_body(extensions: bytes = b"", random: bytes = bytes(32), version: bytes = b"\3\3") -> bytes:
    return version + random + b"\0\x13\1\0" + extensions


def test_server_hello_of_each_kind() -> None:
    block = vec(2, b"\0\x2b\0\2\3\4")
    tls13 = server_hello(records(handshake(server_body(block), 2)))
    assert tls13 is not None
    assert (tls13.version, tls13.cipher_suite, tls13.alpn, tls13.retry) == (0x0304, 0x1301, b"", False)
    tls12 = server_hello(records(handshake(server_body(vec(2, b"\0\x10\0\5" + vec(2, vec(1, b"h2")))), 2)))
    assert tls12 is not None
    assert (tls12.version, tls12.alpn) == (0x0303, b"h2")
    bare = server_hello(records(handshake(server_body(version=b"\3\0"), 2)))
    assert bare is not None
    assert (bare.version, bare.extensions) == (0x0300, ())
    retry = server_hello(records(handshake(server_body(block, tls.RETRY_RANDOM), 2), 7))
    assert retry is not None
    assert retry.retry


def test_server_hello_prefixes_and_alerts() -> None:
    stream = records(handshake(server_body(vec(2, b"\0\x2b\0\2\3\4")), 2))
    assert {server_hello(stream[:cut]) for cut in range(len(stream))} == {None}
    extra = records(handshake(server_body(vec(2, b"")) + b"x", 2))
    assert server_hello(extra[:-1]) is None
    for wrong in (b"\x15\3\3\0\2\2\x28", samples.openssl_hello(), records(handshake(b"\3\3", 2))):
        with pytest.raises(Malformed):
            server_hello(wrong)


def test_the_server_hello_of_a_real_server(tmp_path: object) -> None:
    """OpenSSL on both ends, anonymous ciphers so that no certificate is needed."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for context in (server, client):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")
        context.set_alpn_protocols(["http/1.1"])
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side, server_side = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for side in (client_side, server_side):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    hello = server_hello(down.read())
    assert hello is not None
    assert (hello.version, hello.cipher_suite, hello.alpn) == (0x0303, 0xC018, b"http/1.1")


def touch(hello: ClientHello | None) -> None:
    if hello is not None:
        _ = (hello.sni, hello.alpn, hello.supported_versions, hello.groups, hello.point_formats)
        _ = (hello.signature_algorithms, hello.ech)


SOME = st.binary(max_size=80) | st.binary(max_size=80).map(
    lambda raw: records(handshake(hello_body([(0, raw)])))
)


@given(st.sampled_from((client_hello, parse_client_hello, dtls_client_hello, server_hello)), SOME)
def test_any_bytes(parse: object, data: bytes) -> None:
    try:
        hello = parse(data)  # type: ignore[operator]
    except Malformed:
        return
    if isinstance(hello, ClientHello):
        touch(hello)


@given(st.data())
def test_a_damaged_hello_decides_the_same_byte_by_byte(data: st.DataObject) -> None:
    stream = bytearray(records(handshake(hello_body([sni(b"x.ai"), alpn(b"h2"), signatures(0x403)])), 40))
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    outcomes = [outcome(bytes(stream[:cut])) for cut in range(len(stream) + 1)]
    decided = [one for one in outcomes if one is not None]
    assert all(one == decided[0] for one in decided)  # never taken back
    assert outcomes[outcomes.index(decided[0]) :] == decided if decided else True


def outcome(stream: bytes) -> ClientHello | str | None:
    try:
        return client_hello(stream)
    except Malformed:
        return "malformed"


def test_u16s_of_the_samples_round_trip() -> None:
    assert parse_client_hello(handshake(hello_body([(10, vec(2, u16s((29, 23))))]))).groups == (29, 23)
