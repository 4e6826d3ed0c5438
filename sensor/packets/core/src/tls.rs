//! What the engine reads from TLS and DTLS hellos: the twin of `sensor/wire/tls.py`.

use crate::wire::{Cursor, Stop, clean_name};
use std::borrow::Cow;
use std::collections::BTreeMap;

const HANDSHAKE: u8 = 22;
pub const CLIENT_HELLO: u8 = 1;
pub const SERVER_HELLO: u8 = 2;
const SUPPORTED_VERSIONS: u16 = 43;
const RECORD_MAX: usize = 16_384;
const HELLO_MAX: usize = 131_396;
/// encrypted_client_hello (RFC 9849 5), its drafts 08 to 12, and encrypted_server_name before them.
const ECH: [u16; 7] = [0xfe0d, 0xfe0c, 0xfe0b, 0xfe0a, 0xfe09, 0xfe08, 0xffce];

#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    pub sni: String,
    pub ech: bool,
}

/// The ClientHello that begins a TCP stream. `Truncated`: need more bytes.
pub fn client_hello(stream: &[u8]) -> Result<ClientHello, Stop> {
    let message = first_message(stream, CLIENT_HELLO)?;
    let (content, length) = (message.content, message.length);
    let mut body = Cursor::within(&content, 4, length.saturating_add(4));
    let hello = hello_body(&mut body, false)?;
    if body.whole() { Ok(hello) } else { Err(Stop::Truncated) }
}

/// A whole handshake message with its 4-byte header, as the QUIC CRYPTO stream carries it.
pub fn parse_client_hello(message: &[u8]) -> Result<ClientHello, Stop> {
    let mut head = Cursor::new(message);
    if head.u8()? != CLIENT_HELLO {
        return Err(Stop::Malformed);
    }
    let length = head.u24()? as usize;
    if length > head.left() {
        return Err(Stop::Malformed);
    }
    hello_body(&mut Cursor::within(message, 4, length.saturating_add(4)), false)
}

/// Whether the ServerHello that begins the server's stream chose TLS 1.3 (RFC 8446 4.2.1).
pub fn server_is_13(stream: &[u8]) -> Result<bool, Stop> {
    let message = first_message(stream, SERVER_HELLO)?;
    let mut body = Cursor::within(&message.content, 4, message.length.saturating_add(4));
    let mut version = body.u16()?;
    body.take(32)?;
    body.vec8()?;
    body.u16()?;
    body.u8()?;
    if body.left() > 0 {
        let size = body.u16()?;
        let mut chosen = None;
        body.pairs(usize::from(size), |kind, value| {
            if kind == SUPPORTED_VERSIONS && chosen.is_none() {
                chosen = <[u8; 2]>::try_from(value).ok();
            }
        })?;
        version = chosen.map_or(version, u16::from_be_bytes);
    }
    if body.whole() { Ok(version == 0x0304) } else { Err(Stop::Truncated) }
}

struct Message<'a> {
    content: Cow<'a, [u8]>,
    length: usize,
}

fn first_message(stream: &[u8], kind: u8) -> Result<Message<'_>, Stop> {
    let content = join_records(stream)?;
    if content.first().is_some_and(|&found| found != kind) {
        return Err(Stop::Malformed);
    }
    let length = declared(&content).ok_or(Stop::Truncated)?;
    if length > HELLO_MAX {
        return Err(Stop::Malformed);
    }
    Ok(Message { content, length })
}

/// Length field of a handshake message.
pub fn declared(message: &[u8]) -> Option<usize> {
    crate::bytes::be24(message, 1).map(|length| length as usize)
}

/// Contents of the handshake records at the start, up to the end of their first message.
fn join_records(stream: &[u8]) -> Result<Cow<'_, [u8]>, Stop> {
    let mut content: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    let mut rest = stream;
    while !rest.is_empty() && declared(&content).is_none_or(|length| content.len() < length.saturating_add(4))
    {
        match rest {
            [HANDSHAKE] | [HANDSHAKE, 3, ..] => {}
            _ => return Err(Stop::Malformed),
        }
        let Some(length) = crate::bytes::be16(rest, 3).map(usize::from) else { break };
        if length == 0 || length > RECORD_MAX {
            return Err(Stop::Malformed);
        }
        let body = crate::bytes::upto(crate::bytes::from(rest, 5), length);
        if content.is_empty() {
            content = Cow::Borrowed(body);
        } else {
            content.to_mut().extend_from_slice(body);
        }
        rest = crate::bytes::from(rest, length.saturating_add(5));
    }
    Ok(content)
}

fn hello_body(body: &mut Cursor<'_>, dtls: bool) -> Result<ClientHello, Stop> {
    body.u16()?;
    body.take(32)?;
    body.vec8()?;
    if dtls {
        body.vec8()?;
    }
    body.vec16()?;
    body.vec8()?;
    let mut hello = ClientHello::default();
    if body.left() == 0 {
        return Ok(hello);
    }
    let size = body.u16()?;
    let mut server_name = None;
    body.pairs(usize::from(size), |kind, value| {
        if kind == 0 && server_name.is_none() {
            server_name = Some(value);
        }
        hello.ech |= ECH.contains(&kind);
    })?;
    hello.sni = server_name.map(host_name).unwrap_or_default();
    Ok(hello)
}

/// RFC 6066 3.
fn host_name(value: &[u8]) -> String {
    let mut entries = Cursor::within(value, 2, value.len());
    while entries.left() > 0 {
        match (entries.u8(), entries.vec16()) {
            (Ok(0), Ok(name)) => return clean_name(name),
            (Ok(_), Ok(_)) => {}
            _ => break,
        }
    }
    String::new()
}

/// The ClientHello of a DTLS datagram, its fragments in any order.
pub fn dtls_client_hello(datagram: &[u8]) -> Result<ClientHello, Stop> {
    let mut cursor = Cursor::new(datagram);
    let mut whole = None;
    let mut parts: BTreeMap<usize, &[u8]> = BTreeMap::new();
    while cursor.left() > 0 {
        let mut fragment = Cursor::new(dtls_record(&mut cursor)?);
        let kind = fragment.u8()?;
        let length = fragment.u24()? as usize;
        fragment.u16()?;
        let offset = fragment.u24()? as usize;
        let size = fragment.u24()? as usize;
        let body = fragment.take(size)?;
        let fits = length <= HELLO_MAX && offset.saturating_add(body.len()) <= length;
        if kind != CLIENT_HELLO || !fits || whole.is_some_and(|known| known != length) {
            return Err(Stop::Malformed);
        }
        whole = Some(length);
        let part = parts.entry(offset).or_default();
        if body.len() > part.len() {
            *part = body;
        }
    }
    let length = whole.ok_or(Stop::Malformed)?;
    let mut message = Vec::new();
    for (offset, part) in parts {
        if offset > message.len() {
            return Err(Stop::Truncated);
        }
        message.extend_from_slice(crate::bytes::from(part, message.len().saturating_sub(offset)));
    }
    if message.len() != length {
        return Err(Stop::Truncated);
    }
    hello_body(&mut Cursor::new(&message), true)
}

fn dtls_record<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    let (kind, version, epoch) = (cursor.u8()?, cursor.u16()?, cursor.u16()?);
    if kind != HANDSHAKE || !matches!(version, 0xfeff | 0xfefd) || epoch != 0 {
        return Err(Stop::Malformed);
    }
    cursor.take(6)?;
    cursor.vec16()
}
