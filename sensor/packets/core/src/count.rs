//! What a packet adds to its flow.

use crate::engine::{Core, Limits};
use crate::facts::Protocol;
use crate::flight::Flights;
use crate::flow::{Flow, Live, State};
use crate::link::{Around, Packet};
use crate::lives::{FIN, RST, SYN};
use crate::quic::is_early;
use crate::table::{Key, Side};
use std::num::NonZeroU64;

/// Shorter QUIC datagrams carry acknowledgements.
const QUIC_SMALL: u32 = 64;

impl Core {
    /// Returns the flow's place in the table.
    #[inline(always)]
    pub fn packet(&mut self, time: i64, length: i64, packet: &Packet<'_>, hash: u32, around: &Around) -> u32 {
        let known = self.table.find(&packet.key, hash);
        let mut seq = packet.seq;
        let index = match known.and_then(|index| Some((index, self.table.get_mut(index)?))) {
            Some((index, flow)) if goes_on(flow, time, packet, &self.flights.limits) => {
                if flow.only_counts(packet.size) {
                    self.frames = self.frames.wrapping_add(1);
                    (flow.last, flow.seen) = (time, self.frames);
                    self.flights.tally.bytes(flow.class, length);
                    return index;
                }
                index
            }
            _ => {
                seq = seq.wrapping_add(u32::from(packet.flags >> 1 & 1));
                self.edge(time, packet, hash, around, known)
            }
        };
        self.frames = self.frames.wrapping_add(1);
        self.count(index, time, length, packet, around, seq);
        index
    }

    #[allow(clippy::too_many_arguments)]
    fn count(&mut self, index: u32, time: i64, length: i64, packet: &Packet<'_>, around: &Around, seq: u32) {
        let Some(mut flow) = self.table.get_mut(index) else { return };
        if packet.size > 0 && flow.message.is_some() {
            self.message(index, packet.side, time, packet, around, seq);
            let Some(again) = self.table.get_mut(index) else { return };
            flow = again;
        }
        if flow.state != State::Quiet && time >= flow.slice_due {
            self.slice(index);
            let Some(again) = self.table.get_mut(index) else { return };
            again.begin_slice(time, &self.flights.limits);
            let due = again.due(&self.flights.limits);
            self.wait(index, due); // so far it waited for silence, perhaps
            let Some(again) = self.table.get_mut(index) else { return };
            flow = again;
        }
        flow.last = time;
        flow.seen = self.frames;
        self.flights.tally.bytes(flow.class, length);
        if flow.state == State::Quiet && (flow.peeks == 0 || packet.size == 0) {
            return;
        }
        self.count_live(index, time, length, packet, seq);
    }

    fn count_live(&mut self, index: u32, time: i64, length: i64, packet: &Packet<'_>, seq: u32) {
        let (key, side) = (packet.key, packet.side);
        let Some(mut flow) = self.table.get_mut(index) else { return };
        if flow.state == State::Quiet {
            if !self.flights.again_at(&key, flow, side, seq, packet.payload) {
                return;
            }
            flow.begin_slice(time, &self.flights.limits);
            let due = flow.due(&self.flights.limits);
            self.wait(index, due);
            let Some(again) = self.table.get_mut(index) else { return };
            flow = again;
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
        live.grow(side, time, size, limits.burst_gap_ns, limits.bursts);
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
        live.held = NonZeroU64::new(self.holds);
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
        self.table
            .get(index)
            .and_then(|flow| flow.live.as_ref())
            .is_some_and(|live| live.held.is_some_and(|held| held.get() == number))
    }
}

/// Whether the packet neither begins nor ends anything.
#[inline(always)]
fn goes_on(flow: &Flow, time: i64, packet: &Packet<'_>, limits: &Limits) -> bool {
    packet.flags & (FIN | SYN | RST) == 0
        && time.saturating_sub(flow.last) < flow.idle(limits)
        && time < flow.closed_due
}

impl Live {
    /// Application payload of a segment or datagram, and records or QUIC packets with some.
    fn application(&mut self, side: Side, client: Side, packet: &Packet<'_>, seq: u32) {
        let (size, up) = (packet.size, side == client);
        let (counted, records) = match self.protocol {
            Protocol::Tls => {
                let records = self.halves.of_mut(side).records.get_or_insert_default();
                records.follow(&mut self.handshake, !up, seq, packet.payload, size)
            }
            Protocol::Quic => {
                let data = |byte: &u8| byte & 0x80 == 0 || (up && is_early(*byte, self.quic));
                let counts = size >= QUIC_SMALL && packet.payload.first().is_some_and(data);
                self.handshake.up_counted |= counts && up;
                if counts && self.handshake.up_counted { (size.into(), 1) } else { (0, 0) }
            }
            Protocol::Http | Protocol::Other => (size.into(), 0),
        };
        let half = self.halves.of_mut(side);
        half.app = half.app.saturating_add(counted);
        if let Some(burst) = &mut self.burst {
            burst.records = burst.records.saturating_add(records);
        }
    }
}

impl Flights {
    fn again_at(&mut self, key: &Key, flow: &mut Flow, side: Side, seq: u32, payload: &[u8]) -> bool {
        side == flow.client && !payload.is_empty() && self.again(key, flow, seq, payload)
    }
}
