//! Names learnt from DNS answers: which watched name an address stood for, per client, and the outer names of ECH.

use crate::dns::{Answers, name_at, peek_answers};
use crate::facts::Address;
use crate::hash::Seed;
use crate::totals::{Count, Tally};
use crate::watch::Watch;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

const SECOND: i64 = 1_000_000_000;

/// A map that forgets what was written least recently.
struct Memory<K, V> {
    entries: HashMap<K, (u64, V), Seed>,
    /// In the order of writing; a key written again leaves a stale entry behind.
    order: VecDeque<(u64, K)>,
    stamp: u64,
}

impl<K: Clone + Eq + Hash, V> Memory<K, V> {
    fn new() -> Self {
        Self { entries: HashMap::default(), order: VecDeque::new(), stamp: 0 }
    }

    /// Returns how many older entries had to go.
    fn put(&mut self, key: K, value: V, limit: usize) -> u64 {
        self.stamp = self.stamp.wrapping_add(1);
        self.entries.insert(key.clone(), (self.stamp, value));
        self.order.push_back((self.stamp, key));
        let mut gone = 0_u64;
        while self.entries.len() > limit {
            let Some((stamp, key)) = self.order.pop_front() else { break };
            if self.live(stamp, &key) {
                self.entries.remove(&key);
                gone = gone.saturating_add(1);
            }
        }
        if self.order.len() > self.entries.len().saturating_mul(2).saturating_add(64) {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(stamp, key)| self.live(*stamp, key));
            self.order = order;
        }
        gone
    }

    fn live(&self, stamp: u64, key: &K) -> bool {
        self.entries.get(key).is_some_and(|(written, _)| *written == stamp)
    }
}

/// Something learnt that engines beside this one want to know as well.
#[derive(Clone)]
pub enum News {
    /// Client, address, name, and until when.
    Name(Address, Address, Arc<str>, i64),
    Front(String),
}

pub struct Names {
    /// What was learnt since it was taken from here; None: nobody wants to know.
    pub news: Option<Vec<News>>,
    learnt: Memory<(Address, Address), (Arc<str>, i64)>,
    fronts: Memory<String, ()>,
    limit: usize,
    least: i64,
    most: i64,
    /// What a response says, and a name in it: memory that is used again.
    answers: Answers,
    text: Vec<u8>,
}

impl Names {
    pub fn new(limit: usize, least: i64, most: i64) -> Self {
        let (answers, text) = (Answers::default(), Vec::new());
        Self { news: None, learnt: Memory::new(), fronts: Memory::new(), limit, least, most, answers, text }
    }

    #[inline(always)]
    pub fn find(&self, client: Address, server: Address, time: i64) -> Option<Arc<str>> {
        if self.learnt.entries.is_empty() {
            return None;
        }
        let (_, (name, until)) = self.learnt.entries.get(&(client, server))?;
        (time < *until).then(|| Arc::clone(name))
    }

    pub fn is_front(&self, name: &str, watch: &Watch) -> bool {
        watch.fronts.contains(name) || self.fronts.entries.contains_key(name)
    }

    /// Whether `payload`, a DNS response to `client` whose first question is `question`, is of a watched name.
    pub fn learn(
        &mut self,
        client: Address,
        question: &str,
        payload: &[u8],
        time: i64,
        watch: &Watch,
        tally: &mut Tally,
    ) -> bool {
        let watched = watch.all || watch.name(question);
        // Records that cannot matter are not looked at.
        if !(watched || payload.windows(4).any(is_telling)) {
            return false;
        }
        let mut answers = std::mem::take(&mut self.answers);
        let mut found = None;
        if peek_answers(payload, &mut answers).is_ok() {
            for front in answers.ech_names.drain(..) {
                self.tell(News::Front(front), tally);
            }
            found = if watched { Some(Arc::from(question)) } else { self.in_chain(&answers, payload, watch) };
        }
        if let Some(name) = found.as_ref().filter(|name| !name.is_empty()) {
            for (address, ttl) in &answers.addresses {
                let life = i64::from(*ttl).saturating_mul(SECOND).max(self.least).min(self.most);
                let until = time.saturating_add(life);
                self.tell(News::Name(client, *address, Arc::clone(name), until), tally);
            }
        }
        self.answers = answers;
        watched || found.is_some()
    }

    /// The first watched name that the answers lead through.
    fn in_chain(&mut self, answers: &Answers, payload: &[u8], watch: &Watch) -> Option<Arc<str>> {
        answers.chain.iter().find_map(|place| {
            let name = name_at(payload, place, &mut self.text).ok()?;
            watch.name(name).then(|| Arc::from(name))
        })
    }
}

impl Names {
    fn tell(&mut self, news: News, tally: &mut Tally) {
        self.keep(&news, tally);
        if let Some(list) = &mut self.news {
            list.push(news);
        }
    }

    /// Learns what another engine has learnt.
    pub fn keep(&mut self, news: &News, tally: &mut Tally) {
        match news {
            News::Name(client, address, name, until) => {
                let value = (Arc::clone(name), *until);
                tally.count(Count::NamesEvicted, self.learnt.put((*client, *address), value, self.limit));
            }
            News::Front(name) => {
                self.fronts.put(name.clone(), (), self.limit);
            }
        }
    }
}

/// Type and class IN, as records spell them: CNAME, SVCB, HTTPS.
fn is_telling(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 5 | 64 | 65, 0, 1])
}
