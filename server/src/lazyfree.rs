//! A thread that frees what takes long, so that the executing thread need not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use crate::store::Garbage;

#[derive(Debug, Default)]
struct Counts {
    pending: AtomicU64,
    freed: AtomicU64,
}

/// The thread begins with the first thing that it is given, and lives as long as the process.
#[derive(Debug, Default)]
pub struct LazyFree {
    sender: Option<Sender<Garbage>>,
    counts: Arc<Counts>,
}

impl LazyFree {
    /// Frees it soon; at once when there can be no thread.
    pub fn give(&mut self, garbage: Garbage) {
        let keys = garbage.keys() as u64;
        self.counts.pending.fetch_add(keys, Ordering::Relaxed);
        if self.sender.is_none() {
            self.sender = start(Arc::clone(&self.counts));
        }
        let refused = match &self.sender {
            Some(sender) => sender.send(garbage).err().map(|error| error.0),
            None => Some(garbage),
        };
        if let Some(garbage) = refused {
            drop(garbage);
            self.counts.note_freed(keys);
        }
    }

    /// Keys that wait to be freed.
    pub fn pending(&self) -> u64 {
        self.counts.pending.load(Ordering::Relaxed)
    }

    /// Keys that were freed since the start, or the last reset.
    pub fn freed(&self) -> u64 {
        self.counts.freed.load(Ordering::Relaxed)
    }

    pub fn reset(&self) {
        self.counts.freed.store(0, Ordering::Relaxed);
    }
}

impl Counts {
    fn note_freed(&self, keys: u64) {
        self.freed.fetch_add(keys, Ordering::Relaxed);
        self.pending.fetch_sub(keys, Ordering::Relaxed);
    }
}

fn start(counts: Arc<Counts>) -> Option<Sender<Garbage>> {
    let (sender, receiver) = channel::<Garbage>();
    let work = move || {
        for garbage in receiver {
            let keys = garbage.keys() as u64;
            drop(garbage);
            counts.note_freed(keys);
        }
    };
    std::thread::Builder::new().name("lazyfree".into()).spawn(work).ok().map(|_| sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Keyspace, Seed};
    use std::time::{Duration, Instant};

    #[test]
    fn a_large_value_is_freed_by_the_thread() {
        let mut ks = Keyspace::new(1, Seed([1, 2]));
        let limits = ks.limits();
        let mut set = crate::store::Set::default();
        (0..10_000).for_each(|n: u32| _ = set.add(format!("m{n}").as_bytes(), &limits));
        ks.db_mut(0).insert(b"large", set.into());
        ks.db_mut(0).set_str(b"small", b"v", false);
        assert!(ks.db_mut(0).delete(b"large", true) && ks.db_mut(0).delete(b"small", true));
        assert!(ks.has_queued());
        let garbage = ks.take_garbage();
        assert_eq!(garbage.len(), 1, "the small one is gone already");
        let mut lazy = LazyFree::default();
        for one in garbage {
            lazy.give(one);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while lazy.pending() > 0 {
            assert!(Instant::now() < deadline, "it is never freed");
            std::thread::yield_now();
        }
        assert_eq!(lazy.freed(), 1);
    }
}
