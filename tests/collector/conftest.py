"""One embedded store for this folder: a process can have one directory open at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import migrate
from collector.store import Store, open_store
from sensor.delivery.event import Connection, Exchange, Lookup, SensorStats

START = 1_700_000_000_000_000_000  # 2023-11-14 22:13:20 UTC
RETENTION = {"events": 180, "rollups": 1095, "sealed": 30, "audit": 0}


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path_factory.mktemp('store')}", retention=RETENTION) as store:
        yield store


@pytest.fixture
def store(opened: Store) -> Store:
    """The store, empty."""
    for table in opened.rows(
        "SELECT name FROM system.tables WHERE database = 'aiscope' AND engine LIKE '%MergeTree' "
        "AND name != 'migrations'"
    ):
        opened.command(f"TRUNCATE TABLE aiscope.{table['name']}")
    return opened


@pytest.fixture
def fresh(opened: Store) -> Iterator[Store]:
    """The store without a schema; it gets its schema back."""
    opened.command("DROP DATABASE aiscope SYNC")
    yield opened
    opened.command("DROP DATABASE IF EXISTS aiscope SYNC")
    migrate.migrate(opened, RETENTION)


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs code in a process of its own, which can open another directory."""

    def run(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


def connection(**values: Any) -> Connection:
    row: dict[str, Any] = {
        "time": START,
        "end_time": START + 5_000_000_000,
        "start_time": START,
        "flow_id": "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        "first": True,
        "transport": "tcp",
        "protocol": "tls",
        "client_ip": "10.0.0.5",
        "client_port": 50_000,
        "client_mac": "02:00:00:00:00:05",
        "client_host": "laptop",
        "user": "alice",
        "groups": ("staff", "finance"),
        "server_ip": "2001:db8::1",
        "server_port": 443,
        "server_name": "api.openai.com",
        "name_source": "sni",
        "alpn": "h2,http/1.1",
        "tls_version": "1.3",
        "ja3": "ab" * 16,
        "ja4": "t13d1516h2_8daaf6152771_e5627efa2ab1",
        "ech": "none",
        "service": "openai-api",
        "vendor": "openai",
        "category": "llm-api",
        "role": "api",
        "evidence": "flow",
        "confidence": 0.9,
        "channel": "api",
        "client_class": "python",
        "bytes_up": 1000,
        "bytes_down": 5000,
        "packets_up": 10,
        "packets_down": 12,
        "exchanges_low": None,
        "exchanges": None,
        "exchanges_high": None,
        "upload_bytes": None,
        "server_country": "US",
        "server_asn": 13335,
        "server_as_org": "Example",
        "vlan": None,
        "tunnel": "",
        "verdict": "",
        "policy": "",
    }
    return Connection(**{**row, **values})


def lookup(**values: Any) -> Lookup:
    row: dict[str, Any] = {
        "time": START,
        "client_ip": "10.0.0.5",
        "client_host": "",
        "user": "",
        "resolver_ip": "10.0.0.1",
        "transport": "udp",
        "question": "claude.ai",
        "qtype": "A",
        "rcode": "NOERROR",
        "answers": ("192.0.2.1",),
        "ttl": 60,
        "ech_offered": False,
        "service": "claude",
        "vendor": "anthropic",
        "category": "chat",
    }
    return Lookup(**{**row, **values})


def exchange(**values: Any) -> Exchange:
    row: dict[str, Any] = dict.fromkeys(Exchange.__dataclass_fields__, "")
    row |= dict.fromkeys(("groups", "attachments", "tools", "data_classes"), ())
    row |= dict.fromkeys(
        ("tokens_in", "tokens_out", "cost_usd", "ttfb_ms", "duration_ms", "status", "stream")
    )
    row |= {"time": START, "id": "x1", "client_ip": "10.0.0.5", "service": "ollama", "model": "llama3"}
    row |= {"confidence": 1.0, "bytes_up": 100, "bytes_down": 900, "retry": False, "evidence": "decrypted"}
    return Exchange(**{**row, **values})


def stats(**values: Any) -> SensorStats:
    row: dict[str, Any] = dict.fromkeys(SensorStats.__dataclass_fields__, 0)
    row |= {
        "engine": "portable",
        "version": "0",
        "catalogue": "1-a",
        "time": START,
        "end_time": START + 60 * 10**9,
    }
    return SensorStats(**{**row, **values})
