"""Frames that a mirror copied twice: docs/engine.md 1."""

from __future__ import annotations

from collections import deque

WINDOW = 64  # frames
COMPARED = 128  # bytes; the checksums among them stand for the others


class Duplicates:
    """The last frames that have an identity. `key` is any number that equal packets share."""

    def __init__(self, window_ns: int) -> None:
        self._window = window_ns
        self._ring: deque[tuple[int, int, bytes, int]] = deque()
        self._count: dict[int, int] = {}

    def seen(self, key: int, time: int, data: bytes, network: int) -> bool:
        """Whether this packet came a moment ago; if not, it is remembered. `network`: its IP header."""
        ring, count = self._ring, self._count
        if key in count:
            if any(
                key == old and time - then <= self._window and _equal(before, at, data, network)
                for old, then, before, at in ring
            ):
                return True
            count[key] += 1
        else:
            count[key] = 1
        ring.append((key, time, data, network))
        if len(ring) > WINDOW:
            gone = ring.popleft()[0]
            if count[gone] == 1:
                del count[gone]
            else:
                count[gone] -= 1
        return False


def _equal(one: bytes, at: int, two: bytes, to: int) -> bool:
    """Equal from the IP header on, but for what a router changes: TTL and checksum, or the hop limit."""
    one, two = one[at : at + COMPARED], two[to : to + COMPARED]
    if one[0] >> 4 == 4:
        return one[:8] == two[:8] and one[9] == two[9] and one[12:] == two[12:]
    return one[:7] == two[:7] and one[8:] == two[8:]
