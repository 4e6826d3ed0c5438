"""TLS records followed by sequence number, to tell application payload from the rest: docs/engine.md 4."""

from __future__ import annotations

from sensor.packets.portable.assembly import HALF, SPAN
from sensor.packets.portable.flows import Flow, Side

APPLICATION_DATA = 23
HEADER = 5
MAX = 16_640  # RFC 5246 6.2.3: 2^14 + 256 for TLS 1.3, 2048 before it, which nobody uses
FINISHED = 90  # most a client's Finished takes with its tag and content type
ALERT = 19  # what an alert takes with those: a pre-connect ends with one each way, and nothing else was said


def plausible(header: bytes) -> bool:
    """A record header: type 20 to 24, version 3.x, a length that may be."""
    return (
        len(header) >= HEADER
        and 20 <= header[0] <= 24
        and header[1] == 3
        and header[3] << 8 | header[4] <= MAX
    )


def follow(side: Side, seq: int, data: bytes, start: int, end: int, size: int) -> tuple[int, int]:
    """Takes a segment: `size` payload bytes, of which data[start:end] were captured.

    Returns its bytes of records that count as application payload, and how many of those began in it.
    """
    if seq != side.next:
        behind = (side.next - seq) % SPAN if side.next >= 0 else SPAN
        if behind < HALF:
            if behind >= size:
                return 0, 0
            seq, start, size = side.next, start + behind, size - behind
        elif plausible(data[start : min(end, start + HEADER)]):
            side.left, side.partial = 0, b""
        else:
            side.next = -1
            return 0, 0
    side.next = (seq + size) % SPAN
    if size <= side.left:
        side.left -= size
        return (size if side.taken else 0), 0
    return _records(side, data, start, end, start + size)


def _records(side: Side, data: bytes, at: int, end: int, stop: int) -> tuple[int, int]:
    """Goes through record headers in data[at:stop], of which nothing from `end` on was captured."""
    counted = begun = 0
    while True:
        step = min(side.left, stop - at)
        side.left -= step
        at += step
        counted += step if side.taken else 0
        if at >= stop:
            return counted, begun
        piece = data[at : min(end, at + HEADER - len(side.partial))]
        header = side.partial + piece
        at += len(piece)
        if len(header) < HEADER and at >= stop:  # split over segments
            side.partial = header
            return counted, begun
        side.partial = b""
        if not plausible(header):
            side.next = -1
            return counted, begun
        side.left = header[3] << 8 | header[4]
        side.taken = header[0] == APPLICATION_DATA and _counts(side, side.left)
        begun += side.taken


def _counts(side: Side, size: int) -> bool:
    """Whether an application_data record is application payload, not a handshake's end or an alert of TLS 1.3."""
    flow: Flow = side.flow
    if side is flow.server:
        if not flow.up_seen:
            flow.tls13 = True  # only its handshake is encrypted before the client's own
        return flow.up_counted and not (flow.tls13 and size <= ALERT)
    first, flow.up_seen = not flow.up_seen, True
    if flow.tls13 and size <= (FINISHED if first else ALERT):
        return False
    flow.up_counted = True
    return True
