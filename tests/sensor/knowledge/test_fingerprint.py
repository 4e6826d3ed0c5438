from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.knowledge.fingerprint import ja3, ja3_text, ja4
from sensor.wire.peek import peek
from sensor.wire.quic import ClientCrypto, Probe
from sensor.wire.tls import ClientHello, parse_client_hello
from tests.sensor.wire.samples import alpn, handshake, hello_body, signatures, sni, u16s, vec, versions

SHARED = Path(__file__).parents[4] / "shared" / "captures" / "public"
NOTHING = "000000000000"


def hello(*extensions: tuple[int, bytes], **fields: object) -> ClientHello:
    return parse_client_hello(handshake(hello_body(extensions, **fields)))  # type: ignore[arg-type]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def chrome() -> ClientHello:
    """The hello of FoxIO's worked example, with GREASE in every list."""
    ciphers = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
    algorithms = "0403,0804,0401,0503,0805,0501,0806,0601"
    content = {
        0x0000: sni(b"example.com")[1],
        0x0010: alpn(b"h2", b"http/1.1")[1],
        0x002B: versions(0x2A2A, 0x0304, 0x0303)[1],
        0x000D: signatures(*(int(a, 16) for a in algorithms.split(",")))[1],
        0x000A: vec(2, u16s((0x3A3A, 29, 23, 24))),
        0x000B: vec(1, b"\0"),
    }
    order = "0a0a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015,fafa"
    extensions = [(int(kind, 16), content.get(int(kind, 16), b"")) for kind in order.split(",")]
    return hello(*extensions, ciphers=[0x1A1A, *(int(c, 16) for c in ciphers.split(","))])


def test_foxios_worked_example() -> None:
    assert ja4(chrome(), "t") == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert ja4(chrome(), "q") == "q13d1516h2_8daaf6152771_e5627efa2ab1"


def test_ja3_leaves_grease_out() -> None:
    text = ja3_text(chrome())
    assert text == (
        "771,4865-4866-4867-49195-49199-49196-49200-52393-52392-49171-49172-156-157-47-53,"
        "27-0-51-16-17513-23-45-13-5-35-18-43-65281-11-10-21,29-23-24,0"
    )
    assert ja3(chrome()) == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    assert ja3_text(hello(ciphers=())) == "771,,,,"


def test_nothing_hashes_to_zeros() -> None:
    assert ja4(hello(ciphers=()), "t") == f"t12i000000_{NOTHING}_{NOTHING}"
    assert ja4(hello(sni(b"a"), alpn(b"h2")), "t").endswith(f"h2_{digest('1301,c02f')}_{NOTHING}")


def test_without_signature_algorithms_there_is_no_underscore() -> None:
    assert ja4(hello((0x17, b""), (0x0A, b"")), "t").endswith(digest("000a,0017"))
    assert ja4(hello(signatures(0x0A0A, 0x0804, 0x0403)), "t").endswith(digest("000d_0804,0403"))


def test_delegated_credentials_do_not_count_as_signature_algorithms() -> None:
    assert ja4(hello((0x22, vec(2, u16s((0x0403,))))), "t").endswith(digest("0022"))


@pytest.mark.parametrize(
    ("legacy", "offered", "code"),
    [
        (0x0303, (0x0304, 0x0303), "13"),
        (0x0303, (0x0303, 0x7A7A, 0x0302), "12"),
        (0x0302, (), "11"),
        (0x0301, (0x0A0A,), "10"),
        (0x0300, (), "s3"),
        (0x0002, (), "s2"),
        (0xFEFF, (), "d1"),
        (0xFEFD, (), "d2"),
        (0xFEFD, (0xFEFD, 0xFEFC), "d3"),
        (0x0305, (), "00"),
    ],
)
def test_versions(legacy: int, offered: tuple[int, ...], code: str) -> None:
    extensions = [versions(*offered)] if offered else []
    assert ja4(hello(*extensions, version=legacy), "d")[:3] == f"d{code}"


@pytest.mark.parametrize(
    ("first", "code"),
    [  # the first five non-alphanumeric ones are FoxIO's
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"a", "aa"),
        (b"", "00"),
    ],
)
def test_alpn(first: bytes, code: str) -> None:
    assert ja4(hello(alpn(first, b"h2")), "t")[8:10] == code
    assert ja4(hello(), "t")[8:10] == "00"


def test_counts_stop_at_99() -> None:
    many = hello(*((kind, b"") for kind in range(1_000, 1_300)), ciphers=range(300))
    assert ja4(many, "t").startswith("t12i9999")
    assert digest(",".join(sorted(f"{value:04x}" for value in range(300)))) in ja4(many, "t")


@given(st.binary(max_size=60), st.sampled_from("tqd"))
def test_any_extension_content(raw: bytes, transport: str) -> None:
    one = hello((0, raw), (16, raw), (43, raw), (13, raw), (10, raw), (11, raw))
    assert len(ja4(one, transport)) == 36
    assert len(ja3(one)) == 32


def test_a_retry_does_not_change_what_is_fingerprinted() -> None:
    """After a HelloRetryRequest a second hello follows in the stream; the first counts."""
    first, second = handshake(hello_body([sni(b"a")])), handshake(hello_body([sni(b"b"), (0x2C, b"")]))
    records = b"".join(b"\x16\3\1" + vec(2, message) for message in (first, second))
    found = peek(records)
    assert found is not None
    assert found.name == "a"


def segments(path: Path) -> Iterator[tuple[tuple[str, ...], dpkt.Packet]]:
    """(both ends, TCP segment or UDP datagram) of plain Ethernet captures."""
    with path.open("rb") as file:
        reader = dpkt.pcap.UniversalReader(file)
        for _, frame in reader if reader.datalink() == 1 else ():
            ip = dpkt.ethernet.Ethernet(frame).data
            if isinstance(ip, dpkt.ip.IP | dpkt.ip6.IP6) and isinstance(ip.data, dpkt.tcp.TCP | dpkt.udp.UDP):
                src, dst = (dpkt.utils.inet_to_str(address) for address in (ip.src, ip.dst))
                yield (src, str(ip.data.sport), dst, str(ip.data.dport)), ip.data


def first_hellos(path: Path) -> dict[tuple[str, ...], tuple[ClientHello, str]]:
    """The first hello of each direction, by the simplest reassembly there is."""
    streams: dict[tuple[str, ...], dict[int, bytes]] = defaultdict(dict)
    origins: dict[tuple[str, ...], int] = {}
    quic: dict[tuple[str, ...], ClientCrypto] = defaultdict(ClientCrypto)
    found: dict[tuple[str, ...], tuple[ClientHello, str]] = {}
    for key, part in segments(path):
        data = bytes(part.data)
        if isinstance(part, dpkt.udp.UDP):
            if quic[key].probe is Probe.MORE and quic[key].feed(data) is Probe.HELLO:
                found.setdefault(key, (parse_client_hello(quic[key].hello), "q"))
            continue
        syn = bool(part.flags & dpkt.tcp.TH_SYN)
        if syn or key not in origins:
            origins[key] = part.seq + syn
        if data and key not in found:
            streams[key].setdefault((part.seq - origins[key]) & 0xFFFFFFFF, data)
            stream = b""
            for offset, piece in sorted(streams[key].items()):
                stream += piece[len(stream) - offset :] if offset <= len(stream) else b""
            answer = peek(stream)
            if answer and answer.hello:
                found[key] = (answer.hello, "t")
    return found


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (SHARED / name).read_text("utf-8").splitlines()]


PLAIN = {"eth", "ethertype", "ip", "ipv6", "tcp", "udp", "quic", "tls"}


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures/public is not here")
def test_public_captures_agree_with_tshark() -> None:
    """Every first hello that the simple reassembly finds has tshark's name, JA3 and JA4."""
    damaged = {row["file"] for row in rows("index.jsonl") if row["malformed"]}
    wanted: dict[str, dict[tuple[str, ...], dict[str, str]]] = defaultdict(dict)
    for row in rows("truth.jsonl"):
        plain = row["kind"] == "client_hello" and set(row["protocols"].split(":")) <= PLAIN
        if plain and row["file"] not in damaged and "ja3" in row:  # no JA3: SSLv2 framing
            wanted[row["file"]].setdefault((row["src"], row["sport"], row["dst"], row["dport"]), row)
    agreed, wrong = 0, []
    for file, hellos in wanted.items():
        found = first_hellos(SHARED / file)
        for key in hellos.keys() & found.keys():
            (one, transport), row = found[key], hellos[key]
            ours = (one.sni, ja3(one), ja4(one, transport))
            if ours == (row.get("sni", "").lower(), row["ja3"], row["ja4"]):
                agreed += 1
            else:
                wrong.append((file, row["frame"]))
    total = sum(map(len, wanted.values()))
    print(f"{agreed} of {total} hellos agree, {len(wrong)} do not")
    assert wrong == [("ja4/pcap__tls-non-ascii-alpn.pcapng", 1)]  # tshark has no hex rule for such ALPN
    assert agreed >= total * 0.98
