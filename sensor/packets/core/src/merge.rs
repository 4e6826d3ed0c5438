//! Packets of several rings in the order of their times: both sides of a tap are one conversation.

use crate::block::{Record, unpack};
use crate::frame::Raw;
use crate::link::ETHERNET;
use crate::ring::{RETIRE_MS, Ring, wait};

/// A ring, and its packets in the next block as long as they wait for older ones of other rings.
struct Queue {
    ring: Ring,
    /// The block is ours.
    held: bool,
    records: Vec<Record>,
    /// How many of them had their turn.
    done: usize,
    /// The latest time in the block.
    latest: i64,
}

impl Queue {
    /// Has the next block, if there is one.
    fn fill(&mut self) {
        let ethernet = self.ring.link == ETHERNET;
        if let Some(block) = if self.held { None } else { self.ring.block() } {
            self.records.clear();
            unpack(block, ethernet, &mut self.records);
            self.latest = self.records.iter().map(|record| record.time).max().unwrap_or(i64::MIN);
            (self.held, self.done) = (true, 0);
        }
    }

    /// Adds to `order` the packets up to the time `until`. Those that are later than now are from before the clock was
    /// set: nobody knows their order.
    fn turn(&mut self, number: usize, until: i64, now: i64, order: &mut Vec<(usize, Record)>) {
        let rest = self.records.get(self.done..).unwrap_or_default();
        let ready = rest.iter().take_while(|record| record.time <= until || record.time > now);
        let before = order.len();
        order.extend(ready.map(|record| (number, *record)));
        self.done = self.done.saturating_add(order.len().saturating_sub(before));
    }

    /// Link type and bytes of the block.
    fn block(&mut self) -> (u32, &[u8]) {
        let link = self.ring.link;
        (link, if self.held { self.ring.block().map_or(&[], |block| block) } else { &[] })
    }

    /// Gives a block back that has had its turn.
    fn release(&mut self) {
        if self.held && self.done == self.records.len() {
            self.ring.release();
            self.held = false;
        }
    }
}

/// Packets whose turn it is.
pub struct Frames<'a> {
    order: &'a [(usize, Record)],
    blocks: &'a [(u32, &'a [u8])],
}

impl<'a> Frames<'a> {
    pub fn iter(&self) -> impl Iterator<Item = Raw<'a>> {
        let blocks = self.blocks;
        self.order.iter().map(move |(number, record)| {
            let (link, block) = blocks.get(*number).copied().unwrap_or_default();
            let data = block.get(record.start..record.end).unwrap_or_default();
            (record.time, link, data, record.length)
        })
    }
}

pub struct Queues {
    queues: Vec<Queue>,
    /// Whose turn it is: ring and packet. Memory that is used again.
    order: Vec<(usize, Record)>,
}

impl Queues {
    pub fn new(rings: Vec<Ring>) -> Self {
        let queue = |ring| Queue { ring, held: false, records: Vec::new(), done: 0, latest: i64::MIN };
        Self { queues: rings.into_iter().map(queue).collect(), order: Vec::new() }
    }

    pub fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.queues.iter().map(|queue| &queue.ring)
    }

    /// Gives `feed` the packets that are older than what any ring may still have; `whole`: up to when rings that have no
    /// block have given everything. False: there was none.
    pub fn next(&mut self, whole: i64, now: i64, feed: impl FnOnce(&Frames<'_>)) -> bool {
        self.queues.iter_mut().for_each(Queue::fill);
        let until = self.queues.iter().map(|queue| if queue.held { queue.latest } else { whole }).min();
        self.order.clear();
        for (number, queue) in self.queues.iter_mut().enumerate() {
            queue.turn(number, until.unwrap_or(whole), now, &mut self.order);
        }
        if self.queues.len() > 1 {
            self.order.sort_by_key(|(_, record)| record.time);
        }
        let blocks: Vec<_> = self.queues.iter_mut().map(Queue::block).collect();
        feed(&Frames { order: &self.order, blocks: &blocks });
        self.queues.iter_mut().for_each(Queue::release);
        !self.order.is_empty()
    }

    /// Waits until there is another block, or those that are there may have their turn.
    pub fn wait(&self) {
        let open = self.queues.iter().filter(|queue| !queue.held).map(|queue| &queue.ring);
        let some = self.queues.iter().any(|queue| queue.held);
        wait(open, if some { RETIRE_MS / 4 } else { RETIRE_MS } as i32);
    }
}
