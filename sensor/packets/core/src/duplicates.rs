//! Frames that a mirror copied twice: docs/engine.md 1.

use crate::bytes::{array, be16, be32, from, u8_at, upto};
use std::num::NonZeroU32;

/// Frames remembered.
const WINDOW: usize = 64;
/// Bytes of a packet that are compared; the checksums among them stand for the others.
pub const COMPARED: usize = 128;
/// A power of two, and many more than frames.
const BUCKETS: usize = 1024;

/// The last frames that have an identity, from their outermost IP header on. Those of earlier batches are copies.
pub struct Recent<'a> {
    /// Compared first, all at once.
    keys: [u32; WINDOW],
    /// How many keys are in a bucket: most frames' is empty.
    buckets: [u8; BUCKETS],
    frames: [(i64, &'a [u8]); WINDOW],
    next: usize,
}

/// What outlives a batch, oldest first.
#[derive(Default)]
pub struct Kept {
    /// Key, time, and where the frame's bytes end in `bytes`; they begin where those before it end.
    frames: Vec<(u32, i64, usize)>,
    bytes: Vec<u8>,
}

impl<'a> Recent<'a> {
    pub fn resume(kept: &'a Kept) -> Self {
        let mut recent =
            Self { keys: [0; WINDOW], buckets: [0; BUCKETS], frames: [(0, &[]); WINDOW], next: 0 };
        let mut start = 0;
        for &(key, time, end) in &kept.frames {
            recent.put(key, time, kept.bytes.get(start..end).unwrap_or_default());
            start = end;
        }
        recent
    }

    pub fn keep(&self, kept: &mut Kept) {
        kept.frames.clear();
        kept.bytes.clear();
        let oldest_first = self.keys.iter().zip(&self.frames).cycle().skip(self.next).take(WINDOW);
        for (key, (time, data)) in oldest_first.filter(|(key, _)| **key != 0) {
            kept.bytes.extend_from_slice(data);
            kept.frames.push((*key, *time, kept.bytes.len()));
        }
    }

    /// Whether this packet came a moment ago; if not it is remembered.
    #[inline(always)]
    pub fn seen(&mut self, key: NonZeroU32, time: i64, data: &'a [u8], window: i64) -> bool {
        let key = key.get();
        let empty = self.buckets.get(key as usize % BUCKETS) == Some(&0);
        if !empty && self.keys.contains(&key) && self.equal(key, time, data, window) {
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
            let old = std::mem::replace(k, key);
            *f = (time, data);
            if let Some(count) = self.buckets.get_mut(old as usize % BUCKETS).filter(|_| old != 0) {
                *count = count.wrapping_sub(1);
            }
            if let Some(count) = self.buckets.get_mut(key as usize % BUCKETS) {
                *count = count.wrapping_add(1);
            }
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

/// A number that copies of a packet share; None without an identity. `data` begins with the outermost IP header.
#[inline(always)]
pub fn identity(data: &[u8]) -> Option<NonZeroU32> {
    let first = data.first()?;
    let parts = if first >> 4 == 4 {
        let head: [u8; 24] = array(data, 0)?;
        if be16(&head, 4)? == 0 {
            return None;
        }
        // Length and identification, addresses, ports, and what tells a segment from the next.
        let seq = be32(data, 24).unwrap_or_default();
        [be32(&head, 2)?, be32(&head, 12)?, be32(&head, 16)?, be32(&head, 20)?, seq]
    } else if first >> 4 == 6 && data.len() >= 48 && u8_at(data, 6) == Some(crate::ip::TCP) {
        [be16(data, 4)?.into(), be32(data, 20)?, be32(data, 36)?, be32(data, 40)?, be32(data, 44)?]
    } else {
        return None;
    };
    let mixed = parts.iter().fold(0_u32, |sum, part| (sum.rotate_left(5) ^ part).wrapping_mul(0x9e37_79b1));
    NonZeroU32::new(mixed.max(1))
}
