//! TLS inside a stream that begins in another protocol: the twin of `sensor/wire/upgrade.py`.

use crate::bytes::{from, upto};
use crate::wire::Stop;

/// Bytes, or one line of text, that tell the protocol.
const OPENING: usize = 48;
/// The dialogue before TLS is a few lines.
const PREFACE_MAX: usize = 2_048;
/// LDAP's StartTLS request (RFC 4511 4.14).
const LDAP: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// Where the TLS records begin. `Truncated`: need more bytes. `Malformed`: it will not turn into TLS.
pub fn hello_offset(client: &[u8]) -> Result<usize, Stop> {
    let first = client.first().copied();
    if first.is_some_and(|byte| byte != 0 && !(b' '..=b'~').contains(&byte)) {
        return Err(Stop::Malformed);
    }
    let start = upto(client, OPENING);
    let line = match first {
        Some(0 | b' ' | b'0') => None,
        _ => start.iter().position(|&byte| byte == b'\n'),
    };
    if line.is_none() && client.len() < OPENING {
        return Err(Stop::Truncated);
    }
    if !is_opening(upto(start, line.map_or(OPENING, |at| at.saturating_add(1)))) {
        return Err(Stop::Malformed);
    }
    let preface = upto(client, PREFACE_MAX);
    match preface.windows(7).position(is_hello) {
        Some(at) => Ok(at),
        None if client.len() >= PREFACE_MAX => Err(Stop::Malformed),
        None => Err(Stop::Truncated),
    }
}

/// Record and ClientHello headers.
fn is_hello(window: &[u8]) -> bool {
    matches!(window, [0x16, 3, 0..=4, 0..=0x40, _, 1, 0])
}

fn is_opening(start: &[u8]) -> bool {
    let lower = start.to_ascii_lowercase();
    let begins = |texts: &[&[u8]]| texts.iter().any(|text| lower.starts_with(text));
    let ldap = || (5..=17).any(|skip| lower.first() == Some(&b'0') && from(&lower, skip).starts_with(LDAP));
    begins(&[b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30", b"\x20\0\0\x01"])
        || begins(&[b"ehlo ", b"lhlo ", b"helo ", b"auth tls", b"auth ssl", b"<?xml ", b"<stream:"])
        || begins(&[b"capa\n", b"capa\r\n", b"stls\n", b"stls\r\n", b"feat\n", b"feat\r\n"])
        || ldap()
        || is_imap(&lower)
}

/// A tag of 1 to 16 visible characters and a command.
fn is_imap(lower: &[u8]) -> bool {
    let tag = lower.iter().take_while(|byte| byte.is_ascii_graphic()).count();
    let rest = from(lower, tag);
    (1..=16).contains(&tag)
        && [&b" capability"[..], b" starttls", b" id "].iter().any(|text| rest.starts_with(text))
}
