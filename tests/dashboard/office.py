"""A small store for the dashboard's tests: `python -m tests.dashboard.office DIR`.

Three clients, four services, a lookup without a connection, a name that tries to be markup, and an hour's
visibility. Filled in a process of its own, because chDB gives a directory to one process.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from collector.store import open_store
from sensor.delivery.event import Connection, Exchange, Finding, Lookup, SensorStats

ROOT = Path(__file__).parents[2]
HOUR = 3_600_000_000_000
START = 1_795_600_800_000_000_000  # 2026-11-25 10:00 UTC
HOSTILE = "=<script>alert(1)</script>[x](javascript:alert(1))"
DEFAULTS: dict[str, Any] = {"str": "", "int": 0, "float": 0.0, "bool": False, "tuple[str, ...]": ()}


def python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python on this repository and return what it said."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


def row(kind: type[Any], **values: Any) -> Any:
    """An event with every field that is not given empty."""
    empty = {f.name: DEFAULTS.get(str(f.type)) for f in dataclasses.fields(kind)}
    return kind(**(empty | values))


def connection(
    at: int, user: str, ip: str, service: str, category: str, up: int, **values: Any
) -> Connection:
    times = {"time": START + at, "start_time": START + at, "end_time": START + at + 5_000_000_000}
    ends = {
        "client_ip": ip,
        "client_port": 50_000,
        "server_ip": "198.51.100.7",
        "server_port": 443,
        "user": user,
    }
    what = {"service": service, "vendor": f"{service}-vendor", "category": category, "evidence": "flow"}
    counts = {"bytes_up": up, "bytes_down": up * 3, "packets_up": 10, "packets_down": 20, "first": True}
    name = {"server_name": f"{service}.example", "name_source": "sni"}
    fixed = {
        "transport": "tcp",
        "protocol": "tls",
        "flow_id": f"1:{service}{at}",
        "role": "app",
        "confidence": 0.9,
    }
    return row(Connection, **(times | ends | what | counts | name | fixed | values))


def events() -> list[Any]:
    anna, ben = ("anna.berg", "10.20.0.21"), ("", "10.20.0.22")
    found: list[Any] = [
        connection(0, *anna, "chatgpt", "chat", 4_000_000),
        connection(HOUR // 2, *anna, "claude", "chat", 90_000),
        connection(HOUR // 4, *ben, "ollama", "self-hosted", 20_000, evidence="decrypted", protocol="http"),
        connection(
            HOUR // 3, *ben, "openai-api", "llm-api", 700_000, server_name=HOSTILE, client_host=HOSTILE
        ),
        connection(HOUR // 3, *ben, "openai-api", "llm-api", 9_999_999, role="relay"),
        connection(HOUR // 3, *ben, "", "", 8_888_888, server_name="www.example.com"),
    ]
    found.append(
        row(
            Exchange,
            id="1",
            time=START + HOUR // 4,
            client_ip=ben[1],
            service="ollama",
            operation="chat",
            model="llama3.2:3b",
            evidence="decrypted",
            tokens_in=40,
            tokens_out=90,
            bytes_up=200,
            bytes_down=900,
        )
    )
    asked = {
        "client_ip": anna[1],
        "user": anna[0],
        "service": "chatgpt",
        "operation": "chat",
        "model": "gpt-5",
    }
    inspected = {"evidence": "decrypted", "account_type": "personal", "verdict": "redact", "bytes_up": 500}
    for number, retry in enumerate((False, True, False)):
        found.append(
            row(
                Exchange,
                id=f"p{number}",
                time=START + HOUR // 2,
                data_classes=("iban", "person-name"),
                attachments=("salaries.xlsx",),
                tokens_in=1_000,
                tokens_out=10,
                cost_usd=0.25,
                retry=retry,
                **asked,
                **inspected,
            )
        )
    found.append(
        row(
            Lookup,
            time=START,
            client_ip=anna[1],
            user=anna[0],
            resolver_ip="10.20.0.1",
            transport="udp",
            question="character.ai",
            qtype="A",
            service="character-ai",
            category="companion",
        )
    )
    found.append(
        row(
            SensorStats,
            time=START,
            end_time=START + HOUR,
            engine="portable",
            packets=900,
            bytes=10_000_000,
            bytes_named=6_000_000,
            bytes_ech_offered=1_000_000,
            bytes_doh=500_000,
            bytes_unnamed=2_500_000,
        )
    )
    found.append(
        row(
            Finding,
            id="f1",
            time=START,
            rule="policy:no-uploads",
            severity="high",
            title="chatgpt: block by rule",
            client_ip=anna[1],
            user=anna[0],
            service="chatgpt",
            evidence_query="SELECT 1",
            tags=("policy", "block"),
        )
    )
    return found


if __name__ == "__main__":
    with open_store(f"chdb://{sys.argv[1]}") as store:
        store.insert(events(), sensor="test", batch=1, token="office")
