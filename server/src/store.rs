//! The keyspace: databases of keys, values of all types, expiry, scans and snapshots.
//!
//! Takes time and random numbers as arguments; does no I/O. Everything that changes a value goes
//! through [`Db`]'s own methods, which is what lets a snapshot be taken while commands write.
//!
//! | Type | Small | Beyond |
//! |---|---|---|
//! | string | one allocation with its key; integers as eight bytes | beside its key |
//! | list | one packed chunk | a deque of packed chunks |
//! | hash | packed fields and values | table |
//! | set | sorted integers, packed members | table |
//! | sorted set | packed, in order | table and B+tree with counts |
//! | stream | packed blocks of entries | a deque of them |

// Iterators of collections are asked for by name.
#![allow(clippy::iter_without_into_iter)]

mod access;
mod body;
mod db;
mod evict;
mod fields;
mod garbage;
mod hash;
mod limits;
mod list;
mod pack;
mod random;
mod seed;
mod set;
mod snapshot;
mod stream;
mod string;
mod table;
mod thin;
mod value;
mod zset;

pub use access::AccessRules;
pub use db::Db;
pub use evict::{Choice, Order, Pool};
pub use garbage::{Garbage, Lazy};
pub use hash::{Hash, HashIter};
pub use limits::Limits;
pub use list::{End, List};
pub use pack::{Pack, PackIter};
pub use random::Random;
pub use seed::Seed;
pub use set::Set;
pub use snapshot::SnapshotSink;
pub use stream::{
    Block, Consumer, Entry, Facts, Group, Id, IdBuf, Item, MAX_ENTRY_BYTES, Nack, Stream, Trim,
    UNKNOWN_READ,
};
pub use string::{IntBuf, Str, StrRef, format_int, parse_int};
pub use value::{Kind, Value, ValueRef, WrongType};
pub use zset::{Change, Elements, ZSet};

use snapshot::{SharedSink, Walk};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// All databases of a server.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
    seed: Seed,
    /// The running snapshot's sink.
    snapshot: Option<SharedSink>,
    /// Tells when a database has queued an expired key, so that the question after each command
    /// does not visit them all.
    shared: Arc<db::Shared>,
}

impl Keyspace {
    /// An empty keyspace of this many databases.
    pub fn new(databases: usize, seed: Seed) -> Self {
        let limits = Limits { seed, ..Limits::default() };
        let shared = Arc::<db::Shared>::default();
        let new = |index| Db::new(index, limits, Arc::clone(&shared));
        let dbs = (0..databases as u32).map(new).collect();
        Self { dbs, seed, snapshot: None, shared }
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// The database of this index, which is below [`Self::databases`].
    pub fn db(&self, index: usize) -> &Db {
        &self.dbs[index]
    }

    pub fn db_mut(&mut self, index: usize) -> &mut Db {
        &mut self.dbs[index]
    }

    /// Two different databases at once, for MOVE and COPY.
    pub fn two(&mut self, from: usize, to: usize) -> Option<(&mut Db, &mut Db)> {
        let [from, to] = self.dbs.get_disjoint_mut([from, to]).ok()?;
        Some((from, to))
    }

    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Takes over another seed, as a replica does from its primary. The keyspace must be empty,
    /// because every key lies by its hash.
    pub fn set_seed(&mut self, seed: Seed) {
        assert_eq!(self.len(), 0, "only an empty keyspace changes its seed");
        self.seed = seed;
        for db in &mut self.dbs {
            db.limits.seed = seed;
            db.clear(false);
        }
    }

    /// Sets the bounds of the compact forms; the seed in it is ignored.
    pub fn set_limits(&mut self, limits: Limits) {
        for db in &mut self.dbs {
            db.limits = Limits { seed: self.seed, ..limits };
        }
    }

    pub fn limits(&self) -> Limits {
        self.dbs.first().map_or_else(Limits::default, |db| db.limits)
    }

    /// The time that expiry goes by from now on, Unix time in milliseconds.
    pub fn set_clock(&mut self, now_ms: i64) {
        let (seconds, minutes) = ((now_ms / 1000) as u32, (now_ms / 60_000) as u16);
        for db in &mut self.dbs {
            db.now_ms = now_ms;
            db.access.set_now(seconds, minutes);
        }
    }

    /// Whether this node removes keys whose time has come (a primary), or only hides them until its
    /// primary's DEL arrives (a replica).
    pub fn set_may_expire(&mut self, may: bool) {
        for db in &mut self.dbs {
            db.may_expire = may;
        }
    }

    /// How uses of entries are counted from now on.
    pub fn set_access(&mut self, rules: AccessRules) {
        self.dbs.iter_mut().for_each(|db| db.access.rules = rules);
    }

    /// Whether uses of entries leave no trace (CLIENT NO-TOUCH).
    pub fn set_quiet(&mut self, quiet: bool) {
        self.dbs.iter_mut().for_each(|db| db.access.quiet = quiet);
    }

    /// What is freed elsewhere from now on when it takes long.
    pub fn set_lazy(&mut self, lazy: Lazy) {
        self.dbs.iter_mut().for_each(|db| db.lazy = lazy);
    }

    /// Lookups that found a key, and that did not, since the start or the last reset.
    pub fn hits(&self) -> (u64, u64) {
        self.dbs.iter().fold((0, 0), |sum, db| (sum.0 + db.hits, sum.1 + db.misses))
    }

    pub fn reset_hits(&mut self) {
        self.dbs.iter_mut().for_each(|db| (db.hits, db.misses) = (0, 0));
    }

    /// While true no key's time comes. Commands of a primary's stream run so: the primary decided at
    /// its own time what they found, and says itself when a key expires.
    pub fn ignore_expiry(&mut self, ignore: bool) {
        self.shared.ignore.store(ignore, Ordering::Relaxed);
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`Self::take_expired`] and [`Self::take_garbage`] may have something since this was
    /// last asked.
    #[inline]
    pub fn has_queued(&mut self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) && {
            self.shared.queued.store(false, Ordering::Relaxed);
            true
        }
    }

    /// The keys that were removed because their time had come since the last call, with their
    /// database: each goes into the replication stream as a DEL before whatever follows.
    pub fn take_expired(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut all = Vec::new();
        for db in self.dbs.iter_mut().filter(|db| !db.expired.is_empty()) {
            let index = db.index as usize;
            all.extend(db.expired.drain(..).map(|key| (index, key)));
        }
        all
    }

    /// The streams that were removed or replaced since the last call, with their database.
    pub fn take_gone_streams(&mut self) -> Vec<(usize, Vec<u8>)> {
        let taken = self.dbs.iter_mut().flat_map(|db| {
            let index = db.index as usize;
            db.gone_streams.drain(..).map(move |key| (index, key))
        });
        taken.collect()
    }

    /// As [`Self::take_expired`], the fields that were removed: database, key and names.
    pub fn take_expired_fields(&mut self) -> Vec<(usize, Vec<u8>, Vec<Vec<u8>>)> {
        let mut all = Vec::new();
        for db in self.dbs.iter_mut().filter(|db| !db.fields.removed.is_empty()) {
            let index = db.index as usize;
            all.extend(db.fields.removed.drain(..).map(|(key, names)| (index, key, names)));
        }
        all
    }

    /// Whether a hash has a field with an expiry time, which an RDB file tells in its head.
    pub fn has_expiring_fields(&self) -> bool {
        self.dbs.iter().any(Db::has_expiring_fields)
    }

    /// Whether keys that are added are gathered for [`Self::take_new`].
    pub fn note_new(&mut self, wanted: bool) {
        for db in &mut self.dbs {
            db.note_new = wanted;
            db.new.clear();
        }
    }

    /// The keys that were added since the last call, with their database.
    pub fn take_new(&mut self) -> Vec<(usize, Vec<u8>)> {
        let taken = self.dbs.iter_mut().flat_map(|db| {
            let index = db.index as usize;
            db.new.drain(..).map(move |key| (index, key))
        });
        taken.collect()
    }

    /// What was removed and is to be freed by another thread.
    pub fn take_garbage(&mut self) -> Vec<Garbage> {
        self.dbs.iter_mut().flat_map(|db| std::mem::take(&mut db.garbage)).collect()
    }

    /// One bounded part of the active expiry cycle in every database; see [`Db::expire_step`].
    pub fn expire_step(&mut self, segments: usize) -> usize {
        self.dbs.iter_mut().map(|db| db.expire_step(segments)).sum()
    }

    /// Removes every key of a database; returns how many there were. `lazy`: what takes long to
    /// free comes out of [`Self::take_garbage`].
    pub fn flush_db(&mut self, index: usize, lazy: bool) -> usize {
        self.finish_snapshot();
        let removed = self.dbs[index].len();
        self.dbs[index].clear(lazy);
        removed
    }

    /// Removes every key.
    pub fn flush_all(&mut self, lazy: bool) -> usize {
        (0..self.dbs.len()).map(|index| self.flush_db(index, lazy)).sum()
    }

    /// Exchanges the contents of two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.finish_snapshot();
        self.dbs.swap(a, b);
        self.dbs[a].index = a as u32;
        self.dbs[b].index = b as u32;
    }

    /// Begins a snapshot of what the keyspace holds at this moment.
    ///
    /// # Panics
    /// When one is running already: there is one at a time.
    pub fn snapshot_begin(&mut self, sink: Box<dyn SnapshotSink>) {
        assert!(self.snapshot.is_none(), "one snapshot at a time");
        let sink = SharedSink::new(sink);
        for db in &mut self.dbs {
            db.walk = Some(Walk { cursor: 0, sink: sink.clone() });
        }
        self.snapshot = Some(sink);
    }

    pub fn snapshot_running(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Hands the sink more entries, about as many as it makes so many bytes of. `true` when it has
    /// them all.
    pub fn snapshot_step(&mut self, bytes: usize) -> bool {
        let mut budget = bytes;
        for db in &mut self.dbs {
            if db.snapshot_step(&mut budget) {
                return false;
            }
        }
        true
    }

    /// Gives the sink to `f`, for instance to drain what it has gathered so far.
    pub fn snapshot_sink<R>(&self, f: impl FnOnce(&mut dyn SnapshotSink) -> R) -> Option<R> {
        self.snapshot.as_ref().and_then(|sink| sink.with(|sink| sink.map(|s| f(s.as_mut()))))
    }

    /// Ends the snapshot, whole or not, and gives the sink back.
    pub fn snapshot_end(&mut self) -> Option<Box<dyn SnapshotSink>> {
        let sink = self.snapshot.take()?.take();
        // Without its sink the walk only clears the marks that it left on entries.
        while !self.snapshot_step(usize::MAX) {}
        self.dbs.iter_mut().for_each(|db| db.walk = None);
        sink
    }

    /// Before keys disappear in bulk or change their database, the snapshot takes what it still needs.
    fn finish_snapshot(&mut self) {
        if self.snapshot.is_some() {
            while !self.snapshot_step(usize::MAX) {}
        }
    }
}

#[cfg(test)]
mod tests;
