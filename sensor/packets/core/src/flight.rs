//! First flights: what a flow is, what it is called, and whether it is watched. docs/engine.md 3 to 5.

use crate::bytes::upto;
use crate::engine::Limits;
use crate::facts::{Ech, Fact, NameSource, Opened, Protocol, Transport};
use crate::flow::{Flow, Live, State, other};
use crate::names::Names;
use crate::peek::{Peek, peek};
use crate::quic::{ClientCrypto, Probe};
use crate::stream::{Buffers, Stream};
use crate::table::{Key, Side};
use crate::tls::{ClientHello, dtls_client_hello, parse_client_hello, server_is_13};
use crate::totals::{Class, Count, Tally};
use crate::watch::{Sight, Watch};
use crate::wire::is_address;

const DNS_PORTS: [u16; 8] = [53, 5353, 5355, 67, 68, 137, 546, 547];

/// The octet that one may carry is before the stream's next (RFC 9293 3.8.4): Windows sends it.
const KEEP_ALIVE: &[u8] = b"\0";

/// RFC 9112 4.
const ANSWER: &[u8] = b"HTTP/1.";

/// What the first bytes say, before anything learnt or configured is asked.
#[derive(Default)]
struct Seen {
    protocol: Protocol,
    name: String,
    source: NameSource,
    ech: bool,
    /// Of a request in clear.
    path: Option<Vec<u8>>,
    /// QUIC: what `Opened.client_bytes` will be.
    hello: Vec<u8>,
    quic: u32,
    /// QUIC: a request came with the hello.
    early: bool,
}

impl From<Peek> for Seen {
    fn from(found: Peek) -> Self {
        let Peek { protocol, name, source, ech, path, .. } = found;
        Self { protocol, name, source, ech, path, ..Self::default() }
    }
}

impl Seen {
    fn named(protocol: Protocol, hello: ClientHello, source: NameSource) -> Self {
        let named = !hello.sni.is_empty() && !is_address(&hello.sni);
        let (name, source) = if named { (hello.sni, source) } else { Default::default() };
        Self { protocol, name, source, ech: hello.ech, ..Self::default() }
    }

    fn quic(probe: &mut ClientCrypto) -> Self {
        if probe.probe == Probe::Other {
            return Self::default();
        }
        let seen = match parse_client_hello(&probe.hello) {
            Ok(hello) => Self::named(Protocol::Quic, hello, NameSource::QuicSni),
            Err(_) => Self { protocol: Protocol::Quic, ..Self::default() },
        };
        Self { hello: std::mem::take(&mut probe.hello), quic: probe.version, early: probe.early, ..seen }
    }
}

/// What every flow shares: settings, what was learnt, and what comes out.
pub struct Flights {
    pub limits: Limits,
    pub watch: Watch,
    pub names: Names,
    pub tally: Tally,
    pub out: Vec<Fact>,
    /// How many flows hold bytes.
    pub held: usize,
    /// Bytes of all flows that wait for others, where nothing else bounds them.
    pub waiting: usize,
    pub buffers: Buffers,
    /// Memory that is used again: to decrypt in, and for the name a message is about.
    pub scratch: Vec<u8>,
    pub text: Vec<u8>,
}

impl Flights {
    /// Payload of a flow that is undecided or opening, as far as it was captured.
    pub fn take(&mut self, key: &Key, flow: &mut Flow, side: Side, seq: u32, payload: &[u8]) {
        if flow.state == State::Opening && side == flow.client && *flow.spoke.of(flow.server()) {
            self.open(key, flow);
            return;
        }
        if key.transport() == Transport::Udp {
            self.datagram(key, flow, side, payload);
            return;
        }
        let (sure, server, state) = (flow.syn.is_some() && side != flow.client, flow.server(), flow.state);
        let unsure = side == flow.client && flow.syn.is_none() && !*flow.spoke.of(server);
        let Some(live) = &mut flow.live else { return };
        let limit = if sure { self.limits.server_bytes } else { self.limits.first_flight };
        let half = live.halves.of_mut(side);
        let origin = half.origin;
        if half.stream.is_none() && origin.is_none() && payload == KEEP_ALIVE {
            return;
        }
        let new = || {
            let mut stream = Box::new(Stream::new(limit, self.limits.segments, origin));
            stream.kept = self.buffers.take();
            stream
        };
        let stream = half.stream.get_or_insert_with(new);
        let fresh = !stream.push(seq, payload).is_empty();
        if state == State::Opening {
            if side == server && stream.kept.len() >= self.limits.server_bytes {
                self.open(key, flow);
            }
        } else if unsure && stream.kept.starts_with(ANSWER) {
            self.swap(key, flow); // it answers a request that was not seen
        } else if fresh || stream.full {
            let found = peek(&stream.kept, stream.full);
            self.peeked(key, flow, side, found);
        }
    }

    fn peeked(&mut self, key: &Key, flow: &mut Flow, side: Side, found: Option<Peek>) {
        let Some(found) = found else { return };
        if side != flow.client {
            if flow.syn.is_some() || found.protocol == Protocol::Other {
                return;
            }
            self.swap(key, flow);
        }
        self.decide(key, flow, found.into());
    }

    fn datagram(&mut self, key: &Key, flow: &mut Flow, side: Side, payload: &[u8]) {
        self.probe(key, flow, side, payload);
        if !matches!(flow.state, State::Undecided | State::Opening) {
            return;
        }
        let Some(live) = &mut flow.live else { return };
        let half = live.halves.of_mut(side);
        if half.datagram.is_empty() {
            half.datagram = self.buffers.take();
            half.datagram.extend_from_slice(payload);
        }
    }

    fn probe(&mut self, key: &Key, flow: &mut Flow, side: Side, payload: &[u8]) {
        let (client, opening) = (flow.client, flow.state == State::Opening);
        let Some(live) = &mut flow.live else { return };
        let half = live.halves.of_mut(side);
        let wireguard = live.wireguard.of_mut(side);
        if wireguard.is_none() && !payload.is_empty() {
            *wireguard = Some(is_wireguard(payload));
        }
        if opening {
            return;
        }
        if half.probe.is_none() && payload.starts_with(b"\x16\xfe") {
            if let Ok(hello) = dtls_client_hello(payload) {
                if side != client {
                    self.swap(key, flow);
                }
                self.decide(key, flow, Seen::named(Protocol::Other, hello, NameSource::Sni));
                return;
            }
        }
        let (datagrams, most) = (self.limits.datagrams, self.limits.first_flight);
        let mut probe = half.probe.take();
        // Most are decided by their first datagram: those need no memory of their own.
        let mut first = ClientCrypto::new(datagrams, most);
        let current = probe.as_deref_mut().unwrap_or(&mut first);
        let said = current.feed(payload, &mut self.scratch);
        if said == Probe::More || (side != client && said != Probe::Hello) {
            half.probe = Some(probe.unwrap_or_else(|| Box::new(first)));
            return;
        }
        let seen = Seen::quic(current);
        if side != client {
            self.swap(key, flow);
        }
        self.decide(key, flow, seen);
    }

    /// The other side is the client after all.
    pub fn swap(&mut self, key: &Key, flow: &mut Flow) {
        flow.client = flow.server();
        let (client, server) = (key.end(flow.client).address, key.end(flow.server()).address);
        if let Some(live) = &mut flow.live {
            live.flipped = !live.flipped;
            live.learnt = self.names.find(client, server, live.start);
        }
    }

    /// Decides and opens a flow with what there is.
    pub fn settle(&mut self, key: &Key, flow: &mut Flow) {
        if flow.state == State::Undecided {
            let seen = flow.live.as_mut().map(|live| last_word(live, flow.client)).unwrap_or_default();
            self.decide(key, flow, seen);
        }
        if flow.state == State::Opening {
            self.open(key, flow);
        }
    }

    /// Names the flow, puts it in its class, and keeps it if it is watched.
    fn decide(&mut self, key: &Key, flow: &mut Flow, mut seen: Seen) {
        let server = key.end(flow.server());
        let Some(live) = &mut flow.live else { return };
        let http = seen.protocol == Protocol::Http;
        let near = self.watch.networks.contains(&server.address);
        self.call(live, near, &mut seen);
        (live.protocol, live.quic, live.handshake.up_counted) = (seen.protocol, seen.quic, seen.early);
        let sight = self.watch.sees(&live.name);
        let named = (live.source == NameSource::Dns && !self.watch.all) || sight.watched();
        let watched = named || near || (http && self.is_service(server.port, &seen));
        let class = self.class(key, flow.client, live, sight);
        if live.epoch == self.tally.epoch {
            self.tally.bytes(flow.class, live.counted.saturating_neg());
            self.tally.bytes(class, live.counted);
        }
        flow.class = class;
        let encrypted = matches!(class, Class::Doh | Class::Dot | Class::Doq);
        let payload = *flow.spoke.of(false) || *flow.spoke.of(true);
        live.listed = watched && !encrypted && payload;
        if self.watch.all || live.listed {
            live.hello = seen.hello.into();
            self.keep(key, flow);
            return;
        }
        flow.state = State::Quiet;
        if http && self.watch.http && !encrypted {
            flow.peeks = u32::try_from(self.limits.http_peeks).unwrap_or(u32::MAX);
        }
        live.restart();
        self.release(live);
        let messages = flow.message.is_some() && key.transport() == Transport::Tcp;
        if flow.peeks == 0 && !messages {
            flow.live = None;
        }
    }

    /// The name, from where it is, and what ECH says of it.
    fn call(&self, live: &mut Live, near: bool, seen: &mut Seen) {
        live.ech = match seen.ech {
            false => Ech::None,
            true if self.names.is_front(&seen.name, &self.watch) => Ech::Offered,
            true => Ech::Grease,
        };
        let hidden = seen.name.is_empty() || live.ech == Ech::Offered;
        (live.name, live.source) = match live.learnt.as_deref().filter(|_| hidden) {
            Some(learnt) => (learnt.to_owned(), NameSource::Dns),
            None if seen.name.is_empty() && near => (String::new(), NameSource::Ip),
            None => (std::mem::take(&mut seen.name), seen.source),
        };
    }

    fn keep(&mut self, key: &Key, flow: &mut Flow) {
        flow.state = State::Opening;
        let Some(live) = &mut flow.live else { return };
        let server = live.halves.of_mut(other(flow.client));
        if !matches!(live.protocol, Protocol::Tls | Protocol::Quic) {
            server.app = server.app.saturating_add(server.bytes);
        }
        if live.protocol == Protocol::Http {
            let client = live.halves.of_mut(flow.client);
            client.app = client.app.saturating_add(client.bytes);
            if !matches!(live.source, NameSource::Connect | NameSource::Socks) {
                live.clear = true;
                self.open(key, flow);
            }
        }
    }

    /// HTTP in clear that looks like a service by its path or port.
    fn is_service(&self, port: u16, seen: &Seen) -> bool {
        self.watch.ports.contains(&port) || self.watch.path(seen.path.as_deref().unwrap_or_default())
    }

    /// A later request on a clear connection that is not watched. True: it is now, and begins with this segment.
    pub fn again(&mut self, key: &Key, flow: &mut Flow, seq: u32, payload: &[u8]) -> bool {
        if !payload.first().is_some_and(u8::is_ascii_uppercase) {
            return false;
        }
        let Some(found) = peek(payload, true).filter(|found| found.protocol == Protocol::Http) else {
            return false;
        };
        flow.peeks = flow.peeks.saturating_sub(1);
        let server = key.end(flow.server());
        let Some(live) = &mut flow.live else { return false };
        let mut seen = Seen::from(found);
        self.call(live, self.watch.networks.contains(&server.address), &mut seen);
        let named = live.source == NameSource::Dns || self.watch.name(&live.name);
        if !(named || self.is_service(server.port, &seen)) {
            return false;
        }
        live.restart();
        let mut stream = Stream::new(self.limits.first_flight, self.limits.segments, Some(seq));
        stream.push(seq, payload);
        live.halves.of_mut(flow.client).stream = Some(Box::new(stream));
        live.halves.of_mut(other(flow.client)).origin = None; // what it sent before is not part of this
        live.clear = !matches!(live.source, NameSource::Connect | NameSource::Socks);
        live.listed = true;
        self.open(key, flow);
        true
    }

    /// docs/engine.md 5, in the order of precedence.
    fn class(&self, key: &Key, client: Side, live: &Live, sight: Sight<'_>) -> Class {
        let (server, ports) = (key.end(other(client)), [key.end(false).port, key.end(true).port]);
        let tcp = key.transport() == Transport::Tcp;
        if ports.contains(&853) {
            return if tcp { Class::Dot } else { Class::Doq };
        }
        let resolver = server.port == 443 && self.watch.resolver_ips.contains(&server.address);
        if resolver || sight.resolver() {
            return Class::Doh;
        }
        match live.ech {
            Ech::Offered => return Class::EchOffered,
            Ech::Grease => return Class::EchGrease,
            Ech::None => {}
        }
        let on_wire = !matches!(live.source, NameSource::Dns | NameSource::Ip | NameSource::None);
        if (on_wire && !live.name.is_empty()) || live.protocol == Protocol::Http {
            return if live.protocol == Protocol::Quic { Class::QuicNamed } else { Class::Named };
        }
        if ports.iter().any(|port| DNS_PORTS.contains(port)) {
            return Class::Dns;
        }
        let wireguard = live.wireguard.of(client).or(*live.wireguard.of(other(client))) == Some(true);
        if ports.contains(&1194) || (ports.contains(&1701) && !tcp) || wireguard {
            return Class::Tunnelled;
        }
        Class::Unnamed
    }

    pub fn open(&mut self, key: &Key, flow: &mut Flow) {
        flow.state = State::Open;
        let Some(live) = &mut flow.live else { return };
        let fact = live.describe(flow.id, key, flow.client);
        let client = live.halves.of(flow.client);
        let sent = client.stream.as_ref().map_or(client.datagram.as_slice(), |stream| &stream.kept);
        let server = live.halves.of(other(flow.client)).stream.as_ref();
        let heard = upto(server.map_or(&[][..], |stream| &stream.kept), self.limits.server_bytes);
        if live.protocol == Protocol::Tls {
            // Behind a proxy's answer its records have said so already.
            live.handshake.tls13 |= server_is_13(heard) == Ok(true);
        }
        let sent = upto(sent, self.limits.first_flight).to_vec();
        let hello = std::mem::take(&mut live.hello);
        self.out.push(Fact::Opened(Box::new(Opened {
            flow: fact,
            time: live.start,
            protocol: live.protocol,
            name: live.name.clone(),
            source: live.source,
            ech: live.ech,
            client_bytes: if hello.is_empty() { sent } else { hello.into() },
            server_bytes: heard.to_vec(),
            quic_version: live.quic,
            listed: live.listed,
        })));
        if live.clear {
            self.begin_clear(key, flow);
        }
        if let Some(live) = &mut flow.live {
            self.release(live);
        }
    }

    /// Lets go of what was held to decide.
    fn release(&mut self, live: &mut Live) {
        if live.held.take().is_some() {
            self.held = self.held.saturating_sub(1);
        }
        for side in [false, true] {
            let half = live.halves.of_mut(side);
            if !live.clear {
                if let Some(mut stream) = half.stream.take() {
                    self.buffers.give(std::mem::take(&mut stream.kept));
                    self.tally.count(Count::ReorderLost, stream.close());
                }
            }
            half.probe = None;
            self.buffers.give(std::mem::take(&mut half.datagram));
        }
    }
}

/// What a flow is when no more bytes will come.
fn last_word(live: &mut Live, client: Side) -> Seen {
    let client = live.halves.of_mut(client);
    if let Some(stream) = &client.stream {
        return peek(&stream.kept, true).map(Seen::from).unwrap_or_default();
    }
    match &mut client.probe {
        Some(probe) if probe.version != 0 => Seen::quic(probe),
        _ => Seen::default(),
    }
}

/// Its four messages (whitepaper 5.4).
fn is_wireguard(datagram: &[u8]) -> bool {
    let size = datagram.len();
    match datagram.first_chunk::<4>() {
        Some([1, 0, 0, 0]) => size == 148,
        Some([2, 0, 0, 0]) => size == 92,
        Some([3, 0, 0, 0]) => size == 64,
        Some([4, 0, 0, 0]) => size >= 32 && size.is_multiple_of(16),
        _ => false,
    }
}
