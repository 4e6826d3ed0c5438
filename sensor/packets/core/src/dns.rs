//! What the engine reads from DNS messages: the twin of `peek_question`, `peek_answers` and `TcpMessages`
//! in `sensor/wire/dns.py` (RFC 1035, RFC 9460, RFC 9849).

use crate::bytes::from;
use crate::facts::Address;
use crate::wire::{Cursor, PLAIN, Stop, clean_name, escape};

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const SVCB: u16 = 64;
const HTTPS: u16 = 65;
const ECH_KEY: u16 = 5;
const ECH_VERSION: u16 = 0xfe0d;
/// Looked at per section; a 64 KiB message could hold thousands.
const RECORDS: u16 = 512;
const NAME_MAX: usize = 255;

/// Name of the first question and whether this is a response. `Ok(None)`: there is no question.
///
/// The name is in `text`, memory that is used again.
pub fn peek_question<'a>(payload: &[u8], text: &'a mut Vec<u8>) -> Result<Option<(&'a str, bool)>, Stop> {
    let mut cursor = Cursor::new(payload);
    let [_, _, flags, _, q0, q1, ..] = cursor.array::<12>()?;
    if q0 == 0 && q1 == 0 {
        return Ok(None);
    }
    spell_name(&mut cursor, payload, text)?;
    cursor.take(4)?;
    let name = std::str::from_utf8(text).map_err(|_| Stop::Malformed)?;
    Ok(Some((name, flags > 0x7f)))
}

/// A name at the cursor, pointers followed (RFC 1035 4.1.4): lower case, without the last dot.
fn read_name(cursor: &mut Cursor<'_>, data: &[u8]) -> Result<String, Stop> {
    let mut text = Vec::with_capacity(64);
    spell_name(cursor, data, &mut text)?;
    String::from_utf8(text).map_err(|_| Stop::Malformed)
}

/// The same into `text`.
fn spell_name(cursor: &mut Cursor<'_>, data: &[u8], text: &mut Vec<u8>) -> Result<(), Stop> {
    text.clear();
    walk_name(cursor, data, |label| push_label(text, label))?;
    text.truncate(NAME_MAX);
    Ok(())
}

/// Calls `each` with the labels of the name at the cursor.
fn walk_name(cursor: &mut Cursor<'_>, data: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Stop> {
    let have = cursor.end.min(data.len());
    let data = data.get(..have).unwrap_or(data);
    let (mut pos, mut limit) = (cursor.pos, cursor.pos);
    let (mut size, mut behind) = (0_usize, None);
    while let Some(&length) = data.get(pos) {
        let after = pos.saturating_add(1).saturating_add(usize::from(length));
        match length {
            0 => {
                cursor.pos = behind.unwrap_or(after);
                return Ok(());
            }
            1..=63 => {
                size = size.saturating_add(usize::from(length)).saturating_add(1);
                let label = data.get(pos.saturating_add(1)..after).ok_or(Stop::Malformed)?;
                if size > 254 {
                    break;
                }
                each(label);
                pos = after;
            }
            192.. => {
                let Some(&low) = data.get(pos.saturating_add(1)) else { break };
                behind = behind.or(Some(pos.saturating_add(2)));
                pos = usize::from(length & 63) << 8 | usize::from(low);
                if pos >= limit {
                    break; // only backwards, so that it ends
                }
                limit = pos;
            }
            _ => break,
        }
    }
    Err(Stop::Malformed)
}

/// What is pushed is ASCII.
fn push_label(text: &mut Vec<u8>, label: &[u8]) {
    if !text.is_empty() {
        text.push(b'.');
    }
    if label.iter().all(|&byte| PLAIN.get(usize::from(byte)) == Some(&true)) {
        text.extend_from_slice(label);
    } else {
        text.extend_from_slice(escape(label).replace('.', "\\x2e").as_bytes());
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub question: String,
    /// Address, TTL in seconds.
    pub addresses: Vec<(Address, u32)>,
    /// CNAME: owner, target.
    pub chain: Vec<(String, String)>,
    /// Public names of ECH configurations in HTTPS and SVCB records.
    pub ech_names: Vec<String>,
}

/// Addresses, aliases and ECH public names of a response's answers, as far as they can be read.
pub fn peek_answers(payload: &[u8]) -> Result<Answers, Stop> {
    let mut cursor = Cursor::new(payload);
    let [_, _, _, _, q0, q1, a0, a1, ..] = cursor.array::<12>()?;
    let mut out = Answers::default();
    for index in 0..u16::from_be_bytes([q0, q1]).min(RECORDS) {
        let name = read_name(&mut cursor, payload)?;
        cursor.take(4)?;
        if index == 0 {
            out.question = name;
        }
    }
    for _ in 0..u16::from_be_bytes([a0, a1]).min(RECORDS) {
        if record(&mut cursor, payload, &mut out).is_err() {
            break;
        }
    }
    Ok(out)
}

fn record(cursor: &mut Cursor<'_>, payload: &[u8], out: &mut Answers) -> Result<(), Stop> {
    let mut owner = *cursor;
    walk_name(cursor, payload, |_| {})?;
    let (kind, _class, ttl) = (cursor.u16()?, cursor.u16()?, cursor.u32()?);
    let size = usize::from(cursor.u16()?);
    let start = cursor.pos;
    let data = cursor.take(size)?;
    // RFC 2181 8: a TTL with the top bit set counts as 0.
    let seconds = if ttl >> 31 == 0 { ttl } else { 0 };
    let mut inner = Cursor::new(data);
    match (kind, size) {
        (A, 4) => out.addresses.push((Address::v4(inner.array()?), seconds)),
        (AAAA, 16) => out.addresses.push((Address::v6(inner.array()?), seconds)),
        (A | AAAA, _) => return Err(Stop::Malformed),
        (CNAME, _) => {
            let mut target = Cursor::within(payload, start, cursor.pos);
            out.chain.push((read_name(&mut owner, payload)?, read_name(&mut target, payload)?));
        }
        (HTTPS | SVCB, _) => out.ech_names.extend(ech_names(data)?),
        _ => {}
    }
    Ok(())
}

/// Public names in the `ech` parameter of SVCB data (RFC 9460 2.2).
fn ech_names(rdata: &[u8]) -> Result<Vec<String>, Stop> {
    let mut cursor = Cursor::new(rdata);
    cursor.u16()?;
    walk_name(&mut cursor, rdata, |_| {})?;
    let mut found = None;
    cursor.pairs(cursor.left(), |key, configs| {
        if key == ECH_KEY && found.is_none() {
            found = Some(configs);
        }
    })?;
    found.map_or(Ok(Vec::new()), public_names)
}

/// Public names of an ECHConfigList, RFC 9849 4.
fn public_names(configs: &[u8]) -> Result<Vec<String>, Stop> {
    let mut cursor = Cursor::new(configs);
    let size = cursor.u16()?;
    let mut configs = Vec::new();
    cursor.pairs(usize::from(size), |version, body| {
        if version == ECH_VERSION {
            configs.push(Cursor::new(body));
        }
    })?;
    configs.into_iter().map(public_name).collect()
}

fn public_name(mut config: Cursor<'_>) -> Result<String, Stop> {
    config.take(3)?;
    config.vec16()?;
    config.vec16()?;
    config.u8()?;
    Ok(clean_name(config.vec8()?))
}

/// Splits one direction of DNS over TCP (RFC 1035 4.2.2) into messages. Holds at most one, 64 KiB.
#[derive(Default)]
pub struct TcpMessages {
    buffer: Vec<u8>,
}

impl TcpMessages {
    /// Takes the next bytes in order; returns the messages now whole. An error: this is not DNS.
    pub fn feed(&mut self, data: &[u8]) -> Result<Vec<Vec<u8>>, Stop> {
        self.buffer.extend_from_slice(data);
        let (mut out, mut pos) = (Vec::new(), 0_usize);
        while let Some(length) = crate::bytes::be16(&self.buffer, pos).map(usize::from) {
            if length < 12 {
                return Err(Stop::Malformed);
            }
            let body = from(&self.buffer, pos.saturating_add(2));
            let Some(message) = body.get(..length) else { break };
            out.push(message.to_vec());
            pos = pos.saturating_add(2).saturating_add(length);
        }
        self.buffer.drain(..pos.min(self.buffer.len()));
        Ok(out)
    }
}
