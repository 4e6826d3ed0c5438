"""`aiscope packets`: one connection's first packets, from the evidence ring, dissected by tshark."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sensor.cli import printable

_COMMUNITY_ID = re.compile(r"1:[A-Za-z0-9+/]{27}=")


@click.command()
@click.argument("community_id")
@click.option("--evidence", type=click.Path(path_type=Path), help="Which folder; default `watch.evidence`.")
@click.option("--verbose", "-v", is_flag=True, help="Every field of every layer.")
def packets(community_id: str, evidence: Path | None, verbose: bool) -> None:
    """Show the first packets of the connection with a COMMUNITY_ID (`flow_id` in rows, Zeek's community_id).

    Exit code 1 when the ring has none of them (any more), or tshark fails over one.
    """
    from sensor.config import load
    from sensor.packets.errors import Damaged
    from sensor.packets.evidence_ring import packets_of, ring_files

    if not _COMMUNITY_ID.fullmatch(community_id):
        raise click.UsageError(f"{community_id!a} is no Community ID: 1:, 27 characters of base64, =")
    if not shutil.which("tshark"):
        raise click.ClickException("tshark is not installed: it takes packets apart")
    folder = evidence or load().watch.evidence
    if folder is None:
        raise click.ClickException("no packets are kept: set `evidence` in [watch] of the settings")
    if not folder.is_dir():
        raise click.ClickException(f"{folder}: there is no such folder")
    with tempfile.NamedTemporaryFile(suffix=".pcapng") as found:
        count = 0
        for file in ring_files(folder):
            try:
                for packet in packets_of(file, community_id):
                    count += found.write(packet) > 0
            except Damaged as error:
                click.echo(printable(f"aiscope: {error}; what comes before is shown"), err=True)
        found.flush()
        dissected = _dissected(found.name) if count else []
    for number, one in enumerate(dissected, 1):
        click.echo(printable("\n".join(_lines(number, one, verbose))))
    if not count:
        raise click.ClickException(f"{folder}: no packet of {community_id}")
    if len(dissected) < count:
        raise click.ClickException(f"tshark failed: of {count} packets it took {len(dissected)} apart")


def _dissected(file: str) -> list[Any]:
    """All of them before the first is shown: who has seen enough leaves no tshark behind."""
    try:
        import pyshark
        from pyshark.capture.capture import TSharkCrashException
    except ModuleNotFoundError:
        raise click.ClickException("pyshark is not installed: pip install pyshark") from None
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # pyshark takes the thread's, which may be closed or not there
    found = pyshark.FileCapture(file, keep_packets=False, use_json=False)
    dissected: list[Any] = []
    try:
        with contextlib.suppress(TSharkCrashException):
            dissected.extend(found)
        found._running_processes.clear()  # one that failed would be said again
        found.close()
        return dissected
    finally:
        asyncio.set_event_loop_policy(None)  # nor does pyshark's watcher of children outlive its loop
        loop.close()


def _lines(number: int, packet: Any, verbose: bool) -> Iterator[str]:
    ip = next((layer for layer in packet.layers if layer.layer_name in ("ip", "ipv6")), None)
    ends = f"{ip.src} -> {ip.dst}" if ip else ""
    yield f"{number:3} {packet.sniff_time:%H:%M:%S.%f} {ends} {packet.highest_layer} {packet.length} bytes"
    if not verbose:
        return
    for layer in packet.layers:
        yield f"    {layer.layer_name}"
        for name in layer.field_names:
            yield f"        {name}: {' '.join(str(layer.get_field(name)).split())}"
