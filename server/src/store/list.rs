//! A list: a deque of packed chunks.

use super::limits::Limits;
use super::pack::{Pack, cost};
use std::collections::VecDeque;

/// Which end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Left,
    Right,
}

/// Elements by index from either end. No chunk is ever empty.
#[derive(Clone, Debug, Default)]
pub struct List {
    chunks: VecDeque<Pack>,
    len: usize,
    /// Grown beyond one chunk, and not yet shrunk to half of one: only what OBJECT ENCODING says.
    quick: bool,
}

impl List {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn encoding(&self) -> &'static str {
        if self.quick { "quicklist" } else { "listpack" }
    }

    /// Estimated bytes.
    pub fn memory(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Pack::memory).sum();
        chunks + self.chunks.len() * size_of::<Pack>() + size_of::<Self>()
    }

    pub fn push(&mut self, end: End, element: &[u8], limits: &Limits) {
        match end {
            End::Left => self.push_front(element, limits),
            End::Right => self.push_back(element, limits),
        }
    }

    pub fn push_back(&mut self, element: &[u8], limits: &Limits) {
        self.len += 1;
        if let Some(chunk) = self.chunks.back_mut()
            && limits.chunk_fits(chunk.len() + 1, chunk.bytes() + cost(element.len()))
        {
            return chunk.push_back(element);
        }
        let mut chunk = Pack::new();
        chunk.push_back(element);
        self.chunks.push_back(chunk);
        self.note_growth(limits);
    }

    pub fn push_front(&mut self, element: &[u8], limits: &Limits) {
        self.len += 1;
        if let Some(chunk) = self.chunks.front_mut()
            && limits.chunk_fits(chunk.len() + 1, chunk.bytes() + cost(element.len()))
        {
            return chunk.push_front(element);
        }
        let mut chunk = Pack::new();
        chunk.push_front(element);
        self.chunks.push_front(chunk);
        self.note_growth(limits);
    }

    fn note_growth(&mut self, limits: &Limits) {
        if self.chunks.len() > 1 {
            self.quick = true;
        } else if let Some(only) = self.chunks.front() {
            self.quick |= !limits.chunk_fits(only.len(), only.bytes());
        }
    }

    /// After removals: a list within half a chunk counts as small again.
    fn note_shrink(&mut self, limits: &Limits) {
        if self.quick && self.chunks.len() <= 1 {
            let (len, bytes) = self.chunks.front().map_or((0, 0), |c| (c.len(), c.bytes()));
            self.quick = !limits.chunk_fits(len * 2, bytes * 2);
        }
    }

    /// The element at an end.
    pub fn peek(&self, end: End) -> Option<&[u8]> {
        match end {
            End::Left => self.chunks.front()?.front(),
            End::Right => self.chunks.back()?.back(),
        }
    }

    /// Removes the element at an end, if there is one.
    pub fn drop_end(&mut self, end: End, limits: &Limits) {
        let chunk = match end {
            End::Left => self.chunks.front_mut(),
            End::Right => self.chunks.back_mut(),
        };
        let Some(chunk) = chunk else { return };
        match end {
            End::Left => chunk.drop_front(),
            End::Right => chunk.drop_back(),
        }
        self.len -= 1;
        if chunk.is_empty() {
            match end {
                End::Left => self.chunks.pop_front(),
                End::Right => self.chunks.pop_back(),
            };
        }
        self.note_shrink(limits);
    }

    pub fn pop(&mut self, end: End, limits: &Limits) -> Option<Vec<u8>> {
        let element = self.peek(end)?.to_vec();
        self.drop_end(end, limits);
        Some(element)
    }

    /// The chunk that holds the element of this index, and the index within it.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index * 2 <= self.len {
            let mut left = index;
            for (i, chunk) in self.chunks.iter().enumerate() {
                if left < chunk.len() {
                    return Some((i, left));
                }
                left -= chunk.len();
            }
        } else {
            let mut behind = self.len - index;
            for (i, chunk) in self.chunks.iter().enumerate().rev() {
                if behind <= chunk.len() {
                    return Some((i, chunk.len() - behind));
                }
                behind -= chunk.len();
            }
        }
        None
    }

    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (chunk, inner) = self.locate(index)?;
        self.chunks[chunk].get(inner)
    }

    /// Replaces the element of this index; `false` when there is none.
    pub fn set(&mut self, index: usize, element: &[u8], limits: &Limits) -> bool {
        let Some((chunk, inner)) = self.locate(index) else { return false };
        let pack = &mut self.chunks[chunk];
        // A list without room for one element more counts as grown, though it only changes.
        self.quick |= !limits.chunk_fits(self.len + 1, pack.bytes() + element.len());
        let offset = pack.offset_of(inner);
        pack.replace_at(offset, element);
        self.fit(chunk, limits);
        true
    }

    /// Inserts so that the element gets this index, at most `len()`.
    pub fn insert(&mut self, index: usize, element: &[u8], limits: &Limits) {
        let Some((chunk, inner)) = self.locate(index) else {
            return self.push_back(element, limits);
        };
        let pack = &mut self.chunks[chunk];
        let offset = pack.offset_of(inner);
        pack.insert_at(offset, element);
        self.len += 1;
        self.fit(chunk, limits);
    }

    /// Splits a chunk that grew beyond its bound, as often as needed.
    fn fit(&mut self, chunk: usize, limits: &Limits) {
        let pack = &mut self.chunks[chunk];
        if pack.len() > 1 && !limits.chunk_fits(pack.len(), pack.bytes()) {
            let half = pack.len() / 2;
            let tail = pack.split_off(half);
            self.chunks.insert(chunk + 1, tail);
            self.fit(chunk + 1, limits);
            self.fit(chunk, limits);
        }
        self.note_growth(limits);
        self.note_shrink(limits);
    }

    /// Removes `count` elements from `start` on, as far as they exist.
    pub fn remove_range(&mut self, start: usize, count: usize, limits: &Limits) {
        let mut left = count.min(self.len.saturating_sub(start));
        while left > 0 {
            let Some((chunk, inner)) = self.locate(start) else { return };
            let pack = &mut self.chunks[chunk];
            let here = left.min(pack.len() - inner);
            if here == pack.len() {
                self.chunks.remove(chunk);
            } else {
                let offset = pack.offset_of(inner);
                pack.remove_at(offset, here);
            }
            self.len -= here;
            left -= here;
        }
        self.note_shrink(limits);
    }

    /// Removes elements equal to `element`: the first `count` from an end on. Returns how many.
    pub fn remove_equal(
        &mut self,
        end: End,
        element: &[u8],
        count: usize,
        limits: &Limits,
    ) -> usize {
        let mut removed = 0;
        let mut step = 0;
        while step < self.chunks.len() && removed < count {
            let index = if end == End::Left { step } else { self.chunks.len() - 1 - step };
            removed += remove_from_chunk(&mut self.chunks[index], end, element, count - removed);
            if self.chunks[index].is_empty() {
                self.chunks.remove(index);
            } else {
                step += 1;
            }
        }
        self.len -= removed;
        self.note_shrink(limits);
        removed
    }

    /// All elements in order, from both ends.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.chunks.iter().flat_map(Pack::iter)
    }

    /// The elements from `start` on, in order.
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = &[u8]> {
        let (chunk, inner) = self.locate(start).unwrap_or((self.chunks.len(), 0));
        self.chunks.range(chunk..).flat_map(Pack::iter).skip(inner)
    }
}

/// Rebuilds one chunk without the first `count` equal elements from an end.
fn remove_from_chunk(pack: &mut Pack, end: End, element: &[u8], count: usize) -> usize {
    let hits = pack.iter().filter(|e| *e == element).count();
    if hits == 0 {
        return 0;
    }
    let skip = if end == End::Right { hits.saturating_sub(count) } else { 0 };
    let mut seen = 0;
    let mut removed = 0;
    let mut kept = Pack::new();
    for e in pack.iter() {
        if e == element {
            seen += 1;
            if seen > skip && removed < count {
                removed += 1;
                continue;
            }
        }
        kept.push_back(e);
    }
    *pack = kept;
    removed
}
