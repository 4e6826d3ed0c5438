"""Bodies that are meant to hurt, through the real proxy: its memory is bounded, the policy is kept, and one finding
says what was not read."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import socket
import ssl
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from tests.sensor.proxy.lab import Lab, Proxy

NAME = "api.openai.com"
POLICY = """
version: lab
default: allow
rules: [{id: no-keys, match: {data_class: credentials}, verdict: block}]
"""
MB = 1 << 20
KEY = b"gh" + b"p_16C7e42F292c6912E7710c838347Ae178B4a"  # in the shape of a token, and none
GROWTH = 100  # MB that the proxy and a worker may grow by: what a body is made into, and automata


@dataclass(frozen=True)
class Case:
    """A body, what is special about it, and the finding."""

    body: bytes
    finding: str = "cut"
    coding: str = ""
    kind: str = "application/json"
    path: str = "/v1/chat/completions"
    claimed: int | None = None  # a length that is not true
    chunked: bool = False
    read: bool = False  # it can be read, and passes


def prompt(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def part(data: bytes, end: bytes = b"\r\n--x--\r\n") -> bytes:
    return b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' + data + end


FORM = {"kind": "multipart/form-data; boundary=x", "path": "/v1/files"}
HOLD = 2 * MB
ZEROS = prompt(" " * (16 * MB))
CASES = {
    "nested": Case(b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "wide": Case(b'{"model":"m","messages":[' + b"{}," * 600_000 + b"{}]}"),
    "number": Case(b'{"model":"m","messages":[' + b"9" * MB + b"]}"),
    "repeated": Case(b'{"model":"m",' + b'"messages":[],' * 100_000 + b'"x":1}', finding="", read=True),
    "broken": Case(b'{"model": "m", "messages": [{"role": "user", "content": "' + b"\xff\xfe" * 50),
    "gzip": Case(gzip.compress(ZEROS), coding="gzip"),
    "deflate": Case(zlib.compress(ZEROS), coding="deflate"),
    "zstd": Case(zstandard.compress(ZEROS), coding="zstd"),
    "brotli": Case(brotli.compress(ZEROS, quality=1), coding="br"),
    "twice": Case(gzip.compress(gzip.compress(prompt("x"))), coding="gzip, gzip"),
    "half-gzip": Case(gzip.compress(prompt("x" * 10_000))[:40], coding="gzip"),
    "two-members": Case(
        gzip.compress(b'{"model":"m","messages":')
        + gzip.compress(b'[{"role":"user","content":"' + KEY + b'"}]}'),
        finding="policy",
        coding="gzip",
    ),
    "half-form": Case(part(b"half", b""), **FORM),  # type: ignore[arg-type]
    "many-parts": Case(part(b"x", b"\r\n") * 20_000, **FORM),  # type: ignore[arg-type]
    "claimed": Case(b"{", finding="too-large", claimed=1 << 30),
    "claimed-form": Case(part(b"x" * MB, b""), finding="too-large", claimed=1 << 30, **FORM),  # type: ignore[arg-type]
    "large": Case(prompt("x" * (3 * MB)), finding="too-large"),
    "chunked": Case(prompt("x" * (3 * MB)), finding="too-large", chunked=True),
    "escapes": Case(prompt("\x1b]0;x\x07 =cmd|'/C calc'!A1", user="\x1b[2J"), finding="", read=True),
    "escaped-model": Case(prompt("x").replace(b'"m"', b'"\\u001b[2J=1+1"'), finding="", read=True),
}


def send(proxy: Proxy, case: Case) -> bytes:
    """The answer, b"" when there is none."""
    with socket.create_connection(("127.0.0.1", proxy.port), 30) as plain:
        plain.sendall(f"CONNECT {NAME}:443 HTTP/1.1\r\nhost: {NAME}:443\r\n\r\n".encode())
        assert b" 200 " in plain.recv(4096)
        context = ssl.create_default_context(cafile=str(proxy.certificate))
        with context.wrap_socket(plain, server_hostname=NAME, suppress_ragged_eofs=True) as tls:
            head = f"POST {case.path} HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: {case.kind}\r\nconnection: close\r\n"
            head += f"content-encoding: {case.coding}\r\n" if case.coding else ""
            length = len(case.body) if case.claimed is None else case.claimed
            head += (
                "transfer-encoding: chunked\r\n\r\n" if case.chunked else f"content-length: {length}\r\n\r\n"
            )
            try:
                tls.sendall(head.encode())
                for at in range(0, len(case.body), MB):
                    piece = case.body[at : at + MB]
                    tls.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n" if case.chunked else piece)
                if case.chunked:
                    tls.sendall(b"0\r\n\r\n")
                tls.settimeout(1 if case.claimed else 30)
                return b"".join(iter(lambda: tls.recv(65_536), b""))
            except (TimeoutError, ConnectionError, ssl.SSLError):
                return b""


def memory(pid: int) -> dict[int, int]:
    """MB at their most, of a process and all below it."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {
        pid: next(int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmHWM"))
    }
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found |= memory(int(child))
    return found


@pytest.fixture(params=[("block",), ()], ids=["closed", "open"])
def proxy(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    with lab.proxy(POLICY, {"proxy.closed": list(request.param), "proxy.hold": HOLD}, "--enforce") as found:
        found.received()
        yield found


def test_hostile_bodies(proxy: Proxy, request: pytest.FixtureRequest) -> None:
    closed = "closed" in request.node.name
    before = memory(proxy.process.pid)
    for name, case in CASES.items():
        answer = send(proxy, case)
        reached = len(proxy.received())
        if case.read:
            assert reached == 1, name
        elif closed:
            assert answer.startswith(b"HTTP/1.1 403") or (case.claimed and not answer), name
            assert reached == 0, name
        else:
            assert (b" 403 " in answer[:20]) == (case.finding == "policy"), name
            assert reached == (0 if case.claimed or case.finding == "policy" else 1), name
    assert b"You said: alive" in send(proxy, Case(prompt("alive")))
    for pid, peak in memory(proxy.process.pid).items():
        assert peak - before.get(pid, 0) < GROWTH, "all were bounded"
    written = proxy.stop()
    findings = sorted(row["rule"] for row in written if row["table"] == "findings")
    assert findings == ["inspection-cut", "inspection-too-large", "policy:no-keys"]
    assert not any(ord(c) < 32 for c in json.dumps(written, default=str, ensure_ascii=False))
    models = {row["model"] for row in written if row["table"] == "exchanges"}
    assert "\\x1b[2J=1+1" in models
    assert "failed" not in proxy.log, proxy.log
    assert "Traceback" not in proxy.log, proxy.log


def test_a_file_of_50_mb_passes_without_being_held(lab: Lab) -> None:
    data = bytes(range(256)) * (50 << 12)
    with lab.proxy(POLICY, {}, "--observe") as proxy:
        proxy.received()
        before = memory(proxy.process.pid)[proxy.process.pid]
        answer = send(proxy, Case(part(data), **FORM))  # type: ignore[arg-type]
        assert answer.startswith(b"HTTP/1.1 200")
        assert memory(proxy.process.pid)[proxy.process.pid] - before < 40
        (sent,) = proxy.received()
        assert sent["headers"]["content-length"] == str(len(part(data)))
        key = bytes.fromhex((proxy.home / "home" / "hash.key").read_text().split()[1])
        written = proxy.stop()
    (row,) = [row for row in written if row["table"] == "exchanges"]
    digest = hmac.new(key, hashlib.sha256(data).hexdigest().encode(), hashlib.sha256).hexdigest()[:32]
    assert row["attachments"] == [f"a;;{len(data)};{digest}"]
    assert (row["operation"], row["bytes_up"], row["status"]) == ("upload", len(part(data)), 200)
    assert [row["rule"] for row in written if row["table"] == "findings"] == ["inspection-too-large"]
