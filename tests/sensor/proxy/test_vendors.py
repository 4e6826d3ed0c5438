"""The vendors' stand-in: TLS under their names, streams in portions, and a record of what it received."""

import asyncio
import json
import ssl
from pathlib import Path

from tests.sensor.proxy.vendors import Received, certify, serve


async def exchange(port: int, folder: Path, head: str, body: bytes = b"") -> bytes:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    name = head.partition("Host: ")[2].partition("\r\n")[0]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    writer.write(head.encode() + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_streams_over_tls_and_reports(tmp_path: Path) -> None:
    certify(tmp_path)
    body = json.dumps(
        {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    ).encode()

    async def run() -> tuple[bytes, bytes, list[Received]]:
        async with serve(tmp_path / "cert.pem", tmp_path / "key.pem") as vendors:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n"
            answer = await exchange(vendors.port, tmp_path, head, body)
            report = await exchange(
                vendors.port, tmp_path, "GET /_received HTTP/1.1\r\nHost: api.anthropic.com\r\n"
            )
            return answer, report, list(vendors.received)

    answer, report, received = asyncio.run(asyncio.wait_for(run(), 20))
    assert b"text/event-stream" in answer
    assert answer.count(b"data: ") == 6
    assert [(one.method, one.host, one.path, one.json["model"]) for one in received] == [
        ("POST", "api.openai.com", "/v1/chat/completions", "m")
    ]
    assert json.loads(report.partition(b"\r\n\r\n")[2])[0]["path"] == "/v1/chat/completions"
