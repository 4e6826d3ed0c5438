//! A file that threads read together: one counts frames, one takes facts, and who would have to wait reads ahead.
//!
//! A thread that only read would hand every byte from one processor to another, and on two processors it would be the
//! third: whoever it waits for waits for it.

use crate::read::{Batch, lock};
use crate::walk::{Part, Walker};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Parts, and batches of facts, that wait for who takes them.
const AHEAD: usize = 4;

#[derive(Default)]
struct Shelf {
    /// Read, in their order.
    parts: VecDeque<Part>,
    /// Done with: their memory is used again.
    spare: Vec<Part>,
    batches: VecDeque<Batch>,
    /// The file's last part was read.
    read: bool,
    /// Nothing is put on it any more.
    counted: bool,
    /// Nobody takes facts any more.
    left: bool,
}

impl Shelf {
    fn hungry(&self) -> bool {
        !self.read && !self.left && self.parts.len() < AHEAD
    }
}

pub struct Ahead {
    /// Held while a part is read and put on the shelf, so that parts are there in their order.
    walker: Mutex<Walker>,
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

impl Ahead {
    pub fn new(walker: Walker) -> Self {
        Self { walker: Mutex::new(walker), shelf: Mutex::default(), changed: Condvar::new() }
    }

    /// The next part, for who counts, who gives the last one back. Not to be asked again after the last.
    pub fn part(&self, part: &mut Part) {
        let mut shelf = lock(&self.shelf);
        shelf.spare.push(std::mem::take(part));
        let mut next = shelf.parts.pop_front();
        drop(shelf);
        if next.is_none() {
            let mut walker = lock(&self.walker);
            // Somebody may have read while we waited for this.
            next = lock(&self.shelf).parts.pop_front();
            if next.is_none() {
                next = Some(self.read(&mut walker));
            }
        }
        *part = next.unwrap_or_default();
        self.changed.notify_all();
    }

    fn read(&self, walker: &mut Walker) -> Part {
        let mut part = lock(&self.shelf).spare.pop().unwrap_or_default();
        walker.next(&mut part);
        if part.last {
            lock(&self.shelf).read = true;
        }
        part
    }

    /// Reads one part ahead. False when there is no need, or somebody else does.
    fn help(&self) -> bool {
        let Ok(mut walker) = self.walker.try_lock() else { return false };
        if !lock(&self.shelf).hungry() {
            return false;
        }
        let part = self.read(&mut walker);
        lock(&self.shelf).parts.push_back(part);
        true
    }

    /// Reads ahead as long as somebody counts.
    pub fn help_on(&self) {
        let (mut shelf, mut helped) = (lock(&self.shelf), true);
        while !(shelf.read || shelf.left || shelf.counted) {
            if !helped {
                shelf = self.wait(shelf);
            }
            (shelf, helped) = self.help_if_hungry(shelf);
        }
    }

    fn help_if_hungry<'a>(&'a self, shelf: MutexGuard<'a, Shelf>) -> (MutexGuard<'a, Shelf>, bool) {
        if !shelf.hungry() {
            return (shelf, false);
        }
        drop(shelf);
        let helped = self.help();
        (lock(&self.shelf), helped)
    }

    fn wait<'a>(&self, shelf: MutexGuard<'a, Shelf>) -> MutexGuard<'a, Shelf> {
        self.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner)
    }

    /// What who counts has to say. False when nobody wants to know.
    pub fn put(&self, batch: Batch) -> bool {
        let mut shelf = lock(&self.shelf);
        while shelf.batches.len() >= AHEAD && !shelf.left {
            shelf = self.wait(shelf);
        }
        shelf.batches.push_back(batch);
        self.changed.notify_all();
        !shelf.left
    }

    fn batch(&self) -> Batch {
        let mut shelf = lock(&self.shelf);
        loop {
            if let Some(batch) = shelf.batches.pop_front() {
                self.changed.notify_all();
                return batch;
            }
            if shelf.counted {
                return Batch::lost();
            }
            let helped;
            (shelf, helped) = self.help_if_hungry(shelf);
            // Who put something there meanwhile told nobody.
            if !helped && shelf.batches.is_empty() && !shelf.counted {
                shelf = self.wait(shelf);
            }
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Shelf)) {
        change(&mut lock(&self.shelf));
        self.changed.notify_all();
    }
}

/// Who counts: however its thread ends, nobody waits for it.
pub struct Counter(pub Arc<Ahead>);

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.tell(|shelf| shelf.counted = true);
    }
}

/// Who takes facts: when it is gone the others are.
pub struct Taker(pub Arc<Ahead>);

impl Taker {
    pub fn next(&self) -> Batch {
        self.0.batch()
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.tell(|shelf| shelf.left = true);
    }
}
