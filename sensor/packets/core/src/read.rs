//! Drives the engine over a capture file. With workers for it the engine and who takes its facts have a thread each.

use crate::ahead::{Ahead, Counter, Taker};
use crate::engine::Core;
use crate::facts::Fact;
use crate::walk::{Failure, Part, Walker};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes read at a time. Mapping the file instead takes as long, in page faults, and would end the process when somebody
/// cuts it (SIGBUS).
const PART: usize = 1 << 20;
/// The same between threads: what one has read is nearer to the other's processor when it is less.
const PART_AHEAD: usize = 256 << 10;
/// Bytes of capture between two looks at Python, for its signals and its facts. Each look costs both sides what they
/// have in the processor's caches; somebody who interrupts waits for one.
const TURN: usize = 64 << 20;
/// The same where Python has a thread of its own: what it gets in pieces it has done sooner.
const TURN_AHEAD: usize = 8 << 20;
/// Facts that are handed over at once.
const FACTS: usize = 1_024;

/// An engine that the thread that reads and its owner share.
pub type Shared = Arc<Mutex<Core>>;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the engine said of some of the file.
pub struct Batch {
    pub facts: Vec<Fact>,
    /// Bytes of the file on disk read so far.
    pub position: u64,
    /// How the file ended, if it did.
    pub end: Option<Result<(), Failure>>,
}

impl Batch {
    /// Instead of one that does not come any more.
    pub fn lost() -> Self {
        let failure = Failure::Damaged(0, "the engine's thread ended".to_owned());
        Self { facts: Vec::new(), position: 0, end: Some(Err(failure)) }
    }
}

/// Where parts come from.
enum Parts {
    Here(Box<Walker>),
    Shared(Arc<Ahead>),
}

impl Parts {
    fn next(&mut self, part: &mut Part) {
        match self {
            Self::Here(walker) => walker.next(part),
            Self::Shared(ahead) => ahead.part(part),
        }
    }
}

/// An engine at work on a file.
pub struct Work {
    core: Shared,
    parts: Parts,
    part: Part,
    turn: usize,
}

impl Work {
    fn next(&mut self) -> Batch {
        let mut done = 0_usize;
        loop {
            self.parts.next(&mut self.part);
            let mut core = lock(&self.core);
            core.feed(self.part.frames());
            done = done.saturating_add(self.part.length());
            if self.part.last || done >= self.turn || core.facts() >= FACTS {
                let failure =
                    self.part.damage.take().map(|(offset, reason)| Failure::Damaged(offset, reason));
                let end = self.part.last.then(|| failure.map_or(Ok(()), Err));
                return Batch { facts: core.take_facts(), position: self.part.position, end };
            }
        }
    }
}

pub enum Reader {
    Here(Box<Work>),
    Shared(Taker),
}

impl Reader {
    /// With two `workers` frames are counted ahead of who takes the facts, with more others read ahead of both.
    pub fn open(path: &Path, workers: usize, core: Shared) -> Result<Self, Failure> {
        let walker = Walker::open(path, if workers < 2 { PART } else { PART_AHEAD })?;
        let work = |parts, turn| Work { core, parts, part: Part::default(), turn };
        if workers < 2 {
            return Ok(Self::Here(Box::new(work(Parts::Here(Box::new(walker)), TURN))));
        }
        let ahead = Arc::new(Ahead::new(walker));
        if workers > 2 {
            let ahead = Arc::clone(&ahead);
            std::thread::spawn(move || ahead.help_on());
        }
        let mut work = work(Parts::Shared(Arc::clone(&ahead)), TURN_AHEAD);
        let counter = Counter(Arc::clone(&ahead));
        std::thread::spawn(move || {
            loop {
                let batch = work.next();
                let last = batch.end.is_some();
                if !counter.0.put(batch) || last {
                    return;
                }
            }
        });
        Ok(Self::Shared(Taker(ahead)))
    }

    /// What the engine says of the next part of the file; not to be asked again after the end.
    pub fn next(&mut self) -> Batch {
        match self {
            Self::Here(work) => work.next(),
            Self::Shared(taker) => taker.next(),
        }
    }
}
