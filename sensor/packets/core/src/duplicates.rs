//! Frames that a mirror copied twice: docs/engine.md 1.

use crate::bytes::{be16, be32, from, u8_at, upto};

/// Frames remembered.
const WINDOW: usize = 64;

/// The last frames that have an identity, from their outermost IP header on. Those of earlier batches are copies.
pub struct Recent<'a> {
    /// Compared first, all at once.
    keys: [u32; WINDOW],
    frames: [(i64, &'a [u8]); WINDOW],
    next: usize,
}

/// What outlives a batch: (key, time, bytes), oldest first.
#[derive(Default)]
pub struct Kept(Vec<(u32, i64, Vec<u8>)>);

impl<'a> Recent<'a> {
    pub fn resume(kept: &'a Kept) -> Self {
        let mut recent = Self { keys: [0; WINDOW], frames: [(0, &[]); WINDOW], next: 0 };
        for (key, time, data) in &kept.0 {
            recent.put(*key, *time, data);
        }
        recent
    }

    pub fn keep(&self) -> Kept {
        let oldest_first = self.keys.iter().zip(&self.frames).cycle().skip(self.next).take(WINDOW);
        Kept(
            oldest_first
                .filter(|(key, _)| **key != 0)
                .map(|(key, (time, data))| (*key, *time, data.to_vec()))
                .collect(),
        )
    }

    /// Whether this packet came a moment ago; if not it is remembered.
    #[inline(always)]
    pub fn seen(&mut self, key: u32, time: i64, data: &'a [u8], window: i64) -> bool {
        if self.keys.contains(&key) && self.equal(key, time, data, window) {
            return true;
        }
        self.put(key, time, data);
        false
    }

    #[cold]
    fn equal(&self, key: u32, time: i64, data: &[u8], window: i64) -> bool {
        self.keys.iter().zip(&self.frames).any(|(old, (then, before))| {
            *old == key && time.saturating_sub(*then) <= window && equal(before, data)
        })
    }

    #[inline(always)]
    fn put(&mut self, key: u32, time: i64, data: &'a [u8]) {
        let at = self.next;
        if let (Some(k), Some(f)) = (self.keys.get_mut(at), self.frames.get_mut(at)) {
            *k = key;
            *f = (time, data);
        }
        self.next = at.wrapping_add(1) % WINDOW;
    }
}

/// Equal but for what a router changes: TTL and checksum, or the hop limit.
fn equal(one: &[u8], two: &[u8]) -> bool {
    let parts: &[(usize, usize)] = if one.first().is_some_and(|byte| byte >> 4 == 4) {
        &[(0, 8), (9, 10), (12, usize::MAX)]
    } else {
        &[(0, 7), (8, usize::MAX)]
    };
    parts.iter().all(|&(start, end)| from(upto(one, end), start) == from(upto(two, end), start))
}

/// A number that copies of a packet share, never 0; None without an identity. `data` begins with the outermost IP header.
#[inline(always)]
pub fn identity(data: &[u8]) -> Option<u32> {
    let first = data.first()?;
    let parts = if first >> 4 == 4 && data.len() >= 24 {
        if be16(data, 4)? == 0 {
            return None;
        }
        // Length and identification, addresses, ports, and what tells a segment from the next.
        let seq = be32(data, 24).unwrap_or_default();
        [be32(data, 2)?, be32(data, 12)?, be32(data, 16)?, be32(data, 20)?, seq]
    } else if first >> 4 == 6 && data.len() >= 48 && u8_at(data, 6) == Some(crate::ip::TCP) {
        [be16(data, 4)?.into(), be32(data, 20)?, be32(data, 36)?, be32(data, 40)?, be32(data, 44)?]
    } else {
        return None;
    };
    let mixed = parts.iter().fold(0_u32, |sum, part| (sum.rotate_left(5) ^ part).wrapping_mul(0x9e37_79b1));
    Some(mixed.max(1))
}
