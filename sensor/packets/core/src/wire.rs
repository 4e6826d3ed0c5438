//! The bounded cursor and the spelling of names: the twins of `sensor/wire/cursor.py` and `names.py`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a read stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The structure ends before: no further byte can repair it.
    Malformed,
    /// The bytes at hand end before.
    Truncated,
}

/// Reads `data[pos..end]`; `end` may lie beyond the bytes at hand. Integers are big-endian.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    data: &'a [u8],
    pub pos: usize,
    pub end: usize,
    have: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self::within(data, 0, data.len())
    }

    pub fn within(data: &'a [u8], pos: usize, end: usize) -> Self {
        Self { data, pos, end, have: data.len().min(end) }
    }

    pub fn left(&self) -> usize {
        self.end.saturating_sub(self.pos)
    }

    /// Every declared byte is at hand.
    pub fn whole(&self) -> bool {
        self.have == self.end
    }

    pub fn rest(&self) -> &'a [u8] {
        self.data.get(self.pos..self.have).unwrap_or_default()
    }

    pub fn take(&mut self, size: usize) -> Result<&'a [u8], Stop> {
        let after = self.pos.saturating_add(size);
        if after > self.have {
            return Err(if after > self.end { Stop::Malformed } else { Stop::Truncated });
        }
        let taken = self.data.get(self.pos..after).ok_or(Stop::Malformed)?;
        self.pos = after;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.take(N)?.first_chunk::<N>().copied().ok_or(Stop::Malformed)
    }

    pub fn u8(&mut self) -> Result<u8, Stop> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u24(&mut self) -> Result<u32, Stop> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    pub fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_be_bytes)
    }

    /// RFC 9000 16: variable-length integer.
    pub fn varint(&mut self) -> Result<u64, Stop> {
        let first = self.u8()?;
        let more = (1_usize << (first >> 6)).saturating_sub(1);
        let start = u64::from(first & 0x3f);
        Ok(self.take(more)?.iter().fold(start, |value, &byte| value << 8 | u64::from(byte)))
    }

    pub fn vec8(&mut self) -> Result<&'a [u8], Stop> {
        let size = self.u8()?;
        self.take(usize::from(size))
    }

    pub fn vec16(&mut self) -> Result<&'a [u8], Stop> {
        let size = self.u16()?;
        self.take(usize::from(size))
    }

    /// `size` bytes of (16-bit type, bytes behind a 16-bit length): calls `each` with them, also when an error follows.
    pub fn pairs(&mut self, size: usize, mut each: impl FnMut(u16, &'a [u8])) -> Result<(), Stop> {
        let end = self.pos.saturating_add(size);
        if end > self.have {
            // Not walked until it is whole: bytes may come one by one.
            return Err(if end > self.end { Stop::Malformed } else { Stop::Truncated });
        }
        let mut rest = self.data.get(self.pos..end).unwrap_or_default();
        while let [t0, t1, l0, l1, behind @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            let (body, after) = behind.split_at_checked(length).ok_or(Stop::Malformed)?;
            each(u16::from_be_bytes([*t0, *t1]), body);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(Stop::Malformed);
        }
        self.pos = end;
        Ok(())
    }
}

/// RFC 1035 2.3.4.
const NAME_MAX: usize = 255;

const ODD: u64 = 1 << 32;

/// What a byte of a name adds to the sum of `dots`: no name has as many bytes as `ODD`.
const DOTS: [u64; 256] = {
    let mut table = [ODD; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        #[allow(clippy::indexing_slicing)] // runs in the compiler, where a wrong index is an error
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => table[byte as usize] = 0,
            b'.' => table[byte as usize] = 1,
            _ => {}
        }
        byte = byte.wrapping_add(1);
    }
    table
};

/// How many dots are in a name whose other bytes stay as they are, which nearly all do. None: some do not.
pub fn dots(raw: &[u8]) -> Option<u64> {
    let each = raw.iter().map(|&byte| DOTS.get(usize::from(byte)).copied().unwrap_or(ODD));
    Some(each.fold(0, u64::wrapping_add)).filter(|&sum| sum < ODD)
}

/// Lower case; bytes outside `[a-z0-9._-]` as `\xNN`.
pub fn escape(raw: &[u8]) -> String {
    if let Some(plain) = std::str::from_utf8(raw).ok().filter(|_| dots(raw).is_some()) {
        return plain.to_owned();
    }
    let mut text = String::with_capacity(raw.len());
    for byte in raw.to_ascii_lowercase() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// Lower case, no port, no trailing dot, escaped, cut at 255 characters.
pub fn clean_name(raw: &[u8]) -> String {
    let mut host = raw;
    let mut parts = raw.rsplitn(2, |&byte| byte == b':');
    if let (Some(port), Some(before)) = (parts.next(), parts.next()) {
        if !before.contains(&b':') && port.iter().all(u8::is_ascii_digit) {
            host = before;
        }
    }
    let mut text = escape(host.strip_suffix(b".").unwrap_or(host));
    text.truncate(NAME_MAX);
    text
}

/// An IPv4 (dotted quad) or IPv6 literal, the latter with or without brackets.
pub fn is_address(text: &str) -> bool {
    if text.contains(':') {
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    text.parse::<Ipv4Addr>().is_ok()
}
