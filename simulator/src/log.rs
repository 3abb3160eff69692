//! A member's log: the replication stream since the beginning, record by record.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use server::handover::{Epoch, Record};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rec {
    /// A client's write, by its number.
    Write(u64),
    /// The first half of a transaction: without the write of the same number it has not happened.
    Part(u64),
    /// The keep-alive of the stream.
    Ping,
    /// The argument of a record that the members themselves write.
    Note(Rc<str>),
}

impl Rec {
    fn len(&self) -> u64 {
        match self {
            Self::Write(_) => 3,
            Self::Ping | Self::Part(_) => 1,
            Self::Note(text) => text.len() as u64,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub rec: Rec,
    /// The stream's offset behind it.
    pub end: u64,
    /// Of everything up to here: two logs that agree on it agree on all before.
    pub hash: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: Vec<Entry>,
}

impl Log {
    pub fn append(&mut self, rec: Rec) -> &Entry {
        let mut hasher = DefaultHasher::new();
        (self.hash(), &rec).hash(&mut hasher);
        let end = self.offset() + rec.len();
        self.entries.push(Entry { rec, end, hash: hasher.finish() });
        self.entries.last().expect("just pushed")
    }

    pub fn offset(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.end)
    }

    /// The offset behind that many records.
    pub fn end_of(&self, count: usize) -> u64 {
        let last = count.min(self.entries.len()).checked_sub(1);
        last.map_or(0, |last| self.entries[last].end)
    }

    pub fn hash(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.hash)
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many records end at or before this offset, if one ends exactly there.
    pub fn count_at(&self, offset: u64) -> Option<usize> {
        if offset == 0 {
            return Some(0);
        }
        self.entries.binary_search_by_key(&offset, |entry| entry.end).ok().map(|i| i + 1)
    }

    pub fn hash_at(&self, offset: u64) -> Option<u64> {
        let count = self.count_at(offset)?;
        Some(if count == 0 { 0 } else { self.entries[count - 1].hash })
    }

    pub fn since(&self, count: usize) -> &[Entry] {
        &self.entries[count.min(self.entries.len())..]
    }

    /// The last write at or before this offset: the offset behind it, and the hash there.
    pub fn last_write(&self, upto: u64) -> Option<(u64, u64)> {
        let count = self.entries.partition_point(|entry| entry.end <= upto);
        let writes = self.entries[..count].iter().rev();
        let last = writes.into_iter().find(|entry| crate::answer::is_data(&entry.rec));
        last.map(|entry| (entry.end, entry.hash))
    }

    /// Offset and hash behind each record after `from`, up to `upto`.
    pub fn records_between(&self, from: u64, upto: u64) -> Vec<(u64, u64)> {
        let begin = self.entries.partition_point(|entry| entry.end <= from);
        let rest = self.entries[begin..].iter().take_while(|entry| entry.end <= upto);
        rest.map(|entry| (entry.end, entry.hash)).collect()
    }

    pub fn truncate(&mut self, count: usize) {
        self.entries.truncate(count);
    }

    /// Whether it ends in the middle of a transaction.
    pub fn ends_in_half(&self) -> bool {
        self.entries.last().is_some_and(|entry| matches!(entry.rec, Rec::Part(_)))
    }

    /// Drops half a transaction at the end, as a loader does.
    pub fn cut_half(&mut self) {
        if self.ends_in_half() {
            self.entries.pop();
        }
    }

    pub fn writes(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().filter_map(|entry| match entry.rec {
            Rec::Write(id) => Some(id),
            _ => None,
        })
    }

    /// Of the last start record, as a loader would read it.
    pub fn data_epoch(&self) -> Epoch {
        let starts = self.entries.iter().rev().filter_map(|entry| match &entry.rec {
            Rec::Note(text) => match Record::parse(text.as_bytes()) {
                Ok(Record::Start { epoch, .. }) => Some(epoch),
                _ => None,
            },
            _ => None,
        });
        starts.into_iter().next().unwrap_or_default()
    }
}
