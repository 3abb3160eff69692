//! A member's log: the replication stream since the beginning, command by command.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use server::handover::{Epoch, Record};
use server::replication::Asks;
use server::resp::{Args, encode_command};

/// No transaction is longer.
const UNIT_MAX: usize = 4;

/// A command of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rec {
    /// A client's write, by its number.
    Write(u64),
    /// What goes along with the write of that number, in one transaction.
    Part(u64),
    /// The begin and the end of a transaction: what is between them happens at once, or has not
    /// happened.
    Begin,
    End,
    /// The keep-alive of the stream.
    Ping,
    /// The argument of a record that the members themselves write.
    Note(Rc<str>),
}

impl Rec {
    /// Appends the command as the stream carries it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut say = |words: &[&[u8]]| encode_command(out, words.iter().copied());
        match self {
            Self::Write(id) => say(&[b"SET", id.to_string().as_bytes()]),
            Self::Part(id) => say(&[b"HSET", id.to_string().as_bytes()]),
            Self::Begin => say(&[b"MULTI"]),
            Self::End => say(&[b"EXEC"]),
            Self::Ping => say(&[b"PING"]),
            Self::Note(text) => say(&[b"PING", text.as_bytes()]),
        }
    }

    /// The command that a reader of the stream has found.
    pub fn of(args: Args<'_>) -> Option<Self> {
        let id = || std::str::from_utf8(args.get(1)?).ok()?.parse().ok();
        match Asks::of(args) {
            Asks::Nothing => Some(Self::Ping),
            Asks::Record(text) => Some(Self::Note(Rc::from(std::str::from_utf8(text).ok()?))),
            Asks::Change(args) if args.is(0, "set") => id().map(Self::Write),
            Asks::Change(args) if args.is(0, "hset") => id().map(Self::Part),
            Asks::Change(args) if args.is(0, "multi") => Some(Self::Begin),
            Asks::Change(args) if args.is(0, "exec") => Some(Self::End),
            _ => None,
        }
    }

    /// How many bytes [`Rec::encode`] appends.
    fn len(&self) -> u64 {
        let digits = |number: u64| u64::from(number.checked_ilog10().unwrap_or(0)) + 1;
        let word = |length: u64| digits(length) + length + 5;
        let (first, second) = match self {
            Self::Write(id) => (3, Some(digits(*id))),
            Self::Part(id) => (4, Some(digits(*id))),
            Self::Begin => (5, None),
            Self::End | Self::Ping => (4, None),
            Self::Note(text) => (4, Some(text.len() as u64)),
        };
        4 + word(first) + second.map_or(0, word)
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
        let last = self.entries.iter().rev().map(|entry| &entry.rec);
        let mut bounds = last.take(UNIT_MAX).filter(|rec| matches!(rec, Rec::Begin | Rec::End));
        bounds.next() == Some(&Rec::Begin)
    }

    /// Drops half a transaction at the end, as a loader does.
    pub fn cut_half(&mut self) {
        while self.ends_in_half() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_as_long_as_its_offset_says() {
        let texts =
            ["", "redisha:start:1.0:a1", &"x".repeat(120)].map(|text| Rec::Note(text.into()));
        let ids = [0, 9, 10, 99_999, u64::MAX].into_iter();
        let all = ids.flat_map(|id| [Rec::Write(id), Rec::Part(id)]);
        for rec in all.chain(texts).chain([Rec::Begin, Rec::End, Rec::Ping]) {
            let mut bytes = Vec::new();
            rec.encode(&mut bytes);
            assert_eq!(bytes.len() as u64, rec.len(), "{rec:?}");
        }
    }
}
