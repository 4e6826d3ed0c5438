//! Drives the engine over a capture file. With workers for it the file's parts, the engine, and who takes its facts
//! have a thread each.

use crate::engine::Core;
use crate::facts::Fact;
use crate::walk::{Failure, Part, Walker};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of capture between two looks at Python, for its signals and its facts. Each look costs both sides what they
/// have in the processor's caches; somebody who interrupts waits for one.
const TURN: usize = 64 << 20;
/// The same where Python has a thread of its own: what it gets in pieces it has done sooner.
const TURN_AHEAD: usize = 8 << 20;
/// Facts that are handed over at once.
const FACTS: usize = 1_024;
/// Parts, and batches of facts, that a thread may be ahead of the next.
const AHEAD: usize = 4;

/// An engine that the thread that reads and its owner share.
pub type Shared = Arc<Mutex<Core>>;

pub fn lock(core: &Shared) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the engine said of some of the file.
pub struct Batch {
    pub facts: Vec<Fact>,
    /// Bytes of the file on disk read so far.
    pub position: u64,
    /// How the file ended, if it did.
    pub end: Option<Result<(), Failure>>,
}

/// Where parts come from.
enum Parts {
    Here(Box<Walker>),
    /// A second thread, and the way back for parts that are done with.
    Ahead(Receiver<Part>, SyncSender<Part>),
}

impl Parts {
    fn ahead(mut walker: Walker) -> Self {
        let (full, taken) = sync_channel(AHEAD);
        let (empty, spare) = sync_channel::<Part>(AHEAD.saturating_mul(2));
        std::thread::spawn(move || {
            loop {
                let mut part = spare.try_recv().unwrap_or_default();
                walker.next(&mut part);
                let last = part.last;
                // Without a taker nobody wants the rest.
                if full.send(part).is_err() || last {
                    return;
                }
            }
        });
        Self::Ahead(taken, empty)
    }

    fn next(&mut self, part: &mut Part) {
        match self {
            Self::Here(walker) => walker.next(part),
            Self::Ahead(taken, empty) => {
                // A full channel only means that enough memory waits there.
                let _ = empty.try_send(std::mem::take(part));
                *part = taken.recv().unwrap_or_else(|_| Part::lost("the reading thread ended"));
            }
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
    Ahead(Receiver<Batch>),
}

impl Reader {
    /// With two `workers`, or more, the file is walked and its frames are counted ahead of who takes the facts.
    pub fn open(path: &Path, workers: usize, core: Shared) -> Result<Self, Failure> {
        let walker = Walker::open(path)?;
        let work = |parts, turn| Work { core, parts, part: Part::default(), turn };
        if workers < 2 {
            return Ok(Self::Here(Box::new(work(Parts::Here(Box::new(walker)), TURN))));
        }
        let mut work = work(Parts::ahead(walker), TURN_AHEAD);
        let (full, taken) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            loop {
                let batch = work.next();
                let last = batch.end.is_some();
                if full.send(batch).is_err() || last {
                    return;
                }
            }
        });
        Ok(Self::Ahead(taken))
    }

    /// What the engine says of the next part of the file; not to be asked again after the end.
    pub fn next(&mut self) -> Batch {
        match self {
            Self::Here(work) => work.next(),
            Self::Ahead(taken) => taken.recv().unwrap_or_else(|_| {
                let lost = Failure::Damaged(0, "the engine's thread ended".to_owned());
                Batch { facts: Vec::new(), position: 0, end: Some(Err(lost)) }
            }),
        }
    }
}
