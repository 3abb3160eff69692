//! A set: sorted integers, a flat pack, or a table.

use super::limits::Limits;
use super::pack::Pack;
use super::string::{IntBuf, format_int, parse_int};
use super::table::Table;

/// Distinct members.
#[derive(Clone, Debug)]
pub enum Set {
    /// In ascending order; only integers in their canonical spelling.
    Ints(Vec<i64>),
    /// In order of insertion.
    Pack(Pack),
    Table(Table<Box<[u8]>>),
}

impl Default for Set {
    fn default() -> Self {
        Self::Ints(Vec::new())
    }
}

impl Set {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Pack(pack) => pack.len(),
            Self::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Ints(_) => "intset",
            Self::Pack(_) => "listpack",
            Self::Table(_) => "hashtable",
        }
    }

    /// Estimated bytes.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Ints(ints) => ints.capacity() * 8,
                Self::Pack(pack) => pack.memory(),
                Self::Table(table) => {
                    table.memory() + table.iter().map(|s| s.entry.len()).sum::<usize>()
                }
            }
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Self::Ints(ints) => parse_int(member).is_some_and(|n| ints.binary_search(&n).is_ok()),
            Self::Pack(pack) => pack.iter().any(|e| e == member),
            Self::Table(table) => table.contains(member),
        }
    }

    /// Adds a member; `true` when it is new.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        match self {
            Self::Ints(ints) => {
                if let Some(n) = parse_int(member) {
                    let Err(at) = ints.binary_search(&n) else { return false };
                    if ints.len() < limits.set_ints {
                        ints.insert(at, n);
                        return true;
                    }
                }
                self.grow(member, limits);
                self.add(member, limits)
            }
            Self::Pack(pack) => {
                if pack.iter().any(|e| e == member) {
                    return false;
                }
                if pack.len() < limits.set_entries && member.len() <= limits.set_value {
                    pack.push_back(member);
                    return true;
                }
                self.grow(member, limits);
                self.add(member, limits)
            }
            Self::Table(table) => table.get_or_insert(member, || member.into()).1,
        }
    }

    /// Takes the next form that has room for one more member.
    fn grow(&mut self, member: &[u8], limits: &Limits) {
        if let Self::Ints(ints) = self {
            let widest = ints.first().into_iter().chain(ints.last());
            let longest = widest.map(|n| format_int(*n, &mut IntBuf::default()).len()).max();
            let fits = ints.len() < limits.set_entries
                && member.len() <= limits.set_value
                && longest.unwrap_or(0) <= limits.set_value;
            if fits {
                let mut pack = Pack::new();
                self.each(|e| pack.push_back(e));
                *self = Self::Pack(pack);
                return;
            }
        }
        let mut table = Table::new(limits.seed);
        self.each(|e| {
            table.get_or_insert(e, || e.into());
        });
        *self = Self::Table(table);
    }

    /// Removes a member; `false` when it was absent.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Ints(ints) => {
                let Some(Ok(at)) = parse_int(member).map(|n| ints.binary_search(&n)) else {
                    return false;
                };
                ints.remove(at);
                true
            }
            Self::Pack(pack) => {
                let mut walk = pack.iter();
                loop {
                    let offset = walk.offset();
                    let Some(e) = walk.next() else { return false };
                    if e == member {
                        pack.remove_at(offset, 1);
                        return true;
                    }
                }
            }
            Self::Table(table) => table.remove(member).is_some(),
        }
    }

    /// Calls `f` for every member.
    pub fn each(&self, mut f: impl FnMut(&[u8])) {
        match self {
            Self::Ints(ints) => {
                for n in ints {
                    f(format_int(*n, &mut IntBuf::default()));
                }
            }
            Self::Pack(pack) => pack.iter().for_each(f),
            Self::Table(table) => table.iter().for_each(|s| f(&s.entry)),
        }
    }

    /// Whether `f` holds for every member, asked until it does not.
    pub fn all(&self, mut f: impl FnMut(&[u8]) -> bool) -> bool {
        match self {
            Self::Ints(ints) => ints.iter().all(|n| f(format_int(*n, &mut IntBuf::default()))),
            Self::Pack(pack) => pack.iter().all(f),
            Self::Table(table) => table.iter().all(|s| f(&s.entry)),
        }
    }

    /// One step of SSCAN: calls `f` for about `count` members, returns the next cursor. A compact
    /// form is given whole.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8])) -> u64 {
        if let Self::Table(table) = self {
            return table.scan(cursor, count, |s| f(&s.entry));
        }
        self.each(f);
        0
    }

    /// A member picked by a source of random numbers.
    pub fn random(&self, mut next: impl FnMut() -> u64) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        match self {
            Self::Ints(ints) => {
                let n = ints[(next() % ints.len() as u64) as usize];
                Some(format_int(n, &mut IntBuf::default()).to_vec())
            }
            Self::Pack(pack) => pack.get((next() % pack.len() as u64) as usize).map(<[u8]>::to_vec),
            Self::Table(table) => table.random(next).map(|s| s.entry.to_vec()),
        }
    }
}
