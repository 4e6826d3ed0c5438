//! QUIC as far as a client's name needs it: the twin of `sensor/wire/quic.py` (RFC 9000, 9001, 9369).

use crate::bytes::{array, from, upto};
use crate::wire::{Cursor, Stop};
use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use std::collections::BTreeMap;

const VERSION_1: u32 = 1;
const VERSION_2: u32 = 0x6b33_43cf;
/// RFC 9000 17.2.
const CID_MAX: usize = 20;
const TAG: usize = 16;
/// Packets looked at in a datagram; senders coalesce one of each kind, some a few Initials.
const COALESCED: usize = 8;

type Salt = [u8; 20];
/// RFC 9001 5.2, drafts 33 and 34.
const SALT_1: Salt = hex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a");
/// RFC 9369 3.3.1.
const SALT_2: Salt = hex("0dede3def700a6db819381be6e269dcbf9bd2ed9");
/// First draft that has it.
const SALTS_DRAFT: [(u32, Salt); 4] = [
    (33, SALT_1),
    (29, hex("afbfec289993d24c9e9786f19c6111e04390a899")),
    (23, hex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")),
    (22, hex("7fbcdb0e7c66bbe9c193a96cd21519ebd7a02644")),
];

const fn nibble(digit: u8) -> u8 {
    if digit > b'9' { digit.wrapping_sub(b'a').wrapping_add(10) } else { digit.wrapping_sub(b'0') }
}

#[allow(clippy::indexing_slicing)] // runs in the compiler, where a wrong index is an error
const fn hex(text: &str) -> Salt {
    let digits = text.as_bytes();
    let mut out = [0; 20];
    let mut at = 0_usize;
    while at < 20 {
        let pair = at.wrapping_mul(2);
        out[at] = nibble(digits[pair]) << 4 | nibble(digits[pair.wrapping_add(1)]);
        at = at.wrapping_add(1);
    }
    out
}

fn salt(version: u32) -> Option<&'static Salt> {
    let draft = match version {
        VERSION_1 => return Some(&SALT_1),
        VERSION_2 => return Some(&SALT_2),
        0xface_b001 => 22,
        0xface_b002 | 0xface_b00e => 27,
        _ if version >> 8 == 0xff_0000 => version & 0xff,
        _ => 0,
    };
    if draft > 34 {
        return None;
    }
    SALTS_DRAFT.iter().find(|(first, _)| *first <= draft).map(|(_, salt)| salt)
}

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
    start: usize,
    /// Where the protected packet number begins.
    number: usize,
    end: usize,
}

/// The first coalesced packets of a datagram (RFC 9000 12.2), up to one that cannot be read.
fn packets(datagram: &[u8]) -> Result<Vec<Packet<'_>>, Stop> {
    let mut cursor = Cursor::new(datagram);
    let mut out = Vec::new();
    while cursor.left() > 0 && out.len() < COALESCED {
        match packet(&mut cursor) {
            Ok(packet) => {
                cursor.pos = packet.end;
                out.push(packet);
            }
            Err(stop) if out.is_empty() => return Err(stop),
            Err(_) => break,
        }
    }
    Ok(out)
}

fn packet<'a>(cursor: &mut Cursor<'a>) -> Result<Packet<'a>, Stop> {
    let (start, end) = (cursor.pos, cursor.end);
    let first = cursor.u8()?;
    let clear = |kind, version, number| Packet { kind, version, dcid: &[], start, number, end };
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
    let kind = match (first >> 4).wrapping_sub(u8::from(version == VERSION_2)) & 3 {
        0 => Kind::Initial,
        1 => Kind::ZeroRtt,
        2 => Kind::Handshake,
        _ => Kind::Retry,
    };
    if kind == Kind::Retry {
        cursor.take(cursor.left().saturating_sub(TAG))?;
        return Ok(Packet { kind, version, dcid, start, number: cursor.pos, end: cursor.pos });
    }
    if kind == Kind::Initial {
        let token = cursor.varint()?;
        cursor.take(usize::try_from(token).map_err(|_| Stop::Malformed)?)?;
    }
    let length = usize::try_from(cursor.varint()?).map_err(|_| Stop::Malformed)?;
    let number = cursor.pos;
    cursor.take(length)?;
    Ok(Packet { kind, version, dcid, start, number, end: cursor.pos })
}

/// Packet protection of a client's Initial packets (RFC 9001 5.2, RFC 9369 3.3).
struct Keys {
    version: u32,
    dcid: Vec<u8>,
    key: Aes128Gcm,
    iv: [u8; 12],
    hp: Aes128,
}

impl Keys {
    fn new(version: u32, dcid: &[u8]) -> Option<Self> {
        let initial = Hkdf::<Sha256>::new(Some(salt(version)?), dcid);
        let secret: [u8; 32] = expand(&initial, b"client in")?;
        let client = Hkdf::<Sha256>::from_prk(&secret).ok()?;
        let labels: [&[u8]; 3] = if version == VERSION_2 {
            [b"quicv2 key", b"quicv2 iv", b"quicv2 hp"]
        } else {
            [b"quic key", b"quic iv", b"quic hp"]
        };
        let [key, iv, hp] = labels;
        let key: [u8; 16] = expand(&client, key)?;
        let hp: [u8; 16] = expand(&client, hp)?;
        Some(Self {
            version,
            dcid: dcid.to_vec(),
            key: Aes128Gcm::new(&Array(key)),
            iv: expand(&client, iv)?,
            hp: Aes128::new(&Array(hp)),
        })
    }

    fn is(&self, version: u32, dcid: &[u8]) -> bool {
        self.version == version && self.dcid == dcid
    }

    /// Packet number and payload of an Initial (RFC 9001 5.3, 5.4). `largest`: highest number before it.
    fn open(&self, datagram: &[u8], packet: &Packet<'_>, largest: i64) -> Option<(i64, Vec<u8>)> {
        let number = packet.number;
        let sample: [u8; 16] = array(upto(datagram, packet.end), number.checked_add(4)?)?;
        let mut mask = Array(sample);
        self.hp.encrypt_block(&mut mask);
        let mut header = datagram.get(packet.start..number.checked_add(4)?)?.to_vec();
        let [m0, masks @ ..] = mask.0;
        let first = header.first_mut()?;
        *first ^= m0 & 0x0f;
        let size = usize::from(*first & 3).saturating_add(1);
        let clear = number.checked_sub(packet.start)?;
        header.truncate(clear.checked_add(size)?);
        let mut truncated = 0_i64;
        for (byte, mask) in header.iter_mut().skip(clear).zip(masks) {
            *byte ^= mask;
            truncated = truncated << 8 | i64::from(*byte);
        }
        let full = full_number(truncated, size, largest.wrapping_add(1));
        let body = datagram.get(number.checked_add(size)?..packet.end)?;
        let (body, tag) = body.split_at_checked(body.len().checked_sub(TAG)?)?;
        let tag: Tag = Array(array::<TAG>(tag, 0)?);
        let mut payload = body.to_vec();
        let nonce: Nonce<_> = Array(self.nonce(full));
        self.key.decrypt_inout_detached(&nonce, &header, payload.as_mut_slice().into(), &tag).ok()?;
        Some((full, payload))
    }

    fn nonce(&self, number: i64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, part) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        nonce
    }
}

/// HKDF-Expand-Label with an empty context, RFC 8446 7.1.
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let size = u16::try_from(N).ok()?.to_be_bytes();
    let name = u8::try_from(label.len().checked_add(6)?).ok()?;
    secret.expand_multi_info(&[&size, &[name], b"tls13 ", label, &[0]], &mut out).ok()?;
    Some(out)
}

/// RFC 9000 A.3.
fn full_number(truncated: i64, bytes: usize, expected: i64) -> i64 {
    let window = 1_i64 << (bytes << 3);
    let half = window >> 1;
    let candidate = (expected & !window.wrapping_sub(1)) | truncated;
    if candidate <= expected.wrapping_sub(half) {
        candidate.wrapping_add(window)
    } else if candidate > expected.wrapping_add(half) && candidate >= window {
        candidate.wrapping_sub(window)
    } else {
        candidate
    }
}

/// (offset, data) of the CRYPTO frames of an Initial, where only some types may be (RFC 9000 12.4).
fn crypto_frames(payload: &[u8]) -> Result<Vec<(u64, &[u8])>, Stop> {
    let mut cursor = Cursor::new(payload);
    let mut out = Vec::new();
    while cursor.left() > 0 {
        match cursor.u8()? {
            0x00 => {
                let padding = cursor.rest().iter().take_while(|&&byte| byte == 0).count();
                cursor.take(padding)?;
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
            left: datagrams,
            most,
            keys: None,
            largest: -1,
            chunks: BTreeMap::new(),
            held: 0,
        }
    }

    /// Nothing changes any more once `probe` is not `More`.
    pub fn feed(&mut self, datagram: &[u8]) -> Probe {
        if self.probe != Probe::More {
            return self.probe;
        }
        self.left = self.left.saturating_sub(1);
        match packets(datagram) {
            Ok(packets) => {
                for packet in &packets {
                    self.take(datagram, packet);
                }
            }
            Err(_) => self.not_quic(datagram),
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

    fn take(&mut self, datagram: &[u8], packet: &Packet<'_>) {
        let unknown = packet.kind == Kind::Unknown;
        if matches!(packet.kind, Kind::Short | Kind::Negotiation) || (unknown && !is_version(packet.version))
        {
            self.not_quic(datagram);
            return;
        }
        if self.keys.is_none() {
            self.version = packet.version;
        }
        if unknown {
            self.probe = Probe::Unreadable;
        } else if packet.kind == Kind::Initial && self.probe == Probe::More {
            if let Some(payload) = self.open(datagram, packet) {
                self.collect(&payload);
            }
        }
    }

    /// With the keys that opened the first; when they stop fitting, with the packet's own: so Retry and
    /// Version Negotiation need not be seen.
    fn open(&mut self, datagram: &[u8], packet: &Packet<'_>) -> Option<Vec<u8>> {
        if let Some(keys) = &self.keys {
            if let Some((number, payload)) = keys.open(datagram, packet, self.largest) {
                self.largest = number.max(self.largest);
                return Some(payload);
            }
            if keys.is(packet.version, packet.dcid) {
                return None;
            }
        }
        let own = Keys::new(packet.version, packet.dcid)?;
        let (number, payload) = own.open(datagram, packet, -1)?;
        self.keys = Some(Box::new(own));
        self.version = packet.version;
        self.chunks.clear();
        self.held = 0;
        self.largest = number.max(-1);
        Some(payload)
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
        let mut message = Vec::new();
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
