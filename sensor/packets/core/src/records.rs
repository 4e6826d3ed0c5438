//! TLS records followed by sequence number, to tell application payload from the rest: docs/engine.md 4.

use crate::bytes::from;

const APPLICATION_DATA: u8 = 23;
const HEADER: usize = 5;
/// RFC 5246 6.2.3: 2^14 + 256 for TLS 1.3, 2048 before it, which nobody uses.
const MAX: u16 = 16_640;
/// Most a client's Finished takes with its tag and content type.
const FINISHED: u32 = 90;
/// What an alert takes with those: a pre-connect ends with one each way, and nothing else was said.
const ALERT: u32 = 19;

/// What both directions of a connection know about its handshake.
#[derive(Default)]
pub struct Handshake {
    pub tls13: bool,
    up_seen: bool,
    pub up_counted: bool,
}

/// Where the records of one direction are.
#[derive(Default)]
pub struct Records {
    /// Sequence number expected.
    next: Option<u32>,
    /// Bytes left of the record.
    left: u32,
    /// Whether those count.
    taken: bool,
    /// Of a record header.
    partial: [u8; HEADER],
    have: usize,
}

/// A record header: type 20 to 24, version 3.x, a length that may be.
fn plausible(header: &[u8]) -> Option<(u8, u32)> {
    let &[kind, major, _, high, low] = header.first_chunk::<HEADER>()?;
    let length = u16::from_be_bytes([high, low]);
    ((20..=24).contains(&kind) && major == 3 && length <= MAX).then_some((kind, length.into()))
}

impl Records {
    /// Takes a segment: `size` payload bytes, of which `data` was captured.
    ///
    /// Returns its bytes of records that count as application payload, and how many of those began in it.
    pub fn follow(
        &mut self,
        handshake: &mut Handshake,
        server: bool,
        mut seq: u32,
        mut data: &[u8],
        mut size: u32,
    ) -> (u64, u64) {
        if self.next != Some(seq) {
            match self.next.map(|next| next.wrapping_sub(seq)).filter(|behind| *behind < 1 << 31) {
                Some(behind) if behind >= size => return (0, 0),
                Some(behind) => {
                    seq = seq.wrapping_add(behind);
                    data = from(data, behind as usize);
                    size = size.wrapping_sub(behind);
                }
                None if plausible(data).is_some() => (self.left, self.have) = (0, 0),
                None => {
                    self.next = None;
                    return (0, 0);
                }
            }
        }
        self.next = Some(seq.wrapping_add(size));
        if size <= self.left {
            self.left = self.left.wrapping_sub(size);
            return (if self.taken { size.into() } else { 0 }, 0);
        }
        self.headers(handshake, server, data, size)
    }

    fn headers(&mut self, handshake: &mut Handshake, server: bool, data: &[u8], size: u32) -> (u64, u64) {
        let (mut at, mut counted, mut begun) = (0_u32, 0_u64, 0_u64);
        loop {
            let step = self.left.min(size.saturating_sub(at));
            self.left = self.left.saturating_sub(step);
            at = at.saturating_add(step);
            if self.taken {
                counted = counted.saturating_add(step.into());
            }
            if at >= size {
                return (counted, begun);
            }
            let mut had = self.have;
            for (to, byte) in self.partial.iter_mut().skip(had).zip(from(data, at as usize)) {
                *to = *byte;
                had = had.saturating_add(1);
                at = at.saturating_add(1);
            }
            self.have = 0;
            if had < HEADER && at >= size {
                self.have = had; // split over segments
                return (counted, begun);
            }
            let header = if had < HEADER { None } else { plausible(&self.partial) };
            let Some((kind, length)) = header else {
                self.next = None;
                return (counted, begun);
            };
            self.left = length;
            self.taken = kind == APPLICATION_DATA && handshake.counts(server, length);
            begun = begun.saturating_add(self.taken.into());
        }
    }
}

impl Handshake {
    /// Whether an application_data record is application payload, not a handshake's end or an alert of TLS 1.3.
    fn counts(&mut self, server: bool, size: u32) -> bool {
        if server {
            // Only its handshake is encrypted before the client's own.
            self.tls13 |= !self.up_seen;
            return self.up_counted && !(self.tls13 && size <= ALERT);
        }
        let first = !std::mem::replace(&mut self.up_seen, true);
        if self.tls13 && size <= if first { FINISHED } else { ALERT } {
            return false;
        }
        self.up_counted = true;
        true
    }
}
