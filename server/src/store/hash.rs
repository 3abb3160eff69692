//! A hash: fields and values, flat while small, a table beyond, with times once a field has one.

mod volatile;

use super::limits::Limits;
use super::pack::Pack;
use super::table::{Keyed, Table};
use volatile::Volatile;

/// Fields with their values. The flat form alternates field and value in one pack.
#[derive(Clone, Debug)]
pub enum Hash {
    Pack(Pack),
    Table(Table<Field>),
    /// Some fields have an expiry time.
    Volatile(Box<Volatile>),
}

/// A field and its value in one allocation: the field's length (one byte, or 255 and four bytes
/// little-endian), the field, the value.
#[derive(Clone, Debug)]
pub struct Field(Box<[u8]>);

impl Field {
    fn new(field: &[u8], value: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(5 + field.len() + value.len());
        if field.len() < 255 {
            bytes.push(field.len() as u8);
        } else {
            bytes.push(255);
            bytes.extend_from_slice(&(field.len() as u32).to_le_bytes());
        }
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(value);
        Self(bytes.into_boxed_slice())
    }

    #[inline]
    fn split(&self) -> (&[u8], &[u8]) {
        let (start, len) = self.extent();
        (&self.0[start..start + len], &self.0[start + len..])
    }

    #[inline]
    fn extent(&self) -> (usize, usize) {
        if self.0[0] < 255 {
            (1, self.0[0] as usize)
        } else {
            let len = self.0[1..].first_chunk::<4>().map_or(0, |len| u32::from_le_bytes(*len));
            (5, len as usize)
        }
    }

    fn set_value(&mut self, value: &[u8]) {
        let (start, len) = self.extent();
        if self.0.len() == start + len + value.len() {
            self.0[start + len..].copy_from_slice(value);
        } else {
            *self = Self::new(&self.0[start..start + len], value);
        }
    }
}

impl Keyed for Field {
    #[inline]
    fn key(&self) -> &[u8] {
        self.split().0
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::Pack(Pack::new())
    }
}

impl Hash {
    pub fn new() -> Self {
        Self::default()
    }

    /// Fields that readers see.
    pub fn len(&self) -> usize {
        match self {
            Self::Pack(pack) => pack.len() / 2,
            Self::Table(table) => table.len(),
            Self::Volatile(volatile) => volatile.len(),
        }
    }

    /// Fields, hidden ones included.
    pub fn whole_len(&self) -> usize {
        match self {
            Self::Volatile(volatile) => volatile.table.len(),
            _ => self.len(),
        }
    }

    /// Whether no field is left, not even a hidden one.
    pub fn is_empty(&self) -> bool {
        self.whole_len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Pack(_) => "listpack",
            Self::Table(_) | Self::Volatile(_) => "hashtable",
        }
    }

    /// Estimated bytes.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Pack(pack) => pack.memory(),
                Self::Table(table) => table_memory(table),
                Self::Volatile(volatile) => volatile.memory() + table_memory(&volatile.table),
            }
    }

    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Pack(pack) => {
                let mut walk = pack.iter();
                while let (Some(name), Some(value)) = (walk.next(), walk.next()) {
                    if name == field {
                        return Some(value);
                    }
                }
                None
            }
            Self::Table(table) => table.get(field).map(|s| s.entry.split().1),
            Self::Volatile(volatile) if volatile.hides(field) => None,
            Self::Volatile(volatile) => volatile.table.get(field).map(|s| s.entry.split().1),
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Sets a field, which has no expiry time then; `true` when it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        if let Self::Pack(pack) = self {
            let fits = field.len() <= limits.hash_value && value.len() <= limits.hash_value;
            if fits {
                if let Some(offset) = value_offset(pack, field) {
                    pack.replace_at(offset, value);
                    return false;
                }
                if pack.len() / 2 < limits.hash_entries {
                    pack.push_back(field);
                    pack.push_back(value);
                    return true;
                }
            }
            self.grow(limits);
        }
        if let Self::Volatile(volatile) = self {
            volatile.set_time(field, None);
        }
        let new = self.set_in_table(field, value);
        self.calm();
        new
    }

    /// As [`Self::set`], but an expiry time that the field has stays.
    pub fn set_keeping(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        match self {
            Self::Volatile(_) => self.set_in_table(field, value),
            _ => self.set(field, value, limits),
        }
    }

    fn set_in_table(&mut self, field: &[u8], value: &[u8]) -> bool {
        let table = match self {
            Self::Pack(_) => return false,
            Self::Table(table) => table,
            Self::Volatile(volatile) => &mut volatile.table,
        };
        let (slot, new) = table.get_or_insert(field, || Field::new(field, value));
        if !new {
            slot.entry.set_value(value);
        }
        new
    }

    /// The expiry time of a field that readers see: `Some(None)` for one without, `None` when there
    /// is no such field.
    pub fn expiry(&self, field: &[u8]) -> Option<Option<i64>> {
        self.get(field).map(|_| match self {
            Self::Volatile(volatile) => volatile.time(field),
            _ => None,
        })
    }

    /// Gives a field that is there an expiry time, or takes it away. The database is told by
    /// `Db::note_field_expiry`.
    pub fn set_expiry(&mut self, field: &[u8], at_ms: Option<i64>, limits: &Limits) {
        if at_ms.is_some() && !matches!(self, Self::Volatile(_)) {
            self.grow(limits);
            if let Self::Table(table) = std::mem::take(self) {
                *self = Self::Volatile(Box::new(Volatile::new(table)));
            }
        }
        if let Self::Volatile(volatile) = self {
            volatile.set_time(field, at_ms);
        }
        self.calm();
    }

    /// Without any time left the hash is an ordinary table again.
    fn calm(&mut self) {
        if let Self::Volatile(volatile) = self
            && volatile.is_calm()
        {
            let table = std::mem::replace(&mut volatile.table, Table::new(super::Seed::default()));
            *self = Self::Table(table);
        }
    }

    /// When the first field's time comes.
    pub fn next_expiry(&self) -> Option<i64> {
        match self {
            Self::Volatile(volatile) => volatile.next_ms(),
            _ => None,
        }
    }

    /// Removes the fields whose time has come and returns their names.
    pub(super) fn take_due(&mut self, now_ms: i64) -> Vec<Vec<u8>> {
        let Self::Volatile(volatile) = self else { return Vec::new() };
        let due = volatile.take_due(now_ms);
        self.calm();
        due
    }

    pub(super) fn hide_until(&mut self, ms: i64) {
        if let Self::Volatile(volatile) = self {
            volatile.hide_until(ms);
        }
    }

    /// Whether the database must note to look at this hash at `at_ms`; it counts as noted then.
    pub(super) fn needs_note(&mut self, at_ms: i64) -> bool {
        let Self::Volatile(volatile) = self else { return false };
        let earlier = at_ms < volatile.noted_ms;
        volatile.noted_ms = volatile.noted_ms.min(at_ms);
        earlier
    }

    pub(super) fn is_noted_for(&self, at_ms: i64) -> bool {
        matches!(self, Self::Volatile(volatile) if volatile.noted_ms == at_ms)
    }

    /// The database has no note of this hash, for instance because it has a new key.
    pub(super) fn forget_note(&mut self) {
        if let Self::Volatile(volatile) = self {
            volatile.noted_ms = i64::MAX;
        }
    }

    /// Turns the flat form into a table.
    fn grow(&mut self, limits: &Limits) {
        if let Self::Pack(pack) = self {
            let mut table = Table::new(limits.seed);
            let mut walk = pack.iter();
            while let (Some(name), Some(value)) = (walk.next(), walk.next()) {
                table.get_or_insert(name, || Field::new(name, value));
            }
            *self = Self::Table(table);
        }
    }

    /// Removes a field; `false` when it was absent.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Pack(pack) => {
                let mut walk = pack.iter();
                loop {
                    let offset = walk.offset();
                    let Some(name) = walk.next() else { return false };
                    walk.next();
                    if name == field {
                        pack.remove_at(offset, 2);
                        return true;
                    }
                }
            }
            Self::Table(table) => table.remove(field).is_some(),
            Self::Volatile(volatile) if volatile.hides(field) => false,
            Self::Volatile(volatile) => {
                let removed = volatile.remove(field);
                self.calm();
                removed
            }
        }
    }

    /// All fields with their values: in insertion order while flat, then in none.
    pub fn iter(&self) -> HashIter<'_> {
        match self {
            Self::Pack(pack) => HashIter::Pack(pack.iter()),
            Self::Table(table) => HashIter::Table(Box::new(table.iter().map(|s| s.entry.split()))),
            Self::Volatile(volatile) => {
                let all = volatile.table.iter().map(|s| s.entry.split());
                HashIter::Table(Box::new(all.filter(|(field, _)| !volatile.hides(field))))
            }
        }
    }

    /// Calls `f` for all fields with their values and expiry times, hidden ones included.
    pub fn whole(&self, mut f: impl FnMut(&[u8], &[u8], Option<i64>)) {
        match self {
            Self::Volatile(volatile) => {
                for slot in volatile.table.iter() {
                    let (field, value) = slot.entry.split();
                    f(field, value, volatile.time(field));
                }
            }
            _ => self.iter().for_each(|(field, value)| f(field, value, None)),
        }
    }

    /// One step of HSCAN: calls `f` for about `count` fields, returns the next cursor. The flat
    /// form is given whole.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], &[u8])) -> u64 {
        match self {
            Self::Pack(_) => {
                self.iter().for_each(|(name, value)| f(name, value));
                0
            }
            Self::Table(table) => table.scan(cursor, count, |s| {
                let (name, value) = s.entry.split();
                f(name, value);
            }),
            Self::Volatile(volatile) => volatile.table.scan(cursor, count, |s| {
                let (name, value) = s.entry.split();
                if !volatile.hides(name) {
                    f(name, value);
                }
            }),
        }
    }

    /// A field picked by a source of random numbers.
    pub fn random(&self, mut next: impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Pack(pack) if pack.is_empty() => None,
            Self::Pack(pack) => {
                let index = (next() % (pack.len() as u64 / 2)) as usize * 2;
                let offset = pack.offset_of(index);
                let name = pack.at(offset);
                Some((name, pack.at(offset + super::pack::cost(name.len()))))
            }
            Self::Table(table) => table.random(next).map(|s| s.entry.split()),
            Self::Volatile(volatile) => {
                for _ in 0..100 {
                    let (field, value) = volatile.table.random(&mut next)?.entry.split();
                    if !volatile.hides(field) {
                        return Some((field, value));
                    }
                }
                self.iter().next()
            }
        }
    }
}

fn table_memory(table: &Table<Field>) -> usize {
    table.memory() + table.iter().map(|s| s.entry.0.len()).sum::<usize>()
}

fn value_offset(pack: &Pack, field: &[u8]) -> Option<usize> {
    let mut walk = pack.iter();
    while let Some(name) = walk.next() {
        if name == field {
            return Some(walk.offset());
        }
        walk.next();
    }
    None
}

/// Fields with their values.
pub enum HashIter<'a> {
    Pack(super::pack::PackIter<'a>),
    Table(Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a>),
}

impl<'a> Iterator for HashIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Pack(walk) => Some((walk.next()?, walk.next()?)),
            Self::Table(walk) => walk.next(),
        }
    }
}
