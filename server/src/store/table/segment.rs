//! One part of a table: an array of slots in the order of their positions.
//!
//! Linear probing that keeps its order: an entry lies at the place where its position falls in the
//! array, or at the first free one behind it, and never behind one of a higher position. So a
//! search reads neighbouring slots, 64 bytes at a time, and stops as soon as it has passed the
//! position, there is no table of tags, and a scan is a walk. The array grows by a quarter, so it
//! is four fifths full on average; a removal moves the entries behind it back, so there are no
//! graves.

use super::{HASH_BITS, HASH_END, Slot};

#[derive(Clone, Debug)]
pub struct Segment<E> {
    slots: Box<[Option<Slot<E>>]>,
    len: u32,
    /// How many top bits of the position lead here.
    pub depth: u32,
}

/// Entries that an array of this many slots may hold.
const fn room(size: usize) -> usize {
    size - size / 8
}

/// The next larger array: four sizes between two powers of two, as allocators have them.
const fn grown(size: usize) -> usize {
    if size < 64 { if size < 4 { 8 } else { size * 2 } } else { size + (1 << size.ilog2()) / 4 }
}

/// The smallest array that holds this many entries and one more.
const fn size_for(len: usize) -> usize {
    let mut size = 0;
    while room(size) <= len {
        size = grown(size);
    }
    size
}

/// Where a position falls in an array; the last slots are kept for what is pushed there.
#[inline]
fn home(position: u64, depth: u32, size: usize) -> usize {
    let within = (position << depth) & (HASH_END - 1);
    let span = size - size / 16;
    ((within * span as u64) >> HASH_BITS) as usize
}

impl<E> Segment<E> {
    pub fn new(depth: u32) -> Self {
        Self { slots: Box::default(), len: 0, depth }
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Slots of the array.
    pub fn size(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub fn get(&self, index: usize) -> Option<&Slot<E>> {
        self.slots.get(index)?.as_ref()
    }

    #[inline]
    pub fn slot(&self, index: usize) -> &Slot<E> {
        self.slots[index].as_ref().expect("located just before")
    }

    #[inline]
    pub fn slot_mut(&mut self, index: usize) -> &mut Slot<E> {
        self.slots[index].as_mut().expect("located just before")
    }

    /// The index of the entry that `same` recognises, or else where it would be put.
    #[inline]
    pub fn search(&self, position: u64, mut same: impl FnMut(&E) -> bool) -> Result<usize, usize> {
        let mut index = home(position, self.depth, self.slots.len());
        while let Some(Some(slot)) = self.slots.get(index) {
            let here = slot.position();
            if here > position {
                break;
            }
            if here == position && same(&slot.entry) {
                return Ok(index);
            }
            index += 1;
        }
        Err(index)
    }

    /// Adds an entry that is absent, or gives it back when there is no room.
    pub fn insert(&mut self, slot: Slot<E>) -> Result<usize, Slot<E>> {
        if self.len() >= room(self.size()) {
            return Err(slot);
        }
        let (Ok(index) | Err(index)) = self.search(slot.position(), |_| false);
        let Some(free) = self.slots[index..].iter().position(Option::is_none) else {
            return Err(slot);
        };
        self.slots[index..=index + free].rotate_right(1);
        self.slots[index] = Some(slot);
        self.len += 1;
        Ok(index)
    }

    /// Removes the entry at an index; those behind it move back towards their places.
    pub fn remove(&mut self, index: usize) -> Slot<E> {
        let slot = self.slots[index].take().expect("located just before");
        self.len -= 1;
        let (depth, size) = (self.depth, self.size());
        let displaced = |(at, slot): (usize, &Option<Slot<E>>)| {
            slot.as_ref().is_some_and(|slot| home(slot.position(), depth, size) <= index + at)
        };
        let behind = self.slots[index + 1..].iter().enumerate();
        let count = behind.take_while(|next| displaced((next.0, next.1))).count();
        self.slots[index..=index + count].rotate_left(1);
        slot
    }

    /// Makes the array larger by a step.
    pub fn grow(&mut self) {
        let size = grown(self.size());
        let entries = self.take_all();
        self.fill(entries, size);
    }

    /// Makes an array smaller that is less than half as full as it may be.
    pub fn shrink(&mut self) {
        if self.size() > 16 && self.len() < room(self.size()) / 2 {
            let size = size_for(self.len() + self.len() / 8);
            let entries = self.take_all();
            self.fill(entries, size);
        }
    }

    /// Gives the entries from `middle` on away to a new segment; both are one bit deeper.
    pub fn split(&mut self, middle: u64) -> Self {
        let mut low = self.take_all();
        let high = low.split_off(low.partition_point(|slot| slot.position() < middle));
        self.depth += 1;
        let mut other = Self::new(self.depth);
        let (low_size, high_size) = (size_for(low.len()), size_for(high.len()));
        self.fill(low, low_size);
        other.fill(high, high_size);
        other
    }

    /// Takes the entries of its neighbour; the union is one bit less deep.
    pub fn merge(&mut self, mut other: Self) {
        let mut entries = self.take_all();
        entries.extend(other.take_all());
        entries.sort_by_key(Slot::position);
        self.depth -= 1;
        let size = size_for(entries.len());
        self.fill(entries, size);
    }

    fn take_all(&mut self) -> Vec<Slot<E>> {
        let mut entries = Vec::with_capacity(self.len());
        entries.extend(std::mem::take(&mut self.slots).into_iter().flatten());
        self.len = 0;
        entries
    }

    /// Puts sorted entries into a new array of `size` slots, or of more if they do not fit so.
    fn fill(&mut self, entries: Vec<Slot<E>>, mut size: usize) {
        while !fits(&entries, self.depth, size) {
            size = grown(size);
        }
        let mut slots: Box<[Option<Slot<E>>]> = (0..size).map(|_| None).collect();
        self.len = entries.len() as u32;
        let mut next = 0;
        for slot in entries {
            let index = home(slot.position(), self.depth, size).max(next);
            slots[index] = Some(slot);
            next = index + 1;
        }
        self.slots = slots;
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot<E>> {
        self.slots.iter().flatten()
    }

    /// The entries at this position and behind it, in order.
    pub fn iter_from(&self, position: u64) -> impl Iterator<Item = &Slot<E>> {
        let start = home(position, self.depth, self.size()).min(self.size());
        self.slots[start..].iter().flatten().skip_while(move |slot| slot.position() < position)
    }

    /// As [`Self::iter_from`].
    pub fn iter_from_mut(&mut self, position: u64) -> impl Iterator<Item = &mut Slot<E>> {
        let start = home(position, self.depth, self.size()).min(self.size());
        let slots = self.slots[start..].iter_mut().flatten();
        slots.skip_while(move |slot| slot.position() < position)
    }
}

fn fits<E>(entries: &[Slot<E>], depth: u32, size: usize) -> bool {
    let mut next = 0;
    for slot in entries {
        next = home(slot.position(), depth, size).max(next) + 1;
        if next > size {
            return false;
        }
    }
    entries.len() <= room(size)
}
