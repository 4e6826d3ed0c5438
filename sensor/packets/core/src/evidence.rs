//! The first packets of every flow, until it is known whether the flow is watched: `sensor.packets.evidence`'s twin.

use crate::facts::{Endpoint, Fact, Transport};
use crate::flow::other;
use crate::hash::Seed;
use crate::link::{Decoder, Found};
use crate::table::Key;
use std::collections::{HashMap, VecDeque};

/// Bytes of packets whose flow is not decided; the oldest flow's go first.
const UNDECIDED: usize = 64 << 20;
/// Flows remembered, those that are not watched included.
const FLOWS: usize = 262_144;

/// A packet of a watched flow, whose client and server come first.
pub struct Kept {
    pub transport: Transport,
    pub ends: [Endpoint; 2],
    pub time: i64,
    pub link: u32,
    pub length: u32,
    pub data: Vec<u8>,
}

struct First {
    watched: bool,
    seen: usize,
    waiting: Vec<Kept>,
}

pub struct Evidence {
    /// Kept of each flow.
    packets: usize,
    tunnels: usize,
    flows: HashMap<Key, First, Seed>,
    order: VecDeque<Key>,
    bytes: usize,
    pub out: Vec<Kept>,
}

impl Evidence {
    pub fn new(packets: usize, tunnels: usize) -> Self {
        Self {
            packets,
            tunnels,
            flows: HashMap::default(),
            order: VecDeque::new(),
            bytes: 0,
            out: Vec::new(),
        }
    }

    pub fn frame(&mut self, time: i64, link: u32, data: &[u8], length: u32) {
        let mut decoder = Decoder::new(self.tunnels);
        let Found::Transport = decoder.frame(link, data, length) else { return };
        let packet = decoder.packet;
        let key = packet.key;
        if !self.flows.contains_key(&key) {
            self.order.push_back(key);
        }
        let first =
            self.flows.entry(key).or_insert_with(|| First { watched: false, seen: 0, waiting: Vec::new() });
        if first.seen >= self.packets {
            return;
        }
        first.seen = first.seen.saturating_add(1);
        let ends = [key.end(packet.side), key.end(other(packet.side))];
        let kept = Kept { transport: key.transport(), ends, time, link, length, data: data.to_vec() };
        if first.watched {
            self.out.push(kept);
        } else {
            self.bytes = self.bytes.saturating_add(data.len());
            first.waiting.push(kept);
        }
        while self.bytes > UNDECIDED || self.flows.len() > FLOWS {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(first) = self.flows.remove(&oldest) {
                self.freed(&first.waiting);
            }
        }
    }

    /// Flows that were opened are watched: what waited of them is kept.
    pub fn facts(&mut self, facts: &[Fact]) {
        for fact in facts {
            let Fact::Opened(opened) = fact else { continue };
            let flow = &opened.flow;
            let (key, _) = Key::of(flow.transport, flow.client, flow.server);
            let Some(first) = self.flows.get_mut(&key) else { continue };
            first.watched = true;
            let waiting = std::mem::take(&mut first.waiting);
            self.freed(&waiting);
            self.out.extend(waiting);
        }
    }

    fn freed(&mut self, packets: &[Kept]) {
        let bytes = packets.iter().fold(0_usize, |sum, kept| sum.saturating_add(kept.data.len()));
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
