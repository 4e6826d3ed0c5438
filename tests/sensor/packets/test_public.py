"""Every public capture, held against what tshark says of it. Nothing of them is copied here."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sensor.knowledge import fingerprint
from sensor.packets.capture import Damaged, NotACapture, frames
from sensor.packets.facts import Fact, Limits, Message, Opened, Totals, Watch
from sensor.wire.cursor import Malformed
from sensor.wire.dns import peek_question
from sensor.wire.names import clean_name
from sensor.wire.peek import peek
from sensor.wire.tls import ClientHello, dtls_client_hello, parse_client_hello
from tests.sensor.packets.conftest import Make

PUBLIC = Path(__file__).parents[4] / "shared" / "captures" / "public"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not PUBLIC.is_dir(), reason="../shared/captures/public is not here"),
]

# What is missed, reviewed: reason -> file -> number of rows.
SSL2 = "a hello in SSLv2 framing (RFC 5246 E.2), without extensions"
INSIDE = "TLS inside another protocol: OpenVPN, RDP over UDP, ADB"
AGAIN = "the second hello after a HelloRetryRequest; the first is right"
LATIN = "ALPN that is not ASCII: tshark's text and the hash over it have lost its bytes"
MISSED_HELLOS = {
    SSL2: {
        "suricata-verify/bypass-depth-disabled__input.pcap": 1,
        "suricata-verify/ssl_version_negated__input.pcap": 1,
        "suricata-verify/sslv2-tls-upgrade-01__ssl-v2-s1.pcap": 1,
        "suricata-verify/tls__tls-altname-zero__input.pcap": 1,
        "suricata-verify/tls__tls-glupteba-mb__input.pcap": 1,
        "zeek/tls__ssl-v2.pcap": 1,
        "zeek/tls__ssl.v3.pcap": 1,
        "arkime/pcap__https2-301-get.pcap": 1,
        "arkime/pcap__pppoe.pcap": 1,
        "retina/traces__tls_ciphers.pcap": 3,
    },
    INSIDE: {
        "zeek/rdp__rdpeudp2-handshake-success.pcap": 1,
        "mercury/unit_tests__pcaps__openvpn_tcp_multi.pcap": 2,
        "arkime/pcap__adb_synthetic.pcap": 1,
    },
    AGAIN: {"ja4/pcap__tls-handshake.pcapng": 5, "ja4/pcap__tls-sni.pcapng": 5},
    LATIN: {"ja4/pcap__tls-non-ascii-alpn.pcapng": 1},
}
PORT = "DNS on a port of its own"
SNAPPED = "the capture cut the message off"
POINTER = "the question's name points forward: malformed"
MISSED_QUESTIONS = {
    PORT: {"suricata-verify/vxlan-decoder-01__input.pcap": 1, "tcpdump/dns_udp_8053.pcap": 2},
    SNAPPED: {"tcpdump/dns_udp_2.pcap": 1},
    POINTER: {"suricata-verify/dns__dns-forward-pointer__input.pcap": 1},
}
UNFAIR = {SSL2, INSIDE, AGAIN, LATIN}  # rows that do not count against the engine


def rows(name: str) -> list[dict[str, Any]]:
    with (PUBLIC / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read(make: Make, file: str) -> list[Fact]:
    engine, facts = make(Watch(all=True), Limits()), []
    try:
        for batch in frames(PUBLIC / file):
            facts += engine.feed(batch)
    except (Damaged, NotACapture):
        pass
    return facts + engine.finish()


def hello(opened: Opened) -> ClientHello | None:
    try:
        if opened.protocol == "quic":
            return parse_client_hello(opened.client_bytes)
        if opened.flow.transport == "udp":
            return dtls_client_hello(opened.client_bytes)
        found = peek(opened.client_bytes, True)
    except Malformed:
        return None
    return found.hello if found else None


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def ends(row: dict[str, Any]) -> tuple[str, int, str, int]:
    return row["src"], int(row["sport"]), row["dst"], int(row["dport"])


class Figures:
    def __init__(self) -> None:
        self.hellos = self.questions = 0
        self.missed: dict[str, Counter[str]] = {"hello": Counter(), "question": Counter()}
        self.wrong: list[str] = []

    def check(self, file: str, facts: list[Fact], truth: list[dict[str, Any]]) -> None:
        flows = defaultdict(list)
        asked = set()
        for fact in facts:
            if isinstance(fact, Opened):
                flow = fact.flow
                flows[flow.client_ip, flow.client_port, flow.server_ip, flow.server_port].append(fact)
            elif isinstance(fact, Message) and fact.kind == "dns":
                try:
                    question = peek_question(fact.payload)
                except Malformed:
                    continue
                name = question[0] if question else None
                asked.add((fact.src_ip, fact.src_port, fact.dst_ip, fact.dst_port, name))
        for row in truth:
            if row["kind"] == "client_hello":
                self.hello(file, row, flows[ends(row)])
            elif row["kind"] == "dns" and row["protocols"].endswith(("udp:dns", "tcp:dns")):
                self.questions += 1
                names = [clean_name(name.replace("<Root>", "")) for name in listed(row.get("qname"))]
                if names and (*ends(row), names[0]) not in asked:
                    self.missed["question"][file] += 1

    def hello(self, file: str, row: dict[str, Any], opened: list[Opened]) -> None:
        self.hellos += 1
        found = [(fact, parsed) for fact in opened if (parsed := hello(fact))]
        name = clean_name(row.get("sni") or "")
        if any(values(fact, parsed) == wanted(row, name) for fact, parsed in found):
            return
        self.missed["hello"][file] += 1
        if found and not any(fact.name == name for fact, _ in found):
            self.wrong.append(
                f"{file} frame {row['frame']}: {[fact.name for fact, _ in found]}, not {name!r}"
            )


def values(opened: Opened, parsed: ClientHello) -> tuple[str, list[str], str, str]:
    letter = "q" if opened.protocol == "quic" else "t" if opened.flow.transport == "tcp" else "d"
    alpn = [protocol.decode("utf-8", "replace") for protocol in parsed.alpn]
    return parsed.sni, alpn, fingerprint.ja3(parsed), fingerprint.ja4(parsed, letter)


def wanted(row: dict[str, Any], name: str) -> tuple[str, list[str], str, str]:
    return name, listed(row.get("alpn")), row["ja3"], row["ja4"]


def by_file(reasons: dict[str, dict[str, int]]) -> dict[str, int]:
    return {file: count for files in reasons.values() for file, count in files.items()}


def count(reasons: dict[str, dict[str, int]], which: set[str]) -> int:
    return sum(sum(reasons[reason].values()) for reason in which)


@pytest.mark.timeout(240)
def test_public_captures(engine: Make, record_property: Callable[[str, str], None]) -> None:
    truth = defaultdict(list)
    for row in rows("truth.jsonl"):
        truth[row["file"]].append(row)
    figures = Figures()
    index = rows("index.jsonl")
    for entry in index:
        facts = read(engine, entry["file"])
        for fact in facts:
            if isinstance(fact, Totals):
                assert sum(fact.bytes.values()) == fact.counters.get("bytes", 0), entry["file"]
                assert min((*fact.bytes.values(), *fact.counters.values()), default=1) > 0, entry["file"]
        if not entry["malformed"]:
            figures.check(entry["file"], facts, truth[entry["file"]])
    hellos = figures.hellos - count(MISSED_HELLOS, UNFAIR)
    right = figures.hellos - figures.missed["hello"].total()
    answered = figures.questions - figures.missed["question"].total()
    record_property(
        "found",
        f"{len(index)} captures: {right} of {hellos} hellos right (SNI, ALPN, JA3, JA4), "
        f"{answered} of {figures.questions} DNS questions",
    )
    for reasons in (MISSED_HELLOS, MISSED_QUESTIONS):
        for reason, files in reasons.items():
            record_property("found", f"  missed {sum(files.values())}: {reason}: {', '.join(files)}")
    assert len(index) == 1_373
    assert figures.wrong == []
    assert figures.missed["hello"] == by_file(MISSED_HELLOS)
    assert figures.missed["question"] == by_file(MISSED_QUESTIONS)
    assert right >= 0.99 * hellos
    assert answered >= 0.99 * figures.questions
