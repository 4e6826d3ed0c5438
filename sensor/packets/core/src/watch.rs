//! What is worth reporting: the compiled `Watch`.

use crate::facts::Address;
use crate::hash::Seed;
use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub struct Watch {
    /// `add_name`, `add_pattern` and `add_resolver` fill these.
    pub names: Domains,
    pub patterns: Patterns,
    pub resolvers: Domains,
    /// Of all three.
    pub ends: Ends,
    pub networks: Networks,
    pub paths: Vec<Vec<u8>>,
    pub ports: HashSet<u16, Seed>,
    pub fronts: HashSet<String, Seed>,
    pub resolver_ips: HashSet<Address, Seed>,
    pub all: bool,
    /// Whether a later request on a clear connection could matter.
    pub http: bool,
}

impl Watch {
    /// A name that stands for everything under it as well.
    pub fn add_name(&mut self, name: String) {
        self.ends.add(&name);
        self.names.insert(name);
    }

    /// A name with `*` in some labels.
    pub fn add_pattern(&mut self, pattern: &str) {
        self.ends.add_pattern(pattern);
        self.patterns.add(pattern);
    }

    /// The name of an encrypted resolver, and of all under it.
    pub fn add_resolver(&mut self, name: String) {
        self.ends.add(&name);
        self.resolvers.insert(name);
    }

    /// One that was added, under one of them, or matched by a pattern.
    pub fn name(&self, name: &str) -> bool {
        self.sees(name).watched()
    }

    /// A look at a name for all that may be asked of it.
    pub fn sees<'a>(&'a self, name: &'a str) -> Sight<'a> {
        Sight { watch: self, name, known: self.ends.may_end(name) }
    }

    pub fn path(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|prefix| path.starts_with(prefix))
    }
}

/// A name that was looked at.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    watch: &'a Watch,
    name: &'a str,
    /// False: nothing that was added is meant.
    known: bool,
}

impl Sight<'_> {
    /// A name or pattern covers it.
    pub fn watched(self) -> bool {
        let watch = self.watch;
        self.known && (cover(&watch.names, self.name) || watch.patterns.match_any(self.name))
    }

    /// It is an encrypted resolver's.
    pub fn resolver(self) -> bool {
        self.known && cover(&self.watch.resolvers, self.name)
    }
}

pub type Domains = HashSet<String, Seed>;

/// `name` or a name it lies under is one of them.
fn cover(domains: &Domains, name: &str) -> bool {
    let mut rest = name;
    loop {
        if domains.contains(rest) {
            return true;
        }
        match rest.split_once('.') {
            Some((_, parent)) => rest = parent,
            None => return false,
        }
    }
}

/// Names with `*` in some labels, by number of labels.
#[derive(Default)]
pub struct Patterns(HashMap<usize, Vec<Vec<String>>, Seed>);

impl Patterns {
    fn add(&mut self, pattern: &str) {
        let labels: Vec<String> = pattern.split('.').map(str::to_owned).collect();
        self.0.entry(labels.len()).or_default().push(labels);
    }

    fn match_any(&self, name: &str) -> bool {
        let Some(patterns) = self.0.get(&name.split('.').count()) else { return false };
        patterns.iter().any(|pattern| {
            pattern
                .iter()
                .zip(name.split('.'))
                .all(|(glob, label)| matches(glob.as_bytes(), label.as_bytes()))
        })
    }
}

/// Ends of names, by hash: nearly every name has none of them, and is told so in one pass over its bytes.
#[derive(Default)]
pub struct Ends {
    words: Vec<u64>,
    /// Any name may match: a pattern has `*` in its last label.
    open: bool,
}

impl Ends {
    const WORDS: usize = 1 << 10;

    /// Any number to begin with, and any odd one to mix with.
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    /// Tells the last two labels of an end from an end: hardly a name has them, and the rest of it is not looked at.
    const TWO: u64 = 1;

    /// No multiplication here: each byte waits for the one before.
    fn step(hash: u64, byte: u8) -> u64 {
        hash.rotate_left(7) ^ u64::from(byte)
    }

    /// The word of a hash, and its two bits there.
    fn place(hash: u64) -> (usize, u64) {
        let mixed = hash.wrapping_mul(Self::ODD) >> 32;
        (mixed as usize % Self::WORDS, 1 << (mixed >> 10 & 63) | 1 << (mixed >> 16 & 63))
    }

    fn add(&mut self, end: &str) {
        self.words.resize(Self::WORDS, 0);
        let two = end.rmatch_indices('.').nth(1).and_then(|(dot, _)| end.get(dot.saturating_add(1)..));
        let hash = |text: &str| text.bytes().rev().fold(Self::BASIS, Self::step);
        for hash in [hash(end), hash(two.unwrap_or(end)) ^ Self::TWO] {
            let (word, bits) = Self::place(hash);
            if let Some(word) = self.words.get_mut(word) {
                *word |= bits;
            }
        }
    }

    fn add_pattern(&mut self, pattern: &str) {
        match pattern.rsplit_once('*').map(|(_, tail)| tail.split_once('.')) {
            None => self.add(pattern),
            Some(Some((_, tail))) => self.add(tail),
            Some(None) => self.open = true,
        }
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bits) = Self::place(hash);
        self.words.get(word).is_some_and(|word| word & bits == bits)
    }

    /// Whether `name` may be one of the ends, or one of them behind a dot. False is certain.
    fn may_end(&self, name: &str) -> bool {
        if name.is_empty() || self.open {
            return !name.is_empty();
        }
        let (mut hash, mut dots) = (Self::BASIS, 0_u32);
        for byte in name.bytes().rev() {
            if byte == b'.' {
                dots = dots.saturating_add(1);
                if self.has(hash) {
                    return true;
                }
                if dots == 2 && !self.has(hash ^ Self::TWO) {
                    return false;
                }
            }
            hash = Self::step(hash, byte);
        }
        self.has(hash)
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
        let first = address.number() & mask;
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
        let value = address.number();
        let at = list.partition_point(|&(start, _)| start <= value);
        at.checked_sub(1).and_then(|at| list.get(at)).is_some_and(|&(_, end)| value <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_look_at_a_name_hides_nothing() {
        let mut watch = Watch::default();
        for name in ["openai.com", "ai", "a.b.c.example"] {
            watch.add_name(name.to_owned());
        }
        for pattern in ["api-*.example.com", "*.cloud", "x.*y.org", "plain.net"] {
            watch.add_pattern(pattern);
        }
        let here = ["openai.com", "api.openai.com", "claude.ai", "ai", "x.a.b.c.example", "plain.net"];
        let matched = ["api-1.example.com", "some.cloud", "x.any.org", "x.y.org"];
        let not = ["", "com", "xopenai.com", "b.c.example", "api-1.example.org", "cloud", "x.plain.net"];
        for name in here.into_iter().chain(matched) {
            assert!(watch.name(name), "{name}");
        }
        for name in not {
            assert!(!watch.name(name), "{name}");
        }
        watch.add_pattern("llm.*");
        assert!(watch.name("llm.internal") && !watch.name("xllm.internal") && !watch.name(""));
    }
}
