//! What the current command adds to the replication stream.

use crate::resp::encode_command;

/// What became of the running command's own text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verbatim {
    /// It is propagated as it came if it changed something.
    #[default]
    IfDirty,
    /// It is propagated as it came in any case (PUBLISH).
    Always,
    /// The handler said what is propagated instead, or that nothing is.
    Replaced,
}

/// Commands to be propagated, encoded, in order; emptied after every top-level command.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) dirty: u64,
    pub(super) verbatim: Verbatim,
    /// Changes since the last save.
    pub changes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub db: u32,
    pub end: usize,
}

impl Outbox {
    /// Adds a command of database `db`.
    pub fn push<'p, I>(&mut self, db: usize, parts: I)
    where
        I: IntoIterator<Item = &'p [u8]>,
        I::IntoIter: ExactSizeIterator,
    {
        encode_command(&mut self.bytes, parts);
        self.entries.push(Entry { db: db as u32, end: self.bytes.len() });
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The database of the last command.
    pub fn last_db(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.db as usize)
    }

    /// Visits the commands in order as (database, encoded bytes).
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let bytes = &self.bytes[start..entry.end];
            start = entry.end;
            (entry.db, bytes)
        })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what was added after the first `len` commands.
    pub fn truncate(&mut self, len: usize) {
        if len < self.entries.len() {
            self.entries.truncate(len);
            self.bytes.truncate(self.entries.last().map_or(0, |entry| entry.end));
        }
    }

    /// The running command was one of several others, which have said what is propagated.
    pub fn nested_done(&mut self) {
        self.dirty = 0;
        self.verbatim = Verbatim::Replaced;
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}
