//! Reassembly of IP fragments (RFC 791 3.2, RFC 8200 4.5). First-come bytes win; hostile overlap changes nothing.

use crate::bytes::upto;
use crate::hash::Seed;
use crate::link::{Fragment, FragmentKey};
use crate::totals::{Count, Tally};
use std::collections::{BTreeMap, HashMap};

/// Held of a datagram: the largest comes in 119 over links of 576 bytes (RFC 791 3.1).
const PIECES: usize = 256;

/// A datagram whose fragments are coming.
pub struct Pending {
    /// Time of its first fragment.
    start: i64,
    stamp: u64,
    pub epoch: u64,
    frames: u64,
    /// Wire bytes in class unnamed, of the running Totals interval.
    counted: i64,
    protocol: Option<u8>,
    pub size: Option<u32>,
    have: u32,
    /// By start: end, captured bytes. They do not overlap.
    pieces: BTreeMap<u32, (u32, Vec<u8>)>,
}

impl Pending {
    /// Takes the parts of start..end that no earlier piece has.
    fn add(&mut self, start: u32, end: u32, data: &[u8]) {
        let mut position = start;
        let mut fresh = Vec::new();
        let before = self.pieces.range(..=start).next_back().map(|(&from, _)| from).unwrap_or(start);
        let known = self.pieces.range(before..end).map(|(&from, &(to, _))| (from, to));
        for (from, to) in known.chain([(end, end)]) {
            let stop = from.min(end);
            if position < stop {
                fresh.push((position, stop));
            }
            position = position.max(to);
        }
        for (from, to) in fresh {
            let skip = from.wrapping_sub(start) as usize;
            let body = crate::bytes::from(upto(data, to.wrapping_sub(start) as usize), skip);
            self.have = self.have.saturating_add(to.wrapping_sub(from));
            self.pieces.insert(from, (to, body.to_vec()));
        }
    }

    /// Drops what lies beyond the datagram's end.
    fn cut(&mut self, size: u32) {
        self.pieces.retain(|&start, _| start < size);
        self.have = 0;
        for (&start, (end, data)) in &mut self.pieces {
            *end = (*end).min(size);
            let length = end.wrapping_sub(start);
            data.truncate(length as usize);
            self.have = self.have.saturating_add(length);
        }
    }

    /// The datagram, as far as it was captured without a hole.
    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (&start, (end, data)) in &self.pieces {
            out.extend_from_slice(data);
            if data.len() < end.wrapping_sub(start) as usize {
                break;
            }
        }
        out
    }

    pub fn protocol(&self) -> u8 {
        self.protocol.unwrap_or_default()
    }

    pub fn counted(&self) -> i64 {
        self.counted
    }
}

pub struct Fragments {
    limit: usize,
    wait: i64,
    table: HashMap<FragmentKey, Pending, Seed>,
    /// In the order of their first fragments.
    order: BTreeMap<u64, FragmentKey>,
    stamp: u64,
}

impl Fragments {
    pub fn new(limit: usize, wait: i64) -> Self {
        Self { limit, wait, table: HashMap::default(), order: BTreeMap::new(), stamp: 0 }
    }

    /// Takes a fragment whose frame has `length` bytes, which are in class unnamed already; its datagram once whole.
    pub fn add(
        &mut self,
        fragment: &Fragment<'_>,
        time: i64,
        length: i64,
        tally: &mut Tally,
    ) -> Option<Pending> {
        let key = fragment.key;
        if self.table.get(&key).is_some_and(|pending| time.saturating_sub(pending.start) >= self.wait) {
            self.lose(&key, tally);
        }
        if !self.table.contains_key(&key) {
            self.begin(key, time, tally);
        }
        let pending = self.table.get_mut(&key)?;
        if pending.epoch != tally.epoch {
            (pending.epoch, pending.counted) = (tally.epoch, 0);
        }
        pending.frames = pending.frames.saturating_add(1);
        pending.counted = pending.counted.saturating_add(length);
        if fragment.offset == 0 && pending.protocol.is_none() {
            pending.protocol = Some(fragment.protocol);
        }
        let mut end = fragment.offset.saturating_add(fragment.size);
        if pending.size.is_none() && !fragment.more {
            pending.size = Some(end);
            pending.cut(end);
        }
        end = end.min(pending.size.unwrap_or(end));
        if fragment.offset < end {
            pending.add(fragment.offset, end, fragment.data);
        }
        if pending.pieces.len() > PIECES {
            self.lose(&key, tally);
            return None;
        }
        if pending.size != Some(pending.have) || pending.protocol.is_none() {
            return None;
        }
        self.remove(&key)
    }

    fn begin(&mut self, key: FragmentKey, time: i64, tally: &mut Tally) {
        if self.table.len() >= self.limit {
            if let Some((_, oldest)) = self.order.first_key_value() {
                let oldest = *oldest;
                self.lose(&oldest, tally);
            }
        }
        self.stamp = self.stamp.wrapping_add(1);
        self.order.insert(self.stamp, key);
        let pending = Pending {
            start: time,
            stamp: self.stamp,
            epoch: tally.epoch,
            frames: 0,
            counted: 0,
            protocol: None,
            size: None,
            have: 0,
            pieces: BTreeMap::new(),
        };
        self.table.insert(key, pending);
    }

    fn remove(&mut self, key: &FragmentKey) -> Option<Pending> {
        let pending = self.table.remove(key)?;
        self.order.remove(&pending.stamp);
        Some(pending)
    }

    fn lose(&mut self, key: &FragmentKey, tally: &mut Tally) {
        if let Some(pending) = self.remove(key) {
            tally.count(Count::FragmentsLost, pending.frames);
        }
    }

    pub fn sweep(&mut self, time: i64, tally: &mut Tally) {
        let due = |pending: &Pending| time.saturating_sub(pending.start) >= self.wait;
        let lost: Vec<FragmentKey> = self.table.iter().filter(|(_, p)| due(p)).map(|(key, _)| *key).collect();
        for key in lost {
            self.lose(&key, tally);
        }
    }

    pub fn finish(&mut self, tally: &mut Tally) {
        for (_, pending) in self.table.drain() {
            tally.count(Count::FragmentsLost, pending.frames);
        }
        self.order.clear();
    }
}
