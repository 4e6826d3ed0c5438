"""`aiscope packets`: one connection's first packets, from the evidence ring, dissected by tshark."""

from __future__ import annotations

import asyncio
import re
import shutil
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

    Exit code 1 when the ring has none of them (any more).
    """
    from sensor.config import load
    from sensor.packets.evidence import ring_files

    if not _COMMUNITY_ID.fullmatch(community_id):
        raise click.UsageError(f"{community_id!a} is no Community ID: 1:, 27 characters of base64, =")
    if not shutil.which("tshark"):
        raise click.ClickException("tshark is not installed: it takes packets apart")
    folder = evidence or load().watch.evidence
    if folder is None:
        raise click.ClickException("no packets are kept: set `evidence` in [watch] of the settings")
    count = 0
    for file in ring_files(folder):
        for packet in _dissected(file, community_id):
            count += 1
            click.echo(printable("\n".join(_lines(count, packet, verbose))))
    if not count:
        raise click.ClickException(f"{folder}: no packet of {community_id}")


def _dissected(file: Path, community_id: str) -> Iterator[Any]:
    try:
        import pyshark
    except ModuleNotFoundError:
        raise click.ClickException("pyshark is not installed: pip install pyshark") from None
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # pyshark takes the thread's, which may be closed or not there
    found = pyshark.FileCapture(
        str(file), display_filter=f'frame.comment == "{community_id}"', keep_packets=False, use_json=False
    )
    try:
        yield from found
    finally:
        found.close()
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
