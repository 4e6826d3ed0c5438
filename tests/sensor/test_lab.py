"""From a capture to rows, against what the lab's server wrote down and what tshark counts.

Golden rows are our own output, reviewed; `AISCOPE_GOLDEN=write` writes them anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sensor.delivery.event import EVIDENCE, Connection, Event, Exchange, Lookup, SensorStats, as_json
from sensor.knowledge.catalogue import Catalogue, load
from sensor.monitor import Monitor
from sensor.packets import engine
from sensor.packets.facts import Limits

ROOT = Path(__file__).parents[2]
LAB = ROOT.parent / "shared" / "captures" / "lab"
GOLDEN = ROOT / "tests" / "golden" / "lab"
NAMES = sorted(path.stem for path in LAB.glob("*.json"))

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not NAMES, reason="../shared/captures/lab is not there"),
]
each = pytest.mark.parametrize("name", NAMES)

SERVICES = {
    "api.openai.com": "openai-api",
    "api.anthropic.com": "claude-api",
    "generativelanguage.googleapis.com": "gemini-api",
    "chatgpt.com": "chatgpt",
    "claude.ai": "claude",
    "10.77.0.10:11434": "ollama",
    "10.77.0.10:8000": "openai-compatible",
}
NOT_AI = {"cloudflare-dns.com", "www.example.com"}
# The server saw the proxy's own connection, the mirror port the client's.
PROXIED = {"19_connect_proxy": ("10.77.0.2", 53726)}


@cache
def catalogue() -> Catalogue:
    return load()


def truth(name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((LAB / f"{name}.json").read_text())
    return told


@cache
def rows(name: str, all: bool = False, kind: str = "portable") -> tuple[Event, ...]:
    watch = replace(catalogue().watch(), all=all)
    monitor = Monitor(catalogue(), all=all, engine=kind)
    batches = engine.facts(LAB / f"{name}.pcap", watch, Limits(), engine=kind)
    found = [event for batch in batches for fact in batch for event in monitor.observe(fact)]
    return (*found, *monitor.finish())


def connections(name: str, all: bool = False) -> list[Connection]:
    return [row for row in rows(name, all) if isinstance(row, Connection)]


def expected(name: str) -> set[tuple[str, int, str, str]]:
    """Connections that carried requests to a service: client, its port, service, rung."""
    used = set()
    for request in truth(name)["truth"]["requests"]:
        if request["host"] not in NOT_AI:
            client = PROXIED.get(name, tuple(request["client"]))
            rung = "decrypted" if request["scheme"] == "http" else "flow"
            used.add((*client, SERVICES[request["host"]], rung))
    if truth(name).get("mcp_tool_calls"):
        used.add(("10.77.0.2", 40006, "mcp-server", "decrypted"))
    return used


@each
def test_services_clients_connections_and_rungs(name: str) -> None:
    seen = connections(name)
    used = [row for row in seen if EVIDENCE.index(row.evidence) >= EVIDENCE.index("flow")]
    assert Counter((r.client_ip, r.client_port, r.service, r.evidence) for r in used) == Counter(
        expected(name)
    )
    # What is left was opened and not used: a browser's pre-connects, to a service that it does use.
    rest = [row for row in seen if row not in used]
    assert {row.evidence for row in rest} <= {"sni"}
    assert {(row.client_ip, row.service) for row in rest} <= {(row[0], row[2]) for row in expected(name)}


@each
def test_connections_are_as_many_as_the_server_counted(name: str) -> None:
    told = truth(name)["truth"]
    # DoH and the negative are visibility, not use.
    others = {tuple(request["client"]) for request in told["requests"] if request["host"] in NOT_AI}
    mcp = 1 if truth(name).get("mcp_tool_calls") else 0
    used = [row for row in connections(name) if row.evidence in ("flow", "decrypted")]
    assert len(used) == told["connections"] - len(others) + mcp


def tshark_payload(name: str) -> Counter[tuple[str, ...]]:
    """Payload bytes by transport, innermost source and destination, as tshark dissects them."""
    fields = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "tcp.len",
              "udp.srcport", "udp.dstport", "udp.length")  # fmt: skip
    command = ["tshark", "-r", str(LAB / f"{name}.pcap"), "-n", "-T", "fields", "-E", "occurrence=l"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count: Counter[tuple[str, ...]] = Counter()
    for line in done.stdout.splitlines():
        src4, dst4, src6, dst6, *tcp, usrc, udst, ulen = line.split("\t")
        if tcp[2]:
            count["tcp", src4 or src6, tcp[0], dst4 or dst6, tcp[1]] += int(tcp[2])
        elif ulen:
            count["udp", src4 or src6, usrc, dst4 or dst6, udst] += int(ulen) - 8
    return count


@each
@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_bytes_are_tsharks_to_the_byte(name: str) -> None:
    ours: Counter[tuple[str, ...]] = Counter()
    for row in connections(name, all=True):
        client, server = (row.client_ip, str(row.client_port)), (row.server_ip, str(row.server_port))
        ours[row.transport, *client, *server] += row.bytes_up
        ours[row.transport, *server, *client] += row.bytes_down
    assert +ours == +tshark_payload(name)


@each
def test_what_is_counted_for_a_service_is_the_same_without_all(name: str) -> None:
    def counted(all: bool) -> Counter[tuple[str, str]]:
        count: Counter[tuple[str, str]] = Counter()
        for row in connections(name, all):
            if row.service:
                count[row.flow_id, row.evidence] += row.bytes_up + row.bytes_down
        return count

    assert counted(all=True) == counted(all=False)


@each
def test_uploads_are_within_two_percent(name: str) -> None:
    told = truth(name)["truth"]["request_bytes"]
    up = sum(row.bytes_up for row in connections(name))
    assert up >= told - sum(r["req_body"] for r in truth(name)["truth"]["requests"] if r["host"] in NOT_AI)
    if told >= 100_000:
        assert up == pytest.approx(told, rel=0.02)


@each
def test_exchanges_in_clear_are_the_servers_own_account(name: str) -> None:
    told = [r for r in truth(name)["truth"]["requests"] if r["scheme"] == "http" and r["req_body"]]
    seen = [row for row in rows(name) if isinstance(row, Exchange) and row.operation != "tool_call"]
    assert len(seen) == len(told)
    for row, request in zip(seen, told, strict=True):
        assert (row.bytes_up, row.bytes_down) == (request["req_body"], request["resp_body"])
        assert (row.model, row.stream, row.status) == (request["model"], request["stream"], 200)
        assert (row.service, row.operation) == (SERVICES[request["host"]], "chat")
        assert row.time / 1e9 == pytest.approx(request["ts"], abs=0.01)
        assert row.duration_ms == pytest.approx(request["dur"] * 1e3, abs=20)
        assert row.client_flow_id in {connection.flow_id for connection in connections(name)}


@each
def test_tool_calls(name: str) -> None:
    seen = [row for row in rows(name) if isinstance(row, Exchange) and row.operation == "tool_call"]
    assert len(seen) == truth(name).get("mcp_tool_calls", 0)
    assert {(row.service, row.tools, row.channel) for row in seen} <= {
        ("mcp-server", ("search_docs",), "mcp")
    }


@each
def test_no_content_is_kept(name: str) -> None:
    text = repr(rows(name, all=True))
    for part in ("quarterly", "revenue", "payroll", "ACME"):
        assert part not in text


@each
def test_ech_is_offered_only_where_it_is_real(name: str) -> None:
    offered = {row.server_name for row in connections(name, all=True) if row.ech == "offered"}
    assert offered == ({"cloudflare-ech.com"} if truth(name).get("ech") else set())
    for row in connections(name):
        assert row.ech == ("grease" if truth(name)["client"] == "chromium" else "none")


@each
def test_encrypted_dns_is_visibility_and_not_use(name: str) -> None:
    (stats,) = [row for row in rows(name) if isinstance(row, SensorStats)]
    assert bool(stats.bytes_doh) == truth(name).get("doh", False)
    assert bool(stats.bytes_ech_offered) == truth(name).get("ech", False)
    assert not [row for row in connections(name) if row.server_name in NOT_AI]


def test_lookups_alone_are_no_connections() -> None:
    found = [row for row in rows("48_udp_dns_only") if not isinstance(row, SensorStats)]
    assert all(isinstance(row, Lookup) for row in found)
    assert sorted((row.service, row.qtype) for row in found if isinstance(row, Lookup)) == [
        ("chatgpt", "A"),
        ("chatgpt", "AAAA"),
        ("claude", "A"),
        ("claude", "AAAA"),
    ]


def test_the_negative_is_silent() -> None:
    assert [type(row) for row in rows("23_noise_nonai")] == [SensorStats]


@each
def test_every_lookup_is_answered(name: str) -> None:
    for row in rows(name):
        if isinstance(row, Lookup):
            assert row.rcode == "NOERROR"
            assert row.service == SERVICES[row.question]


@each
@pytest.mark.parametrize("kind", sorted({"portable", engine.select()[0]}))
def test_golden(name: str, kind: str) -> None:
    found = [as_json(row) for row in rows(name, kind=kind)]
    for row in found:
        for varies in ("engine", "version", "catalogue"):
            row.pop(varies, None)
    found.sort(key=lambda row: (row["table"], row["time"], json.dumps(row)))
    path = GOLDEN / f"{name}.json"
    text = "[\n" + ",\n".join(json.dumps(row) for row in found) + "\n]\n"
    if os.environ.get("AISCOPE_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text
