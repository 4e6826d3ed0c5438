//! The engine: frames in, facts out, as docs/engine.md says.

use crate::duplicates::{Kept, Recent};
use crate::facts::Fact;
use crate::flight::Flights;
use crate::flow::{Flow, State};
use crate::fragments::{Fragments, Pending};
use crate::frame::{Frame, Raw};
use crate::ip::Ends;
use crate::link::{Around, Decoder, Found, Fragment, Next, Rest};
use crate::names::Names;
use crate::stream::Buffers;
use crate::table::Table;
use crate::totals::{Class, Count, Tally};
use crate::watch::Watch;
use crate::wheel::Wheel;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

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
    pub waiting: usize,
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

pub type Seen = Reverse<(u64, u64, u32)>;

pub struct Core {
    pub flights: Flights,
    pub table: Table<Flow>,
    pub wheel: Wheel,
    /// Flows by their last frame, only once the table was full.
    pub heap: Option<BinaryHeap<Seen>>,
    /// Flows that hold bytes, in the order they began to; those that do not any more are stale.
    pub holding: VecDeque<(u64, u32)>,
    pub fragments: Fragments,
    pub kept: Kept,
    /// Its memory of the time before, to be used again.
    spare: Kept,
    /// Time of the first frame, from which sweeps are counted.
    pub zero: Option<i64>,
    pub next_sweep: i64,
    pub totals_from: i64,
    pub now: i64,
    /// Numbers of the next flow, frame and hold.
    pub flows: u64,
    pub frames: u64,
    pub holds: u64,
}

/// Frames whose headers were read, in memory that is used again: the first `count`.
struct Batch<'a> {
    frames: Vec<Frame<'a>>,
    count: usize,
}

impl Batch<'_> {
    fn new() -> Self {
        Self { frames: Vec::with_capacity(AHEAD), count: 0 }
    }
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
            spare: Kept::default(),
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
                waiting: 0,
                buffers: Buffers::default(),
                scratch: Vec::new(),
                text: Vec::new(),
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
        let (kept, mut keep) = (std::mem::take(&mut self.kept), std::mem::take(&mut self.spare));
        let mut recent = Recent::resume(&kept);
        let (mut current, mut next) = (Batch::new(), Batch::new());
        loop {
            // While one batch is counted, the memory that the next needs is on its way.
            self.decode(&mut frames, &mut next);
            for frame in current.frames.iter().take(current.count) {
                self.frame(frame, &mut recent);
            }
            if next.count == 0 {
                break;
            }
            for frame in next.frames.iter().take(next.count) {
                self.table.prefetch_entry(frame.hash);
            }
            std::mem::swap(&mut current, &mut next);
        }
        recent.keep(&mut keep);
        (self.kept, self.spare) = (keep, kept);
    }

    #[inline(always)]
    fn decode<'a>(&self, frames: &mut impl Iterator<Item = Raw<'a>>, batch: &mut Batch<'a>) {
        let tunnels = self.flights.limits.tunnels;
        batch.count = 0;
        while batch.count < AHEAD {
            let Some(raw) = frames.next() else { break };
            if batch.count == batch.frames.len() {
                batch.frames.push(Frame::default());
            }
            if let Some(frame) = batch.frames.get_mut(batch.count) {
                frame.read(raw, tunnels, self.table.seed);
                self.table.prefetch_cell(frame.hash);
            }
            batch.count = batch.count.saturating_add(1);
        }
    }

    #[inline(always)]
    fn frame<'a>(&mut self, frame: &Frame<'a>, recent: &mut Recent<'a>) {
        let time = frame.time;
        if time >= self.next_sweep {
            self.sweep(time);
        }
        self.now = time;
        if let Some(identity) = frame.identity {
            if recent.seen(identity, time, frame.ip, self.flights.limits.duplicate_ns) {
                self.flights.tally.count(Count::Duplicates, 1);
                return;
            }
        }
        self.flights.tally.count(Count::Frames, 1);
        let (packet, around) = (&frame.decoder.packet, &frame.decoder.around);
        let class = match frame.found {
            Found::Transport => {
                self.packet(time, frame.length, packet, frame.hash, around);
                return;
            }
            Found::Fragment => {
                self.fragment(&frame.decoder.fragment, time, frame.length, around);
                return;
            }
            Found::Other => Class::Other,
            Found::Tunnelled => Class::Tunnelled,
            Found::Undecodable => Class::Undecodable,
        };
        self.flights.tally.lose(class, frame.length);
    }

    fn fragment(&mut self, fragment: &Fragment<'_>, time: i64, length: i64, around: &Around) {
        let tally = &mut self.flights.tally;
        if fragment.offset.saturating_add(fragment.size) > MAX_DATAGRAM {
            tally.lose(Class::Undecodable, length);
            return;
        }
        tally.bytes(Class::Unnamed, length);
        let Some(whole) = self.fragments.add(fragment, time, length, tally) else { return };
        let payload = whole.payload();
        let ends = Ends { source: fragment.key.source, target: fragment.key.target };
        let rest = Rest { data: &payload, wire: whole.size.unwrap_or_default() as usize };
        let mut decoder = Decoder::new(self.flights.limits.tunnels);
        decoder.around = around.clone();
        let class = match decoder.run(Next::Transport(whole.protocol(), ends, rest)) {
            Found::Transport => {
                let (packet, around) = (&decoder.packet, &decoder.around);
                let hash = packet.key.hash(self.table.seed);
                tally.bytes(Class::Unnamed, length.saturating_neg());
                let index = self.packet(time, length, packet, hash, around);
                self.absorb(index, &whole, whole.counted().saturating_sub(length));
                return;
            }
            Found::Tunnelled => Class::Tunnelled,
            Found::Other => Class::Other,
            // Fragments within fragments: nobody sends these.
            Found::Undecodable | Found::Fragment => Class::Undecodable,
        };
        tally.bytes(Class::Unnamed, whole.counted().saturating_neg());
        tally.lose(class, whole.counted());
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
        if let Some(live) =
            flow.live.as_mut().filter(|live| flow.state == State::Undecided && live.epoch == whole.epoch)
        {
            live.counted = live.counted.saturating_add(counted);
        }
    }
}
