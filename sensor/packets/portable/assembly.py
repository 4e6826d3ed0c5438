"""One direction of a TCP connection put in order by sequence number. First-come bytes win on overlap."""

from __future__ import annotations

SPAN = 1 << 32
HALF = 1 << 31
PIECE = 64  # about what it costs to hold one, besides its bytes


class Waiting:
    """Bytes of all flows that wait for others, where nothing else bounds them."""

    __slots__ = ("bytes", "most")

    def __init__(self, most: int) -> None:
        self.bytes, self.most = 0, most

    @property
    def full(self) -> bool:
        return self.bytes > self.most


class Stream:
    """Bytes in order, and up to `segments` pieces that are ahead of a gap.

    While `keep` is set, what came in order stays in `kept`, and pieces are refused when they and `kept` would
    exceed `limit` bytes; when `kept` alone has that many, nothing more is taken. Without a known start (`fixed` is
    false) a segment before the first lowers it.
    """

    __slots__ = (
        "fixed",
        "full",
        "held",
        "held_bytes",
        "keep",
        "kept",
        "limit",
        "lost",
        "next",
        "segments",
        "total",
    )

    def __init__(self, limit: int, segments: int, start: int | None = None) -> None:
        self.limit = limit
        self.segments = segments
        self.next = start  # sequence number of the next byte in order
        self.fixed = start is not None
        self.keep = True
        self.kept = bytearray()
        self.total = 0  # bytes that came in order
        self.held: list[tuple[int, bytes]] = []
        self.held_bytes = 0
        self.full = False  # something was refused for `limit`, or `limit` bytes are here
        self.lost = 0  # bytes refused

    @property
    def weight(self) -> int:
        return self.held_bytes + PIECE * len(self.held)

    def push(self, seq: int, data: bytes) -> bytes:
        """Takes a segment's payload; returns what is now in order and was not before."""
        if self.keep and len(self.kept) >= self.limit:
            return b""
        if self.next is None:
            self.next = seq
        ahead = (seq - self.next) % SPAN
        if 0 < ahead < HALF:
            self._hold(seq, data, force=False)
            self._weigh()
            return b""
        if ahead:
            behind = SPAN - ahead
            if not self.fixed and self.keep and behind > self.total:
                self._lower(seq)
            else:
                data = data[behind:]
        if not data:
            return b""
        if self.held:
            self._hold(self.next, data, force=True)
            return self._drain()
        return self._advance(data)

    def skip(self) -> tuple[int, bytes]:
        """Gives up the gap before the first held piece: its length, and the bytes behind it."""
        assert self.next is not None  # noqa: S101 (there is a held piece, so a first segment came)
        gap = (self.held[0][0] - self.next) % SPAN
        self.next = self.held[0][0]
        return gap, self._drain()

    def close(self) -> int:
        """Lets go of everything; returns how many bytes that were out of order are lost."""
        lost = self.lost + self.held_bytes
        self.held, self.held_bytes, self.lost, self.kept = [], 0, 0, bytearray()
        return lost

    def _advance(self, data: bytes) -> bytes:
        self.next = (self.next + len(data)) % SPAN  # type: ignore[operator]
        self.total += len(data)
        if self.keep:
            self.kept += data
            self._weigh()
        return data

    def _weigh(self) -> None:
        if self.keep and len(self.kept) + self.held_bytes >= self.limit:
            self.full = True

    def _lower(self, seq: int) -> None:
        """The stream began earlier than was thought: what is kept so far is ahead of a gap now."""
        if self.kept:
            kept = (self.next - len(self.kept)) % SPAN, bytes(self.kept)  # type: ignore[operator]
            self.held.insert(0, kept)
            self.held_bytes += len(self.kept)
            self.kept.clear()
        self.total = 0
        self.next = seq

    def _hold(self, seq: int, data: bytes, force: bool) -> None:
        """Keeps the parts of a segment that no held piece has. `force`: they close the gap, no limits."""
        pieces = []
        for start, body in self.held:
            offset = (start - seq + HALF) % SPAN - HALF
            if offset >= len(data):
                break
            stop = offset + len(body)
            if stop <= 0:
                continue
            if offset > 0:
                pieces.append((seq, data[:offset]))
            seq, data = (seq + stop) % SPAN, data[stop:]
            if not data:
                break
        if data:
            pieces.append((seq, data))
        for piece in pieces:
            self._insert(piece, force)
        if pieces:
            first = self.next or 0
            self.held.sort(key=lambda piece: (piece[0] - first) % SPAN)

    def _insert(self, piece: tuple[int, bytes], force: bool) -> None:
        size = len(piece[1])
        over = self.keep and len(self.kept) + self.held_bytes + size > self.limit
        if not force and (over or (self.keep and len(self.held) >= self.segments)):
            self.lost += size
            self.full = self.full or over
            return
        self.held.append(piece)
        self.held_bytes += size

    def _drain(self) -> bytes:
        out = []
        while self.held and self.held[0][0] == self.next:
            body = self.held.pop(0)[1]
            self.held_bytes -= len(body)
            out.append(self._advance(body))
        return b"".join(out)
