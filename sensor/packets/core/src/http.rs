//! HTTP/1 request heads: the twin of `sensor/wire/http.py`, as far as a name and a path go.

use crate::bytes::{from, upto};
use crate::wire::{Stop, clean_name, is_address};

const HEAD_MAX: usize = 65_536;
const METHOD_MAX: usize = 24;

#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Request {
    pub connect: bool,
    pub host: String,
    /// Latin-1 as characters, without query; empty for CONNECT.
    pub path: Vec<u8>,
    /// Bytes of the head, its blank line included.
    pub size: usize,
}

/// The request head at the start of `data`. `Truncated`: need more bytes.
/// `last`: nothing follows; a head whose request line is whole then counts as far as its lines are.
pub fn parse_request(data: &[u8], last: bool) -> Result<Request, Stop> {
    let start = data.iter().take(4).take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
    let Some(line) = request_line(from(data, start)) else {
        return Err(not_yet(data, from(data, start)));
    };
    let newline = start.saturating_add(line.length).saturating_sub(1);
    let end = head_end(data, newline, last)?;
    let mut request = Request { connect: line.method == b"CONNECT", size: end, ..Request::default() };
    let headers = data.get(newline.saturating_add(1)..end).unwrap_or_default();
    let (authority, path) = split_target(request.connect, line.target);
    request.path = path;
    request.host = match authority {
        Some(authority) => host_of(authority),
        None => host_of(&host_header(headers)),
    };
    Ok(request)
}

struct Line<'a> {
    method: &'a [u8],
    target: &'a [u8],
    length: usize,
}

/// `METHOD target HTTP/1.x`, RFC 9112 3.
fn request_line(data: &[u8]) -> Option<Line<'_>> {
    let newline = data.iter().position(|&byte| byte == b'\n')?;
    let line = upto(data, newline);
    let mut line = line.strip_suffix(b"\r").unwrap_or(line);
    while let Some(shorter) = line.strip_suffix(b" ") {
        line = shorter;
    }
    let (line, version) = line.split_at_checked(line.len().checked_sub(9)?)?;
    if !version.starts_with(b" HTTP/1.") || !version.last()?.is_ascii_digit() {
        return None;
    }
    let space = line.iter().position(|&byte| byte == b' ')?;
    let (method, target) = (upto(line, space), from(line, space.saturating_add(1)));
    let control = |byte: &u8| *byte < 0x20 || *byte == 0x7f;
    if !is_method(method) || *target.first()? == b' ' || target.iter().any(control) {
        return None;
    }
    Some(Line { method, target, length: newline.saturating_add(1) })
}

fn is_method(method: &[u8]) -> bool {
    method.len() <= METHOD_MAX
        && method.first().is_some_and(u8::is_ascii_uppercase)
        && method.iter().all(|&byte| byte.is_ascii_uppercase() || byte == b'_' || byte == b'-')
}

/// Whether `data` can still become a request.
fn not_yet(data: &[u8], line: &[u8]) -> Stop {
    if line.contains(&b'\n') || data.len() > HEAD_MAX {
        return Stop::Malformed;
    }
    if line.is_empty() {
        return Stop::Truncated;
    }
    let space = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let bad = |byte: &u8| (*byte < 0x20 && *byte != b'\r') || *byte == 0x7f;
    if is_method(upto(line, space)) && !line.iter().any(bad) { Stop::Truncated } else { Stop::Malformed }
}

/// Index behind the blank line, looking from the first line's newline.
fn head_end(data: &[u8], newline: usize, last: bool) -> Result<usize, Stop> {
    let mut at = newline;
    while let Some(step) = from(data, at).iter().position(|&byte| byte == b'\n') {
        at = at.saturating_add(step).saturating_add(1);
        match from(data, at) {
            [b'\n', ..] => return Ok(at.saturating_add(1)),
            [b'\r', b'\n', ..] => return Ok(at.saturating_add(2)),
            _ => {}
        }
    }
    if last {
        return Ok(data.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at.saturating_add(1)));
    }
    Err(if data.len() > HEAD_MAX { Stop::Malformed } else { Stop::Truncated })
}

/// What Python's `str.strip` takes from Latin-1 text.
fn is_space(byte: u8) -> bool {
    matches!(byte, 0x09..=0x0d | 0x1c..=0x20 | 0x85 | 0xa0)
}

fn strip(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text {
        if !is_space(*first) {
            break;
        }
        text = rest;
    }
    while let [rest @ .., last] = text {
        if !is_space(*last) {
            break;
        }
        text = rest;
    }
    text
}

/// The first Host header's value, with obsolete folding (RFC 9112 5.2) undone.
fn host_header(lines: &[u8]) -> Vec<u8> {
    let mut value: Option<Vec<u8>> = None;
    let mut any = false;
    let mut open = false;
    for line in lines.split(|&byte| byte == b'\n') {
        if any && matches!(line.first(), Some(b' ' | b'\t')) && !strip(line).is_empty() {
            if let (true, Some(value)) = (open, &mut value) {
                value.push(b' ');
                value.extend_from_slice(strip(line));
            }
            continue;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        any = true;
        open = value.is_none() && strip(upto(line, colon)).eq_ignore_ascii_case(b"host");
        if open {
            value = Some(strip(from(line, colon.saturating_add(1))).to_vec());
        }
    }
    value.unwrap_or_default()
}

/// Host of RFC 3986 3.2's authority, cleaned.
fn host_of(authority: &[u8]) -> String {
    let user = authority.iter().rposition(|&byte| byte == b'@').map_or(0, |at| at.saturating_add(1));
    let rest = strip(from(authority, user));
    if let Some(inner) = rest.strip_prefix(b"[") {
        let end = inner.iter().position(|&byte| byte == b']').unwrap_or(inner.len());
        let host = latin1(upto(inner, end));
        return if is_address(&host) { host.to_ascii_lowercase() } else { clean_name(host.as_bytes()) };
    }
    let end = rest.iter().position(|&byte| byte == b':').unwrap_or(rest.len());
    clean_name(latin1(upto(rest, end)).as_bytes())
}

fn latin1(raw: &[u8]) -> String {
    raw.iter().map(|&byte| char::from(byte)).collect()
}

/// Authority, if the target names one (RFC 9112 3.2), and path.
fn split_target(connect: bool, target: &[u8]) -> (Option<&[u8]>, Vec<u8>) {
    if connect {
        return (Some(target), Vec::new());
    }
    if target.first() != Some(&b'/') {
        for scheme in ["http://", "https://", "ws://", "wss://", "ftp://"] {
            let Some((head, rest)) = target.split_at_checked(scheme.len()) else { continue };
            if !head.eq_ignore_ascii_case(scheme.as_bytes()) {
                continue;
            }
            let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
            let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            let path = before(before(tail, b'#'), b'?');
            return (Some(authority), if path.is_empty() { b"/".to_vec() } else { path.to_vec() });
        }
    }
    (None, before(target, b'?').to_vec())
}

fn before(text: &[u8], mark: u8) -> &[u8] {
    text.split(|&byte| byte == mark).next().unwrap_or_default()
}
