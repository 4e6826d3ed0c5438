//! What a client's first bytes say about where it goes: the twin of `sensor/wire/peek.py`.

use crate::bytes::from;
use crate::facts::{NameSource, Protocol};
use crate::wire::{Stop, is_address};
use crate::{http, socks, tls, upgrade};

/// Proxies within proxies that are looked through.
const LAYERS: u8 = 4;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Peek {
    pub protocol: Protocol,
    pub name: String,
    pub source: NameSource,
    pub ech: bool,
    /// Where the hello or the innermost request begins, behind CONNECT, SOCKS or STARTTLS.
    pub offset: usize,
    /// Of the innermost request in clear.
    pub path: Option<Vec<u8>>,
}

/// Reads the start of a client's TCP stream. `None`: need more bytes. `last`: no more will come.
pub fn peek(client: &[u8], last: bool) -> Option<Peek> {
    look(client, 0, last, LAYERS)
}

fn look(client: &[u8], offset: usize, last: bool, depth: u8) -> Option<Peek> {
    let Some(first) = client.first() else { return last.then(Peek::default) };
    let found = match first {
        0x16 => hello(client, offset, last),
        4 | 5 if depth > 0 => proxied_by_socks(client, offset, last, depth),
        b'A'..=b'Z' | b'\r' | b'\n' => request(client, offset, last, depth),
        _ => Err(Stop::Malformed),
    };
    match found {
        Ok(found) => found,
        Err(Stop::Truncated) => last.then(Peek::default),
        Err(Stop::Malformed) => upgraded(client, offset, last),
    }
}

/// What was found, `Ok(None)` for a need of more bytes; as an error, that it is not this.
type Look = Result<Option<Peek>, Stop>;

fn hello(client: &[u8], offset: usize, last: bool) -> Look {
    match tls::client_hello(client) {
        Ok(hello) => {
            let named = !hello.sni.is_empty() && !is_address(&hello.sni);
            let (name, source) = if named { (hello.sni, NameSource::Sni) } else { Default::default() };
            Ok(Some(Peek { protocol: Protocol::Tls, name, source, ech: hello.ech, offset, path: None }))
        }
        // A hello that is cut off is TLS without a name.
        Err(Stop::Truncated) if last => {
            let begun = client.get(5) == Some(&tls::CLIENT_HELLO);
            let protocol = if begun { Protocol::Tls } else { Protocol::Other };
            Ok(Some(Peek { protocol, offset, ..Peek::default() }))
        }
        Err(stop) => Err(stop),
    }
}

fn request(client: &[u8], offset: usize, last: bool, depth: u8) -> Look {
    let request = http::parse_request(client, last)?;
    if request.connect && depth > 0 {
        let (start, depth) = (offset.saturating_add(request.size), depth.saturating_sub(1));
        let inside = look(from(client, request.size), start, last, depth);
        return Ok(through(inside, request.host, NameSource::Connect));
    }
    let named = !request.host.is_empty() && !is_address(&request.host);
    let (name, source) = if named { (request.host, NameSource::HttpHost) } else { Default::default() };
    Ok(Some(Peek { protocol: Protocol::Http, name, source, ech: false, offset, path: Some(request.path) }))
}

fn proxied_by_socks(client: &[u8], offset: usize, last: bool, depth: u8) -> Look {
    let request = socks::parse(client)?;
    let (start, depth) = (offset.saturating_add(request.length), depth.saturating_sub(1));
    let inside = look(from(client, request.length), start, last, depth);
    Ok(through(inside, request.host, NameSource::Socks))
}

/// TLS inside a stream that began in another protocol.
fn upgraded(client: &[u8], offset: usize, last: bool) -> Option<Peek> {
    let found = upgrade::hello_offset(client)
        .and_then(|start| hello(from(client, start), offset.saturating_add(start), last));
    match found {
        Ok(found) => found,
        Err(Stop::Malformed) => Some(Peek::default()),
        Err(Stop::Truncated) => last.then(Peek::default),
    }
}

/// The tunnel's target names what is inside unless a hello there does.
fn through(inside: Option<Peek>, host: String, source: NameSource) -> Option<Peek> {
    let mut inside = inside?;
    if inside.source != NameSource::Sni && !host.is_empty() && !is_address(&host) {
        (inside.name, inside.source) = (host, source);
    }
    Some(inside)
}
