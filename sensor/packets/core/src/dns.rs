//! What the engine reads from DNS messages: the twin of `peek_question`, `peek_answers` and `TcpMessages`
//! in `sensor/wire/dns.py` (RFC 1035, RFC 9460, RFC 9849).

use crate::bytes::{from, upto};
use crate::facts::Address;
use crate::wire::{Cursor, Stop, clean_name, dots, escape};
use std::ops::Range;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const SVCB: u16 = 64;
const HTTPS: u16 = 65;
const ECH_KEY: u16 = 5;
const ECH_VERSION: u16 = 0xfe0d;
/// Looked at per section; a 64 KiB message could hold thousands.
const RECORDS: u16 = 512;
/// Pointers followed in a name, which has no more labels (RFC 1035 2.3.4).
const HOPS: u32 = 127;
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
    let name = read_name(&mut cursor, payload, text)?;
    cursor.take(4)?;
    Ok(Some((name, flags > 0x7f)))
}

/// The name in some of a message, spelled in `text`.
pub fn name_at<'a>(payload: &[u8], place: &Range<usize>, text: &'a mut Vec<u8>) -> Result<&'a str, Stop> {
    read_name(&mut Cursor::within(payload, place.start, place.end), payload, text)
}

/// A name at the cursor, pointers followed (RFC 1035 4.1.4): lower case, without the last dot. It is in `text`.
fn read_name<'a>(cursor: &mut Cursor<'_>, data: &[u8], text: &'a mut Vec<u8>) -> Result<&'a str, Stop> {
    text.clear();
    if !spell_plain(cursor, text) {
        text.clear();
        walk_name(cursor, data, |label| push_label(text, label))?;
    }
    text.truncate(NAME_MAX);
    std::str::from_utf8(text).map_err(|_| Stop::Malformed)
}

/// A name of labels that stay as they are, without pointers, as nearly all are: copied in one piece. False: it is not.
fn spell_plain(cursor: &mut Cursor<'_>, text: &mut Vec<u8>) -> bool {
    let data = upto(cursor.rest(), NAME_MAX);
    let (mut end, mut labels) = (0_usize, 0_u64);
    while let Some(&length @ 1..=63) = data.get(end) {
        end = end.saturating_add(1).saturating_add(usize::from(length));
        labels = labels.saturating_add(1);
    }
    if data.get(end) != Some(&0) {
        return false;
    }
    text.extend_from_slice(data.get(1..end).unwrap_or_default());
    let mut dot = data.first().map_or(0, |&length| usize::from(length));
    while let Some(length) = text.get_mut(dot) {
        dot = dot.saturating_add(1).saturating_add(usize::from(*length));
        *length = b'.';
    }
    if dots(text) != Some(labels.saturating_sub(1)) {
        return false;
    }
    cursor.pos = cursor.pos.saturating_add(end).saturating_add(1);
    true
}

/// Calls `each` with the labels of the name at the cursor.
fn walk_name(cursor: &mut Cursor<'_>, data: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Stop> {
    let have = cursor.end.min(data.len());
    let data = data.get(..have).unwrap_or(data);
    let (mut pos, mut limit) = (cursor.pos, cursor.pos);
    let (mut size, mut behind, mut hops) = (0_usize, None, 0_u32);
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
                hops = hops.saturating_add(1);
                if pos >= limit || hops > HOPS {
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
    if dots(label) == Some(0) {
        text.extend_from_slice(label);
    } else {
        text.extend_from_slice(escape(label).replace('.', "\\x2e").as_bytes());
    }
}

#[derive(Default)]
pub struct Answers {
    /// Address, TTL in seconds.
    pub addresses: Vec<(Address, u32)>,
    /// Of each CNAME owner and target: where in the message.
    pub chain: Vec<Range<usize>>,
    /// Public names of ECH configurations in HTTPS and SVCB records.
    pub ech_names: Vec<String>,
}

/// Addresses, aliases and ECH public names of a response's answers, as far as they can be read.
///
/// They are in `out`, memory that is used again.
pub fn peek_answers(payload: &[u8], out: &mut Answers) -> Result<(), Stop> {
    out.addresses.clear();
    out.chain.clear();
    out.ech_names.clear();
    let mut cursor = Cursor::new(payload);
    let [_, _, _, _, q0, q1, a0, a1, ..] = cursor.array::<12>()?;
    for _ in 0..u16::from_be_bytes([q0, q1]).min(RECORDS) {
        walk_name(&mut cursor, payload, |_| {})?;
        cursor.take(4)?;
    }
    for _ in 0..u16::from_be_bytes([a0, a1]).min(RECORDS) {
        if record(&mut cursor, payload, out).is_err() {
            break;
        }
    }
    Ok(())
}

fn record(cursor: &mut Cursor<'_>, payload: &[u8], out: &mut Answers) -> Result<(), Stop> {
    let owner = cursor.pos..cursor.end;
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
            let target = start..cursor.pos;
            walk_name(&mut Cursor::within(payload, start, cursor.pos), payload, |_| {})?;
            out.chain.extend([owner, target]);
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
    /// Bytes of the message that is not whole.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

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
        if pos > 0 {
            self.buffer = self.buffer.split_off(pos.min(self.buffer.len())); // into memory of its size
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_kinds() {
        let long = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], b"\0"].concat();
        let cases: [(&[u8], usize, Option<&str>); 10] = [
            (b"\x03api\x06openai\x03com\0", 0, Some("api.openai.com")),
            (b"\0", 0, Some("")),
            (b"\x03ApI\x02AI\0", 0, Some("api.ai")),
            (b"\x03a.b\x01c\0", 0, Some("a\\x2eb.c")), // a dot in a label
            (b"\x01\xff\x01 \0", 0, Some("\\xff.\\x20")),
            (b"\x02ai\0\x03www\xc0\0", 4, Some("www.ai")),
            (b"\xc0\0", 0, None), // leads to itself
            (b"\x03ap", 0, None),
            (b"\x40a\0", 0, None), // no length (RFC 1035 4.1.4)
            (&long, 0, None),
        ];
        let mut text = b"what was there before".to_vec();
        for (message, start, name) in cases {
            let place = start..message.len();
            assert_eq!(name_at(message, &place, &mut text).ok(), name, "{message:x?}");
        }
    }
}
