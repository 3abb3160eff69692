//! A hash table that grows and shrinks in small steps and can be walked in the order of its hashes.
//!
//! Extendible hashing: a directory, indexed by the top bits of a key's hash, leads to segments of
//! at most [`SEGMENT_MAX`] entries. A full segment splits into two, two nearly empty neighbours
//! merge; neither touches any other segment, so no operation is ever long. A position in the hash
//! space means the same in every layout, which is what SCAN cursors and snapshots are built on.

use super::seed::Seed;
use hashbrown::HashTable;

/// Entries that a segment holds before it splits: 7/8 of 1024 buckets.
pub const SEGMENT_MAX: usize = 896;
/// Bits of the hash that a slot keeps; positions in hash space are numbers below `1 << HASH_BITS`.
pub const HASH_BITS: u32 = 38;
/// The first position behind the hash space.
pub const HASH_END: u64 = 1 << HASH_BITS;
/// The directory stops growing here; beyond it, segments grow instead.
const DEPTH_MAX: u32 = 28;
const FLAG_SHIFT: u32 = 64 - HASH_BITS;
/// Set in [`Slot::flags`] when the entry carries an expiry time.
pub const VOLATILE: u64 = 1 << 25;
/// Set when the running snapshot already holds the entry, or must never hold it.
pub const SAVED: u64 = 1 << 24;

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

/// An entry with the bits kept beside it: 38 of its hash, two flags, 24 free for eviction's clock.
#[derive(Clone, Debug)]
pub struct Slot<E> {
    meta: u64,
    pub entry: E,
}

impl<E> Slot<E> {
    /// Where in hash space this entry lies.
    pub fn position(&self) -> u64 {
        self.meta >> FLAG_SHIFT
    }

    pub fn has(&self, flag: u64) -> bool {
        self.meta & flag != 0
    }

    pub fn set(&mut self, flag: u64, on: bool) {
        if on {
            self.meta |= flag;
        } else {
            self.meta &= !flag;
        }
    }
}

/// Where an entry lies in a table that has not changed since.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    segment: usize,
    bucket: usize,
}

#[derive(Clone, Debug)]
struct Segment<E> {
    slots: HashTable<Slot<E>>,
    depth: u32,
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

/// The number that a segment's own table works with: the dealt bits of the hash spread again, as
/// its top bits, by which the directory chose the segment, tell its entries nothing.
#[inline]
fn spread(position: u64) -> u64 {
    position.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline]
fn rehash<E>(slot: &Slot<E>) -> u64 {
    spread(slot.position())
}

impl<E> Table<E> {
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            depth: 0,
            directory: vec![0],
            segments: vec![Segment { slots: HashTable::new(), depth: 0 }],
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
    pub fn find(&self, position: u64, mut same: impl FnMut(&E) -> bool) -> Option<&Slot<E>> {
        self.segments[self.segment_of(position)]
            .slots
            .find(spread(position), |s| s.position() == position && same(&s.entry))
    }

    /// Where the entry at this position lies that `same` recognises, until the table next changes.
    #[inline]
    pub fn locate(&self, position: u64, mut same: impl FnMut(&E) -> bool) -> Option<Place> {
        let segment = self.segment_of(position);
        let same = |s: &Slot<E>| s.position() == position && same(&s.entry);
        let bucket = self.segments[segment].slots.find_bucket_index(spread(position), same)?;
        Some(Place { segment, bucket })
    }

    #[inline]
    pub fn at(&self, place: Place) -> &Slot<E> {
        self.segments[place.segment].slots.get_bucket(place.bucket).expect("located just before")
    }

    #[inline]
    pub fn at_mut(&mut self, place: Place) -> &mut Slot<E> {
        let slots = &mut self.segments[place.segment].slots;
        slots.get_bucket_mut(place.bucket).expect("located just before")
    }

    /// As [`Self::find`], to change the entry (never its key).
    #[inline]
    pub fn find_mut(
        &mut self,
        position: u64,
        mut same: impl FnMut(&E) -> bool,
    ) -> Option<&mut Slot<E>> {
        let segment = self.segment_of(position);
        self.segments[segment]
            .slots
            .find_mut(spread(position), |s| s.position() == position && same(&s.entry))
    }

    /// The segment for a new entry at this position, which has room.
    #[inline]
    fn segment_with_room(&mut self, position: u64) -> usize {
        let mut segment = self.segment_of(position);
        while self.segments[segment].slots.len() >= SEGMENT_MAX
            && self.segments[segment].depth < DEPTH_MAX
        {
            self.split(segment, position);
            segment = self.segment_of(position);
        }
        segment
    }

    /// Adds an entry that the caller knows to be absent.
    pub fn insert_new(&mut self, position: u64, entry: E) -> &mut Slot<E> {
        let segment = self.segment_with_room(position);
        self.len += 1;
        let slot = Slot { meta: position << FLAG_SHIFT, entry };
        self.segments[segment].slots.insert_unique(spread(position), slot, rehash).into_mut()
    }

    /// Finds the entry, or adds the one that `make` builds. The flag tells whether it is new.
    #[inline]
    pub fn find_or_insert(
        &mut self,
        position: u64,
        mut same: impl FnMut(&E) -> bool,
        make: impl FnOnce() -> E,
    ) -> (&mut Slot<E>, bool) {
        let segment = self.segment_with_room(position);
        let same = |s: &Slot<E>| s.position() == position && same(&s.entry);
        match self.segments[segment].slots.entry(spread(position), same, rehash) {
            hashbrown::hash_table::Entry::Occupied(found) => (found.into_mut(), false),
            hashbrown::hash_table::Entry::Vacant(room) => {
                self.len += 1;
                let slot = Slot { meta: position << FLAG_SHIFT, entry: make() };
                (room.insert(slot).into_mut(), true)
            }
        }
    }

    /// Removes the entry at this position that `same` recognises.
    pub fn remove_at(
        &mut self,
        position: u64,
        mut same: impl FnMut(&E) -> bool,
    ) -> Option<Slot<E>> {
        let segment = self.segment_of(position);
        let same = |s: &Slot<E>| s.position() == position && same(&s.entry);
        let found = self.segments[segment].slots.find_entry(spread(position), same).ok()?;
        let (slot, _) = found.remove();
        self.len -= 1;
        self.shrink(segment, position);
        Some(slot)
    }

    fn split(&mut self, index: usize, position: u64) {
        let depth = self.segments[index].depth;
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&s| [s, s]).collect();
            self.depth += 1;
        }
        let bit = 1u64 << (HASH_BITS - depth - 1);
        let mut low = HashTable::with_capacity(SEGMENT_MAX);
        let mut high = HashTable::with_capacity(SEGMENT_MAX);
        for slot in std::mem::take(&mut self.segments[index].slots) {
            let half = if slot.position() & bit == 0 { &mut low } else { &mut high };
            half.insert_unique(rehash(&slot), slot, rehash);
        }
        self.segments[index] = Segment { slots: low, depth: depth + 1 };
        let new = self.place(Segment { slots: high, depth: depth + 1 });
        let start = self.directory_index(position & !(bit | (bit - 1)) | bit);
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
    /// would be a quarter full, and lets the last one's table shrink.
    fn shrink(&mut self, index: usize, position: u64) {
        let segment = &mut self.segments[index];
        let len = segment.slots.len();
        if len * 8 >= SEGMENT_MAX {
            return;
        }
        if segment.depth == 0 {
            if segment.slots.capacity() > 16 && len * 8 < segment.slots.capacity() {
                segment.slots.shrink_to(len * 2, rehash);
            }
            return;
        }
        let depth = segment.depth;
        let bit = 1u64 << (HASH_BITS - depth);
        let start = position & !(bit | (bit - 1));
        let other = self.segment_of((position ^ bit) & !(bit - 1));
        let both = len + self.segments[other].slots.len();
        if self.segments[other].depth != depth || both * 4 > SEGMENT_MAX {
            return;
        }
        let moved = std::mem::take(&mut self.segments[other].slots);
        let target = &mut self.segments[index];
        for slot in moved {
            target.slots.insert_unique(rehash(&slot), slot, rehash);
        }
        target.depth = depth - 1;
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

    /// Visits the entries of the segment that covers `position`, in no order.
    pub fn visit_segment(&mut self, position: u64, mut f: impl FnMut(&mut Slot<E>)) {
        let segment = self.segment_of(position);
        self.segments[segment].slots.iter_mut().for_each(&mut f);
    }

    /// The entries of the segment that covers `position`, in no order.
    pub fn segment_iter(&self, position: u64) -> impl Iterator<Item = &Slot<E>> {
        self.segments[self.segment_of(position)].slots.iter()
    }

    /// All entries, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Slot<E>> {
        self.segments.iter().flat_map(|s| s.slots.iter())
    }

    /// One step of a scan: calls `f` for about `count` entries from `cursor` on, in hash order,
    /// and returns where to go on, 0 at the end. Every entry that is present throughout a whole
    /// scan is met, whatever is added, removed or resized between its steps, and on any node with
    /// the same seed. Entries of one position are met together.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&Slot<E>)) -> u64 {
        let mut position = cursor;
        let mut left = count.max(1);
        let mut found: Vec<&Slot<E>> = Vec::new();
        while position < HASH_END {
            found.clear();
            found.extend(self.segment_iter(position).filter(|s| s.position() >= position));
            if found.len() > left {
                let (_, nth, _) = found.select_nth_unstable_by_key(left - 1, |s| s.position());
                let last = nth.position();
                found.iter().filter(|s| s.position() <= last).for_each(|s| f(s));
                return last + 1;
            }
            for slot in &found {
                f(slot);
            }
            left -= found.len();
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
            let buckets = segment.slots.num_buckets() as u64;
            if segment.slots.is_empty() {
                continue;
            }
            for _ in 0..64 {
                // Multiplying takes the number's high half, which a modulo would not use.
                let bucket = ((u128::from(next()) * u128::from(buckets)) >> 64) as usize;
                if let Some(slot) = segment.slots.get_bucket(bucket) {
                    return Some(slot);
                }
            }
            return segment.slots.iter().next();
        }
    }

    /// Bytes of the table itself, without what entries own.
    pub fn memory(&self) -> usize {
        let buckets: usize = self.segments.iter().map(|s| s.slots.num_buckets()).sum();
        buckets * (size_of::<Slot<E>>() + 1)
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
