"""An hour in a small office, as packets: `python office.py OUT.pcap [--start TIME] [--seed N]`.

Nothing in it is recorded: TLS sessions are real ones between two OpenSSL ends in memory, QUIC Initials are
encrypted as RFC 9001 says, names are looked up before they are used, and scapy writes the frames. People and
hosts are invented; servers live in documentation address space (RFC 5737). Beside OUT.pcap it writes OUT.csv,
an inventory of who has which address.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conversations import Quic, Tls, Turn, mcp, ollama
from scapy.all import BOOTP, DHCP, DNS, DNSQR, DNSRR, IP, TCP, UDP, Ether, Packet
from scapy.layers.dns import DNSRRHTTPS, SvcParam
from scapy.utils import PcapWriter

GATEWAY_MAC = "02:00:5e:20:00:01"
RESOLVER = "10.20.0.1"
NOBODY = "0.0.0.0"  # noqa: S104 - a DHCP client's source
MSS = 1400


@dataclass(frozen=True)
class Host:
    name: str
    ip: str
    mac: str
    user: str
    groups: str


HOSTS = [
    Host("anna-laptop", "10.20.0.21", "02:00:5e:20:00:21", "anna.berg", "sales"),
    Host("ben-desktop", "10.20.0.22", "02:00:5e:20:00:22", "ben.okafor", "engineering"),
    Host("chloe-macbook", "10.20.0.23", "02:00:5e:20:00:23", "chloe.martin", "engineering"),
    Host("dev-box", "10.20.0.24", "02:00:5e:20:00:24", "dmitri.sokolov", "engineering"),
    Host("ella-tablet", "10.20.0.25", "02:00:5e:20:00:25", "ella.nguyen", "design"),
    Host("finance-pc", "10.20.0.26", "02:00:5e:20:00:26", "farid.haddad", "finance"),
    Host("guest-phone", "10.20.0.90", "02:00:5e:20:00:90", "", ""),
    Host("build-server", "10.20.0.40", "02:00:5e:20:00:40", "svc-build", "machines"),
]
OLLAMA = Host("gpu-box", "10.20.0.50", "02:00:5e:20:00:50", "", "machines")


class Office:
    """Collects frames in any order of time; `write` sorts them."""

    def __init__(self, start: float, seed: int) -> None:
        self.start, self.random = start, random.Random(seed)  # noqa: S311
        self.frames: list[tuple[float, bytes]] = []
        self.servers: dict[str, str] = {}
        self.ports = iter(range(49_152, 65_535))

    def put(self, at: float, packet: Packet) -> None:
        self.frames.append((self.start + at, bytes(packet)))

    def address(self, name: str) -> str:
        return self.servers.setdefault(
            name, f"{('198.51.100', '203.0.113', '192.0.2')[len(self.servers) % 3]}.{10 + len(self.servers)}"
        )

    def ether(self, source: Host, up: bool, peer: Host | None = None) -> Packet:
        other = peer.mac if peer else GATEWAY_MAC
        return Ether(src=source.mac, dst=other) if up else Ether(src=other, dst=source.mac)

    # name services
    def join(self, at: float, host: Host) -> None:
        """DHCP request and acknowledgement, then the host announces its name (RFC 2131, RFC 6762)."""
        mac = bytes.fromhex(host.mac.replace(":", ""))
        xid = self.random.getrandbits(32)
        options = [("message-type", "request"), ("requested_addr", host.ip), ("hostname", host.name), "end"]
        broadcast = Ether(src=host.mac, dst="ff:ff:ff:ff:ff:ff") / IP(dst="255.255.255.255", src=NOBODY)
        self.put(at, broadcast / UDP(sport=68, dport=67) / BOOTP(chaddr=mac, xid=xid) / DHCP(options=options))
        answer = [("message-type", "ack"), ("lease_time", 86_400), ("server_id", RESOLVER), "end"]
        reply = Ether(src=GATEWAY_MAC, dst=host.mac) / IP(src=RESOLVER, dst=host.ip) / UDP(sport=67, dport=68)
        self.put(at + 0.01, reply / BOOTP(op=2, yiaddr=host.ip, chaddr=mac, xid=xid) / DHCP(options=answer))
        record = DNSRR(rrname=f"{host.name}.local.", type="A", rclass=0x8001, ttl=120, rdata=host.ip)
        group = Ether(src=host.mac, dst="01:00:5e:00:00:fb") / IP(src=host.ip, dst="224.0.0.251", ttl=255)
        self.put(at + 0.5, group / UDP(sport=5353, dport=5353) / DNS(qr=1, aa=1, an=[record]))

    def lookup(self, at: float, host: Host, name: str, ech: bytes = b"") -> None:
        port, ident = next(self.ports), self.random.getrandbits(16)
        for qtype in ("A", "HTTPS") if ech else ("A",):
            question = DNSQR(qname=name, qtype=qtype)
            query = self.ether(host, True) / IP(src=host.ip, dst=RESOLVER) / UDP(sport=port, dport=53)
            self.put(at, query / DNS(id=ident, rd=1, qd=[question]))
            if qtype == "A":
                answer = DNSRR(rrname=name, type="A", ttl=300, rdata=self.address(name))
            else:
                answer = DNSRRHTTPS(
                    rrname=name,
                    ttl=300,
                    svc_priority=1,
                    target_name=".",
                    svc_params=[SvcParam(key=5, value=ech)],
                )
            reply = self.ether(host, False) / IP(src=RESOLVER, dst=host.ip) / UDP(sport=53, dport=port)
            self.put(at + 0.012, reply / DNS(id=ident, qr=1, rd=1, ra=1, qd=[question], an=[answer]))

    # conversations
    def tcp(
        self, at: float, host: Host, server: str, port: int, turns: list[Turn], peer: Host | None = None
    ) -> float:
        """A TCP connection that carries `turns`; returns when it ended."""
        sport, sequence = next(self.ports), [self.random.getrandbits(31), self.random.getrandbits(31)]

        def segment(up: bool, flags: str, payload: bytes = b"") -> None:
            ends = (host.ip, server, sport, port) if up else (server, host.ip, port, sport)
            header = IP(src=ends[0], dst=ends[1], id=self.random.getrandbits(16), flags="DF")
            tcp = TCP(
                sport=ends[2],
                dport=ends[3],
                flags=flags,
                seq=sequence[not up],
                ack=sequence[up],
                window=64_240,
            )
            self.put(at, self.ether(host, up, peer) / header / tcp / payload)
            sequence[not up] = (sequence[not up] + len(payload) + ("S" in flags or "F" in flags)) % 2**32

        for up, flags in ((True, "S"), (False, "SA"), (True, "A")):
            segment(up, flags)
            at += 0.009
        for turn in turns:
            at += turn.wait
            pieces = [turn.data[i : i + MSS] for i in range(0, len(turn.data), MSS)]
            for number, piece in enumerate(pieces):
                segment(turn.up, "PA" if number == len(pieces) - 1 else "A", piece)
                at += turn.pace
                if number % 8 == 7:
                    segment(not turn.up, "A")
            segment(not turn.up, "A")
        for up, flags in ((True, "FA"), (False, "FA"), (True, "A")):
            segment(up, flags)
            at += 0.008
        return at

    def udp(self, at: float, host: Host, server: str, port: int, turns: list[Turn]) -> None:
        sport = next(self.ports)
        for turn in turns:
            at += turn.wait
            ends = (host.ip, server, sport, port) if turn.up else (server, host.ip, port, sport)
            header = IP(src=ends[0], dst=ends[1]) / UDP(sport=ends[2], dport=ends[3])
            self.put(at, self.ether(host, turn.up) / header / turn.data)

    def visit(
        self,
        at: float,
        host: Host,
        name: str,
        make: Callable[[Tls], None],
        alpn: tuple[str, ...] = ("h2", "http/1.1"),
        **tls: bytes,
    ) -> None:
        """Look a name up, connect with TLS, and let `make` talk."""
        self.lookup(at, host, name)
        session = Tls(name, alpn, self.random, **tls)
        make(session)
        self.tcp(at + 0.02, host, self.address(name), 443, session.turns)

    def write(self, path: Path) -> None:
        with PcapWriter(str(path), linktype=1, nano=False, sync=False) as out:
            out.write_header(None)
            for at, frame in sorted(self.frames, key=lambda item: item[0]):
                out.write_packet(frame, sec=int(at), usec=int(at % 1 * 1e6))


def chat(prompts: int, up: int, down: int) -> Callable[[Tls], None]:
    """Prompts of about `up` bytes, answers of about `down` bytes that stream in as small records."""

    def talk(session: Tls) -> None:
        for _ in range(prompts):
            session.say(True, session.random.randint(up // 2, up * 2), wait=session.random.uniform(5, 40))
            tokens = session.random.randint(down // 2, down * 2) // 120
            session.say(False, 900, wait=0.4)
            for _ in range(max(4, tokens)):
                session.say(False, 120, wait=session.random.uniform(0.015, 0.05))

    return talk


def upload(size: int) -> Callable[[Tls], None]:
    def talk(session: Tls) -> None:
        session.say(True, size, wait=0.3, pace=0.0004)
        session.say(False, 420, wait=0.6)

    return talk


def browse(down: int) -> Callable[[Tls], None]:
    def talk(session: Tls) -> None:
        for _ in range(session.random.randint(1, 4)):
            session.say(True, 480, wait=session.random.uniform(0.1, 3))
            session.say(False, session.random.randint(down // 3, down), wait=0.05)

    return talk


NOISE = [
    "intranet.contoso.example",
    "www.wikipedia.org",
    "mail.contoso.example",
    "update.vendor.example",
    "news.example.org",
    "cdn.shop.example",
]
API = ("http/1.1",)


def hour(office: Office) -> None:
    """Who does what. Times are seconds into the hour."""
    anna, ben, chloe, dev, ella, farid, guest, build = HOSTS
    for number, host in enumerate(HOSTS):
        office.join(number * 7.0, host)
    for at in (120, 900, 2100):
        office.visit(at, anna, "chatgpt.com", chat(4, 900, 9_000))
    office.visit(955, anna, "files.oaiusercontent.com", upload(3_400_000))
    office.visit(400, ben, "api2.cursor.sh", chat(9, 14_000, 5_000))
    office.visit(1300, ben, "api.githubcopilot.com", chat(14, 6_000, 1_500))
    office.udp(700, chloe, office.address("claude.ai"), 443, Quic("claude.ai", office.random).talk(5))
    office.lookup(699.9, chloe, "claude.ai")
    office.udp(
        1900,
        chloe,
        office.address("gemini.google.com"),
        443,
        Quic("gemini.google.com", office.random).talk(3),
    )
    office.lookup(1899.9, chloe, "gemini.google.com")
    for at in range(600, 3300, 450):
        office.visit(at, dev, "api.anthropic.com", chat(3, 22_000, 7_000), API)
    office.tcp(1000, dev, OLLAMA.ip, 11434, ollama(office.random, "llama3.2:3b", prompts=4), peer=OLLAMA)
    office.tcp(2500, dev, OLLAMA.ip, 8080, mcp(["search_tickets", "read_file"]), peer=OLLAMA)
    office.visit(1500, ella, "www.midjourney.com", browse(400_000))
    office.visit(1600, ella, "firefly.adobe.io", chat(2, 1_200, 60_000))
    office.visit(2200, ella, "api.elevenlabs.io", chat(2, 700, 90_000), API)
    office.visit(800, farid, "www.deepl.com", chat(3, 2_600, 3_000))
    office.visit(2700, farid, "chat.deepseek.com", chat(2, 1_100, 6_000))
    office.visit(2760, farid, "chat.deepseek.com", upload(1_250_000))
    office.lookup(3000, guest, "character.ai")
    office.visit(1250, guest, "otter.ai", upload(900_000))
    for at in range(60, 3500, 290):
        office.visit(at, build, "api.openai.com", chat(1, 9_000, 2_500), API)
    office.visit(300, guest, "cloudflare-dns.com", browse(2_000), ("h2",))  # DoH: its questions stay hidden
    office.lookup(
        320, guest, "crypto.cloudflare.com", ech=Tls.ech_config("cloudflare-ech.com", office.random)
    )
    office.visit(321, guest, "cloudflare-ech.com", browse(60_000), ech=b"real")
    for at in range(30, 3550, 25):
        office.visit(
            at + office.random.random() * 20,
            office.random.choice(HOSTS),
            office.random.choice(NOISE),
            browse(16_000),
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--start", type=float, default=time.time() // 3600 * 3600 - 3600, help="seconds since the epoch"
    )
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(arguments)
    office = Office(args.start, args.seed)
    hour(office)
    office.write(args.out)
    with args.out.with_suffix(".csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["address", "from", "until", "host", "user", "groups"])
        rows.writerows([h.ip, "", "", h.name, h.user, h.groups] for h in [*HOSTS, OLLAMA])
    print(f"{args.out}: {len(office.frames):,} frames")


if __name__ == "__main__":
    main()
