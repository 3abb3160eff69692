//! A block of entries: their ids are differences to the block's own, and the fields that the first
//! entry has are written once.
//!
//! The bytes are the items of a listpack as RDB files carry it, from `num-fields` on:
//!
//! ```text
//! num-fields field… 0 | flags ms seq [num-fields] field value … items | flags ms …
//! ```
//!
//! An entry with the block's own fields has only values. `items` is the number of items of the
//! entry before it, which leads a reader from the end to its start. A deleted entry stays, marked.

use super::Id;
use super::listpack::{END, Item, before, push, push_int, read, skip};

const DELETED: u8 = 1;
const SAME_FIELDS: u8 = 2;

/// Items of an entry beside its fields and values: flags, both halves of the id, and their number.
const FRAME: usize = 3;

#[derive(Clone, Debug)]
pub struct Block {
    /// The id of the first entry that it ever had.
    pub id: Id,
    pub live: u32,
    /// Entries that are marked as deleted.
    pub dead: u32,
    fields: u32,
    /// Where the entries begin in `data`.
    body: u32,
    data: Vec<u8>,
}

/// Where an entry lies, and what its head says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub id: Id,
    pub deleted: bool,
    pub same: bool,
    /// Where its flags are.
    pub start: usize,
    /// Where its fields, or values only, begin.
    pub items: usize,
    /// Fields with a value.
    pub fields: usize,
}

impl Block {
    /// An empty block for an entry with these fields: `at(0)`, `at(2)`, ….
    pub fn new<'k>(id: Id, fields: usize, at: impl Fn(usize) -> Item<'k>) -> Self {
        let mut data = Vec::new();
        push_int(&mut data, fields as i64);
        for field in 0..fields {
            push(&mut data, at(field * 2));
        }
        push_int(&mut data, 0);
        Self { id, live: 0, dead: 0, fields: fields as u32, body: data.len() as u32, data }
    }

    /// Bytes of the whole as a listpack, which the bound on a block's size is about.
    pub fn listpack_bytes(&self) -> usize {
        let int = |n: u32| match n {
            0..=127 => 2,
            128..=4095 => 3,
            4096..=32_767 => 4,
            _ => 5,
        };
        6 + int(self.live) + int(self.dead) + self.data.len() + 1
    }

    /// Bytes on the heap.
    pub fn memory(&self) -> usize {
        self.data.capacity()
    }

    pub fn shrink(&mut self) {
        self.data.shrink_to_fit();
    }

    /// Appends an entry of `fields` pairs: field `i` is `at(2 * i)`, its value the next.
    pub fn append<'k>(&mut self, id: Id, fields: usize, at: impl Fn(usize) -> Item<'k>) {
        let same = self.has_fields(fields, &at);
        let data = &mut self.data;
        push_int(data, i64::from(if same { SAME_FIELDS } else { 0 }));
        push_int(data, id.ms.wrapping_sub(self.id.ms).cast_signed());
        push_int(data, id.seq.wrapping_sub(self.id.seq).cast_signed());
        if same {
            for field in 0..fields {
                push(data, at(field * 2 + 1));
            }
            push_int(data, (fields + FRAME) as i64);
        } else {
            push_int(data, fields as i64);
            for item in 0..fields * 2 {
                push(data, at(item));
            }
            push_int(data, (fields * 2 + 1 + FRAME) as i64);
        }
        self.live += 1;
    }

    /// Whether an entry's fields are the block's own.
    fn has_fields<'k>(&self, fields: usize, at: impl Fn(usize) -> Item<'k>) -> bool {
        if fields != self.fields as usize {
            return false;
        }
        let mut from = skip(&self.data, 0);
        for field in 0..fields {
            let (item, next) = read(&self.data, from);
            if !item.same(at(field * 2)) {
                return false;
            }
            from = next;
        }
        true
    }

    pub(super) fn first(&self) -> usize {
        self.body as usize
    }

    pub(super) fn end(&self) -> usize {
        self.data.len()
    }

    /// The head of the entry that starts at `start`, which is below [`Self::end`].
    #[inline]
    pub(super) fn head(&self, start: usize) -> Head {
        let data = &self.data;
        let flags = data[start];
        let (ms, at) = read(data, start + 2);
        let (seq, mut items) = read(data, at);
        let id = Id {
            ms: self.id.ms.wrapping_add(ms.number().cast_unsigned()),
            seq: self.id.seq.wrapping_add(seq.number().cast_unsigned()),
        };
        let same = flags & SAME_FIELDS != 0;
        let mut fields = self.fields as usize;
        if !same {
            let (count, next) = read(data, items);
            fields = count.number() as usize;
            items = next;
        }
        Head { id, deleted: flags & DELETED != 0, same, start, items, fields }
    }

    /// Where the entry after this one starts.
    #[inline]
    pub(super) fn after(&self, head: &Head) -> usize {
        let mut at = head.items;
        for _ in 0..if head.same { head.fields } else { head.fields * 2 } {
            at = skip(&self.data, at);
        }
        skip(&self.data, at)
    }

    /// Where the entry starts that ends at `end`; none before the first.
    pub(super) fn entry_before(&self, end: usize) -> Option<usize> {
        if end <= self.first() {
            return None;
        }
        let mut at = before(&self.data, end);
        for _ in 0..read(&self.data, at).0.number() {
            at = before(&self.data, at);
        }
        Some(at)
    }

    /// The id of the last entry, deleted or not.
    pub(super) fn last_id(&self) -> Id {
        self.entry_before(self.end()).map_or(self.id, |start| self.head(start).id)
    }

    pub(super) fn mark_deleted(&mut self, start: usize) {
        self.data[start] |= DELETED;
        self.live -= 1;
        self.dead += 1;
    }

    /// Calls `each` with every field and value of an entry, in turn.
    #[inline]
    pub(super) fn each<'b>(&'b self, head: &Head, mut each: impl FnMut(Item<'b>)) {
        let mut at = head.items;
        if !head.same {
            for _ in 0..head.fields * 2 {
                let (item, next) = read(&self.data, at);
                each(item);
                at = next;
            }
            return;
        }
        let mut field_at = skip(&self.data, 0);
        for _ in 0..head.fields {
            let (field, next) = read(&self.data, field_at);
            field_at = next;
            each(field);
            let (value, next) = read(&self.data, at);
            at = next;
            each(value);
        }
    }

    /// Writes the block as the listpack that RDB files carry.
    pub fn write_listpack(&self, out: &mut Vec<u8>) {
        // The number of items need not be known.
        let total = self.listpack_bytes() as u32;
        out.extend_from_slice(&total.to_le_bytes());
        out.extend_from_slice(&u16::MAX.to_le_bytes());
        push_int(out, i64::from(self.live));
        push_int(out, i64::from(self.dead));
        out.extend_from_slice(&self.data);
        out.push(END);
    }
}
