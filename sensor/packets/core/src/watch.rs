//! What is worth reporting: the compiled `Watch`.

use crate::facts::Address;
use crate::hash::Seed;
use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub struct Watch {
    pub names: HashSet<String, Seed>,
    /// By number of labels.
    pub patterns: HashMap<usize, Vec<Vec<String>>, Seed>,
    pub networks: Networks,
    pub paths: Vec<Vec<u8>>,
    pub ports: HashSet<u16, Seed>,
    pub fronts: HashSet<String, Seed>,
    pub resolvers: HashSet<String, Seed>,
    pub resolver_ips: HashSet<Address, Seed>,
    pub all: bool,
    /// Whether a later request on a clear connection could matter.
    pub http: bool,
}

impl Watch {
    /// In `names`, under one of them, or matched by a pattern.
    pub fn name(&self, name: &str) -> bool {
        if name.is_empty() {
            return false;
        }
        under(&self.names, name) || self.pattern(name)
    }

    fn pattern(&self, name: &str) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let labels = name.split('.').count();
        let Some(patterns) = self.patterns.get(&labels) else { return false };
        patterns.iter().any(|pattern| {
            pattern
                .iter()
                .zip(name.split('.'))
                .all(|(glob, label)| matches(glob.as_bytes(), label.as_bytes()))
        })
    }

    pub fn add_pattern(&mut self, pattern: &str) {
        let labels: Vec<String> = pattern.split('.').map(str::to_owned).collect();
        self.patterns.entry(labels.len()).or_default().push(labels);
    }

    pub fn path(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|prefix| path.starts_with(prefix))
    }
}

/// `name` or a name it lies under is in `set`.
pub fn under(set: &HashSet<String, Seed>, name: &str) -> bool {
    if set.is_empty() {
        return false;
    }
    let mut rest = name;
    loop {
        if set.contains(rest) {
            return true;
        }
        match rest.split_once('.') {
            Some((_, parent)) => rest = parent,
            None => return false,
        }
    }
}

/// `*` stands for any characters of one label.
fn matches(glob: &[u8], text: &[u8]) -> bool {
    let mut parts = glob.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        if part.is_empty() {
            continue;
        }
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    false
}

/// Address ranges, sorted and without overlap.
#[derive(Default)]
pub struct Networks {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    pub fn add(&mut self, address: Address, prefix: u32) {
        let host = (if address.v6 { 128_u32 } else { 32 }).saturating_sub(prefix);
        let mask = u128::MAX.checked_shl(host).unwrap_or(0);
        let first = u128::from_be_bytes(address.bytes) & mask;
        let list = if address.v6 { &mut self.v6 } else { &mut self.v4 };
        list.push((first, first | !mask));
        list.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(list.len());
        for &(start, end) in list.iter() {
            match merged.last_mut() {
                Some((_, last)) if start <= *last => *last = (*last).max(end),
                _ => merged.push((start, end)),
            }
        }
        *list = merged;
    }

    pub fn contains(&self, address: &Address) -> bool {
        let list = if address.v6 { &self.v6 } else { &self.v4 };
        let value = u128::from_be_bytes(address.bytes);
        let at = list.partition_point(|&(start, _)| start <= value);
        at.checked_sub(1).and_then(|at| list.get(at)).is_some_and(|&(_, end)| value <= end)
    }
}
