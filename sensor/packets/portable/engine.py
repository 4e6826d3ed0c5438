"""The portable engine: frames in, facts out, as docs/engine.md says."""

from __future__ import annotations

from collections.abc import Sequence

from sensor.packets import facts
from sensor.packets.facts import Fact, Frame, Limits, Progress
from sensor.packets.portable.assembly import SPAN
from sensor.packets.portable.decap import Decap
from sensor.packets.portable.duplicates import Duplicates
from sensor.packets.portable.flight import Flights
from sensor.packets.portable.flows import NEVER, Burst, Flow, Side, State, Table, reverse
from sensor.packets.portable.fragments import MAX as MAX_DATAGRAM
from sensor.packets.portable.fragments import Fragments, Pending
from sensor.packets.portable.headers import UNDECODABLE, Around, Fragment, Header, identity, plain
from sensor.packets.portable.messages import Messages, kind_of
from sensor.packets.portable.names import Names
from sensor.packets.portable.records import follow
from sensor.packets.portable.totals import Tally
from sensor.packets.portable.watch import Watch
from sensor.wire.quic import is_early

FIN, SYN, RST, ACK = 1, 2, 4, 16
QUIC_SMALL = 64  # shorter datagrams carry acknowledgements
_UNDECIDED, _OPENING, _OPEN, _QUIET = State.UNDECIDED, State.OPENING, State.OPEN, State.QUIET


class PortableEngine:
    def __init__(self, watch: facts.Watch, limits: Limits) -> None:
        self._limits = limits
        self._out: list[Fact] = []
        self._tally = Tally()
        self._watch = Watch(watch)
        self._names = Names(self._watch, limits, self._tally)
        self._table = Table(limits)
        self._duplicates = Duplicates(limits.duplicate_ns)
        self._fragments = Fragments(limits, self._tally)
        self._flights = Flights(self._watch, self._names, limits, self._tally, self._out)
        self._clear = self._flights.clear
        self._messages = Messages(self._watch, self._names, self._flights, limits, self._tally, self._out)
        self._zero = -1  # time of the first frame, from which sweeps are counted
        self._next_sweep = -NEVER
        self._totals_from = 0
        self._now = 0
        self._flows = self._frames = 0
        self._whole: Pending | None = None  # the reassembled datagram that is being counted

    def feed(self, frames: Sequence[Frame]) -> list[Fact]:
        """Takes the next frames; any division into batches gives the same facts."""
        tally, tcp_sides, udp_sides = self._tally, self._table.tcp, self._table.udp
        seen = self._duplicates.seen
        for frame in frames:
            time, data = frame.time, frame.data
            if time >= self._next_sweep:
                self._sweep(time)
            self._now = time
            around: Around | None = None
            header: Header | None = plain(data) if frame.link == 1 else None
            if header is None:
                found = self._decap(frame)
                if found is None:
                    continue
                header, around = found
            elif header[8] and seen(hash(header[1]) ^ header[8], time, data, 14):
                tally.duplicates += 1
                continue
            tally.frames += 1
            tcp, key, seq, flags, _, _, _, _, _ = header
            side = (tcp_sides if tcp else udp_sides).get(key)
            if (
                side is None
                or flags & 7
                or time - side.flow.last >= side.flow.idle
                or time >= side.flow.closed_due
            ):
                side = self._edge(time, header, around, side)
                seq = (seq + (flags >> 1 & 1)) % SPAN  # a SYN has a sequence number of its own
            self._frames += 1
            self._count(side, time, frame.length, header, around, seq)
            if self._whole is not None:
                self._absorb(side.flow, self._whole)
        return self._taken()

    def tick(self, time: int) -> list[Fact]:
        """Time goes on without a frame: sweeps that are due run."""
        if time >= self._next_sweep:
            self._sweep(time)
        self._now = max(self._now, time)
        return self._taken()

    def look(self, watch: facts.Watch) -> None:
        """Watches something else from the next frame on."""
        self._watch.become(watch)

    def finish(self) -> list[Fact]:
        """Closes every flow; the last `Totals`."""
        for flow in self._table:
            self._end(flow, self._reason(flow, self._now, "end"))
        self._fragments.finish()
        self._out.append(self._tally.take(self._totals_from, self._now))
        return self._taken()

    def _taken(self) -> list[Fact]:
        out = self._out[:]
        self._out.clear()
        return out

    def _count(
        self, side: Side, time: int, length: int, header: Header, around: Around | None, seq: int
    ) -> None:
        flow, size = side.flow, header[7]
        if flow.message and size:
            self._messages.take(flow, side, time, header, around, seq)
        if time >= flow.slice_due and flow.state is not _QUIET:
            self._slice(flow)
            self._begin_slice(flow, time)
        flow.last = time
        flow.seen = self._frames
        flow.cell[0] += length
        if flow.state is _QUIET and not (flow.peeks and size and self._again(flow, side, time, header, seq)):
            return
        side.packets += 1
        if flow.state is _UNDECIDED:
            if flow.epoch != self._tally.epoch:
                flow.epoch, flow.counted = self._tally.epoch, 0
            flow.counted += length
        if not size:
            return
        side.bytes += size
        side.spoke = True
        burst = flow.burst
        if burst is not None and burst.side is side and time - burst.end < self._limits.burst_gap_ns:
            burst.end = time
            burst.bytes += size
        else:
            burst = flow.burst = Burst(side, time, size)
            if len(flow.bursts) < self._limits.bursts:
                flow.bursts.append(burst)
        state = flow.state
        if state is not _UNDECIDED:
            _, _, _, _, data, start, end, _, _ = header
            if flow.protocol == "tls":
                counted, records = follow(side, seq, data, start, end, size)
            else:
                counted, records = self._payload(flow, side, data[start:end], size)
            side.app += counted
            burst.records += records
        if state is not _OPEN or flow.clear:
            self._read(flow, side, header, seq)

    def _read(self, flow: Flow, side: Side, header: Header, seq: int) -> None:
        payload = header[4][header[5] : header[6]]
        if flow.state is _OPEN:
            self._clear.take(flow, side, seq, payload)
        else:
            self._flights.take(flow, side, seq, payload)

    @staticmethod
    def _payload(flow: Flow, side: Side, payload: bytes, size: int) -> tuple[int, int]:
        """Application payload of a segment or datagram that is not TLS, and QUIC packets."""
        if flow.protocol != "quic":
            return size, 0
        up = side is flow.client
        if size < QUIC_SMALL or not payload:
            return 0, 0
        if payload[0] & 0x80 and not (up and is_early(payload[0], flow.quic)):
            return 0, 0
        flow.up_counted = flow.up_counted or up
        return (size, 1) if flow.up_counted else (0, 0)

    def _again(self, flow: Flow, side: Side, time: int, header: Header, seq: int) -> bool:
        payload = header[4][header[5] : header[6]]
        if side is not flow.client or not payload or not self._flights.again(flow, seq, payload):
            return False
        self._begin_slice(flow, time)
        return True

    def _decap(self, frame: Frame) -> tuple[Header, Around] | None:
        """The frame's transport header; `None` when it has none that is new, and it is counted."""
        tally, decap = self._tally, Decap(self._limits.tunnels)
        found = decap.frame(frame.link, frame.data, frame.length)
        if decap.network >= 0 and self._is_duplicate(frame, decap.network):
            tally.duplicates += 1
            return None
        if not isinstance(found, (str, Fragment)):
            return found, decap.around
        if isinstance(found, Fragment):
            return self._fragment(found, frame, decap)
        tally.lose(found, frame.length)
        return None

    def _is_duplicate(self, frame: Frame, at: int) -> bool:
        key = identity(frame.data, at)
        return key is not None and self._duplicates.seen(key, frame.time, frame.data, at)

    def _fragment(self, fragment: Fragment, frame: Frame, decap: Decap) -> tuple[Header, Around] | None:
        tally = self._tally
        if fragment.offset + fragment.size > MAX_DATAGRAM:
            tally.lose(UNDECODABLE, frame.length)
            return None
        tally.frames += 1
        tally.classes["unnamed"][0] += frame.length
        whole = self._fragments.add(fragment, frame.time, frame.length)
        if whole is None:
            return None
        tally.frames -= 1  # counted with what the datagram holds, like any frame
        whole.counted -= frame.length
        tally.classes["unnamed"][0] -= frame.length
        found = decap.datagram(whole.protocol, fragment.key[0], whole.payload(), whole.size)
        if isinstance(found, (str, Fragment)):  # fragments within fragments: nobody sends these
            kind = found if isinstance(found, str) else UNDECODABLE
            tally.lose(kind, frame.length)
            self._flights.move(whole, tally.classes["unnamed"], tally.classes[kind])
            return None
        self._whole = whole
        return found, decap.around

    def _absorb(self, flow: Flow, whole: Pending) -> None:
        """The frames of a datagram that is whole now are in its flow's class, and share its fate."""
        self._whole = None
        self._flights.move(whole, self._tally.classes["unnamed"], flow.cell)
        if flow.state is _UNDECIDED and whole.epoch == flow.epoch:
            flow.counted += whole.counted

    def _edge(self, time: int, header: Header, around: Around | None, side: Side | None) -> Side:
        """A new flow, or one that ends or may be another from now on."""
        _, _, seq, flags, data, _, _, _, _ = header
        if side is not None:
            reason = self._over(side, time, seq, flags)
            if reason:
                self._end(side.flow, reason)
                side = None
        if side is None:
            side = self._begin(time, header, around or Around(data[:12]))
        flow = side.flow
        if flags & SYN:
            self._syn(flow, side, seq, flags)
        if flags & FIN:
            side.fin = True
        if not flow.closed and (flags & RST or (side.fin and side.other.fin)):
            flow.closed = "rst" if flags & RST else "fin"
            flow.closed_due = time + self._limits.closed_ns
            self._table.wait(flow, flow.closed_due)
        return side

    def _over(self, side: Side, time: int, seq: int, flags: int) -> str:
        """Why the frame does not belong to the flow on its key any more; "" if it does."""
        flow = side.flow
        if time >= flow.closed_due:
            return flow.closed
        if time - flow.last >= flow.idle:
            return flow.closed or "idle"
        if flags & (SYN | ACK) == SYN:
            known = flow.syn
            other = known != (side, seq) if known else flow.client.spoke or flow.server.spoke
            return (flow.closed or "rst") if other else ""
        return ""

    def _syn(self, flow: Flow, side: Side, seq: int, flags: int) -> None:
        side.origin = (seq + 1) % SPAN
        if not flags & ACK and flow.syn is None and flow.state is _UNDECIDED:
            flow.syn = (side, seq)
            if side is flow.server:
                self._flights.swap(flow)

    def _begin(self, time: int, header: Header, around: Around) -> Side:
        tcp, key, _, flags, data, start, end, _, _ = header
        if self._table.full:
            victim = self._table.least_recent()
            reason = self._reason(victim, time, "evicted")
            self._tally.flows_evicted += reason == "evicted"
            self._end(victim, reason)
        side, other = Side(key), Side(reverse(key))
        side.other, other.other = other, side
        flow = Flow(self._flows, tcp, side, other, time, around)
        side.flow = other.flow = flow
        self._flows += 1
        self._tally.flows += 1
        ports = (side.port, other.port)
        flow.message = kind_of(tcp, ports)
        if self._from_server(ports, tcp, flags, data[start:end]):
            flow.swap()
        flow.cell = self._tally.classes["unnamed"]
        flow.epoch = self._tally.epoch
        flow.idle = self._limits.tcp_idle_ns if tcp else self._limits.udp_idle_ns
        flow.slice_due = time + self._limits.slice_ns
        flow.learnt = self._names.find(flow.client.address, flow.server.address, time)
        flow.seen = self._frames
        self._table.add(flow, side)
        return side

    def _from_server(self, ports: tuple[int, int], tcp: bool, flags: int, payload: bytes) -> bool:
        """Whether a flow's first frame comes from its server: docs/engine.md 2."""
        if tcp and flags & SYN:
            return flags & ACK > 0
        if not tcp and 53 in ports and len(payload) > 2:
            return payload[2] & 0x80 > 0
        low = min(ports)
        return ports[0] < ports[1] and (low < 1024 or low in self._watch.ports)

    @staticmethod
    def _reason(flow: Flow, time: int, default: str) -> str:
        return flow.closed or ("idle" if time - flow.last >= flow.idle else default)

    def _begin_slice(self, flow: Flow, time: int) -> None:
        flow.slice_start, flow.slice_due = time, time + self._limits.slice_ns
        self._table.wait(flow, flow.due)  # so far it waited for silence, perhaps

    def _slice(self, flow: Flow) -> None:
        """Reports what the flow did in the slice that ends, if anything."""
        if flow.client.packets or flow.server.packets:
            self._settle(flow)
            if flow.state is _OPEN:
                self._progress(flow, "")

    def _settle(self, flow: Flow) -> None:
        if flow.state is _UNDECIDED or flow.state is _OPENING:
            self._flights.settle(flow)

    def _end(self, flow: Flow, reason: str) -> None:
        self._settle(flow)
        if flow.state is _OPEN:
            if flow.clear:
                self._clear.finish(flow)
            self._progress(flow, reason)
        if flow.message:
            self._messages.finish(flow)
        self._table.remove(flow)

    def _progress(self, flow: Flow, closed: str) -> None:
        up, down = flow.client, flow.server
        empty = not (up.packets or down.packets)
        self._out.append(
            Progress(
                flow.describe(),
                flow.last if empty else flow.slice_start,
                flow.last,
                up.bytes,
                down.bytes,
                up.packets,
                down.packets,
                up.app,
                down.app,
                tuple(
                    facts.Burst(burst.side is up, burst.start, burst.end, burst.bytes, burst.records)
                    for burst in flow.bursts
                ),
                closed,
            )
        )
        flow.restart()

    def _sweep(self, time: int) -> None:
        """Brings forward what is due as of the last multiple of the interval before `time`."""
        interval = self._limits.sweep_ns
        if self._zero < 0:
            self._zero = self._totals_from = time
        now = time - (time - self._zero) % interval
        self._next_sweep = now + interval
        for flow in self._table.due(now):
            if flow.closed_due <= now or flow.last + flow.idle <= now:
                self._end(flow, flow.closed or "idle")
                continue
            if flow.slice_due <= now and flow.state is not _QUIET:
                self._slice(flow)
                flow.slice_due = -NEVER  # the next frame begins a slice
            self._table.wait(flow, flow.due)
        self._fragments.sweep(now)
        if now - self._totals_from >= self._limits.totals_ns:
            self._out.append(self._tally.take(self._totals_from, now))
            self._totals_from = now
