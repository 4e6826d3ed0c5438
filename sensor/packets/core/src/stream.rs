//! One direction of a TCP connection put in order by sequence number. First-come bytes win on overlap.

use crate::bytes::{from, upto};
use std::borrow::Cow;

/// Memory of first flights that are over, to be used again.
#[derive(Default)]
pub struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    /// As many as wait at most, and what one of them may hold.
    const MOST: usize = 256;
    const LARGEST: usize = 4096;

    pub fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    pub fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < Self::MOST && (1..=Self::LARGEST).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// Bytes in order, and up to `segments` pieces that are ahead of a gap.
///
/// While `keep` is set, what came in order stays in `kept`, and pieces are refused when they and `kept` would exceed
/// `limit` bytes; when `kept` alone has that many, nothing more is taken. Without a known start (`fixed` is false) a
/// segment before the first lowers the start.
pub struct Stream {
    next: Option<u32>,
    fixed: bool,
    pub keep: bool,
    pub kept: Vec<u8>,
    /// Bytes that came in order.
    pub total: u64,
    pub held: Vec<(u32, Vec<u8>)>,
    held_bytes: usize,
    /// Something was refused for `limit`, or `limit` bytes are here.
    pub full: bool,
    /// Bytes refused.
    lost: u64,
    limit: usize,
    segments: usize,
}

/// About what it costs to hold a piece, besides its bytes.
const PIECE: usize = 64;

impl Stream {
    pub fn new(limit: usize, segments: usize, start: Option<u32>) -> Self {
        Self {
            next: start,
            fixed: start.is_some(),
            keep: true,
            kept: Vec::new(),
            total: 0,
            held: Vec::new(),
            held_bytes: 0,
            full: false,
            lost: 0,
            limit,
            segments,
        }
    }

    /// Bytes that wait for others.
    pub fn weight(&self) -> usize {
        self.held_bytes.saturating_add(self.held.len().saturating_mul(PIECE))
    }

    /// Takes a segment's payload; returns what is now in order and was not before.
    pub fn push<'a>(&mut self, seq: u32, mut data: &'a [u8]) -> Cow<'a, [u8]> {
        if self.keep && self.kept.len() >= self.limit {
            return Cow::Borrowed(&[]);
        }
        let next = *self.next.get_or_insert(seq);
        let ahead = seq.wrapping_sub(next);
        if ahead > 0 && ahead < 1 << 31 {
            self.hold(seq, data, false);
            self.weigh();
            return Cow::Borrowed(&[]);
        }
        if ahead != 0 {
            let behind = next.wrapping_sub(seq);
            if !self.fixed && self.keep && u64::from(behind) > self.total {
                self.lower(seq);
            } else {
                data = from(data, behind as usize);
            }
        }
        if data.is_empty() {
            return Cow::Borrowed(&[]);
        }
        if self.held.is_empty() {
            self.advance(data);
            return Cow::Borrowed(data);
        }
        self.hold(self.next.unwrap_or(seq), data, true);
        Cow::Owned(self.drain())
    }

    /// Gives up the gap before the first held piece: its length, and the bytes behind it.
    pub fn skip(&mut self) -> (u32, Vec<u8>) {
        let (Some(next), Some((seq, _))) = (self.next, self.held.first()) else { return (0, Vec::new()) };
        let gap = seq.wrapping_sub(next);
        self.next = Some(*seq);
        (gap, self.drain())
    }

    /// Lets go of everything; returns how many bytes that were out of order are lost.
    pub fn close(&mut self) -> u64 {
        let lost = self.lost.saturating_add(self.held_bytes as u64);
        self.held = Vec::new();
        self.kept = Vec::new();
        (self.held_bytes, self.lost) = (0, 0);
        lost
    }

    fn advance(&mut self, data: &[u8]) {
        self.next = self.next.map(|next| next.wrapping_add(data.len() as u32));
        self.total = self.total.saturating_add(data.len() as u64);
        if self.keep {
            self.kept.extend_from_slice(data);
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        if self.keep && self.kept.len().saturating_add(self.held_bytes) >= self.limit {
            self.full = true;
        }
    }

    /// The stream began earlier than was thought: what is kept so far is ahead of a gap now.
    fn lower(&mut self, seq: u32) {
        if !self.kept.is_empty() {
            let kept = std::mem::take(&mut self.kept);
            let start = self.next.unwrap_or(seq).wrapping_sub(kept.len() as u32);
            self.held_bytes = self.held_bytes.saturating_add(kept.len());
            self.held.insert(0, (start, kept));
        }
        self.total = 0;
        self.next = Some(seq);
    }

    /// Keeps the parts of a segment that no held piece has. `force`: they close the gap, no limit applies.
    fn hold(&mut self, mut seq: u32, mut data: &[u8], force: bool) {
        let mut pieces: Vec<(u32, &[u8])> = Vec::new();
        for (start, body) in &self.held {
            let offset = i64::from(start.wrapping_sub(seq) as i32);
            let stop = offset.saturating_add_unsigned(body.len() as u64);
            if offset >= 0 && offset.unsigned_abs() >= data.len() as u64 {
                break;
            }
            let Ok(stop) = usize::try_from(stop) else { continue };
            if stop == 0 {
                continue;
            }
            if offset > 0 {
                pieces.push((seq, upto(data, usize::try_from(offset).unwrap_or(usize::MAX))));
            }
            seq = seq.wrapping_add(stop as u32);
            data = from(data, stop);
            if data.is_empty() {
                break;
            }
        }
        if !data.is_empty() {
            pieces.push((seq, data));
        }
        if pieces.is_empty() {
            return;
        }
        for (seq, data) in pieces {
            self.insert(seq, data, force);
        }
        let first = self.next.unwrap_or(0);
        self.held.sort_by_key(|(seq, _)| seq.wrapping_sub(first));
    }

    fn insert(&mut self, seq: u32, data: &[u8], force: bool) {
        let bytes = self.kept.len().saturating_add(self.held_bytes).saturating_add(data.len());
        let over = self.keep && bytes > self.limit;
        if !force && (over || (self.keep && self.held.len() >= self.segments)) {
            self.lost = self.lost.saturating_add(data.len() as u64);
            self.full = self.full || over;
            return;
        }
        self.held.push((seq, data.to_vec()));
        self.held_bytes = self.held_bytes.saturating_add(data.len());
    }

    fn drain(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut taken = 0_usize;
        let mut held = std::mem::take(&mut self.held);
        for (seq, body) in &held {
            if Some(*seq) != self.next {
                break;
            }
            self.held_bytes = self.held_bytes.saturating_sub(body.len());
            self.advance(body);
            out.extend_from_slice(body);
            taken = taken.saturating_add(1);
        }
        self.held = held.split_off(taken); // into memory of its size
        out
    }
}
