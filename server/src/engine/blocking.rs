//! Commands that wait for keys.
//!
//! A handler that found nothing blocks its client on keys and returns without a reply. When one
//! of the keys is signalled, the clients that wait for it run their command again in the order in
//! which they blocked, until the key serves no more; a command that still finds nothing keeps its
//! place and its deadline. So a blocking handler has no second form, and the command can be
//! carried to another node as it came, with the time that it has left.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::client::ClientId;
use crate::resp::OwnedArgs;

/// What a blocked client is answered when its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    Null,
    NullArray,
    /// The handler runs a last time with `cx.timed_out` set and writes the reply itself.
    Rerun,
}

/// A command that waits.
#[derive(Debug)]
pub struct Blocked {
    pub args: OwnedArgs,
    pub db: u32,
    pub keys: Vec<Box<[u8]>>,
    /// On the monotonic clock; `None` waits without end.
    pub deadline_ms: Option<u64>,
    pub on_timeout: OnTimeout,
    /// When it blocked, on the monotonic clock: its place among those who wait for the same key,
    /// also after it was carried to another node.
    pub since_ms: u64,
    /// What the command and its keys take, roughly.
    pub bytes: usize,
}

type WaitMap = HashMap<(u32, Box<[u8]>), VecDeque<(u64, ClientId)>>;

#[derive(Default)]
pub struct Blocking {
    waiting: WaitMap,
    ready: VecDeque<(u32, Box<[u8]>)>,
    /// The same keys: a script may signal as many as it likes.
    is_ready: HashSet<(u32, Box<[u8]>)>,
}

impl Blocking {
    /// Notes that a key may now serve those who wait for it; costs nothing when nobody waits.
    #[inline]
    pub fn signal(&mut self, db: usize, key: &[u8]) {
        if self.waiting.is_empty() {
            return;
        }
        let key = (db as u32, Box::from(key));
        if self.waiting.contains_key(&key) && self.is_ready.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Signals every key that someone waits for, after SWAPDB, FLUSHALL or a full resync.
    pub fn signal_all(&mut self) {
        for key in self.waiting.keys() {
            if self.is_ready.insert(key.clone()) {
                self.ready.push_back(key.clone());
            }
        }
    }

    /// Keys that somebody waits for.
    pub fn keys(&self) -> usize {
        self.waiting.len()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn next_ready(&mut self) -> Option<(u32, Box<[u8]>)> {
        let key = self.ready.pop_front()?;
        self.is_ready.remove(&key);
        Some(key)
    }

    pub(super) fn waiters(&self, key: &(u32, Box<[u8]>)) -> Vec<ClientId> {
        self.waiting
            .get(key)
            .map(|queue| queue.iter().map(|(_, id)| *id).collect())
            .unwrap_or_default()
    }

    pub(super) fn add(&mut self, id: ClientId, blocked: &Blocked) {
        for key in &blocked.keys {
            let queue = self.waiting.entry((blocked.db, key.clone())).or_default();
            if queue.iter().any(|(_, waiter)| *waiter == id) {
                continue;
            }
            let later = queue.iter().rev().take_while(|(since, _)| *since > blocked.since_ms);
            queue.insert(queue.len() - later.count(), (blocked.since_ms, id));
        }
    }

    pub(super) fn forget(&mut self, id: ClientId, blocked: &Blocked) {
        for key in &blocked.keys {
            let key = (blocked.db, key.clone());
            if let Some(queue) = self.waiting.get_mut(&key) {
                queue.retain(|(_, waiter)| *waiter != id);
                if queue.is_empty() {
                    self.waiting.remove(&key);
                }
            }
        }
    }
}
