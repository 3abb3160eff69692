//! A stream: entries under growing ids, and the groups that read it.
//!
//! Entries lie in packed blocks, found by their first ids. A block is bounded by the directives
//! `stream-node-max-bytes` and `stream-node-max-entries`; trimming with `~` removes whole blocks.

mod block;
mod group;
mod listpack;
mod load;
mod range;
mod trim;

pub use block::Block;
pub use group::{Consumer, Group, Nack, UNKNOWN_READ};
pub use listpack::Item;
pub use load::Facts;
pub use range::Entry;
pub use trim::Trim;

use super::limits::Limits;
use std::collections::{BTreeMap, VecDeque};

/// Fields and values of an entry together, in bytes.
pub const MAX_ENTRY_BYTES: usize = 1 << 30;

/// The id of an entry: milliseconds, and a number among those of the same millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub ms: u64,
    pub seq: u64,
}

/// Room for the text of any id.
pub type IdBuf = [u8; 41];

impl Id {
    pub const MIN: Id = Id { ms: 0, seq: 0 };
    pub const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    pub fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Writes `ms-seq` into a buffer and returns it.
    #[inline]
    pub fn text(self, buf: &mut IdBuf) -> &[u8] {
        let mut digits = itoa::Buffer::new();
        let ms = digits.format(self.ms).as_bytes();
        let split = ms.len();
        buf[..split].copy_from_slice(ms);
        buf[split] = b'-';
        let mut digits = itoa::Buffer::new();
        let seq = digits.format(self.seq).as_bytes();
        let end = split + 1 + seq.len();
        buf[split + 1..end].copy_from_slice(seq);
        &buf[..end]
    }

    /// As RDB files hold it: 128 bits, the first ones the greatest.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.ms.to_be_bytes());
        bytes[8..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let all = u128::from_be_bytes(bytes);
        Self { ms: (all >> 64) as u64, seq: all as u64 }
    }
}

/// See the module's text. An empty stream is a value too.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// In order of their ids; a block that has lost its last entry by XDEL is gone.
    blocks: VecDeque<Block>,
    len: u64,
    /// The first entry's id; [`Id::MIN`] when there is none.
    first: Id,
    /// The greatest id that an entry ever had, or that XSETID set.
    pub last_id: Id,
    /// The greatest id that XDEL removed.
    pub max_deleted: Id,
    /// Entries ever added, as far as it is known.
    pub added: u64,
    pub groups: BTreeMap<Box<[u8]>, Group>,
}

impl Stream {
    pub fn new() -> Self {
        Self::default()
    }

    /// Entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first entry's id; [`Id::MIN`] when there is none.
    pub fn first_id(&self) -> Id {
        self.first
    }

    #[allow(clippy::unused_self)] // as for the other types
    pub fn encoding(&self) -> &'static str {
        "stream"
    }

    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.blocks.iter()
    }

    /// Estimated bytes.
    pub fn memory(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(Block::memory).sum();
        let groups: usize =
            self.groups.iter().map(|(name, group)| name.len() + 32 + group.memory()).sum();
        size_of::<Self>() + self.blocks.capacity() * size_of::<Block>() + blocks + groups
    }

    /// The id that an entry gets at this time when the client leaves it to the server; `None` when
    /// there is none left.
    pub fn next_id(&self, now_ms: u64) -> Option<Id> {
        if now_ms > self.last_id.ms { Some(Id::new(now_ms, 0)) } else { self.last_id.next() }
    }

    /// Adds an entry of `fields` pairs: field `i` is `at(2 * i)`, its value the next. The id must
    /// be above [`Self::last_id`].
    pub fn append<'k>(
        &mut self,
        id: Id,
        fields: usize,
        at: impl Fn(usize) -> &'k [u8],
        limits: &Limits,
    ) {
        let bytes: usize = (0..fields * 2).map(|item| at(item).len()).sum();
        let at = |item| Item::Bytes(at(item));
        if self.blocks.back().is_none_or(|block| limits.block_is_full(block, bytes)) {
            self.begin_block(id, fields, at);
        }
        if let Some(block) = self.blocks.back_mut() {
            block.append(id, fields, at);
        }
        self.len += 1;
        self.added = self.added.wrapping_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first = id;
        }
    }

    fn begin_block<'k>(&mut self, id: Id, fields: usize, at: impl Fn(usize) -> Item<'k>) {
        match self.blocks.back_mut() {
            Some(full) => full.shrink(),
            // Most streams of a large keyspace are short.
            None => self.blocks.reserve_exact(1),
        }
        self.blocks.push_back(Block::new(id, fields, at));
    }

    /// The index of the block that may hold this id.
    fn block_of(&self, id: Id) -> usize {
        // Readers at the end are the most common ones.
        match self.blocks.back() {
            Some(last) if last.id <= id => self.blocks.len() - 1,
            _ => self.blocks.partition_point(|block| block.id <= id).saturating_sub(1),
        }
    }

    pub fn contains(&self, id: Id) -> bool {
        self.range(id, id).next().is_some()
    }

    /// Removes entries as XDEL does; returns whether it was there.
    pub fn delete(&mut self, id: Id) -> bool {
        let index = self.block_of(id);
        let Some(start) = self.range(id, id).next().map(|entry| entry.start()) else {
            return false;
        };
        let block = &mut self.blocks[index];
        if block.live == 1 {
            self.blocks.remove(index);
        } else {
            block.mark_deleted(start);
        }
        self.len -= 1;
        self.max_deleted = self.max_deleted.max(id);
        if self.first == id || self.len == 0 {
            self.find_first();
        }
        true
    }

    fn find_first(&mut self) {
        self.first = self.range(Id::MIN, Id::MAX).next().map_or(Id::MIN, |entry| entry.id());
    }

    /// The id of the last entry.
    pub fn last_entry_id(&self) -> Id {
        self.range_back(Id::MIN, Id::MAX).next().map_or(Id::MIN, |entry| entry.id())
    }

    /// The id of the first entry, deleted ones included; [`Id::MAX`] when there is none.
    pub fn first_id_ever_kept(&self) -> Id {
        self.blocks.front().map_or(Id::MAX, |block| block.id)
    }

    /// The nodes of a radix tree over the blocks' ids, which XINFO STREAM tells.
    pub fn radix_nodes(&self) -> usize {
        radix_nodes(self.blocks.iter().map(|block| block.id.to_bytes()))
    }
}

/// Nodes of a compressed radix tree over sorted keys of 16 bytes: one for each key, one for each
/// place where keys part, and one for each run of bytes that keys share or have alone.
fn radix_nodes(keys: impl Iterator<Item = [u8; 16]>) -> usize {
    let mut nodes = 0;
    // Depths at which the path to the last key parts.
    let mut path: Vec<usize> = Vec::new();
    let mut last: Option<[u8; 16]> = None;
    // A run lies between two depths when there are bytes between them; a place of parting takes one.
    let run = |above: Option<usize>, below: usize| usize::from(below > above.map_or(0, |d| d + 1));
    for key in keys {
        if let Some(last) = last {
            let depth = last.iter().zip(&key).take_while(|(a, b)| a == b).count();
            let mut below = 16;
            while let Some(top) = path.pop_if(|top| *top > depth) {
                nodes += run(Some(top), below);
                below = top;
            }
            if path.last() == Some(&depth) {
                nodes += run(Some(depth), below);
            } else {
                nodes += 1 + run(Some(depth), below);
                path.push(depth);
            }
        }
        nodes += 1;
        last = Some(key);
    }
    let mut below = 16;
    while let Some(top) = path.pop() {
        nodes += run(Some(top), below);
        below = top;
    }
    match last {
        None => 1,
        Some(_) => nodes + run(None, below),
    }
}

#[cfg(test)]
mod tests;
