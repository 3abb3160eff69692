//! A flat sequence of byte strings in one buffer, cheap at both ends: what small collections and
//! the chunks of a list are made of.
//!
//! Each element is its length, its bytes, and its length again, so that it can be walked from both
//! ends. A length below 254 is one byte; a longer one is four bytes, little-endian, with the byte
//! 254 on its outer side. The buffer may keep free room before the first element, so that pushing
//! at the front moves nothing most of the time.

const LONG: u8 = 254;

/// See the module's text. Offsets in its interface count from the first element's first byte.
#[derive(Clone, Debug, Default)]
pub struct Pack {
    buffer: Vec<u8>,
    head: u32,
    count: u32,
}

/// Bytes that an element of `len` bytes takes in a pack.
pub fn cost(len: usize) -> usize {
    len + if len < LONG as usize { 2 } else { 10 }
}

fn write_element(out: &mut [u8], element: &[u8]) {
    let n = element.len();
    if n < LONG as usize {
        out[0] = n as u8;
        out[1..=n].copy_from_slice(element);
        out[n + 1] = n as u8;
    } else {
        let len = (n as u32).to_le_bytes();
        out[0] = LONG;
        out[1..5].copy_from_slice(&len);
        out[5..5 + n].copy_from_slice(element);
        out[5 + n..9 + n].copy_from_slice(&len);
        out[9 + n] = LONG;
    }
}

/// Splits the first element off: its bytes, and what follows.
#[inline]
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if tag < LONG {
        let (element, rest) = rest.split_at(tag as usize);
        Some((element, &rest[1..]))
    } else {
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (element, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        Some((element, &rest[5..]))
    }
}

/// Splits the last element off: its bytes, and what precedes.
#[inline]
fn last(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = bytes.split_last()?;
    if tag < LONG {
        let (rest, element) = rest.split_at(rest.len() - tag as usize);
        Some((element, &rest[..rest.len() - 1]))
    } else {
        let (rest, len) = rest.split_last_chunk::<4>()?;
        let (rest, element) = rest.split_at(rest.len() - u32::from_le_bytes(*len) as usize);
        Some((element, &rest[..rest.len() - 5]))
    }
}

impl Pack {
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes in use by the elements and their lengths.
    pub fn bytes(&self) -> usize {
        self.buffer.len() - self.head as usize
    }

    /// Bytes that the buffer holds from the allocator.
    pub fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    fn used(&self) -> &[u8] {
        &self.buffer[self.head as usize..]
    }

    pub fn push_back(&mut self, element: &[u8]) {
        let start = self.buffer.len();
        if element.len() < LONG as usize {
            let len = element.len() as u8;
            self.buffer.reserve(element.len() + 2);
            self.buffer.push(len);
            self.buffer.extend_from_slice(element);
            self.buffer.push(len);
        } else {
            self.buffer.resize(start + cost(element.len()), 0);
            write_element(&mut self.buffer[start..], element);
        }
        self.count += 1;
    }

    pub fn push_front(&mut self, element: &[u8]) {
        let need = cost(element.len());
        if (self.head as usize) < need {
            self.open_front(need);
        }
        let start = self.head as usize - need;
        write_element(&mut self.buffer[start..start + need], element);
        self.head = start as u32;
        self.count += 1;
    }

    /// Moves the elements back, leaving as much room before them as they take themselves.
    fn open_front(&mut self, need: usize) {
        let used = self.bytes();
        let room = need + used.max(16);
        let mut grown = Vec::with_capacity(room + used);
        grown.resize(room, 0);
        grown.extend_from_slice(self.used());
        self.buffer = grown;
        self.head = room as u32;
    }

    pub fn front(&self) -> Option<&[u8]> {
        first(self.used()).map(|(element, _)| element)
    }

    pub fn back(&self) -> Option<&[u8]> {
        last(self.used()).map(|(element, _)| element)
    }

    /// Removes the first element, if there is one.
    pub fn drop_front(&mut self) {
        if let Some(element) = self.front() {
            self.head += cost(element.len()) as u32;
            self.count -= 1;
            self.settle();
        }
    }

    /// Removes the last element, if there is one.
    pub fn drop_back(&mut self) {
        if let Some(element) = self.back() {
            let len = self.buffer.len() - cost(element.len());
            self.buffer.truncate(len);
            self.count -= 1;
            self.settle();
        }
    }

    /// Gives memory back once most of the buffer is unused.
    fn settle(&mut self) {
        let used = self.bytes();
        if self.buffer.capacity() > 128 && used * 4 < self.buffer.capacity() {
            let mut small = Vec::with_capacity(used * 2);
            small.extend_from_slice(self.used());
            self.buffer = small;
            self.head = 0;
        }
    }

    /// The elements in order, from both ends.
    pub fn iter(&self) -> PackIter<'_> {
        PackIter { rest: self.used(), offset: 0, left: self.len() }
    }

    /// Where the element of this index starts; `len()` gives the end. Walks from the nearer end.
    pub fn offset_of(&self, index: usize) -> usize {
        if index * 2 <= self.len() {
            let mut walk = self.iter();
            for _ in 0..index {
                walk.next();
            }
            walk.offset
        } else {
            let mut walk = self.iter();
            for _ in index..self.len() {
                walk.next_back();
            }
            walk.rest.len()
        }
    }

    pub fn get(&self, index: usize) -> Option<&[u8]> {
        (index < self.len()).then(|| self.at(self.offset_of(index)))
    }

    /// The element that starts at `offset`.
    pub fn at(&self, offset: usize) -> &[u8] {
        first(&self.used()[offset..]).map_or(&[], |(element, _)| element)
    }

    /// Puts an element before the one that starts at `offset`.
    pub fn insert_at(&mut self, offset: usize, element: &[u8]) {
        self.open(offset, 0, cost(element.len()));
        let start = self.head as usize + offset;
        write_element(&mut self.buffer[start..], element);
        self.count += 1;
    }

    pub fn replace_at(&mut self, offset: usize, element: &[u8]) {
        let old = cost(self.at(offset).len());
        self.open(offset, old, cost(element.len()));
        let start = self.head as usize + offset;
        write_element(&mut self.buffer[start..], element);
    }

    /// Removes `count` elements from the one that starts at `offset` on.
    pub fn remove_at(&mut self, offset: usize, count: usize) {
        let mut walk = PackIter { rest: &self.used()[offset..], offset, left: count };
        while walk.next().is_some() {}
        let removed = walk.offset - offset;
        if offset == 0 {
            self.head += removed as u32;
        } else {
            self.open(offset, removed, 0);
        }
        self.count -= count as u32;
        self.settle();
    }

    /// Makes the `old` bytes at `offset` into `new` bytes, moving what follows.
    fn open(&mut self, offset: usize, old: usize, new: usize) {
        let start = self.head as usize + offset;
        let end = self.buffer.len();
        if new > old {
            self.buffer.resize(end + new - old, 0);
        }
        self.buffer.copy_within(start + old..end, start + new);
        self.buffer.truncate(end + new - old);
    }

    /// Moves the elements from `index` on into a new pack.
    #[must_use]
    pub fn split_off(&mut self, index: usize) -> Self {
        let offset = self.offset_of(index);
        let tail = self.buffer.split_off(self.head as usize + offset);
        let count = self.count - index as u32;
        self.count = index as u32;
        Self { buffer: tail, head: 0, count }
    }

    /// Appends all elements of another pack.
    pub fn append(&mut self, other: &Self) {
        self.buffer.extend_from_slice(other.used());
        self.count += other.count;
    }
}

/// The elements of a pack in order; `offset` is where the next one starts.
#[derive(Clone, Debug)]
pub struct PackIter<'a> {
    rest: &'a [u8],
    offset: usize,
    left: usize,
}

impl PackIter<'_> {
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for PackIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let (element, rest) = first(self.rest)?;
        self.offset += self.rest.len() - rest.len();
        self.rest = rest;
        self.left -= 1;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for PackIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let (element, rest) = last(self.rest)?;
        self.rest = rest;
        self.left -= 1;
        Some(element)
    }
}

impl ExactSizeIterator for PackIter<'_> {}
