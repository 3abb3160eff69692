//! Walking over the entries of a stream, from either end.

use super::block::{Block, Head};
use super::listpack::Item;
use super::{Id, Stream};

/// An entry where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    block: &'a Block,
    head: Head,
}

impl<'a> Entry<'a> {
    #[inline]
    pub fn id(&self) -> Id {
        self.head.id
    }

    /// Pairs of a field and its value.
    #[inline]
    pub fn fields(&self) -> usize {
        self.head.fields
    }

    /// Calls `each` with every field and value, in turn.
    #[inline]
    pub fn each(&self, each: impl FnMut(Item<'a>)) {
        self.block.each(&self.head, each);
    }

    pub(super) fn start(&self) -> usize {
        self.head.start
    }
}

/// The entries from one id to another, both included, in the order of their ids.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    stream: &'a Stream,
    block: usize,
    /// Where the next entry starts in its block.
    at: usize,
    /// The entry that was given last, which is still to be passed over.
    passed: Option<Head>,
    from: Id,
    to: Id,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let block = self.stream.blocks.get(self.block)?;
            if let Some(head) = self.passed.take() {
                self.at = block.after(&head);
            }
            if self.at >= block.end() {
                self.block += 1;
                self.at = self.stream.blocks.get(self.block)?.first();
                continue;
            }
            let head = block.head(self.at);
            if head.id > self.to {
                self.block = usize::MAX;
                return None;
            }
            self.passed = Some(head);
            if !head.deleted && head.id >= self.from {
                return Some(Entry { block, head });
            }
        }
    }
}

/// As [`Entries`], from the greatest id down.
#[derive(Clone, Debug)]
pub struct EntriesBack<'a> {
    stream: &'a Stream,
    /// Blocks up to the one that is walked over.
    blocks: usize,
    /// Where the entry ends that comes next.
    end: usize,
    from: Id,
    to: Id,
}

impl<'a> Iterator for EntriesBack<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let block = self.stream.blocks.get(self.blocks.checked_sub(1)?)?;
            let Some(start) = block.entry_before(self.end) else {
                self.blocks -= 1;
                self.end = self.stream.blocks.get(self.blocks.checked_sub(1)?)?.end();
                continue;
            };
            self.end = start;
            let head = block.head(start);
            if head.id < self.from {
                self.blocks = 0;
                return None;
            }
            if !head.deleted && head.id <= self.to {
                return Some(Entry { block, head });
            }
        }
    }
}

impl Stream {
    /// The entries from one id to another, both included.
    #[inline]
    pub fn range(&self, from: Id, to: Id) -> Entries<'_> {
        let block = self.block_of(from);
        let at = self.blocks.get(block).map_or(0, Block::first);
        Entries { stream: self, block, at, passed: None, from, to }
    }

    /// The same, from the greatest id down.
    pub fn range_back(&self, from: Id, to: Id) -> EntriesBack<'_> {
        let block = self.block_of(to);
        let end = self.blocks.get(block).map_or(0, Block::end);
        EntriesBack { stream: self, blocks: block + 1, end, from, to }
    }
}
