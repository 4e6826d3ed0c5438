//! Live capture: a thread per worker, each with a ring on every interface and an engine of its own.

use crate::block::spread;
use crate::engine::Core;
use crate::evidence::{Evidence, Kept, Unfetched};
use crate::facts::Fact;
use crate::merge::Queues;
use crate::names::News;
use crate::ring::{Instruction, RETIRE_MS, Ring};
use crate::watch::Watch;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Facts that wait for Python; beyond it workers wait, and the kernel counts what finds no room.
const WAITING: usize = 1 << 18;
/// How far the engine's time stays behind the clock: what is in an open block is older than now.
const BEHIND: i64 = 4 * RETIRE_MS as i64 * 1_000_000;
/// How long a packet can be in an open block: it is looked at every RETIRE_MS, and for the first time when it is empty.
const OPEN: i64 = 2 * RETIRE_MS as i64 * 1_000_000;
const COUNTED_EVERY: Duration = Duration::from_millis(500);
/// Flow ids of the workers are this far apart, so that facts of all are those of one engine.
const FLOWS: u64 = 1 << 40;

pub struct Options {
    pub interfaces: Vec<String>,
    /// Bytes of each ring.
    pub ring: usize,
    pub promiscuous: bool,
    /// Packets kept of each watched flow; 0: none.
    pub evidence: usize,
    /// What the kernel lets in at each interface; empty: everything.
    pub filters: Vec<Vec<Instruction>>,
}

/// Packets of one interface since the start.
#[derive(Default)]
pub struct Seen {
    pub received: AtomicU64,
    pub dropped: AtomicU64,
}

/// What other threads have for a worker.
#[derive(Default)]
struct Inbox {
    watch: Option<Watch>,
    news: Vec<News>,
}

#[derive(Default)]
struct Outbox {
    facts: Vec<Fact>,
    kept: Unfetched,
    troubles: Vec<String>,
    running: usize,
}

pub struct Shared {
    interfaces: Vec<String>,
    pub seen: Vec<Seen>,
    stop: AtomicBool,
    inboxes: Vec<Mutex<Inbox>>,
    outbox: Mutex<Outbox>,
    changed: Condvar,
}

struct Worker {
    number: usize,
    queues: Queues,
    core: Core,
    evidence: Option<Evidence>,
    shared: Arc<Shared>,
    counted: Instant,
}

pub struct Capture {
    pub shared: Arc<Shared>,
    filters: Vec<Vec<Instruction>>,
    waiting: Vec<Worker>,
    threads: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    /// Opens every socket; nothing is captured before `start`.
    pub fn open(options: Options, cores: Vec<Core>) -> Result<Self, (String, io::Error)> {
        let workers = cores.len();
        let shared = Arc::new(Shared {
            seen: options.interfaces.iter().map(|_| Seen::default()).collect(),
            stop: AtomicBool::new(false),
            inboxes: (0..workers).map(|_| Mutex::default()).collect(),
            outbox: Mutex::default(),
            changed: Condvar::new(),
            interfaces: options.interfaces,
        });
        let mut waiting = Vec::with_capacity(workers);
        let mut groups = vec![None; shared.interfaces.len()];
        for (number, mut core) in cores.into_iter().enumerate() {
            let mut rings = Vec::with_capacity(shared.interfaces.len());
            for (interface, group) in shared.interfaces.iter().zip(&mut groups) {
                let ring = Ring::open(interface, options.ring, options.promiscuous).and_then(|ring| {
                    if workers > 1 {
                        *group = Some(ring.join(*group, &spread())?);
                    }
                    Ok(ring)
                });
                rings.push(ring.map_err(|error| (interface.clone(), error))?);
            }
            core.flows = FLOWS.wrapping_mul(number as u64);
            core.flights.names.news = (workers > 1).then(Vec::new);
            let shared = Arc::clone(&shared);
            let evidence = (options.evidence > 0).then_some(options.evidence);
            let evidence = evidence.map(|packets| Evidence::new(packets, core.flights.limits.clone()));
            waiting.push(Worker {
                number,
                queues: Queues::new(rings),
                core,
                evidence,
                shared,
                counted: Instant::now(),
            });
        }
        Ok(Self { shared, filters: options.filters, waiting, threads: Vec::new() })
    }

    pub fn start(&mut self) -> io::Result<()> {
        lock(&self.shared.outbox).running = self.waiting.len();
        for (ring, filter) in self.waiting.iter().flat_map(|worker| worker.queues.rings().zip(&self.filters))
        {
            ring.admit(filter)?;
        }
        for worker in self.waiting.drain(..) {
            let name = format!("capture-{}", worker.number);
            self.threads.push(std::thread::Builder::new().name(name).spawn(move || worker.run())?);
        }
        Ok(())
    }

    /// True: a worker ended in a panic.
    pub fn join(&mut self) -> bool {
        self.shared.stop();
        self.threads.drain(..).map(JoinHandle::join).fold(false, |broken, outcome| broken | outcome.is_err())
    }
}

impl Shared {
    pub fn workers(&self) -> usize {
        self.inboxes.len()
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// Replaces what is watched, from the next block on.
    pub fn look(&self, watches: Vec<Watch>) {
        for (inbox, watch) in self.inboxes.iter().zip(watches) {
            lock(inbox).watch = Some(watch);
        }
    }

    /// The facts of all workers once there are some, or the time is over. None: all have ended.
    pub fn facts(&self, timeout: Duration) -> Option<Vec<Fact>> {
        let mut outbox = lock(&self.outbox);
        if outbox.facts.is_empty() && outbox.running > 0 {
            let waited = self.changed.wait_timeout(outbox, timeout);
            outbox = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let facts = std::mem::take(&mut outbox.facts);
        let ended = facts.is_empty() && outbox.running == 0;
        drop(outbox);
        self.changed.notify_all();
        (!ended).then_some(facts)
    }

    /// What was said of sockets since the last call.
    pub fn troubles(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.outbox).troubles)
    }

    /// Packets kept since the last call, and how many more there were.
    pub fn kept(&self) -> (Vec<Kept>, u64) {
        lock(&self.outbox).kept.take()
    }

    fn keep(&self, kept: Vec<Kept>) {
        if !kept.is_empty() {
            lock(&self.outbox).kept.add(kept);
        }
    }

    fn put(&self, facts: Vec<Fact>) {
        if facts.is_empty() {
            return;
        }
        let mut outbox = lock(&self.outbox);
        while outbox.facts.len() >= WAITING {
            outbox = self.changed.wait(outbox).unwrap_or_else(PoisonError::into_inner);
        }
        outbox.facts.extend(facts);
        self.changed.notify_all();
    }
}

/// Counts the worker out however it ends.
struct Presence(Arc<Shared>);

impl Drop for Presence {
    fn drop(&mut self) {
        let mut outbox = lock(&self.0.outbox);
        outbox.running = outbox.running.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

impl Worker {
    fn run(mut self) {
        let _presence = Presence(Arc::clone(&self.shared));
        while !self.shared.stop.load(Ordering::Acquire) {
            self.inbox();
            if !self.frames(now().saturating_sub(OPEN)) {
                self.queues.wait();
                self.idle();
            }
            self.report();
        }
        for (at, ring) in self.queues.rings().enumerate() {
            if let Err(error) = ring.shut() {
                self.trouble(at, &error);
            }
        }
        // The blocks that were open are handed over when they are old enough.
        std::thread::sleep(Duration::from_millis(u64::from(RETIRE_MS).saturating_mul(3)));
        while self.frames(i64::MAX) {}
        self.count();
        self.core.finish();
        self.report();
    }

    /// Feeds what is there and whose turn it is; `whole`: of rings that have nothing, what is older has been seen.
    /// False: there was none.
    fn frames(&mut self, whole: i64) -> bool {
        let (core, evidence) = (&mut self.core, &mut self.evidence);
        let some = self.queues.next(whole, now(), |frames| {
            if let Some(evidence) = evidence {
                frames.iter().for_each(|(time, link, data, length)| evidence.frame(time, link, data, length));
            }
            core.feed(frames.iter());
        });
        if some && self.counted.elapsed() >= COUNTED_EVERY {
            self.count();
        }
        some
    }

    /// Nothing came: time goes on all the same.
    fn idle(&mut self) {
        for (at, ring) in self.queues.rings().enumerate() {
            if let Some(error) = ring.error() {
                self.trouble(at, &error);
            }
        }
        if self.counted.elapsed() >= COUNTED_EVERY {
            self.count();
            self.core.tick(now().saturating_sub(BEHIND));
        }
    }

    fn count(&mut self) {
        self.counted = Instant::now();
        for (ring, seen) in self.queues.rings().zip(&self.shared.seen) {
            let (received, dropped) = ring.statistics();
            seen.received.fetch_add(received, Ordering::Relaxed);
            seen.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    fn trouble(&self, at: usize, error: &io::Error) {
        let name = self.shared.interfaces.get(at).map(String::as_str).unwrap_or_default();
        if self.number == 0 {
            lock(&self.shared.outbox).troubles.push(format!("{name}: {error}"));
        }
    }

    fn inbox(&mut self) {
        let Some(inbox) = self.shared.inboxes.get(self.number) else { return };
        let Inbox { watch, news } = std::mem::take(&mut *lock(inbox));
        if let Some(watch) = watch {
            self.core.flights.watch = watch;
        }
        for news in &news {
            self.core.flights.names.keep(news, &mut self.core.flights.tally);
        }
    }

    /// Facts go to Python, names that were learnt to the other workers.
    fn report(&mut self) {
        let facts = self.core.take_facts();
        if let Some(evidence) = &mut self.evidence {
            evidence.facts(&facts);
            self.shared.keep(std::mem::take(&mut evidence.out));
        }
        self.shared.put(facts);
        let news = self.core.flights.names.news.as_mut().map(std::mem::take).unwrap_or_default();
        if news.is_empty() {
            return;
        }
        let others = self.shared.inboxes.iter().enumerate().filter(|(at, _)| *at != self.number);
        for (_, inbox) in others {
            lock(inbox).news.extend(news.iter().cloned());
        }
    }
}

/// The clock that packets' times are of, in nanoseconds.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    i64::try_from(now).unwrap_or(i64::MAX)
}
