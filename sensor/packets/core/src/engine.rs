//! The engine: frames in, facts out, as docs/engine.md says.

use crate::bytes::{from, u8_at};
use crate::duplicates::{Kept, Recent, identity};
use crate::facts::{Address, Closed, Fact, Kind, Message, Protocol, Transport};
use crate::flight::Flights;
use crate::flow::{Flow, Live, NEVER, Pair, State, other};
use crate::fragments::{Fragments, Pending};
use crate::ip::Ends;
use crate::link::{Around, Decoder, Found, Fragment, Next, Packet, Rest};
use crate::messages::DnsStream;
use crate::names::Names;
use crate::table::{Key, Side, Table};
use crate::totals::{Class, Count, Tally};
use crate::watch::Watch;
use crate::wheel::Wheel;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
/// Shorter QUIC datagrams carry acknowledgements.
const QUIC_SMALL: u32 = 64;
const MAX_DATAGRAM: u32 = 65_535;
/// Frames decoded before the first of them is counted, so that the table's memory is there by then.
const AHEAD: usize = 16;

/// `sensor.packets.facts.Limits`.
#[derive(Clone)]
pub struct Limits {
    pub flows: usize,
    pub held: usize,
    pub first_flight: usize,
    pub server_bytes: usize,
    pub segments: usize,
    pub datagrams: usize,
    pub fragments: usize,
    pub fragment_ns: i64,
    pub tunnels: usize,
    pub names: usize,
    pub name_min_ns: i64,
    pub name_max_ns: i64,
    pub clear_bytes: usize,
    pub http_peeks: usize,
    pub slice_ns: i64,
    pub totals_ns: i64,
    pub sweep_ns: i64,
    pub tcp_idle_ns: i64,
    pub udp_idle_ns: i64,
    pub closed_ns: i64,
    pub burst_gap_ns: i64,
    pub bursts: usize,
    pub duplicate_ns: i64,
}

/// Captured bytes with their time, link type and length on the wire.
pub type Raw<'a> = (i64, u32, &'a [u8], u32);

/// A frame with its headers read.
struct Frame<'a> {
    time: i64,
    length: i64,
    link: u32,
    data: &'a [u8],
    found: Found<'a>,
    /// Captured bytes from the outermost IP header on.
    ip_bytes: usize,
    key: Option<(Key, Side, u32)>,
}

impl<'a> Frame<'a> {
    fn place(&self) -> Place<'a> {
        Place::Frame(self.link, self.data, u32::try_from(self.length).unwrap_or(u32::MAX))
    }
}

/// Where a packet was found. What is around it matters for new flows and for messages only, and is worked out then.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Link type, bytes, length on the wire.
    Frame(u32, &'a [u8], u32),
    Known(&'a Around),
}

impl Place<'_> {
    fn around(&self, tunnels: usize) -> Around {
        match *self {
            Self::Known(around) => around.clone(),
            Self::Frame(link, data, length) => {
                let mut decoder = Decoder::new(tunnels);
                decoder.frame(link, data, length);
                decoder.around
            }
        }
    }
}

type Seen = Reverse<(u64, u64, u32)>;

pub struct Core {
    flights: Flights,
    table: Table<Flow>,
    wheel: Wheel,
    /// Flows by their last frame, only once the table was full.
    heap: Option<BinaryHeap<Seen>>,
    /// Flows that hold bytes, in the order they began to; those that do not any more are stale.
    holding: VecDeque<(u64, u32)>,
    fragments: Fragments,
    kept: Kept,
    /// Time of the first frame, from which sweeps are counted.
    zero: Option<i64>,
    next_sweep: i64,
    totals_from: i64,
    now: i64,
    /// Numbers of the next flow, frame and hold.
    flows: u64,
    frames: u64,
    holds: u64,
}

impl Core {
    pub fn new(watch: Watch, limits: Limits) -> Self {
        Self {
            table: Table::new(),
            wheel: Wheel::new(limits.sweep_ns),
            heap: None,
            holding: VecDeque::new(),
            fragments: Fragments::new(limits.fragments, limits.fragment_ns),
            kept: Kept::default(),
            zero: None,
            next_sweep: i64::MIN,
            totals_from: 0,
            now: 0,
            flows: 0,
            frames: 0,
            holds: 0,
            flights: Flights {
                names: Names::new(limits.names, limits.name_min_ns, limits.name_max_ns),
                limits,
                watch,
                tally: Tally::default(),
                out: Vec::new(),
                held: 0,
            },
        }
    }

    pub fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.flights.out)
    }

    pub fn facts(&self) -> usize {
        self.flights.out.len()
    }

    /// Takes the next frames; any division into batches gives the same facts.
    pub fn feed<'a>(&mut self, mut frames: impl Iterator<Item = Raw<'a>>) {
        let kept = std::mem::take(&mut self.kept);
        let mut recent = Recent::resume(&kept);
        let mut batch: Vec<Frame<'_>> = Vec::with_capacity(AHEAD);
        loop {
            batch.clear();
            batch.extend(frames.by_ref().take(AHEAD).map(|raw| self.decode(raw)));
            if batch.is_empty() {
                break;
            }
            for (_, _, hash) in batch.iter().filter_map(|frame| frame.key) {
                self.table.prefetch_entry(hash);
            }
            for frame in &batch {
                self.frame(frame, &mut recent);
            }
        }
        self.kept = recent.keep();
    }

    fn decoder(&self) -> Decoder {
        Decoder::new(self.flights.limits.tunnels)
    }

    #[inline(always)]
    fn decode<'a>(&self, (time, link, data, length): Raw<'a>) -> Frame<'a> {
        let mut decoder = self.decoder();
        let found = decoder.frame(link, data, length);
        let key = match &found {
            Found::Transport(packet) => {
                let (key, side) = Key::of(packet);
                let hash = key.hash(self.table.seed);
                self.table.prefetch_cell(hash);
                Some((key, side, hash))
            }
            _ => None,
        };
        Frame { time, link, length: length.into(), data, found, ip_bytes: decoder.ip_bytes, key }
    }

    #[inline(always)]
    fn frame<'a>(&mut self, frame: &Frame<'a>, recent: &mut Recent<'a>) {
        let time = frame.time;
        if time >= self.next_sweep {
            self.sweep(time);
        }
        self.now = time;
        let ip = from(frame.data, frame.data.len().saturating_sub(frame.ip_bytes));
        if let Some(identity) = identity(ip) {
            if recent.seen(identity, time, ip, self.flights.limits.duplicate_ns) {
                self.flights.tally.count(Count::Duplicates, 1);
                return;
            }
        }
        self.flights.tally.count(Count::Frames, 1);
        let class = match &frame.found {
            Found::Transport(packet) => {
                if let Some(key) = frame.key {
                    self.packet(time, frame.length, packet, key, frame.place());
                }
                return;
            }
            Found::Fragment(fragment) => {
                let mut decoder = Decoder { around: frame.place().around(self.flights.limits.tunnels), ..self.decoder() };
                self.fragment(fragment, time, frame.length, &mut decoder);
                return;
            }
            Found::Other => Class::Other,
            Found::Tunnelled => Class::Tunnelled,
            Found::Undecodable => Class::Undecodable,
        };
        self.flights.tally.bytes(class, frame.length);
    }

    fn fragment(&mut self, fragment: &Fragment<'_>, time: i64, length: i64, decoder: &mut Decoder) {
        let tally = &mut self.flights.tally;
        if fragment.offset.saturating_add(fragment.size) > MAX_DATAGRAM {
            tally.bytes(Class::Undecodable, length);
            return;
        }
        tally.bytes(Class::Unnamed, length);
        let Some(whole) = self.fragments.add(fragment, time, length, tally) else { return };
        let payload = whole.payload();
        let ends = Ends { source: fragment.key.source, target: fragment.key.target };
        let rest = Rest { data: &payload, wire: whole.size.unwrap_or_default() as usize };
        let class = match decoder.run(Next::Transport(whole.protocol(), ends, rest)) {
            Found::Transport(packet) => {
                let (key, side) = Key::of(&packet);
                let hash = key.hash(self.table.seed);
                tally.bytes(Class::Unnamed, length.saturating_neg());
                let index = self.packet(time, length, &packet, (key, side, hash), Place::Known(&decoder.around));
                self.absorb(index, &whole, whole.counted().saturating_sub(length));
                return;
            }
            Found::Tunnelled => Class::Tunnelled,
            Found::Other => Class::Other,
            // Fragments within fragments: nobody sends these.
            Found::Undecodable | Found::Fragment(_) => Class::Undecodable,
        };
        tally.bytes(Class::Unnamed, whole.counted().saturating_neg());
        tally.bytes(class, whole.counted());
    }

    /// The frames of a datagram that is whole now are in its flow's class, and share its fate.
    fn absorb(&mut self, index: u32, whole: &Pending, counted: i64) {
        let Some(flow) = self.table.get_mut(index) else { return };
        let tally = &mut self.flights.tally;
        if whole.epoch != tally.epoch {
            return;
        }
        tally.bytes(Class::Unnamed, counted.saturating_neg());
        tally.bytes(flow.class, counted);
        if let Some(live) = flow.live.as_mut().filter(|live| flow.state == State::Undecided && live.epoch == whole.epoch) {
            live.counted = live.counted.saturating_add(counted);
        }
    }

    /// Returns the flow's place in the table.
    #[inline(always)]
    fn packet(
        &mut self,
        time: i64,
        length: i64,
        packet: &Packet<'_>,
        (key, side, hash): (Key, Side, u32),
        place: Place<'_>,
    ) -> u32 {
        let known = self.table.find(&key, hash);
        let mut seq = packet.seq;
        let plain = known.filter(|&index| {
            self.table.get(index).is_some_and(|flow| {
                packet.flags & (FIN | SYN | RST) == 0
                    && time.saturating_sub(flow.last) < flow.idle
                    && time < flow.closed_due
            })
        });
        let index = match plain {
            Some(index) => index,
            None => {
                seq = seq.wrapping_add(u32::from(packet.flags >> 1 & 1));
                self.edge(time, packet, (key, side, hash), place, known)
            }
        };
        self.frames = self.frames.wrapping_add(1);
        self.count(index, side, time, length, packet, place, seq);
        index
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn count(
        &mut self,
        index: u32,
        side: Side,
        time: i64,
        length: i64,
        packet: &Packet<'_>,
        place: Place<'_>,
        seq: u32,
    ) {
        let Some(mut flow) = self.table.get_mut(index) else { return };
        if packet.size > 0 && flow.message.is_some() {
            self.message(index, side, time, packet, place, seq);
            let Some(again) = self.table.get_mut(index) else { return };
            flow = again;
        }
        if flow.state != State::Quiet && time >= flow.slice_due {
            self.slice(index);
            let Some(again) = self.table.get_mut(index) else { return };
            flow = again;
            flow.slice_due = time.saturating_add(self.flights.limits.slice_ns);
            if let Some(live) = &mut flow.live {
                live.slice_start = time;
            }
        }
        flow.last = time;
        flow.seen = self.frames;
        self.flights.tally.bytes(flow.class, length);
        if flow.state == State::Quiet && (flow.peeks == 0 || packet.size == 0) {
            return;
        }
        self.count_live(index, side, time, length, packet, seq);
    }

    fn count_live(&mut self, index: u32, side: Side, time: i64, length: i64, packet: &Packet<'_>, seq: u32) {
        let (Some(key), Some(flow)) = (self.table.key(index), self.table.get_mut(index)) else { return };
        if flow.state == State::Quiet && !self.flights.again_at(&key, flow, side, time, seq, packet.payload) {
            return;
        }
        let (size, state, client) = (u64::from(packet.size), flow.state, flow.client);
        let Some(live) = &mut flow.live else { return };
        let limits = &self.flights.limits;
        let half = live.halves.of_mut(side);
        half.packets = half.packets.saturating_add(1);
        if state == State::Undecided {
            if live.epoch != self.flights.tally.epoch {
                (live.epoch, live.counted) = (self.flights.tally.epoch, 0);
            }
            live.counted = live.counted.saturating_add(length);
        }
        if size == 0 {
            return;
        }
        half.bytes = half.bytes.saturating_add(size);
        *flow.spoke.of_mut(side) = true;
        live.burst(side, time, size, limits.burst_gap_ns, limits.bursts);
        if state != State::Undecided {
            live.application(side, client, packet, seq);
        }
        let holds = live.held.is_some();
        if state == State::Undecided || state == State::Opening {
            if !holds {
                self.hold(index);
            }
            let Some(flow) = self.table.get_mut(index) else { return };
            self.flights.take(&key, flow, side, seq, packet.payload);
        } else if live.clear {
            self.flights.clear(&key, flow, side, seq, packet.payload);
        }
    }

    /// The flow begins to hold bytes; when too many do, the first is settled.
    fn hold(&mut self, index: u32) {
        let Some(live) = self.table.get_mut(index).and_then(|flow| flow.live.as_mut()) else { return };
        self.holds = self.holds.wrapping_add(1);
        live.held = Some(self.holds);
        self.holding.push_back((self.holds, index));
        self.flights.held = self.flights.held.saturating_add(1);
        let stale = self.holding.len() > self.flights.held.saturating_mul(2).saturating_add(64);
        if stale {
            let mut holding = std::mem::take(&mut self.holding);
            holding.retain(|&(number, index)| self.holds_since(index, number));
            self.holding = holding;
        }
        while self.flights.held > self.flights.limits.held {
            let Some((number, first)) = self.holding.pop_front() else { break };
            if self.holds_since(first, number) {
                self.settle(first);
            }
        }
    }

    fn holds_since(&self, index: u32, number: u64) -> bool {
        self.table.get(index).and_then(|flow| flow.live.as_ref()).is_some_and(|live| live.held == Some(number))
    }

    /// A new flow, or one that ends or may be another from now on.
    fn edge(
        &mut self,
        time: i64,
        packet: &Packet<'_>,
        (key, side, hash): (Key, Side, u32),
        place: Place<'_>,
        known: Option<u32>,
    ) -> u32 {
        let mut known = known;
        if let Some((index, flow)) = known.and_then(|index| self.table.get(index).map(|flow| (index, flow))) {
            if let Some(reason) = over(flow, side, time, packet) {
                self.end(index, reason);
                known = None;
            }
        }
        let index = match known {
            Some(index) => index,
            None => self.begin(time, packet, (key, side, hash), place),
        };
        let Some(flow) = self.table.get_mut(index) else { return index };
        if packet.flags & SYN != 0 {
            if let Some(live) = &mut flow.live {
                live.halves.of_mut(side).origin = Some(packet.seq.wrapping_add(1));
            }
            if packet.flags & ACK == 0 && flow.syn.is_none() && flow.state == State::Undecided {
                flow.syn = Some((side, packet.seq));
                if side != flow.client {
                    self.flights.swap(&key, flow);
                }
            }
        }
        if packet.flags & FIN != 0 {
            *flow.fin.of_mut(side) = true;
        }
        let reset = packet.flags & RST != 0;
        if flow.closed.is_none() && (reset || (*flow.fin.of(0) && *flow.fin.of(1))) {
            flow.closed = Some(if reset { Closed::Rst } else { Closed::Fin });
            flow.closed_due = time.saturating_add(self.flights.limits.closed_ns);
            let due = flow.closed_due;
            self.wait(index, due);
        }
        index
    }

    fn begin(
        &mut self,
        time: i64,
        packet: &Packet<'_>,
        (key, side, hash): (Key, Side, u32),
        place: Place<'_>,
    ) -> u32 {
        if self.table.len() >= self.flights.limits.flows {
            self.evict(time);
        }
        let tcp = packet.transport == Transport::Tcp;
        let from_server = self.from_server(packet, tcp);
        let client = if from_server { other(side) } else { side };
        let limits = &self.flights.limits;
        let mut live = Box::new(Live {
            around: place.around(limits.tunnels),
            flipped: from_server,
            start: time,
            slice_start: time,
            epoch: self.flights.tally.epoch,
            ..Live::default()
        });
        live.learnt = self.flights.names.find(key.end(client).address, key.end(other(client)).address, time);
        let flow = Flow {
            last: time,
            closed_due: NEVER,
            slice_due: time.saturating_add(limits.slice_ns),
            seen: self.frames,
            id: self.flows,
            bucket: NEVER,
            idle: if tcp { limits.tcp_idle_ns } else { limits.udp_idle_ns },
            live: Some(live),
            syn: None,
            client,
            peeks: 0,
            spoke: Pair::default(),
            fin: Pair::default(),
            state: State::Undecided,
            class: Class::Unnamed,
            closed: None,
            message: message_kind([packet.source.port, packet.target.port], tcp),
        };
        let (id, seen, due) = (flow.id, flow.seen, flow.due());
        self.flows = self.flows.wrapping_add(1);
        self.flights.tally.count(Count::Flows, 1);
        let index = self.table.insert(key, hash, flow);
        if let Some(heap) = &mut self.heap {
            heap.push(Reverse((seen, id, index)));
        }
        self.wait(index, due);
        index
    }

    /// Whether a flow's first frame comes from its server: docs/engine.md 2.
    fn from_server(&self, packet: &Packet<'_>, tcp: bool) -> bool {
        let (source, target) = (packet.source.port, packet.target.port);
        if tcp && packet.flags & SYN != 0 {
            return packet.flags & ACK != 0;
        }
        if let Some(flags) = u8_at(packet.payload, 2).filter(|_| !tcp && (source == 53 || target == 53)) {
            return flags & 0x80 != 0;
        }
        source < target && (source < 1024 || self.flights.watch.ports.contains(&source))
    }

    fn evict(&mut self, time: i64) {
        let Some(victim) = self.least_recent() else { return };
        let Some(reason) = self.table.get(victim).map(|flow| flow.reason(time, Closed::Evicted)) else { return };
        if reason == Closed::Evicted {
            self.flights.tally.count(Count::FlowsEvicted, 1);
        }
        self.end(victim, reason);
    }

    fn least_recent(&mut self) -> Option<u32> {
        let table = &self.table;
        // Flows that ended otherwise leave stale entries.
        let most = table.len().saturating_mul(2).saturating_add(64);
        let heap = self.heap.take().filter(|heap| heap.len() <= most);
        let mut heap = heap.unwrap_or_else(|| {
            let entry = |index: u32| table.get(index).map(|flow| Reverse((flow.seen, flow.id, index)));
            table.indices().filter_map(entry).collect()
        });
        let mut found = None;
        while let Some(Reverse((seen, id, index))) = heap.pop() {
            let Some(flow) = table.get(index).filter(|flow| flow.id == id) else { continue };
            if flow.seen == seen {
                found = Some(index);
                break;
            }
            heap.push(Reverse((flow.seen, id, index)));
        }
        self.heap = Some(heap);
        found
    }

    /// Looks at the flow again at the first sweep after `due` at the latest.
    fn wait(&mut self, index: u32, due: i64) {
        let bucket = self.wheel.bucket(due);
        if let Some(flow) = self.table.get_mut(index).filter(|flow| flow.bucket != bucket) {
            flow.bucket = bucket;
            self.wheel.put(bucket, index, flow.id);
        }
    }

    fn settle(&mut self, index: u32) {
        let (Some(key), Some(flow)) = (self.table.key(index), self.table.get_mut(index)) else { return };
        self.flights.settle(&key, flow);
    }

    /// Reports what the flow did in the slice that ends, if anything.
    fn slice(&mut self, index: u32) {
        let Some(live) = self.table.get(index).and_then(|flow| flow.live.as_ref()) else { return };
        if live.halves.of(0).packets > 0 || live.halves.of(1).packets > 0 {
            self.settle(index);
            self.progress(index, Closed::Open);
        }
    }

    fn progress(&mut self, index: u32, closed: Closed) {
        let (Some(key), Some(flow)) = (self.table.key(index), self.table.get_mut(index)) else { return };
        let (id, client, last) = (flow.id, flow.client, flow.last);
        let open = flow.state == State::Open;
        if let Some(live) = flow.live.as_mut().filter(|_| open) {
            let fact = live.describe(id, &key, client);
            let progress = live.report(fact, client, last, closed);
            self.flights.out.push(Fact::Progress(Box::new(progress)));
        }
    }

    fn end(&mut self, index: u32, reason: Closed) {
        let (Some(key), Some(flow)) = (self.table.key(index), self.table.get_mut(index)) else { return };
        self.flights.settle(&key, flow);
        if flow.state == State::Open {
            self.flights.finish_clear(&key, flow);
            self.progress(index, reason);
        }
        self.table.remove(index);
    }

    /// Brings forward what is due as of the last multiple of the interval before `time`.
    #[cold]
    fn sweep(&mut self, time: i64) {
        let interval = self.flights.limits.sweep_ns;
        let zero = *self.zero.get_or_insert_with(|| {
            self.totals_from = time;
            time
        });
        let past = time.saturating_sub(zero).checked_rem(interval).unwrap_or_default();
        let now = time.saturating_sub(past);
        self.next_sweep = now.saturating_add(interval);
        for (bucket, index, id) in self.wheel.due(now) {
            let Some(flow) = self.table.get_mut(index).filter(|flow| flow.id == id && flow.bucket == bucket) else {
                continue;
            };
            flow.bucket = NEVER;
            if flow.closed_due <= now || flow.last.saturating_add(flow.idle) <= now {
                let reason = flow.closed.unwrap_or(Closed::Idle);
                self.end(index, reason);
                continue;
            }
            if flow.slice_due <= now && flow.state != State::Quiet {
                self.slice(index);
                if let Some(flow) = self.table.get_mut(index) {
                    flow.slice_due = i64::MIN; // the next frame begins a slice
                }
            }
            if let Some(due) = self.table.get(index).map(Flow::due) {
                self.wait(index, due);
            }
        }
        self.fragments.sweep(now, &mut self.flights.tally);
        if now.saturating_sub(self.totals_from) >= self.flights.limits.totals_ns {
            self.totals(now);
        }
    }

    fn totals(&mut self, end: i64) {
        let totals = self.flights.tally.take(self.totals_from, end);
        self.flights.out.push(Fact::Totals(Box::new(totals)));
        self.totals_from = end;
    }

    /// Closes every flow; the last `Totals`.
    pub fn finish(&mut self) {
        let now = self.now;
        let entry = |index| self.table.get(index).map(|flow| (flow.id, index, flow.reason(now, Closed::End)));
        let mut flows: Vec<_> = self.table.indices().filter_map(entry).collect();
        flows.sort_unstable_by_key(|(id, ..)| *id);
        for (_, index, reason) in flows {
            self.end(index, reason);
        }
        self.fragments.finish(&mut self.flights.tally);
        self.totals(now);
    }

    fn message(&mut self, index: u32, side: Side, time: i64, packet: &Packet<'_>, place: Place<'_>, seq: u32) {
        let (Some(key), Some(flow)) = (self.table.key(index), self.table.get_mut(index)) else { return };
        let Some(kind) = flow.message else { return };
        if packet.transport == Transport::Udp {
            if packet.payload.len() == packet.size as usize {
                self.flights.whole_message(&key, flow, side, kind, time, place, packet.payload);
            }
            return;
        }
        let Some(live) = &mut flow.live else { return };
        let half = live.halves.of_mut(side);
        let (segments, origin) = (self.flights.limits.segments, half.origin);
        let stream = half.messages.get_or_insert_with(|| Box::new(DnsStream::new(segments, origin)));
        for message in stream.feed(seq, packet.payload) {
            self.flights.whole_message(&key, flow, side, kind, time, place, &message);
        }
    }
}

impl Live {
    /// Application payload of a segment or datagram, and records or QUIC packets with some.
    fn application(&mut self, side: Side, client: Side, packet: &Packet<'_>, seq: u32) {
        let (size, up) = (packet.size, side == client);
        let (counted, records) = match self.protocol {
            Protocol::Tls => {
                let records = &mut self.halves.of_mut(side).records;
                records.follow(&mut self.handshake, !up, seq, packet.payload, size)
            }
            Protocol::Quic => {
                let short = size >= QUIC_SMALL && packet.payload.first().is_some_and(|byte| byte & 0x80 == 0);
                self.handshake.up_counted |= short && up;
                if short && self.handshake.up_counted { (size.into(), 1) } else { (0, 0) }
            }
            Protocol::Http | Protocol::Other => (size.into(), 0),
        };
        let half = self.halves.of_mut(side);
        half.app = half.app.saturating_add(counted);
        if let Some(burst) = self.growing() {
            burst.records = burst.records.saturating_add(records);
        }
    }
}

impl Flights {
    fn again_at(&mut self, key: &Key, flow: &mut Flow, side: Side, time: i64, seq: u32, payload: &[u8]) -> bool {
        if side != flow.client || payload.is_empty() || !self.again(key, flow, seq, payload) {
            return false;
        }
        flow.slice_due = time.saturating_add(self.limits.slice_ns);
        if let Some(live) = &mut flow.live {
            live.slice_start = time;
        }
        true
    }

    #[allow(clippy::too_many_arguments)]
    fn whole_message(
        &mut self,
        key: &Key,
        flow: &mut Flow,
        side: Side,
        kind: Kind,
        time: i64,
        place: Place<'_>,
        payload: &[u8],
    ) {
        if !self.is_wanted(key, flow, side, kind, time, payload) {
            return;
        }
        let around = place.around(self.limits.tunnels);
        self.out.push(Fact::Message(Box::new(Message {
            kind,
            time,
            transport: key.transport(),
            src: key.end(side),
            dst: key.end(other(side)),
            mac: around.macs.map(|(_, from)| from),
            vlan: around.vlan,
            payload: payload.to_vec(),
        })));
    }

    /// Whether a whole message is reported. Answers are learnt from on the way.
    fn is_wanted(&mut self, key: &Key, flow: &mut Flow, side: Side, kind: Kind, time: i64, message: &[u8]) -> bool {
        match kind {
            Kind::Dhcp => return true,
            Kind::Mdns => return u8_at(message, 2).is_some_and(|flags| flags & 0x80 != 0),
            Kind::Dns => {}
        }
        let Ok(Some((name, response))) = crate::dns::peek_question(message) else { return self.watch.all };
        if response && key.end(side).port == 53 {
            let client: Address = key.end(other(side)).address;
            self.names.learn(client, &name, message, time, &self.watch, &mut self.tally);
        } else if !response && side != flow.client && flow.state == State::Undecided {
            self.swap(key, flow);
        }
        self.watch.all || self.watch.name(&name)
    }
}

/// Why the frame does not belong to the flow on its key any more; None if it does.
fn over(flow: &Flow, side: Side, time: i64, packet: &Packet<'_>) -> Option<Closed> {
    if time >= flow.closed_due {
        return flow.closed;
    }
    if time.saturating_sub(flow.last) >= flow.idle {
        return Some(flow.closed.unwrap_or(Closed::Idle));
    }
    if packet.flags & (SYN | ACK) != SYN {
        return None;
    }
    let another = match flow.syn {
        Some(known) => known != (side, packet.seq),
        None => *flow.spoke.of(0) || *flow.spoke.of(1),
    };
    another.then(|| flow.closed.unwrap_or(Closed::Rst))
}

fn message_kind(ports: [u16; 2], tcp: bool) -> Option<Kind> {
    let kinds = [(53, Kind::Dns), (5353, Kind::Mdns), (67, Kind::Dhcp), (68, Kind::Dhcp)];
    if tcp {
        return ports.contains(&53).then_some(Kind::Dns);
    }
    kinds.into_iter().find(|(port, _)| ports.contains(port)).map(|(_, kind)| kind)
}
