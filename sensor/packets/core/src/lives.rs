//! How flows begin and end: docs/engine.md 2.

use crate::bytes::u8_at;
use crate::engine::{Core, Limits};
use crate::facts::{Closed, Fact, Transport};
use crate::flow::{Flow, Live, NEVER, Pair, State, other};
use crate::link::{Around, Packet};
use crate::memory::large;
use crate::messages::message_kind;
use crate::totals::{Class, Count};
use std::cmp::Reverse;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;
/// Flows between asking for one's memory and looking at it.
const SOON: usize = 16;

impl Core {
    /// A new flow, or one that ends or may be another from now on.
    pub fn edge(
        &mut self,
        time: i64,
        packet: &Packet<'_>,
        hash: u32,
        around: &Around,
        known: Option<u32>,
    ) -> u32 {
        let (key, side, mut known) = (packet.key, packet.side, known);
        if let Some((index, flow)) = known.and_then(|index| self.table.get(index).map(|flow| (index, flow))) {
            if let Some(reason) = over(flow, time, packet, &self.flights.limits) {
                self.end(index, reason);
                known = None;
            }
        }
        let index = match known {
            Some(index) => index,
            None => self.begin(time, packet, hash, around),
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
        if flow.closed.is_none() && (reset || (*flow.fin.of(false) && *flow.fin.of(true))) {
            flow.closed = Some(if reset { Closed::Rst } else { Closed::Fin });
            flow.closed_due = time.saturating_add(self.flights.limits.closed_ns);
            let due = flow.closed_due;
            self.wait(index, due);
        }
        index
    }

    fn begin(&mut self, time: i64, packet: &Packet<'_>, hash: u32, around: &Around) -> u32 {
        let (key, side) = (packet.key, packet.side);
        if self.table.len() >= self.flights.limits.flows {
            self.evict(time);
        }
        let tcp = key.transport() == Transport::Tcp;
        let from_server = self.is_from_server(packet, tcp);
        let client = if from_server { other(side) } else { side };
        let limits = &self.flights.limits;
        let mut live = Box::new(Live {
            around: around.clone(),
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
            live: Some(live),
            syn: None,
            client,
            tcp,
            peeks: 0,
            spoke: Pair::default(),
            fin: Pair::default(),
            state: State::Undecided,
            class: Class::Unnamed,
            closed: None,
            message: message_kind([key.end(false).port, key.end(true).port], tcp),
        };
        let (id, seen, due) = (flow.id, flow.seen, flow.due(limits));
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
    fn is_from_server(&self, packet: &Packet<'_>, tcp: bool) -> bool {
        let (source, target) = (packet.key.end(packet.side).port, packet.key.end(other(packet.side)).port);
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
        let Some(reason) =
            self.table.get(victim).map(|flow| flow.reason(time, Closed::Evicted, &self.flights.limits))
        else {
            return;
        };
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
    pub fn wait(&mut self, index: u32, due: i64) {
        let bucket = self.wheel.bucket(due);
        if let Some(flow) = self.table.get_mut(index).filter(|flow| flow.bucket != bucket) {
            flow.bucket = bucket;
            self.wheel.put(bucket, index, flow.id);
        }
    }

    pub fn settle(&mut self, index: u32) {
        let (Some(key), Some(flow)) = (self.table.key(index), self.table.get_mut(index)) else { return };
        self.flights.settle(&key, flow);
    }

    /// Reports what the flow did in the slice that ends, if anything.
    pub fn slice(&mut self, index: u32) {
        let Some(live) = self.table.get(index).and_then(|flow| flow.live.as_ref()) else { return };
        if live.halves.of(false).packets > 0 || live.halves.of(true).packets > 0 {
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
            let progress = live.report(fact, client, last, closed, self.flights.limits.bursts);
            self.flights.out.push(Fact::Progress(Box::new(progress)));
        }
    }

    fn end(&mut self, index: u32, reason: Closed) {
        self.conclude(index, reason);
        if let Some(live) = self.table.get(index).and_then(|flow| flow.live.as_ref()) {
            for messages in
                [false, true].into_iter().filter_map(|side| live.halves.of(side).messages.as_ref())
            {
                self.flights.waiting = self.flights.waiting.saturating_sub(messages.weight());
            }
        }
        self.table.remove(index);
    }

    /// The last facts of a flow.
    fn conclude(&mut self, index: u32, reason: Closed) {
        let (Some(key), Some(flow)) = (self.table.key(index), self.table.get_mut(index)) else { return };
        self.flights.settle(&key, flow);
        if flow.state == State::Open {
            self.flights.finish_clear(&key, flow);
            self.progress(index, reason);
        }
    }

    /// Brings forward what is due as of the last multiple of the interval before `time`.
    #[cold]
    pub fn sweep(&mut self, time: i64) {
        let interval = self.flights.limits.sweep_ns;
        let zero = *self.zero.get_or_insert_with(|| {
            self.totals_from = time;
            time
        });
        let past = time.saturating_sub(zero).checked_rem(interval).unwrap_or_default();
        let now = time.saturating_sub(past);
        self.next_sweep = now.saturating_add(interval);
        let due = self.wheel.due(now);
        for (number, &(bucket, index, id)) in due.iter().enumerate() {
            if let Some(&(_, later, _)) = due.get(number.saturating_add(SOON.saturating_mul(2))) {
                self.table.prefetch(later);
            }
            if let Some(&(_, soon, _)) = due.get(number.saturating_add(SOON)) {
                self.table.prefetch_cell_of(soon);
            }
            let Some(flow) = self.table.get_mut(index).filter(|flow| flow.id == id && flow.bucket == bucket)
            else {
                continue;
            };
            flow.bucket = NEVER;
            if flow.closed_due <= now || flow.last.saturating_add(flow.idle(&self.flights.limits)) <= now {
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
            if let Some(due) = self.table.get(index).map(|flow| flow.due(&self.flights.limits)) {
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

    /// Time goes on without a frame: sweeps that are due run.
    pub fn tick(&mut self, time: i64) {
        if time >= self.next_sweep {
            self.sweep(time);
        }
        self.now = self.now.max(time);
    }

    /// Closes every flow; the last `Totals`.
    pub fn finish(&mut self) {
        let now = self.now;
        let mut flows = large(self.table.len());
        flows.extend(self.table.indices().filter_map(|index| Some((self.table.get(index)?.id, index))));
        flows.sort_unstable();
        for (_, index) in flows {
            let limits = &self.flights.limits;
            let Some(flow) = self.table.get(index) else { continue };
            self.conclude(index, flow.reason(now, Closed::End, limits));
        }
        self.table.clear();
        self.fragments.finish(&mut self.flights.tally);
        self.totals(now);
    }
}

/// Why the frame does not belong to the flow on its key any more; None if it does.
fn over(flow: &Flow, time: i64, packet: &Packet<'_>, limits: &Limits) -> Option<Closed> {
    if time >= flow.closed_due {
        return flow.closed;
    }
    if time.saturating_sub(flow.last) >= flow.idle(limits) {
        return Some(flow.closed.unwrap_or(Closed::Idle));
    }
    if packet.flags & (SYN | ACK) != SYN {
        return None;
    }
    let another = match flow.syn {
        Some(known) => known != (packet.side, packet.seq),
        None => *flow.spoke.of(false) || *flow.spoke.of(true),
    };
    another.then(|| flow.closed.unwrap_or(Closed::Rst))
}
