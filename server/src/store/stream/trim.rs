//! Trimming from the front.

use super::{Id, Stream};

/// What XADD and XTRIM keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// This many entries.
    Len(u64),
    /// Entries from this id on.
    From(Id),
}

impl Stream {
    /// Removes entries from the front; returns how many. `whole` removes only whole blocks, at most
    /// `limit` entries; 0 is without a limit.
    pub fn trim(&mut self, keep: Trim, whole: bool, limit: u64) -> u64 {
        let mut removed = 0;
        while let Some(block) = self.blocks.front() {
            if matches!(keep, Trim::Len(most) if self.len <= most) {
                break;
            }
            let live = u64::from(block.live);
            if limit > 0 && removed + live > limit {
                break;
            }
            let all = match keep {
                Trim::Len(most) => self.len - live >= most,
                Trim::From(id) => block.last_id() < id,
            };
            if all {
                self.blocks.pop_front();
                self.len -= live;
                removed += live;
                continue;
            }
            if !whole {
                removed += self.trim_first_block(keep);
            }
            break;
        }
        if removed > 0 {
            self.find_first();
        }
        removed
    }

    /// Marks entries of the first block, which keeps some.
    fn trim_first_block(&mut self, keep: Trim) -> u64 {
        let block = &mut self.blocks[0];
        let mut removed = 0;
        let mut start = block.first();
        while start < block.end() {
            let head = block.head(start);
            let stop = match keep {
                Trim::Len(most) => self.len <= most,
                Trim::From(id) => head.id >= id,
            };
            if stop {
                break;
            }
            start = block.after(&head);
            if !head.deleted {
                block.mark_deleted(head.start);
                self.len -= 1;
                removed += 1;
            }
        }
        removed
    }
}
