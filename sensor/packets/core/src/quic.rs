//! QUIC as far as a client's name needs it: the twin of `sensor/wire/quic.py` (RFC 9000, 9001, 9369).

use crate::bytes::{from, upto};
use crate::initial::{Keys, Place, TAG, VERSION_2, salt};
use crate::wire::{Cursor, Stop};
use std::collections::BTreeMap;

/// RFC 9000 17.2.
const CID_MAX: usize = 20;
/// Packets looked at in a datagram; senders coalesce one of each kind, some a few Initials.
const COALESCED: usize = 8;

/// A number in use as a QUIC version, readable or not: drafts, Google's, Facebook's, GREASE (RFC 9000 15).
fn is_version(version: u32) -> bool {
    salt(version).is_some()
        || version >> 8 == 0xff_0000
        || matches!(version >> 12, 0xfaceb | 0x51303 | 0x54303)
        || version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
    Retry,
    Negotiation,
    Short,
    Unknown,
}

struct Packet<'a> {
    kind: Kind,
    version: u32,
    dcid: &'a [u8],
    place: Place,
}

fn packet<'a>(cursor: &mut Cursor<'a>) -> Result<Packet<'a>, Stop> {
    let (start, end) = (cursor.pos, cursor.end);
    let first = cursor.u8()?;
    let clear =
        |kind, version, number| Packet { kind, version, dcid: &[], place: Place { start, number, end } };
    if first & 0x80 == 0 {
        return if first & 0x40 == 0 { Err(Stop::Malformed) } else { Ok(clear(Kind::Short, 0, cursor.pos)) };
    }
    let version = cursor.u32()?;
    if matches!(version >> 8, 0x51_3034 | 0x51_3033) {
        return Ok(clear(Kind::Unknown, version, cursor.pos));
    }
    let (dcid, scid) = (cursor.vec8()?, cursor.vec8()?);
    if version == 0 {
        return Ok(clear(Kind::Negotiation, 0, cursor.pos));
    }
    if salt(version).is_none() {
        return Ok(clear(Kind::Unknown, version, cursor.pos));
    }
    if dcid.len() > CID_MAX || scid.len() > CID_MAX {
        return Err(Stop::Malformed);
    }
    let kind = long(first, version);
    if kind == Kind::Retry {
        cursor.take(cursor.left().saturating_sub(TAG))?;
        return Ok(Packet {
            kind,
            version,
            dcid,
            place: Place { start, number: cursor.pos, end: cursor.pos },
        });
    }
    if kind == Kind::Initial {
        let token = cursor.varint()?;
        cursor.take(usize::try_from(token).map_err(|_| Stop::Malformed)?)?;
    }
    let length = usize::try_from(cursor.varint()?).map_err(|_| Stop::Malformed)?;
    let number = cursor.pos;
    cursor.take(length)?;
    Ok(Packet { kind, version, dcid, place: Place { start, number, end: cursor.pos } })
}

/// Of a long header in a version that can be read.
fn long(first: u8, version: u32) -> Kind {
    match (first >> 4).wrapping_sub(u8::from(version == VERSION_2)) & 3 {
        0 => Kind::Initial,
        1 => Kind::ZeroRtt,
        2 => Kind::Handshake,
        _ => Kind::Retry,
    }
}

/// Whether that byte begins a 0-RTT packet (RFC 9000 17.2.3): a request before the handshake is over.
pub fn is_early(first: u8, version: u32) -> bool {
    first & 0x80 > 0 && salt(version).is_some() && long(first, version) == Kind::ZeroRtt
}

/// (offset, data) of the CRYPTO frames of an Initial, where only some types may be (RFC 9000 12.4).
fn crypto_frames(payload: &[u8]) -> Result<Vec<(u64, &[u8])>, Stop> {
    let mut cursor = Cursor::new(payload);
    let mut out = Vec::new();
    while cursor.left() > 0 {
        match cursor.u8()? {
            0x00 => {
                cursor.take(zeros(cursor.rest()))?;
            }
            0x01 => {}
            kind @ (0x02 | 0x03) => skip_ack(&mut cursor, kind == 0x03)?,
            0x06 => {
                let (offset, size) = (cursor.varint()?, cursor.varint()?);
                out.push((offset, cursor.take(usize::try_from(size).map_err(|_| Stop::Malformed)?)?));
            }
            kind @ (0x1c | 0x1d) => {
                for _ in 0..if kind == 0x1c { 2 } else { 1 } {
                    cursor.varint()?;
                }
                let reason = cursor.varint()?;
                cursor.take(usize::try_from(reason).map_err(|_| Stop::Malformed)?)?;
            }
            _ => return Err(Stop::Malformed),
        }
    }
    Ok(out)
}

/// How many the bytes begin with. Padding is most of many an Initial.
fn zeros(bytes: &[u8]) -> usize {
    let blocks = bytes.chunks_exact(32).take_while(|block| **block == [0; 32]).count();
    let start = blocks.saturating_mul(32);
    start.saturating_add(from(bytes, start).iter().take_while(|&&byte| byte == 0).count())
}

/// RFC 9000 19.3.
fn skip_ack(cursor: &mut Cursor<'_>, ecn: bool) -> Result<(), Stop> {
    cursor.varint()?;
    cursor.varint()?;
    let ranges = cursor.varint()?;
    if ranges > cursor.left() as u64 {
        return Err(Stop::Malformed);
    }
    let numbers = ranges.saturating_mul(2).saturating_add(if ecn { 4 } else { 1 });
    for _ in 0..numbers {
        cursor.varint()?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// QUIC; the hello is not whole yet.
    More,
    Hello,
    /// QUIC, but the hello will not be read.
    Unreadable,
    /// Not QUIC.
    Other,
}

/// Collects the ClientHello from a client's datagrams, fed one at a time and in any order.
pub struct ClientCrypto {
    pub probe: Probe,
    pub version: u32,
    /// With its 4-byte header, once `probe` is `Hello`.
    pub hello: Vec<u8>,
    /// A 0-RTT packet came.
    pub early: bool,
    left: usize,
    most: usize,
    keys: Option<Box<Keys>>,
    largest: i64,
    chunks: BTreeMap<u64, Vec<u8>>,
    held: usize,
}

impl ClientCrypto {
    pub fn new(datagrams: usize, most: usize) -> Self {
        Self {
            probe: Probe::More,
            version: 0,
            hello: Vec::new(),
            early: false,
            left: datagrams,
            most,
            keys: None,
            largest: -1,
            chunks: BTreeMap::new(),
            held: 0,
        }
    }

    /// Nothing changes any more once `probe` is not `More`. `scratch` is memory to decrypt in.
    pub fn feed(&mut self, datagram: &[u8], scratch: &mut Vec<u8>) -> Probe {
        if self.probe != Probe::More {
            return self.probe;
        }
        self.left = self.left.saturating_sub(1);
        // The first coalesced packets (RFC 9000 12.2), up to one that cannot be read.
        let (mut cursor, mut taken) = (Cursor::new(datagram), 0_usize);
        while cursor.left() > 0 && taken < COALESCED {
            match packet(&mut cursor) {
                Ok(packet) => {
                    cursor.pos = packet.place.end;
                    self.take(datagram, &packet, scratch);
                }
                Err(_) => {
                    if taken == 0 {
                        self.not_quic(datagram);
                    }
                    break;
                }
            }
            taken = taken.saturating_add(1);
        }
        if self.probe == Probe::More && self.left == 0 {
            self.probe = Probe::Unreadable;
        }
        self.probe
    }

    fn not_quic(&mut self, datagram: &[u8]) {
        if self.version == 0 {
            self.version = google_version(datagram);
            self.probe = if self.version == 0 { Probe::Other } else { Probe::Unreadable };
        }
    }

    fn take(&mut self, datagram: &[u8], packet: &Packet<'_>, scratch: &mut Vec<u8>) {
        let unknown = packet.kind == Kind::Unknown && !is_version(packet.version);
        if unknown || matches!(packet.kind, Kind::Short | Kind::Negotiation) {
            self.not_quic(datagram);
            return;
        }
        if self.keys.is_none() {
            self.version = packet.version;
        }
        self.early |= packet.kind == Kind::ZeroRtt;
        // After a version that cannot be read may come one that can (RFC 9000 6.2).
        if packet.kind == Kind::Initial && self.probe == Probe::More {
            if let Some(start) = self.open(datagram, packet, scratch) {
                self.collect(from(scratch, start));
            }
        }
    }

    /// With the keys that opened the first; when they stop fitting, with the packet's own: so Retry and
    /// Version Negotiation need not be seen.
    /// Returns where in `scratch` the payload begins.
    fn open(&mut self, datagram: &[u8], packet: &Packet<'_>, scratch: &mut Vec<u8>) -> Option<usize> {
        if let Some(keys) = &self.keys {
            if let Some((number, start)) = keys.open(datagram, &packet.place, self.largest, scratch) {
                self.largest = number.max(self.largest);
                return Some(start);
            }
            if keys.is(packet.version, packet.dcid) {
                return None;
            }
        }
        let own = Keys::new(packet.version, packet.dcid)?;
        let (number, start) = own.open(datagram, &packet.place, -1, scratch)?;
        self.keys = Some(Box::new(own));
        self.version = packet.version;
        self.chunks.clear();
        self.held = 0;
        self.largest = number.max(-1);
        Some(start)
    }

    fn collect(&mut self, payload: &[u8]) {
        let Ok(frames) = crypto_frames(payload) else { return };
        for (offset, data) in frames {
            // An empty chunk says nothing, and would be one more to keep.
            let known = self.chunks.get(&offset).map_or(0, Vec::len);
            if data.len() > known {
                self.held = self.held.saturating_add(data.len().saturating_sub(known));
                self.chunks.insert(offset, data.to_vec());
            }
        }
        if self.held > self.most {
            self.probe = Probe::Unreadable;
        } else {
            self.assemble();
        }
    }

    fn assemble(&mut self) {
        let mut message = Vec::with_capacity(self.held);
        for (&offset, data) in &self.chunks {
            let Some(known) = (message.len() as u64).checked_sub(offset) else { break };
            message.extend_from_slice(from(data, usize::try_from(known).unwrap_or(usize::MAX)));
        }
        let Some(&kind) = message.first() else { return };
        let length = crate::tls::declared(&message).map(|length| length.saturating_add(4));
        if kind != crate::tls::CLIENT_HELLO || length.is_some_and(|length| length > self.most) {
            self.probe = Probe::Unreadable;
        } else if length.is_some_and(|length| length <= message.len()) {
            message.truncate(length.unwrap_or_default());
            self.hello = message;
            self.probe = Probe::Hello;
        }
    }
}

/// Version in a Google QUIC public header, Q043 and before: flags, connection id, `Q0xx`. 0: not one.
fn google_version(datagram: &[u8]) -> u32 {
    if datagram.first().is_none_or(|first| first & 0x89 != 0x09) {
        return 0;
    }
    let version = upto(from(datagram, 9), 4);
    let digits = version.strip_prefix(b"Q0").unwrap_or_default();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    version.iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}
