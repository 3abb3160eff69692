//! One database: keys with values and expiry times.

use super::access::Access;
use super::body::Body;
use super::fields::FieldExpiry;
use super::garbage::{Garbage, Lazy};
use super::limits::Limits;
use super::snapshot::Walk;
use super::string::parse_int;
use super::table::{HASH_END, Keyed, Place, SAVED, Slot, Table, VOLATILE};
use super::value::{Kind, Value, ValueRef, WrongType};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What visiting an entry costs a snapshot besides its bytes, in bytes that could be copied instead:
/// entries lie anywhere in memory.
const VISIT_BYTES: usize = 128;

/// What the databases of a keyspace share; atomic only so that it may move between threads.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// A database has queued an expired key, a stream that is gone, or something to be freed elsewhere.
    pub queued: AtomicBool,
    /// No key's time comes: commands of a primary's stream run.
    pub ignore: AtomicBool,
}

/// See the module's text. A key whose time has come is hidden from every reader; where this node
/// may expire keys it is also removed, and its name is queued for the replication stream.
#[derive(Debug)]
pub struct Db {
    pub(super) index: u32,
    pub(super) table: Table<Body>,
    pub(super) now_ms: i64,
    pub(super) may_expire: bool,
    pub(super) limits: Limits,
    pub(super) expired: Vec<Vec<u8>>,
    /// Streams that were removed or replaced: who waits for a group of theirs is told.
    pub(super) gone_streams: Vec<Vec<u8>>,
    pub(super) fields: FieldExpiry,
    /// Keys that were added, while somebody wants to know.
    pub(super) new: Vec<Vec<u8>>,
    pub(super) note_new: bool,
    /// What was removed and takes long to free.
    pub(super) garbage: Vec<Garbage>,
    pub(super) lazy: Lazy,
    /// Lookups that found a key, and that did not.
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) access: Access,
    shared: Arc<Shared>,
    pub(super) walk: Option<Walk>,
    volatile: usize,
    expire_cursor: u64,
}

impl Db {
    pub(super) fn new(index: u32, limits: Limits, shared: Arc<Shared>) -> Self {
        Self {
            index,
            table: Table::new(limits.seed),
            now_ms: 0,
            may_expire: true,
            limits,
            expired: Vec::new(),
            gone_streams: Vec::new(),
            fields: FieldExpiry::default(),
            new: Vec::new(),
            note_new: false,
            garbage: Vec::new(),
            lazy: Lazy::default(),
            hits: 0,
            misses: 0,
            access: Access::default(),
            shared,
            walk: None,
            volatile: 0,
            expire_cursor: 0,
        }
    }

    /// Number of keys, those included whose time has come but which are not removed yet.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of keys with an expiry time.
    pub fn volatile(&self) -> usize {
        self.volatile
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The clock that the keyspace was last given, Unix time in milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Bytes of the table that leads to the keys.
    pub fn table_memory(&self) -> usize {
        self.table.memory()
    }

    /// Bytes that a key and its value take, without its slot in the table.
    pub fn memory_of(&self, key: &[u8]) -> Option<usize> {
        let slot = self.table.get(key).filter(|slot| !self.gone(slot))?;
        Some(slot.entry.memory())
    }

    fn gone(&self, slot: &Slot<Body>) -> bool {
        slot.has(VOLATILE)
            && slot.entry.expiry_ms().is_some_and(|at| at <= self.now_ms)
            && !self.shared.ignore.load(Ordering::Relaxed)
    }

    /// Where the key's entry lies, if it is there and its time has not come. Expires it otherwise.
    #[inline]
    fn live(&mut self, key: &[u8]) -> Option<Place> {
        let position = self.table.position(key);
        let place = self.table.locate(position, |e| e.key() == key)?;
        if self.gone(self.table.at(place)) {
            self.expire(key);
            return None;
        }
        if !self.fields.is_idle() {
            return self.expire_fields(key, place);
        }
        Some(place)
    }

    pub(super) fn ignores_expiry(&self) -> bool {
        self.shared.ignore.load(Ordering::Relaxed)
    }

    /// Something was queued for the keyspace.
    pub(super) fn queue(&self) {
        self.shared.queued.store(true, Ordering::Relaxed);
    }

    /// Removes a key whose time has come, where this node may.
    fn expire(&mut self, key: &[u8]) {
        if self.may_expire {
            self.expired.push(key.to_vec());
            self.shared.queued.store(true, Ordering::Relaxed);
            self.remove_as(key, self.lazy.expire);
        }
    }

    /// Notes a use of the entry, for eviction.
    #[inline]
    fn used(&mut self, place: Place) {
        let slot = self.table.at_mut(place);
        let (old, new) = (slot.clock(), self.access.touched(slot.clock()));
        if new != old {
            slot.set_clock(new);
        }
    }

    /// Frees what an entry held, elsewhere if that takes long and `lazy` says so.
    fn discard(&mut self, body: Body, lazy: bool) {
        let garbage = Garbage::entry(body);
        if lazy && garbage.takes_long() {
            self.garbage.push(garbage);
            self.shared.queued.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the key's time has come, but it is still there.
    pub fn is_hidden(&self, key: &[u8]) -> bool {
        self.volatile > 0 && self.table.get(key).is_some_and(|slot| self.gone(slot))
    }

    /// The value of a key; several may be held at once. Changes nothing.
    pub fn peek(&self, key: &[u8]) -> Option<ValueRef<'_>> {
        let slot = self.table.get(key)?;
        (!self.gone(slot)).then(|| slot.entry.view())
    }

    /// The value of a key, which counts as a use of it; removes it if its time has come.
    #[inline]
    pub fn lookup(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        let Some(place) = self.live(key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        self.used(place);
        Some(self.table.at(place).entry.view())
    }

    /// Whether there is such a key, which counts as a use of it even where others leave no trace.
    pub fn touch(&mut self, key: &[u8]) -> bool {
        let quiet = std::mem::take(&mut self.access.quiet);
        let found = self.lookup(key).is_some();
        self.access.quiet = quiet;
        found
    }

    /// As [`Self::lookup`], and not a use of the key.
    pub fn view(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        let place = self.live(key)?;
        Some(self.table.at(place).entry.view())
    }

    /// Whether there is such a key; not a use of it.
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.live(key).is_some()
    }

    /// The value of a key, to change in place. The caller removes a collection that it emptied.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        let place = self.live(key)?;
        self.before_write(place);
        Some(self.table.at_mut(place).entry.value_mut())
    }

    /// As [`Self::get_mut`]; adds the value that `make` builds when the key is absent.
    pub fn get_or_insert_with(&mut self, key: &[u8], make: impl FnOnce() -> Value) -> &mut Value {
        if let Some(place) = self.live_for_new(key) {
            self.before_write(place);
            return self.table.at_mut(place).entry.value_mut();
        }
        self.add(key, Body::new(key, make(), None)).entry.value_mut()
    }

    /// What OBJECT ENCODING answers for a key.
    pub fn encoding(&mut self, key: &[u8]) -> Option<&'static str> {
        let place = self.live(key)?;
        Some(self.table.at(place).entry.encoding())
    }

    /// The collection at a key.
    pub fn typed<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&T>, WrongType> {
        self.lookup(key).map(|value| T::of(value).ok_or(WrongType)).transpose()
    }

    /// As [`Self::typed`], several at once: see [`Self::peek`].
    pub fn peek_typed<T: Kind>(&self, key: &[u8]) -> Result<Option<&T>, WrongType> {
        self.peek(key).map(|value| T::of(value).ok_or(WrongType)).transpose()
    }

    /// The collection at a key, to change in place. The caller removes it once it is empty.
    pub fn typed_mut<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&mut T>, WrongType> {
        let Some(place) = self.live(key) else { return Ok(None) };
        T::of(self.table.at(place).entry.view()).ok_or(WrongType)?;
        self.before_write(place);
        T::of_mut(self.table.at_mut(place).entry.value_mut()).ok_or(WrongType).map(Some)
    }

    /// The collection at a key, to change in place, made empty when the key is absent. The caller
    /// adds to it, or removes it.
    pub fn typed_or_new<T: Kind>(&mut self, key: &[u8]) -> Result<&mut T, WrongType> {
        if let Some(place) = self.live_for_new(key) {
            T::of(self.table.at(place).entry.view()).ok_or(WrongType)?;
            self.before_write(place);
            return T::of_mut(self.table.at_mut(place).entry.value_mut()).ok_or(WrongType);
        }
        let body = Body::new(key, T::default().into_value(), None);
        T::of_mut(self.add(key, body).entry.value_mut()).ok_or(WrongType)
    }

    /// As `live`, but a key whose time has come is removed even where this node may only hide it:
    /// the write that follows replaces it.
    fn live_for_new(&mut self, key: &[u8]) -> Option<Place> {
        let place = self.live(key);
        if place.is_none() && !self.may_expire {
            self.remove(key);
        }
        place
    }

    /// Puts a value at a key, without an expiry time. `true` when the key is new.
    pub fn insert(&mut self, key: &[u8], value: Value) -> bool {
        self.restore(key, value, None)
    }

    /// Puts a value at a key with this expiry time. `true` when the key is new.
    pub fn restore(&mut self, key: &[u8], value: Value, expiry_ms: Option<i64>) -> bool {
        let mut value = value;
        let volatile = match &mut value {
            Value::Hash(hash) if hash.next_expiry().is_some() => {
                hash.forget_note();
                true
            }
            _ => false,
        };
        let new = self.put(key, expiry_ms, |_| false, || Body::new(key, value, expiry_ms));
        if volatile {
            self.note_field_expiry(key);
        }
        new
    }

    /// Puts a string at a key, as an integer if it spells one. `true` when the key is new.
    #[inline]
    pub fn set_str(&mut self, key: &[u8], value: &[u8], keep_ttl: bool) -> bool {
        if let Some(n) = parse_int(value) {
            return self.set_int(key, n, keep_ttl);
        }
        let expiry = if keep_ttl { self.expiry(key) } else { None };
        self.put(key, expiry, |b| b.overwrite(value, expiry), || Body::bytes(key, value, expiry))
    }

    /// Puts an integer at a key. `true` when the key is new.
    pub fn set_int(&mut self, key: &[u8], n: i64, keep_ttl: bool) -> bool {
        let expiry = if keep_ttl { self.expiry(key) } else { None };
        self.put(key, expiry, |b| b.overwrite_int(n, expiry), || Body::int(key, n, expiry))
    }

    /// Replaces or adds an entry; `overwrite` may reuse the old one's allocation.
    #[inline]
    fn put(
        &mut self,
        key: &[u8],
        expiry_ms: Option<i64>,
        overwrite: impl FnOnce(&mut Body) -> bool,
        make: impl FnOnce() -> Body,
    ) -> bool {
        let Some(place) = self.live_for_new(key) else {
            self.volatile += usize::from(expiry_ms.is_some());
            self.add(key, make()).set(VOLATILE, expiry_ms.is_some());
            return true;
        };
        self.before_write(place);
        let slot = self.table.at_mut(place);
        self.volatile -= usize::from(slot.has(VOLATILE));
        self.volatile += usize::from(expiry_ms.is_some());
        slot.set(VOLATILE, expiry_ms.is_some());
        if !overwrite(&mut slot.entry) {
            let old = std::mem::replace(&mut slot.entry, make());
            self.note_gone(&old);
            self.discard(old, self.lazy.server_del);
        }
        false
    }

    /// Adds an entry for a key that is known to be absent.
    fn add(&mut self, key: &[u8], body: Body) -> &mut Slot<Body> {
        if self.note_new {
            self.new.push(key.to_vec());
        }
        let position = self.table.position(key);
        let ahead = self.walk.as_ref().is_some_and(|walk| position >= walk.cursor);
        let fresh = self.access.fresh();
        let slot = self.table.insert_new(position, body);
        slot.set_clock(fresh);
        slot.set(SAVED, ahead);
        slot
    }

    /// Notes a use, and hands an entry that the running snapshot has not reached to its sink before
    /// it changes.
    #[inline]
    pub(super) fn before_write(&mut self, place: Place) {
        self.used(place);
        if let Some(walk) = &self.walk {
            let slot = self.table.at_mut(place);
            if slot.position() >= walk.cursor && !slot.has(SAVED) {
                let body = &slot.entry;
                walk.sink.entry(self.index, body.key(), body.view(), body.expiry_ms());
                slot.set(SAVED, true);
            }
        }
    }

    /// Removes a key; `false` when it was absent or its time had come.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.remove_as(key, self.lazy.server_del)
    }

    /// As [`Self::remove`], for a user's DEL or (`unlink`) UNLINK.
    pub fn delete(&mut self, key: &[u8], unlink: bool) -> bool {
        self.remove_as(key, unlink || self.lazy.user_del)
    }

    fn remove_as(&mut self, key: &[u8], lazy: bool) -> bool {
        let Some((slot, gone)) = self.take_slot(key) else { return false };
        self.discard(slot.entry, lazy);
        !gone
    }

    /// Removes a key that eviction chose, whether or not its time has come.
    pub fn evict(&mut self, key: &[u8]) -> bool {
        let Some((slot, _)) = self.take_slot(key) else { return false };
        self.discard(slot.entry, self.lazy.eviction);
        true
    }

    /// Removes an entry; the flag tells whether its time had come.
    fn take_slot(&mut self, key: &[u8]) -> Option<(Slot<Body>, bool)> {
        let position = self.table.position(key);
        let place = self.table.locate(position, |e| e.key() == key)?;
        let gone = self.gone(self.table.at(place));
        self.before_write(place);
        let slot = self.table.remove_place(place, position);
        self.volatile -= usize::from(slot.has(VOLATILE));
        self.note_gone(&slot.entry);
        Some((slot, gone))
    }

    #[inline]
    fn note_gone(&mut self, body: &Body) {
        if let ValueRef::Stream(_) = body.view() {
            self.gone_streams.push(body.key().to_vec());
            self.shared.queued.store(true, Ordering::Relaxed);
        }
    }

    /// Removes a key and returns its value and expiry time.
    pub fn take(&mut self, key: &[u8]) -> Option<(Value, Option<i64>)> {
        let (slot, gone) = self.take_slot(key)?;
        let expiry_ms = slot.entry.expiry_ms();
        (!gone).then(|| (slot.entry.into_value(), expiry_ms))
    }

    /// Seconds since the key was last used; [`Self::frequency`] under an LFU policy.
    pub fn idle_s(&self, key: &[u8]) -> Option<u32> {
        self.table.get(key).filter(|slot| !self.gone(slot)).map(|s| self.access.idle_s(s.clock()))
    }

    /// How often the key was used, on a logarithmic scale of 0 to 255.
    pub fn frequency(&self, key: &[u8]) -> Option<u8> {
        let slot = self.table.get(key).filter(|slot| !self.gone(slot))?;
        Some(self.access.frequency(slot.clock()))
    }

    /// Sets what RESTORE's IDLETIME (seconds) or FREQ says, if the policy counts that.
    pub fn set_access(&mut self, key: &[u8], idle_s: Option<u32>, frequency: Option<u8>) {
        let bits = match (idle_s, frequency) {
            (Some(idle_s), _) if !self.access.rules.lfu => self.access.with_idle(idle_s),
            (_, Some(frequency)) if self.access.rules.lfu => self.access.with_frequency(frequency),
            _ => return,
        };
        if let Some(slot) = self.table.get_mut(key) {
            slot.set_clock(bits);
        }
    }

    /// The key's expiry time, Unix time in milliseconds.
    pub fn expiry(&self, key: &[u8]) -> Option<i64> {
        if self.volatile == 0 {
            return None;
        }
        let slot = self.table.get(key)?;
        if self.gone(slot) { None } else { slot.entry.expiry_ms() }
    }

    /// Whether there is such a key, and no time ends it.
    pub fn lasts(&self, key: &[u8]) -> bool {
        self.table.get(key).is_some_and(|slot| slot.entry.expiry_ms().is_none())
    }

    /// Sets the key's expiry time, even one that has passed; `false` when there is no such key.
    pub fn expire_at(&mut self, key: &[u8], at_ms: i64) -> bool {
        self.set_expiry(key, Some(at_ms))
    }

    /// Takes the expiry time away; `false` when there is no such key, or it has none.
    pub fn persist(&mut self, key: &[u8]) -> bool {
        self.expiry(key).is_some() && self.set_expiry(key, None)
    }

    fn set_expiry(&mut self, key: &[u8], expiry_ms: Option<i64>) -> bool {
        let Some(place) = self.live(key) else { return false };
        self.before_write(place);
        let slot = self.table.at_mut(place);
        self.volatile -= usize::from(slot.has(VOLATILE));
        self.volatile += usize::from(expiry_ms.is_some());
        slot.set(VOLATILE, expiry_ms.is_some());
        slot.entry.set_expiry_ms(expiry_ms);
        true
    }

    /// One step of SCAN: calls `f` for about `count` keys, returns the next cursor, 0 at the end.
    /// See [`Table::scan`] for what it promises. A key whose time has come is given without a value.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        mut f: impl FnMut(&[u8], Option<ValueRef<'_>>),
    ) -> u64 {
        self.table.scan(cursor, count, |slot| {
            f(slot.entry.key(), (!self.gone(slot)).then(|| slot.entry.view()));
        })
    }

    /// Calls `f` for every key that is not hidden, with its expiry time.
    pub fn each(&self, mut f: impl FnMut(&[u8], ValueRef<'_>, Option<i64>)) {
        for slot in self.table.iter().filter(|slot| !self.gone(slot)) {
            f(slot.entry.key(), slot.entry.view(), slot.entry.expiry_ms());
        }
    }

    /// A key picked by a source of random numbers.
    pub fn random_key(&mut self, mut next: impl FnMut() -> u64) -> Option<Vec<u8>> {
        for _ in 0..100 {
            let slot = self.table.random(&mut next)?;
            let (key, gone) = (slot.entry.key().to_vec(), self.gone(slot));
            if !gone {
                return Some(key);
            }
            self.expire(&key);
        }
        self.table.iter().find(|slot| !self.gone(slot)).map(|slot| slot.entry.key().to_vec())
    }

    /// Removes the keys whose time has come from the next `segments` parts of the table. Returns
    /// how many there were. Does nothing where this node may not expire keys.
    pub fn expire_step(&mut self, segments: usize) -> usize {
        let mut count = self.expire_fields_step(segments);
        for _ in 0..segments {
            if self.volatile == 0 || !self.may_expire {
                break;
            }
            let due = self.table.segment_iter(self.expire_cursor).filter(|slot| self.gone(slot));
            let due: Vec<_> = due.map(|slot| slot.entry.key().to_vec()).collect();
            let end = self.table.segment_end(self.expire_cursor);
            for key in &due {
                self.expire(key);
            }
            count += due.len();
            // Removals may have merged segments: then a part of the next one was seen already.
            self.expire_cursor = if end >= HASH_END { 0 } else { end };
            if self.expire_cursor == 0 {
                break;
            }
        }
        count
    }

    /// Hands the snapshot's sink entries until they took `budget` bytes. `false` when this database
    /// is done.
    pub(super) fn snapshot_step(&mut self, budget: &mut usize) -> bool {
        let index = self.index;
        let Some(walk) = &mut self.walk else { return false };
        while *budget > 0 && walk.cursor < HASH_END {
            let end = self.table.segment_end(walk.cursor);
            let mut last = None;
            walk.sink.with(|mut sink| {
                for slot in self.table.segment_from_mut(walk.cursor) {
                    let position = slot.position();
                    // Entries at one position are done together or not at all.
                    if *budget == 0 && last != Some(position) {
                        return walk.cursor = position;
                    }
                    last = Some(position);
                    let mut bytes = 0;
                    if slot.has(SAVED) {
                        slot.set(SAVED, false);
                    } else if let Some(sink) = sink.as_deref_mut() {
                        let body = &slot.entry;
                        bytes = sink.entry(index, body.key(), body.view(), body.expiry_ms());
                    }
                    *budget = budget.saturating_sub(VISIT_BYTES + bytes);
                }
                walk.cursor = end;
                *budget = budget.saturating_sub(1);
            });
        }
        walk.cursor < HASH_END
    }

    /// Removes every key at once, unseen by the queue of expired ones.
    pub(super) fn clear(&mut self, lazy: bool) {
        let old = std::mem::replace(&mut self.table, Table::new(self.limits.seed));
        let garbage = Garbage::table(old);
        if lazy && garbage.takes_long() {
            self.garbage.push(garbage);
            self.shared.queued.store(true, Ordering::Relaxed);
        }
        self.volatile = 0;
        self.expire_cursor = 0;
        self.fields = FieldExpiry::default();
    }
}
