//! A flow: what every one needs on every packet, and apart from it what only those that may be reported need.

use crate::engine::Limits;
use crate::facts::{self, Burst, Closed, Ech, Endpoint, Kind, NameSource, Protocol};
use crate::link::Around;
use crate::messages::DnsStream;
use crate::quic::ClientCrypto;
use crate::records::{Handshake, Records};
use crate::stream::Stream;
use crate::table::{Key, Side};
use crate::totals::Class;
use std::num::NonZeroU64;
use std::sync::Arc;

pub const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// What it is and whether it is watched is not known yet.
    Undecided,
    /// Watched; the server's first bytes are waited for.
    Opening,
    /// Reported.
    Open,
    /// Not watched: only counted.
    Quiet,
}

/// Two of something, one for each side of a key.
#[derive(Default)]
pub struct Pair<T>([T; 2]);

impl<T> Pair<T> {
    #[inline(always)]
    pub fn of(&self, side: Side) -> &T {
        let [low, high] = &self.0;
        if side { high } else { low }
    }

    #[inline(always)]
    pub fn of_mut(&mut self, side: Side) -> &mut T {
        let [low, high] = &mut self.0;
        if side { high } else { low }
    }
}

pub fn other(side: Side) -> Side {
    !side
}

pub struct Flow {
    pub last: i64,
    pub closed_due: i64,
    pub slice_due: i64,
    /// Number of the last frame.
    pub seen: u64,
    pub id: u64,
    /// Of the wheel.
    pub bucket: i64,
    pub live: Option<Box<Live>>,
    /// Its sender, and its sequence number.
    pub syn: Option<(Side, u32)>,
    pub client: Side,
    pub tcp: bool,
    pub peeks: u32,
    /// Sent payload, as far as it was looked at.
    pub spoke: Pair<bool>,
    pub fin: Pair<bool>,
    pub state: State,
    pub class: Class,
    pub closed: Option<Closed>,
    /// Of the messages on its port.
    pub message: Option<Kind>,
}

impl Flow {
    pub fn server(&self) -> Side {
        other(self.client)
    }

    /// Whether `size` bytes of payload are only counted: most packets are of flows nobody asks about.
    #[inline(always)]
    pub fn only_counts(&self, size: u32) -> bool {
        self.state == State::Quiet && (size == 0 || self.peeks == 0 && self.message.is_none())
    }

    /// The silence that ends it.
    #[inline(always)]
    pub fn idle(&self, limits: &Limits) -> i64 {
        if self.tcp { limits.tcp_idle_ns } else { limits.udp_idle_ns }
    }

    /// When time alone changes something: at the latest then a sweep must look.
    pub fn due(&self, limits: &Limits) -> i64 {
        let idle = self.last.saturating_add(self.idle(limits)).min(self.closed_due);
        let waiting = self.state != State::Quiet && self.slice_due >= 0;
        if waiting { idle.min(self.slice_due) } else { idle }
    }

    pub fn begin_slice(&mut self, time: i64, limits: &Limits) {
        self.slice_due = time.saturating_add(limits.slice_ns);
        if let Some(live) = &mut self.live {
            live.slice_start = time;
        }
    }

    /// Why it would end now, other than for `default`.
    pub fn reason(&self, time: i64, default: Closed, limits: &Limits) -> Closed {
        let idle = time.saturating_sub(self.last) >= self.idle(limits);
        self.closed.unwrap_or(if idle { Closed::Idle } else { default })
    }
}

#[derive(Default)]
pub struct Half {
    pub bytes: u64,
    pub packets: u64,
    pub app: u64,
    /// Sequence number of its first byte, if a SYN was seen.
    pub origin: Option<u32>,
    pub stream: Option<Box<Stream>>,
    /// Bytes passed on in clear.
    pub clear: usize,
    pub messages: Option<Box<DnsStream>>,
    pub probe: Option<Box<ClientCrypto>>,
    /// The first one with payload (UDP), while it may be reported.
    pub datagram: Vec<u8>,
    /// Of a reported TLS connection.
    pub records: Option<Box<Records>>,
}

/// `facts::Burst` while it grows: a side instead of a direction.
#[derive(Clone, Copy)]
pub struct Growing {
    pub side: Side,
    pub start: i64,
    pub end: i64,
    pub bytes: u64,
    pub records: u64,
}

#[derive(Default)]
pub struct Live {
    pub around: Around,
    /// The first frame came from the server.
    pub flipped: bool,
    pub start: i64,
    pub slice_start: i64,
    pub halves: Pair<Half>,
    /// Bytes counted as unnamed that move when the flow is decided, in interval `epoch`.
    pub counted: i64,
    pub epoch: u64,
    pub learnt: Option<Arc<str>>,
    /// Whether the first datagram was WireGuard's.
    pub wireguard: Pair<Option<bool>>,
    /// Since when it holds bytes.
    pub held: Option<NonZeroU64>,
    pub protocol: Protocol,
    pub name: String,
    pub source: NameSource,
    pub ech: Ech,
    pub quic: u32,
    /// The ClientHello out of QUIC, until the flow is opened.
    pub hello: Box<[u8]>,
    /// Reached `clear_bytes`.
    pub capped: bool,
    /// HTTP whose bytes are passed on.
    pub clear: bool,
    /// Watched, and not only because everything is.
    pub listed: bool,
    pub handshake: Handshake,
    /// The burst that grows: many flows end, or are not watched, in their first. Then those before it, up to the limit.
    pub burst: Option<Growing>,
    pub bursts: Vec<Growing>,
    pub fact: Option<Arc<facts::Flow>>,
}

impl Live {
    /// Counters of a new slice.
    pub fn restart(&mut self) {
        for side in [false, true] {
            let half = self.halves.of_mut(side);
            (half.bytes, half.packets, half.app) = (0, 0, 0);
        }
        self.bursts.clear();
        self.burst = None;
    }

    /// Adds payload to the burst that goes on, or begins one.
    pub fn grow(&mut self, side: Side, time: i64, size: u64, gap: i64, limit: usize) {
        if let Some(burst) = &mut self.burst {
            if burst.side == side && time.saturating_sub(burst.end) < gap {
                burst.end = time;
                burst.bytes = burst.bytes.saturating_add(size);
                return;
            }
        }
        let burst = Growing { side, start: time, end: time, bytes: size, records: 0 };
        if let Some(over) = self.burst.replace(burst).filter(|_| self.bursts.len() < limit) {
            self.bursts.push(over);
        }
    }

    /// The flow as facts name it. Called when nothing about it changes any more.
    pub fn describe(&mut self, flow_id: u64, key: &Key, client: Side) -> Arc<facts::Flow> {
        let (around, flipped) = (&self.around, self.flipped);
        let fact = self.fact.get_or_insert_with(|| {
            let mac = around.macs.map(|(to, from)| if flipped { to } else { from });
            let ends: [Endpoint; 2] = [key.end(client), key.end(other(client))];
            let [client, server] = ends;
            let transport = key.transport();
            let (vlan, tunnels) = (around.vlan, around.tunnels.clone());
            Arc::new(facts::Flow { id: flow_id, transport, client, server, mac, vlan, tunnels })
        });
        Arc::clone(fact)
    }

    /// Ends a slice: what it counted, `limit` bursts at most.
    pub fn report(
        &mut self,
        flow: Arc<facts::Flow>,
        client: Side,
        last: i64,
        closed: Closed,
        limit: usize,
    ) -> facts::Progress {
        let halves = [self.halves.of(client), self.halves.of(other(client))];
        let counters = facts::Counters {
            bytes: halves.map(|half| half.bytes),
            packets: halves.map(|half| half.packets),
            app: halves.map(|half| half.app),
        };
        let empty = counters.packets == [0, 0];
        let fact = |burst: &Growing| Burst {
            up: burst.side == client,
            start: burst.start,
            end: burst.end,
            bytes: burst.bytes,
            records: burst.records,
        };
        let bursts = self.bursts.iter().chain(&self.burst).take(limit).map(fact).collect();
        let start = if empty { last } else { self.slice_start };
        self.restart();
        facts::Progress { flow, start, end: last, counters, bursts, closed }
    }
}
