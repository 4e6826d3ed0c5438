//! When to look at which flow again. One entry per flow and slice, whatever it does, so that sweeps cost what expires.

use crate::hash::Seed;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

pub struct Wheel {
    width: i64,
    buckets: HashMap<i64, Vec<(u32, u64)>, Seed>,
    /// Their numbers, the next one first.
    order: BinaryHeap<Reverse<i64>>,
}

impl Wheel {
    pub fn new(width: i64) -> Self {
        Self { width: width.max(1), buckets: HashMap::default(), order: BinaryHeap::new() }
    }

    /// The bucket of a time. A flow remembers it: entries found in another bucket are stale.
    pub fn bucket(&self, time: i64) -> i64 {
        time.div_euclid(self.width)
    }

    pub fn put(&mut self, bucket: i64, index: u32, id: u64) {
        let flows = self.buckets.entry(bucket).or_insert_with(|| {
            self.order.push(Reverse(bucket));
            Vec::new()
        });
        flows.push((index, id));
    }

    /// Takes out what is in buckets that have begun by `now`: (bucket, flow's place, flow's id).
    pub fn due(&mut self, now: i64) -> Vec<(i64, u32, u64)> {
        let last = self.bucket(now);
        let mut out = Vec::new();
        while let Some(&Reverse(bucket)) = self.order.peek().filter(|Reverse(first)| *first <= last) {
            self.order.pop();
            let flows = self.buckets.remove(&bucket).unwrap_or_default();
            out.extend(flows.into_iter().map(|(index, id)| (bucket, index, id)));
        }
        out
    }
}
