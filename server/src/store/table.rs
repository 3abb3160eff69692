//! A hash table that grows and shrinks in small steps and can be walked in the order of its hashes.
//!
//! Extendible hashing: a directory, indexed by the top bits of a key's hash, leads to segments of
//! at most [`SEGMENT_MAX`] slots. A full segment splits into two, two nearly empty neighbours
//! merge; neither touches any other segment, so no operation is ever long. A position in the hash
//! space means the same in every layout, which is what SCAN cursors and snapshots are built on.
//! How a segment keeps its entries is told in [`segment`].

mod segment;

use super::seed::Seed;
use segment::Segment;
use std::num::NonZeroU64;

/// Slots that a segment has before it splits.
pub const SEGMENT_MAX: usize = 1024;
/// Bits of the hash that a slot keeps; positions in hash space are numbers below `1 << HASH_BITS`.
pub const HASH_BITS: u32 = 37;
/// The first position behind the hash space.
pub const HASH_END: u64 = 1 << HASH_BITS;
/// The directory stops growing here; beyond it, segments grow instead.
const DEPTH_MAX: u32 = 28;
const FLAG_SHIFT: u32 = 64 - HASH_BITS;
/// Always set, so that an empty slot is told by its first word alone.
const PRESENT: NonZeroU64 = NonZeroU64::new(1 << 26).expect("one bit");
/// Set in a slot when the entry carries an expiry time.
pub const VOLATILE: u64 = 1 << 25;
/// Set when the running snapshot already holds the entry, or must never hold it.
pub const SAVED: u64 = 1 << 24;
/// The bits of a slot in which eviction keeps when or how often the entry was used.
const CLOCK: u64 = (1 << 24) - 1;

/// What a table stores: anything that knows its own key.
pub trait Keyed {
    fn key(&self) -> &[u8];
}

/// A member of a set, or any entry that is nothing but its key.
impl Keyed for Box<[u8]> {
    fn key(&self) -> &[u8] {
        self
    }
}

/// An entry with the bits kept beside it: 37 of its hash, two flags, 24 of eviction's clock.
#[derive(Clone, Debug)]
pub struct Slot<E> {
    meta: NonZeroU64,
    pub entry: E,
}

impl<E> Slot<E> {
    fn new(position: u64, entry: E) -> Self {
        Self { meta: PRESENT | (position << FLAG_SHIFT), entry }
    }

    /// Where in hash space this entry lies.
    #[inline]
    pub fn position(&self) -> u64 {
        self.meta.get() >> FLAG_SHIFT
    }

    #[inline]
    pub fn has(&self, flag: u64) -> bool {
        self.meta.get() & flag != 0
    }

    #[inline]
    pub fn set(&mut self, flag: u64, on: bool) {
        let cleared = self.meta.get() & !flag;
        self.meta = PRESENT | cleared | if on { flag } else { 0 };
    }

    /// What eviction keeps about the entry, 24 bits.
    #[inline]
    pub fn clock(&self) -> u32 {
        (self.meta.get() & CLOCK) as u32
    }

    #[inline]
    pub fn set_clock(&mut self, clock: u32) {
        self.meta = PRESENT | (self.meta.get() & !CLOCK) | (u64::from(clock) & CLOCK);
    }
}

/// Where an entry lies in a table that has not changed since.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    segment: usize,
    index: usize,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Table<E> {
    seed: Seed,
    depth: u32,
    directory: Vec<u32>,
    segments: Vec<Segment<E>>,
    free: Vec<u32>,
    len: usize,
}

impl<E> Table<E> {
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            depth: 0,
            directory: vec![0],
            segments: vec![Segment::new(0)],
            free: Vec::new(),
            len: 0,
        }
    }

    pub fn seed(&self) -> Seed {
        self.seed
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The position of a key in hash space.
    #[inline]
    pub fn position(&self, key: &[u8]) -> u64 {
        self.seed.hash(key) >> FLAG_SHIFT
    }

    #[inline]
    fn directory_index(&self, position: u64) -> usize {
        (position >> (HASH_BITS - self.depth)) as usize
    }

    #[inline]
    fn segment_of(&self, position: u64) -> usize {
        self.directory[self.directory_index(position)] as usize
    }

    /// The entry at this position that `same` recognises.
    #[inline]
    pub fn find(&self, position: u64, same: impl FnMut(&E) -> bool) -> Option<&Slot<E>> {
        let segment = &self.segments[self.segment_of(position)];
        segment.search(position, same).ok().map(|index| segment.slot(index))
    }

    /// Where the entry at this position lies that `same` recognises, until the table next changes.
    #[inline]
    pub fn locate(&self, position: u64, same: impl FnMut(&E) -> bool) -> Option<Place> {
        let segment = self.segment_of(position);
        let index = self.segments[segment].search(position, same).ok()?;
        Some(Place { segment, index })
    }

    #[inline]
    pub fn at(&self, place: Place) -> &Slot<E> {
        self.segments[place.segment].slot(place.index)
    }

    #[inline]
    pub fn at_mut(&mut self, place: Place) -> &mut Slot<E> {
        self.segments[place.segment].slot_mut(place.index)
    }

    /// As [`Self::find`], to change the entry (never its key).
    #[inline]
    pub fn find_mut(
        &mut self,
        position: u64,
        same: impl FnMut(&E) -> bool,
    ) -> Option<&mut Slot<E>> {
        self.locate(position, same).map(|place| self.at_mut(place))
    }

    /// Adds an entry that the caller knows to be absent.
    pub fn insert_new(&mut self, position: u64, entry: E) -> &mut Slot<E> {
        self.len += 1;
        let mut slot = Slot::new(position, entry);
        loop {
            let segment = self.segment_of(position);
            match self.segments[segment].insert(slot) {
                Ok(index) => return self.at_mut(Place { segment, index }),
                Err(refused) => slot = refused,
            }
            let full = &mut self.segments[segment];
            if full.size() < SEGMENT_MAX || full.depth >= DEPTH_MAX {
                full.grow();
            } else {
                self.split(segment, position);
            }
        }
    }

    /// Finds the entry, or adds the one that `make` builds. The flag tells whether it is new.
    #[inline]
    pub fn find_or_insert(
        &mut self,
        position: u64,
        same: impl FnMut(&E) -> bool,
        make: impl FnOnce() -> E,
    ) -> (&mut Slot<E>, bool) {
        match self.locate(position, same) {
            Some(place) => (self.at_mut(place), false),
            None => (self.insert_new(position, make()), true),
        }
    }

    /// Removes the entry at this position that `same` recognises.
    pub fn remove_at(&mut self, position: u64, same: impl FnMut(&E) -> bool) -> Option<Slot<E>> {
        let place = self.locate(position, same)?;
        Some(self.remove_place(place, position))
    }

    /// Removes the entry that was located at `position`.
    pub fn remove_place(&mut self, place: Place, position: u64) -> Slot<E> {
        let slot = self.segments[place.segment].remove(place.index);
        self.len -= 1;
        self.shrink(place.segment, position);
        slot
    }

    fn split(&mut self, index: usize, position: u64) {
        let depth = self.segments[index].depth;
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&s| [s, s]).collect();
            self.depth += 1;
        }
        let bit = 1u64 << (HASH_BITS - depth - 1);
        let middle = position & !(bit | (bit - 1)) | bit;
        let high = self.segments[index].split(middle);
        let new = self.place(high);
        let start = self.directory_index(middle);
        let span = 1usize << (self.depth - depth - 1);
        self.directory[start..start + span].fill(new);
    }

    fn place(&mut self, segment: Segment<E>) -> u32 {
        if let Some(index) = self.free.pop() {
            self.segments[index as usize] = segment;
            index
        } else {
            self.segments.push(segment);
            (self.segments.len() - 1) as u32
        }
    }

    /// Gives memory back after a removal: merges a segment with its neighbour when both together
    /// would be a quarter full, and lets a sparse one's array shrink.
    fn shrink(&mut self, index: usize, position: u64) {
        let segment = &mut self.segments[index];
        segment.shrink();
        let (len, depth) = (segment.len(), segment.depth);
        if depth == 0 || len * 8 >= SEGMENT_MAX {
            return;
        }
        let bit = 1u64 << (HASH_BITS - depth);
        let start = position & !(bit | (bit - 1));
        let other = self.segment_of((position ^ bit) & !(bit - 1));
        let both = len + self.segments[other].len();
        if self.segments[other].depth != depth || both * 4 > SEGMENT_MAX {
            return;
        }
        let moved = std::mem::replace(&mut self.segments[other], Segment::new(0));
        self.segments[index].merge(moved);
        self.free.push(other as u32);
        let first = self.directory_index(start);
        let span = 1usize << (self.depth - depth + 1);
        self.directory[first..first + span].fill(index as u32);
        if depth == self.depth {
            self.halve();
        }
    }

    /// Halves the directory as often as no segment needs its full depth.
    fn halve(&mut self) {
        while self.depth > 0 && self.directory.chunks(2).all(|pair| pair[0] == pair[1]) {
            self.directory = self.directory.iter().step_by(2).copied().collect();
            self.depth -= 1;
        }
    }

    /// Where the segment that covers `position` ends in hash space.
    pub fn segment_end(&self, position: u64) -> u64 {
        let depth = self.segments[self.segment_of(position)].depth;
        let width = 1u64 << (HASH_BITS - depth);
        (position & !(width - 1)) + width
    }

    /// The entries at `position` and behind it, of the segment that covers it, in order.
    pub fn segment_from_mut(&mut self, position: u64) -> impl Iterator<Item = &mut Slot<E>> {
        let segment = self.segment_of(position);
        self.segments[segment].iter_from_mut(position)
    }

    /// The entries of the segment that covers `position`, in order.
    pub fn segment_iter(&self, position: u64) -> impl Iterator<Item = &Slot<E>> {
        self.segments[self.segment_of(position)].iter()
    }

    /// All entries, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Slot<E>> {
        self.segments.iter().flat_map(Segment::iter)
    }

    /// Visits entries in hash order from a position on, around the end and at most once, until
    /// `f` returns false. Returns where it stopped.
    pub fn visit_from<'a>(&'a self, position: u64, mut f: impl FnMut(&'a Slot<E>) -> bool) -> u64 {
        let first = position % HASH_END;
        let (mut at, mut around) = (first, false);
        loop {
            for slot in self.segments[self.segment_of(at)].iter_from(at) {
                if around && slot.position() >= first || !f(slot) {
                    return slot.position();
                }
            }
            at = self.segment_end(at);
            if at >= HASH_END {
                (at, around) = (0, true);
            }
            if around && at >= first {
                return first;
            }
        }
    }

    /// One step of a scan: calls `f` for about `count` entries from `cursor` on, in hash order,
    /// and returns where to go on, 0 at the end. Every entry that is present throughout a whole
    /// scan is met, whatever is added, removed or resized between its steps, and on any node with
    /// the same seed. Entries of one position are met together.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&Slot<E>)) -> u64 {
        let mut position = cursor;
        let mut left = count.max(1);
        while position < HASH_END {
            let mut last = None;
            for slot in self.segments[self.segment_of(position)].iter_from(position) {
                if left == 0 && last != Some(slot.position()) {
                    return slot.position();
                }
                left = left.saturating_sub(1);
                last = Some(slot.position());
                f(slot);
            }
            position = self.segment_end(position);
            if left == 0 {
                break;
            }
        }
        if position >= HASH_END { 0 } else { position }
    }

    /// An entry picked by a source of random numbers, nearly evenly.
    pub fn random(&self, mut next: impl FnMut() -> u64) -> Option<&Slot<E>> {
        if self.len == 0 {
            return None;
        }
        loop {
            let segment = &self.segments[self.segment_of(next() >> FLAG_SHIFT)];
            if segment.len() == 0 {
                continue;
            }
            for _ in 0..64 {
                // Multiplying takes the number's high half, which a modulo would not use.
                let index = ((u128::from(next()) * segment.size() as u128) >> 64) as usize;
                if let Some(slot) = segment.get(index) {
                    return Some(slot);
                }
            }
            return segment.iter().next();
        }
    }

    /// Bytes of the table itself, without what entries own.
    pub fn memory(&self) -> usize {
        let slots: usize = self.segments.iter().map(Segment::size).sum();
        slots * size_of::<Slot<E>>()
            + self.directory.len() * 4
            + self.segments.len() * size_of::<Segment<E>>()
    }
}

impl<E: Keyed> Table<E> {
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&Slot<E>> {
        self.find(self.position(key), |e| e.key() == key)
    }

    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Slot<E>> {
        self.find_mut(self.position(key), |e| e.key() == key)
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Finds the entry of `key`, or adds the one that `make` builds. The flag tells which.
    pub fn get_or_insert(&mut self, key: &[u8], make: impl FnOnce() -> E) -> (&mut Slot<E>, bool) {
        self.find_or_insert(self.position(key), |e| e.key() == key, make)
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<Slot<E>> {
        self.remove_at(self.position(key), |e| e.key() == key)
    }
}

#[cfg(test)]
mod tests;
