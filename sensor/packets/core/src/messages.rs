//! Messages worth parsing, and what is learnt from them on the way.

use crate::bytes::u8_at;
use crate::dns::TcpMessages;
use crate::engine::Core;
use crate::facts::{Address, Fact, Kind, Message, Transport};
use crate::flight::Flights;
use crate::flow::{Flow, State, other};
use crate::link::{Around, Packet};
use crate::stream::Stream;
use crate::table::{Key, Side};
use crate::totals::Count;

/// One direction of a connection on port 53. Ends at the first byte that is lost or is no DNS.
pub struct DnsStream {
    stream: Option<Stream>,
    messages: TcpMessages,
    segments: usize,
}

impl DnsStream {
    pub fn new(segments: usize, origin: Option<u32>) -> Self {
        let mut stream = Stream::new(0, segments, origin);
        stream.keep = false;
        Self { stream: Some(stream), messages: TcpMessages::default(), segments }
    }

    /// Bytes that wait for others.
    pub fn weight(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.weight().saturating_add(self.messages.held()))
    }

    /// Lets go of everything; returns how many bytes waited.
    pub fn end(&mut self) -> u64 {
        let lost = self.stream.take().map_or(0, |mut stream| stream.close());
        lost.saturating_add(std::mem::take(&mut self.messages).held() as u64)
    }

    /// The messages that this segment made whole.
    pub fn feed(&mut self, seq: u32, payload: &[u8]) -> Vec<Vec<u8>> {
        let Some(stream) = &mut self.stream else { return Vec::new() };
        let fresh = stream.push(seq, payload);
        if stream.held.len() <= self.segments {
            if fresh.is_empty() {
                return Vec::new();
            }
            if let Ok(messages) = self.messages.feed(&fresh) {
                return messages;
            }
        }
        self.end();
        Vec::new()
    }
}

impl Core {
    pub fn message(
        &mut self,
        index: u32,
        side: Side,
        time: i64,
        packet: &Packet<'_>,
        around: &Around,
        seq: u32,
    ) {
        let (Some(key), Some(flow)) = (self.table.key(index), self.table.get_mut(index)) else { return };
        let Some(kind) = flow.message else { return };
        if key.transport() == Transport::Udp {
            if packet.payload.len() == packet.size as usize {
                self.flights.whole_message(&key, flow, side, kind, time, around, packet.payload);
            }
            return;
        }
        let Some(live) = &mut flow.live else { return };
        let half = live.halves.of_mut(side);
        let (segments, origin) = (self.flights.limits.segments, half.origin);
        let stream = half.messages.get_or_insert_with(|| Box::new(DnsStream::new(segments, origin)));
        let before = stream.weight();
        let whole = stream.feed(seq, packet.payload);
        let waiting = &mut self.flights.waiting;
        *waiting = waiting.saturating_add(stream.weight()).saturating_sub(before);
        if *waiting > self.flights.limits.waiting {
            *waiting = waiting.saturating_sub(stream.weight());
            self.flights.tally.count(Count::ReorderLost, stream.end());
        }
        for message in whole {
            self.flights.whole_message(&key, flow, side, kind, time, around, &message);
        }
    }
}

impl Flights {
    #[allow(clippy::too_many_arguments)]
    pub fn whole_message(
        &mut self,
        key: &Key,
        flow: &mut Flow,
        side: Side,
        kind: Kind,
        time: i64,
        around: &Around,
        payload: &[u8],
    ) {
        if !self.is_wanted(key, flow, side, kind, time, payload) {
            return;
        }
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
    fn is_wanted(
        &mut self,
        key: &Key,
        flow: &mut Flow,
        side: Side,
        kind: Kind,
        time: i64,
        message: &[u8],
    ) -> bool {
        match kind {
            Kind::Dhcp => return true,
            Kind::Mdns => return u8_at(message, 2).is_some_and(|flags| flags & 0x80 != 0),
            Kind::Dns => {}
        }
        let mut text = std::mem::take(&mut self.text);
        let wanted = match crate::dns::peek_question(message, &mut text) {
            Ok(Some((name, response))) => self.is_asked(key, flow, side, time, message, (name, response)),
            _ => false,
        };
        self.text = text;
        wanted || self.watch.all
    }

    fn is_asked(
        &mut self,
        key: &Key,
        flow: &mut Flow,
        side: Side,
        time: i64,
        message: &[u8],
        (name, response): (&str, bool),
    ) -> bool {
        if response && key.end(side).port == 53 {
            let client: Address = key.end(other(side)).address;
            return self.names.learn(client, name, message, time, &self.watch, &mut self.tally);
        }
        if !response && side != flow.client && flow.state == State::Undecided {
            self.swap(key, flow);
        }
        self.watch.name(name)
    }
}

pub fn message_kind(ports: [u16; 2], tcp: bool) -> Option<Kind> {
    let kinds = [(53, Kind::Dns), (5353, Kind::Mdns), (67, Kind::Dhcp), (68, Kind::Dhcp)];
    if tcp {
        return ports.contains(&53).then_some(Kind::Dns);
    }
    kinds.into_iter().find(|(port, _)| ports.contains(port)).map(|(_, kind)| kind)
}
