//! What the current command adds to the replication stream.

use crate::resp::encode_command;

/// How a deletion goes into the stream: whoever applies it frees as lazily as this server does.
pub fn deletion(lazy: bool) -> &'static [u8] {
    if lazy { b"UNLINK" } else { b"DEL" }
}

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
    /// It belongs to no command: a key's time came while one ran.
    pub apart: bool,
}

impl Outbox {
    /// Adds a command of database `db`.
    pub fn push<'p, I>(&mut self, db: usize, parts: I)
    where
        I: IntoIterator<Item = &'p [u8]>,
        I::IntoIter: ExactSizeIterator,
    {
        encode_command(&mut self.bytes, parts);
        self.entries.push(Entry { db: db as u32, end: self.bytes.len(), apart: false });
    }

    /// As [`Self::push`], what no command did: with nothing else it needs no transaction.
    pub fn push_apart<'p, I>(&mut self, db: usize, parts: I)
    where
        I: IntoIterator<Item = &'p [u8]>,
        I::IntoIter: ExactSizeIterator,
    {
        self.push(db, parts);
        if let Some(last) = self.entries.last_mut() {
            last.apart = true;
        }
    }

    /// Whether the commands are to be applied one by one.
    pub(super) fn is_apart(&self) -> bool {
        self.entries.len() == 1 || self.entries.iter().all(|entry| entry.apart)
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

#[cfg(test)]
mod tests {
    use super::Outbox;

    /// A SCAN that met two keys whose time had come sent a transaction to the replicas.
    #[test]
    fn what_no_command_did_needs_no_transaction() {
        let mut outbox = Outbox::default();
        outbox.push_apart(0, [b"UNLINK".as_slice(), b"a"]);
        outbox.push_apart(0, [b"UNLINK".as_slice(), b"b"]);
        assert!(outbox.is_apart());
        outbox.push(0, [b"INCR".as_slice(), b"n"]);
        assert!(!outbox.is_apart(), "the command comes together with what it met");
    }
}
