"""What many at once cost the proxy: its memory under streams and uploads, and how long its loop is held.

    python deploy/bench/proxy_load.py [--streams 500] [--uploads 100] [--megabytes 50]

Part of `make bench-proxy`; alone for other numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from deploy.bench.proxy import POLICY, prompt  # noqa: E402
from tests.sensor.proxy.lab import Lab, Proxy, laboratory  # noqa: E402

NAME = "api.openai.com"
PIECE = 1 << 18


async def _open(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"CONNECT {NAME}:443 HTTP/1.1\r\nhost: {NAME}:443\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    context = ssl.create_default_context(cafile=str(proxy.certificate))
    await writer.start_tls(context, server_hostname=NAME)
    return reader, writer


async def stream(proxy: Proxy, begin: asyncio.Event, ready: asyncio.Semaphore) -> bool:
    """One stream; True when it came to its end."""
    async with ready:
        reader, writer = await _open(proxy)
    await begin.wait()
    body = prompt(2_000, stream=True)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    data = b""
    while b"[DONE]" not in data and (more := await reader.read(65_536)):
        data = data[-16:] + more
    writer.close()
    return b"[DONE]" in data


async def upload(proxy: Proxy, size: int, ready: asyncio.Semaphore) -> bool:
    """One file of so many bytes."""
    async with ready:
        reader, writer = await _open(proxy)
    head = '--x\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    tail = "\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    length = len(head) + size + len(tail)
    writer.write(
        f"POST /v1/files HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: {kind}\r\n"
        f"content-length: {length}\r\n\r\n{head}".encode()
    )
    piece = os.urandom(PIECE)
    for at in range(0, size, PIECE):
        writer.write(piece[: size - at])
        await writer.drain()
    writer.write(tail.encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return b" 200 " in answer


def memory(proxy: Proxy) -> dict[str, int]:
    """MB at their most: of the proxy, and of its workers together."""
    peaks, waiting = {}, [proxy.process.pid]
    while waiting:
        pid = waiting.pop()
        status = Path(f"/proc/{pid}/status").read_text()
        peaks[pid] = next(
            int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmHWM")
        )
        waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    own = peaks.pop(proxy.process.pid)
    return {"proxy": own, "workers": sum(peaks.values())}


@contextmanager
def measured(folder: Path) -> Iterator[Path]:
    """Processes started within say how long their loops were held."""
    held = folder / "held"
    said = {"BENCH_HELD": str(held), "PYTHONPATH": str(Path(__file__).parent / "held")}
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    try:
        yield held
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


async def many(proxy: Proxy, streams: int) -> int:
    begin, ready = asyncio.Event(), asyncio.Semaphore(20)
    tasks = [asyncio.create_task(stream(proxy, begin, ready)) for _ in range(streams)]
    while ready._value != 20:
        await asyncio.sleep(0.1)
    begin.set()
    return sum(await asyncio.gather(*tasks))


async def files(proxy: Proxy, uploads: int, size: int) -> int:
    ready = asyncio.Semaphore(20)
    return sum(await asyncio.gather(*(upload(proxy, size, ready) for _ in range(uploads))))


async def prompts(proxy: Proxy, sizes: tuple[int, ...], times: int) -> None:
    """One after the other on one connection."""
    reader, writer = await _open(proxy)
    for size in sizes * times:
        body = prompt(size)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in answer.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
    writer.close()


def holds(lab: Lab, times: int = 25) -> tuple[int, list[str]]:
    """With prompts of all sizes: callbacks of the loop, and the longest with their CPU time in ms."""
    with measured(lab.folder) as held, lab.proxy(POLICY, {}, "--enforce") as proxy:
        asyncio.run(prompts(proxy, (4_096, 12_000, 65_536, 1 << 20), times))
        proxy.stop()
    (file,) = held.parent.glob("held.*")
    callbacks, *longest = file.read_text().splitlines()
    file.unlink()
    return int(callbacks), longest


def run(lab: Lab, streams: int, uploads: int, megabytes: int) -> None:
    with lab.proxy(POLICY, {}, "--observe") as proxy:
        before = memory(proxy)
        done = asyncio.run(many(proxy, streams))
        print(f"RSS, MB: idle {before}, {streams} streams at once {memory(proxy)} ({done} came to their end)")
    with lab.proxy(POLICY, {}, "--observe") as proxy:
        done = asyncio.run(files(proxy, uploads, megabytes << 20))
        print(f"RSS, MB: {uploads} uploads of {megabytes} MB at once {memory(proxy)} ({done} arrived)")
    callbacks, longest = holds(lab)
    print(f"loop: {callbacks} callbacks, {len(longest)} of more than 1 ms (CPU time)")
    print("".join(f"    {line}\n" for line in longest[:5]), end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--uploads", type=int, default=100)
    parser.add_argument("--megabytes", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, laboratory(Path(name), pace=0.01) as lab:
        run(lab, asked.streams, asked.uploads, asked.megabytes)


if __name__ == "__main__":
    main()
