//! The flow table: open addressing over entries that do not move.

use crate::facts::{Address, Endpoint, Transport};
use crate::hash::Seed;
use crate::memory::{large, prefetch};
use std::hash::{BuildHasher, Hasher};

/// Both endpoints, the lower one first, so that both directions meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Key {
    addresses: [[u64; 2]; 2],
    ports: [u16; 2],
    tcp: bool,
    v6: bool,
}

/// Which endpoint of a key sent: false the lower, true the higher.
pub type Side = bool;

impl Key {
    #[inline(always)]
    pub fn of(transport: Transport, source: Endpoint, target: Endpoint) -> (Self, Side) {
        let order = |end: &Endpoint| (end.address.halves, end.port);
        let side = order(&source) > order(&target);
        let (low, high) = if side { (target, source) } else { (source, target) };
        let key = Self {
            addresses: [low.address.halves, high.address.halves],
            ports: [low.port, high.port],
            tcp: transport == Transport::Tcp,
            v6: source.address.v6,
        };
        (key, side)
    }

    #[inline(always)]
    pub fn hash(&self, seed: Seed) -> u32 {
        let mut hasher = seed.build_hasher();
        let [low, high] = self.addresses;
        let [p, q] = self.ports;
        let flags = u64::from(self.tcp) << 1 | u64::from(self.v6);
        let ([a, b], [c, d]) = (low, high);
        hasher.write_u64(b ^ u64::from(p) << 16 ^ u64::from(q) ^ flags << 32);
        hasher.write_u64(d);
        if self.v6 {
            hasher.write_u64(a);
            hasher.write_u64(c);
        }
        hasher.finish() as u32
    }

    pub fn end(&self, side: Side) -> Endpoint {
        let ([low, high], [p, q]) = (self.addresses, self.ports);
        let (halves, port) = if side { (high, q) } else { (low, p) };
        Endpoint { address: Address { halves, v6: self.v6 }, port }
    }

    pub fn transport(&self) -> Transport {
        if self.tcp { Transport::Tcp } else { Transport::Udp }
    }
}

/// A flow's is two cache lines.
#[repr(align(64))]
struct Slot<T> {
    key: Key,
    hash: u32,
    value: Option<T>,
}

/// An index cell: the hash's 32 bits and the entry's number plus one; 0 is empty.
type Cell = u64;

/// Entries by number, in pieces: more of them neither moves nor copies those that are there.
struct Slots<T>(Vec<Vec<Slot<T>>>);

impl<T> Slots<T> {
    const PIECE: usize = 1 << 18;

    fn len(&self) -> usize {
        let last = self.0.last().map_or(0, Vec::len);
        self.0.len().saturating_sub(1).saturating_mul(Self::PIECE).saturating_add(last)
    }

    #[inline(always)]
    fn get(&self, index: u32) -> Option<&Slot<T>> {
        self.0.get(index as usize / Self::PIECE)?.get(index as usize % Self::PIECE)
    }

    #[inline(always)]
    fn get_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        self.0.get_mut(index as usize / Self::PIECE)?.get_mut(index as usize % Self::PIECE)
    }

    fn push(&mut self, slot: Slot<T>) {
        match self.0.last_mut().filter(|last| last.len() < Self::PIECE) {
            Some(last) => last.push(slot),
            None => {
                let mut piece = large(Self::PIECE);
                piece.push(slot);
                self.0.push(piece);
            }
        }
    }
}

pub struct Table<T> {
    cells: Vec<Cell>,
    entries: Slots<T>,
    free: Vec<u32>,
    pub seed: Seed,
}

const SMALLEST: usize = 1 << 12;

fn cell(hash: u32, index: u32) -> Cell {
    u64::from(hash) << 32 | u64::from(index).saturating_add(1)
}

fn index_of(cell: Cell) -> u32 {
    (cell as u32).wrapping_sub(1)
}

impl<T> Table<T> {
    pub fn new() -> Self {
        Self { cells: vec![0; SMALLEST], entries: Slots(Vec::new()), free: Vec::new(), seed: Seed::default() }
    }

    pub fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free.len())
    }

    fn mask(&self) -> usize {
        self.cells.len().saturating_sub(1)
    }

    #[inline(always)]
    pub fn prefetch_cell(&self, hash: u32) {
        prefetch(&self.cells, hash as usize & self.mask());
    }

    /// Fetches the entry the index most likely leads to.
    #[inline(always)]
    pub fn prefetch_entry(&self, hash: u32) {
        if let Some(&found) = self.cells.get(hash as usize & self.mask()) {
            self.prefetch(index_of(found));
        }
    }

    #[inline(always)]
    pub fn prefetch(&self, index: u32) {
        if let Some(piece) = self.entries.0.get(index as usize / Slots::<T>::PIECE) {
            prefetch(piece, index as usize % Slots::<T>::PIECE);
        }
    }

    /// Fetches the index cell of an entry, which is read for it.
    #[inline(always)]
    pub fn prefetch_cell_of(&self, index: u32) {
        if let Some(slot) = self.entries.get(index) {
            self.prefetch_cell(slot.hash);
        }
    }

    #[inline(always)]
    pub fn find(&self, key: &Key, hash: u32) -> Option<u32> {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        loop {
            let found = *self.cells.get(at)?;
            if found == 0 {
                return None;
            }
            if (found >> 32) as u32 == hash {
                let index = index_of(found);
                if self.entries.get(index).is_some_and(|slot| slot.key == *key) {
                    return Some(index);
                }
            }
            at = at.wrapping_add(1) & mask;
        }
    }

    #[inline(always)]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index)?.value.as_mut()
    }

    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index)?.value.as_ref()
    }

    pub fn key(&self, index: u32) -> Option<Key> {
        self.entries.get(index).map(|slot| slot.key)
    }

    pub fn indices(&self) -> impl Iterator<Item = u32> + use<T> {
        0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// The key must not be there yet.
    pub fn insert(&mut self, key: Key, hash: u32, value: T) -> u32 {
        if self.len().saturating_mul(2) >= self.cells.len() {
            self.grow();
        }
        let slot = Slot { key, hash, value: Some(value) };
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.entries.get_mut(index) {
                    *place = slot;
                }
                index
            }
            None => {
                self.entries.push(slot);
                u32::try_from(self.entries.len().saturating_sub(1)).unwrap_or(u32::MAX)
            }
        };
        self.place(cell(hash, index));
        index
    }

    fn place(&mut self, new: Cell) {
        let mask = self.mask();
        let mut at = (new >> 32) as usize & mask;
        while let Some(place) = self.cells.get_mut(at) {
            if *place == 0 {
                *place = new;
                return;
            }
            at = at.wrapping_add(1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = self.cells.len().saturating_mul(2);
        let mut larger = large(size);
        larger.resize(size, 0);
        for old in std::mem::replace(&mut self.cells, larger) {
            if old != 0 {
                self.place(old);
            }
        }
    }

    pub fn remove(&mut self, index: u32) {
        let Some(slot) = self.entries.get_mut(index) else { return };
        if slot.value.is_some() {
            slot.value = None;
            let hash = slot.hash;
            self.free.push(index);
            self.unplace(cell(hash, index));
        }
    }

    /// Removes all.
    pub fn clear(&mut self) {
        *self = Self { seed: self.seed, ..Self::new() };
    }

    /// Empties the cell and moves back those behind it that would no longer be found.
    fn unplace(&mut self, old: Cell) {
        let mask = self.mask();
        let mut hole = (old >> 32) as usize & mask;
        while self.cells.get(hole).is_some_and(|&found| found != old && found != 0) {
            hole = hole.wrapping_add(1) & mask;
        }
        let mut at = hole;
        loop {
            at = at.wrapping_add(1) & mask;
            let next = self.cells.get(at).copied().unwrap_or(0);
            if next == 0 {
                break;
            }
            let home = (next >> 32) as usize & mask;
            // Movable when its home is not between the hole and where it is.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                if let Some(place) = self.cells.get_mut(hole) {
                    *place = next;
                }
                hole = at;
            }
        }
        if let Some(place) = self.cells.get_mut(hole) {
            *place = 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn key(number: u16) -> Key {
        Key { addresses: [[1; 2], [2; 2]], ports: [number, 443], tcp: true, v6: false }
    }

    #[test]
    fn removal_keeps_the_others_reachable() {
        let mut table = Table::new();
        // Few distinct hashes: long chains.
        let hash = |number: u16| u32::from(number % 7) + 4_090;
        for number in 0..2_000 {
            table.insert(key(number), hash(number), number);
        }
        for number in (0..2_000).step_by(3) {
            let index = table.find(&key(number), hash(number)).unwrap();
            assert_eq!(table.get(index), Some(&number));
            table.remove(index);
        }
        for number in 0..2_000 {
            let found = table.find(&key(number), hash(number)).and_then(|index| table.get(index).copied());
            assert_eq!(found, (number % 3 != 0).then_some(number));
        }
    }
}
