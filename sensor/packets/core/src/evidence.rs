//! The first packets of every flow, until it is known whether the flow is watched: `sensor.packets.evidence`'s twin.

use crate::engine::Limits;
use crate::facts::{Closed, Endpoint, Fact, Flow, Transport};
use crate::flow::other;
use crate::hash::Seed;
use crate::link::{Decoder, Found, Packet};
use crate::lives::{ACK, SYN};
use crate::table::{Key, Side};
use std::collections::{HashMap, VecDeque};

/// Bytes of packets whose flow is not decided; the oldest flow's go first.
const UNDECIDED: usize = 64 << 20;
/// Flows remembered, those that are not watched included.
const FLOWS: usize = 262_144;
/// Bytes of packets that wait for Python.
const UNFETCHED: usize = 64 << 20;

/// A packet of a watched flow, whose client and server come first.
pub struct Kept {
    pub transport: Transport,
    pub ends: [Endpoint; 2],
    pub time: i64,
    pub link: u32,
    pub length: u32,
    pub data: Vec<u8>,
}

/// One connection between two ends, as far as it matters here.
struct Use {
    start: i64,
    last: i64,
    /// There was another one between them.
    again: bool,
    /// Of the flow, if it is the catalogue's.
    id: Option<u64>,
    syn: Option<(Side, u32)>,
    spoke: bool,
    over: bool,
    seen: usize,
    waiting: Vec<Kept>,
}

impl Use {
    fn new(time: i64, again: bool) -> Self {
        let waiting = Vec::new();
        Self {
            start: time,
            last: time,
            again,
            id: None,
            syn: None,
            spoke: false,
            over: false,
            seen: 0,
            waiting,
        }
    }

    /// Whether the packet is of another connection (docs/engine.md 2).
    fn ends(&self, time: i64, packet: &Packet<'_>, idle: i64) -> bool {
        if self.over || time.saturating_sub(self.last) >= idle {
            return true;
        }
        let another = self.syn.map_or(self.spoke, |known| known != (packet.side, packet.seq));
        begins(packet) && another
    }

    fn note(&mut self, time: i64, packet: &Packet<'_>) {
        self.last = time;
        self.spoke |= packet.size > 0;
        if begins(packet) {
            self.syn.get_or_insert((packet.side, packet.seq));
        }
    }
}

fn begins(packet: &Packet<'_>) -> bool {
    packet.flags & (SYN | ACK) == SYN
}

pub struct Evidence {
    /// Kept of each flow.
    packets: usize,
    limits: Limits,
    uses: HashMap<Key, Use, Seed>,
    order: VecDeque<Key>,
    /// Those whose facts have not come yet, by their start.
    ended: HashMap<(Key, i64), Use, Seed>,
    bytes: usize,
    pub out: Vec<Kept>,
}

impl Evidence {
    pub fn new(packets: usize, limits: Limits) -> Self {
        Self {
            packets,
            limits,
            uses: HashMap::default(),
            order: VecDeque::new(),
            ended: HashMap::default(),
            bytes: 0,
            out: Vec::new(),
        }
    }

    pub fn frame(&mut self, time: i64, link: u32, data: &[u8], length: u32) {
        let mut decoder = Decoder::new(self.limits.tunnels);
        let Found::Transport = decoder.frame(link, data, length) else { return };
        let packet = decoder.packet;
        let key = packet.key;
        let one = self.current(time, &packet);
        one.note(time, &packet);
        let (seen, watched) = (one.seen, one.id.is_some());
        if seen >= self.packets {
            return;
        }
        let ends = [key.end(packet.side), key.end(other(packet.side))];
        let kept = Kept { transport: key.transport(), ends, time, link, length, data: data.to_vec() };
        let Some(one) = self.uses.get_mut(&key) else { return };
        one.seen = seen.saturating_add(1);
        if watched {
            self.out.push(kept);
        } else {
            self.bytes = self.bytes.saturating_add(data.len());
            one.waiting.push(kept);
        }
        self.make_room();
    }

    /// The connection that a packet is of.
    fn current(&mut self, time: i64, packet: &Packet<'_>) -> &mut Use {
        let idle = match packet.key.transport() {
            Transport::Tcp => self.limits.tcp_idle_ns,
            Transport::Udp => self.limits.udp_idle_ns,
        };
        let one = self.uses.entry(packet.key).or_insert_with(|| {
            self.order.push_back(packet.key);
            Use::new(time, false)
        });
        if one.ends(time, packet, idle) {
            let before = std::mem::replace(one, Use::new(time, true));
            let key = (packet.key, before.start);
            if !before.waiting.is_empty() {
                if let Some(same) = self.ended.insert(key, before) {
                    self.bytes = self.bytes.saturating_sub(size(&same.waiting));
                }
            }
        }
        one
    }

    fn make_room(&mut self) {
        while self.bytes > UNDECIDED || self.uses.len() > FLOWS {
            let oldest = self.order.pop_front().and_then(|key| self.uses.remove(&key));
            let Some(oldest) = oldest else {
                self.forget_ended();
                break;
            };
            self.bytes = self.bytes.saturating_sub(size(&oldest.waiting));
        }
    }

    /// Facts of all frames so far: what ended without them is not the catalogue's.
    pub fn facts(&mut self, facts: &[Fact]) {
        for fact in facts {
            match fact {
                Fact::Opened(opened) if opened.listed => self.opened(&opened.flow, opened.time),
                Fact::Progress(progress) if progress.closed != Closed::Open => self.closed(&progress.flow),
                _ => {}
            }
        }
        self.forget_ended();
    }

    /// What waited of a flow is kept.
    fn opened(&mut self, flow: &Flow, time: i64) {
        let (key, _) = Key::of(flow.transport, flow.client, flow.server);
        let waiting = if let Some(ended) = self.ended.remove(&(key, time)) {
            ended.waiting
        } else {
            let Some(one) = self.uses.get_mut(&key) else { return };
            if one.again && one.start > time {
                return;
            }
            one.id = Some(flow.id);
            std::mem::take(&mut one.waiting)
        };
        self.bytes = self.bytes.saturating_sub(size(&waiting));
        self.out.extend(waiting);
    }

    fn closed(&mut self, flow: &Flow) {
        let (key, _) = Key::of(flow.transport, flow.client, flow.server);
        if let Some(one) = self.uses.get_mut(&key) {
            one.over |= one.id == Some(flow.id);
        }
    }

    fn forget_ended(&mut self) {
        let bytes = self.ended.drain().fold(0_usize, |sum, (_, one)| sum.saturating_add(size(&one.waiting)));
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Packets of all workers that Python has not fetched: nobody waits for that, what is too much is counted.
#[derive(Default)]
pub struct Unfetched {
    kept: Vec<Kept>,
    bytes: usize,
    missed: u64,
}

impl Unfetched {
    pub fn add(&mut self, kept: Vec<Kept>) {
        for one in kept {
            let bytes = self.bytes.saturating_add(one.data.len());
            if bytes > UNFETCHED {
                self.missed = self.missed.saturating_add(1);
            } else {
                self.bytes = bytes;
                self.kept.push(one);
            }
        }
    }

    /// What is there, and how many more there were.
    pub fn take(&mut self) -> (Vec<Kept>, u64) {
        let Self { kept, missed, .. } = std::mem::take(self);
        (kept, missed)
    }
}

fn size(packets: &[Kept]) -> usize {
    packets.iter().fold(0, |sum, kept| sum.saturating_add(kept.data.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Address;

    fn kept(size: usize) -> Kept {
        let end = || Endpoint { address: Address::default(), port: 0 };
        Kept {
            transport: Transport::Udp,
            ends: [end(), end()],
            time: 0,
            link: 1,
            length: 0,
            data: vec![0; size],
        }
    }

    #[test]
    fn what_nobody_fetches_in_time_is_counted() {
        let mut waiting = Unfetched::default();
        waiting.add(vec![kept(UNFETCHED - 1), kept(2), kept(1), kept(1)]);
        let (packets, missed) = waiting.take();
        assert_eq!((packets.len(), missed), (2, 2));
        waiting.add(vec![kept(2)]);
        let (packets, missed) = waiting.take();
        assert_eq!((packets.len(), missed), (1, 0));
    }
}
