//! Building a stream from a file or a payload, whose facts are checked against each other: what is
//! built is sound whatever the bytes were.

use super::{Id, Item, Stream};

/// What a file tells about a stream beside its entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub len: u64,
    pub last_id: Id,
    pub max_deleted: Id,
    pub added: u64,
}

impl Stream {
    /// Begins a block for entries with these fields. `false` when its id does not follow the entries
    /// that are there.
    #[must_use]
    pub fn load_block<'k>(
        &mut self,
        id: Id,
        fields: usize,
        at: impl Fn(usize) -> Item<'k>,
    ) -> bool {
        self.drop_empty_block();
        let follows = self.blocks.is_empty() || id > self.last_id;
        if follows {
            self.begin_block(id, fields, at);
        }
        follows
    }

    /// Adds an entry to the block that was begun. `false` when its id does not follow.
    #[must_use]
    pub fn load_entry<'k>(
        &mut self,
        id: Id,
        fields: usize,
        at: impl Fn(usize) -> Item<'k>,
    ) -> bool {
        let Some(block) = self.blocks.back_mut().filter(|block| id >= block.id) else {
            return false;
        };
        if id <= self.last_id {
            return false;
        }
        block.append(id, fields, at);
        self.len += 1;
        self.last_id = id;
        true
    }

    /// A block whose entries are all deleted is not kept.
    fn drop_empty_block(&mut self) {
        if self.blocks.back().is_some_and(|block| block.live == 0) {
            self.blocks.pop_back();
        }
    }

    /// Ends the loading of entries. `false` when the facts contradict them.
    #[must_use]
    pub fn end_load(&mut self, facts: &Facts) -> bool {
        self.drop_empty_block();
        if let Some(last) = self.blocks.back_mut() {
            last.shrink();
        }
        let sound = self.len == facts.len && facts.last_id >= self.last_id;
        self.last_id = facts.last_id;
        self.max_deleted = facts.max_deleted;
        self.added = facts.added;
        self.find_first();
        sound
    }
}
