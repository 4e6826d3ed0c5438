//! Everything seen, by visibility class, and the further counters.

use crate::facts::Totals;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Class {
    Named,
    QuicNamed,
    EchGrease,
    EchOffered,
    Dns,
    Doh,
    Dot,
    Doq,
    #[default]
    Unnamed,
    Tunnelled,
    Other,
    Undecodable,
}

const CLASSES: [&str; 12] = [
    "named",
    "quic_named",
    "ech_grease",
    "ech_offered",
    "dns",
    "doh",
    "dot",
    "doq",
    "unnamed",
    "tunnelled",
    "other",
    "undecodable",
];

#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Count {
    Frames,
    Flows,
    Undecodable,
    Duplicates,
    FragmentsLost,
    FlowsEvicted,
    ReorderLost,
    ClearCapped,
    NamesEvicted,
}

const COUNTS: [&str; 9] = [
    "frames",
    "flows",
    "undecodable",
    "duplicates",
    "fragments_lost",
    "flows_evicted",
    "reorder_lost",
    "clear_capped",
    "names_evicted",
];

#[derive(Default)]
pub struct Tally {
    /// Number of the running interval.
    pub epoch: u64,
    bytes: [i64; CLASSES.len()],
    counters: [i64; COUNTS.len()],
}

impl Tally {
    #[inline(always)]
    pub fn bytes(&mut self, class: Class, amount: i64) {
        if let Some(sum) = self.bytes.get_mut(class as usize) {
            *sum = sum.saturating_add(amount);
        }
    }

    #[inline(always)]
    pub fn count(&mut self, count: Count, amount: u64) {
        if let Some(sum) = self.counters.get_mut(count as usize) {
            *sum = sum.saturating_add_unsigned(amount);
        }
    }

    /// A frame that leads to no transport header, in the class it has instead.
    pub fn lose(&mut self, class: Class, length: i64) {
        self.count(Count::Undecodable, u64::from(class == Class::Undecodable));
        self.bytes(class, length);
    }

    pub fn take(&mut self, start: i64, end: i64) -> Totals {
        let named = |names: &[&'static str], values: &[i64]| -> Vec<(&'static str, i64)> {
            names.iter().copied().zip(values.iter().copied()).filter(|&(_, value)| value != 0).collect()
        };
        let bytes = named(&CLASSES, &self.bytes);
        let mut counters = named(&COUNTS, &self.counters);
        let sum = bytes.iter().fold(0_i64, |sum, (_, value)| sum.saturating_add(*value));
        if sum != 0 {
            counters.push(("bytes", sum));
        }
        let totals = Totals { start, end, bytes, counters };
        *self = Self { epoch: self.epoch.wrapping_add(1), ..Self::default() };
        totals
    }
}
