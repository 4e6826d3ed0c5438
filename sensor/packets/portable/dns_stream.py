"""DNS over TCP, message by message."""

from __future__ import annotations

from sensor.packets.facts import Limits
from sensor.packets.portable.assembly import Stream
from sensor.wire.cursor import Malformed
from sensor.wire.dns import TcpMessages


class DnsStream:
    """One direction of a connection on port 53. Ends at the first byte that is lost or is no DNS."""

    __slots__ = ("_messages", "_segments", "_stream")

    def __init__(self, limits: Limits, origin: int) -> None:
        self._segments = limits.segments
        self._stream: Stream | None = Stream(0, limits.segments, origin if origin >= 0 else None)
        self._stream.keep = False
        self._messages = TcpMessages()

    @property
    def weight(self) -> int:
        """Bytes that wait for others."""
        return self._stream.weight + self._messages.held if self._stream is not None else 0

    def end(self) -> int:
        """Lets go of everything; returns how many bytes waited."""
        lost = self._messages.held + (self._stream.close() if self._stream is not None else 0)
        self._stream, self._messages = None, TcpMessages()
        return lost

    def feed(self, seq: int, payload: bytes) -> list[bytes]:
        """The messages that this segment made whole."""
        if self._stream is None:
            return []
        fresh = self._stream.push(seq, payload)
        if len(self._stream.held) > self._segments:
            self.end()
            return []
        try:
            return self._messages.feed(fresh) if fresh else []
        except Malformed:
            self.end()
            return []
