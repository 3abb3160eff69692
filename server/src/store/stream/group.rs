//! Consumer groups: how far a group has read, and what its consumers have not acknowledged.

use super::{Id, Stream};
use std::collections::{BTreeMap, BTreeSet};

/// What [`Group::read`] is when it is not known.
pub const UNKNOWN_READ: i64 = -1;

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The last delivery, Unix time in milliseconds.
    pub time_ms: i64,
    /// Deliveries.
    pub count: u64,
    /// The consumer's number in its group.
    pub consumer: u32,
}

#[derive(Clone, Debug)]
pub struct Consumer {
    pub name: Box<[u8]>,
    /// The last attempt to read or claim, Unix time in milliseconds.
    pub seen_ms: i64,
    /// The last one that had a result; -1 when there was none.
    pub active_ms: i64,
    pub pending: BTreeSet<Id>,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_id: Id,
    /// Entries that were delivered since the stream's beginning, or [`UNKNOWN_READ`].
    pub read: i64,
    pending: BTreeMap<Id, Nack>,
    /// Numbers of the consumers by their names.
    names: BTreeMap<Box<[u8]>, u32>,
    consumers: Vec<Option<Consumer>>,
    /// Numbers that consumers have left.
    free: Vec<u32>,
}

impl Group {
    pub fn new(last_id: Id, read: i64) -> Self {
        Self { last_id, read, ..Self::default() }
    }

    pub fn memory(&self) -> usize {
        let names: usize =
            self.consumers.iter().flatten().map(|c| 2 * c.name.len() + c.pending.len() * 30).sum();
        size_of::<Self>()
            + self.pending.len() * 75
            + self.consumers.capacity() * size_of::<Option<Consumer>>()
            + self.names.len() * 40
            + names
    }

    pub fn pending(&self) -> &BTreeMap<Id, Nack> {
        &self.pending
    }

    pub fn nack_mut(&mut self, id: Id) -> Option<&mut Nack> {
        self.pending.get_mut(&id)
    }

    /// The number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// The consumers in order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().filter_map(|number| self.consumers[*number as usize].as_ref())
    }

    pub fn find(&self, name: &[u8]) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// The consumer of this number, which [`Self::find`] or [`Self::create`] gave.
    pub fn consumer(&self, number: u32) -> &Consumer {
        self.consumers[number as usize].as_ref().expect("numbers of consumers that are there")
    }

    pub fn consumer_mut(&mut self, number: u32) -> &mut Consumer {
        self.consumers[number as usize].as_mut().expect("numbers of consumers that are there")
    }

    /// Adds a consumer; `None` when there is one of that name.
    pub fn create(&mut self, name: &[u8], now_ms: i64) -> Option<u32> {
        if self.names.contains_key(name) {
            return None;
        }
        let consumer = Consumer {
            name: name.into(),
            seen_ms: now_ms,
            active_ms: -1,
            pending: BTreeSet::new(),
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.consumers.push(None);
            self.consumers.len() as u32 - 1
        });
        self.consumers[number as usize] = Some(consumer);
        self.names.insert(name.into(), number);
        Some(number)
    }

    /// Removes a consumer with what it has not acknowledged; returns how much that was.
    pub fn delete(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.names.remove(name)?;
        let consumer = self.consumers[number as usize].take()?;
        self.free.push(number);
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Notes an entry as delivered to a consumer for the first time, also when another one had it.
    #[inline]
    pub fn deliver(&mut self, id: Id, consumer: u32, now_ms: i64) -> Nack {
        let nack = Nack { time_ms: now_ms, count: 1, consumer };
        match self.pending.insert(id, nack) {
            Some(old) if old.consumer == consumer => return nack,
            Some(old) => {
                self.consumer_mut(old.consumer).pending.remove(&id);
            }
            None => {}
        }
        self.consumer_mut(consumer).pending.insert(id);
        nack
    }

    /// Gives a delivered entry to a consumer with these facts, or adds it.
    pub fn assign(&mut self, id: Id, nack: Nack) {
        if let Some(old) = self.pending.insert(id, nack)
            && old.consumer != nack.consumer
        {
            self.consumer_mut(old.consumer).pending.remove(&id);
        }
        self.consumer_mut(nack.consumer).pending.insert(id);
    }

    /// Forgets a delivered entry; returns what was known about it.
    pub fn acknowledge(&mut self, id: Id) -> Option<Nack> {
        let nack = self.pending.remove(&id)?;
        self.consumer_mut(nack.consumer).pending.remove(&id);
        Some(nack)
    }
}

impl Stream {
    /// Whether XDEL may have removed an entry from this id on.
    #[inline]
    fn deleted_from(&self, from: Id) -> bool {
        self.len > 0 && self.max_deleted != Id::MIN && from <= self.max_deleted
    }

    /// How many entries there were up to this id since the beginning, or [`UNKNOWN_READ`].
    pub fn entries_up_to(&self, id: Id) -> i64 {
        let added = self.added.cast_signed();
        if self.added == 0 {
            return 0;
        }
        if self.len == 0 && id <= self.last_id {
            return added;
        }
        if id != Id::MIN && id < self.max_deleted {
            return UNKNOWN_READ;
        }
        if id == self.last_id {
            return added;
        }
        if id > self.last_id {
            return UNKNOWN_READ;
        }
        if self.max_deleted == Id::MIN || self.max_deleted < self.first {
            let before = added.wrapping_sub(self.len.cast_signed());
            if id < self.first {
                return before;
            }
            if id == self.first {
                return before.wrapping_add(1);
            }
        }
        UNKNOWN_READ
    }

    /// Entries that a group has not been given yet, if that is known.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.added.cast_signed();
        if self.added == 0 {
            return Some(0);
        }
        if group.read != UNKNOWN_READ && !self.deleted_from(group.last_id) {
            return Some(added.wrapping_sub(group.read));
        }
        let read = self.entries_up_to(group.last_id);
        (read != UNKNOWN_READ).then(|| added.wrapping_sub(read))
    }

    /// What the count of read entries of a group that stands at `last` becomes when the entry `id`
    /// after it is delivered.
    #[inline]
    pub fn read_after(&self, read: i64, last: Id, id: Id) -> i64 {
        if read != UNKNOWN_READ && last >= self.first && !self.deleted_from(last) {
            read.wrapping_add(1)
        } else if self.added > 0 {
            self.entries_up_to(id)
        } else {
            read
        }
    }
}
