//! A sorted set: flat while small; beyond, a table from member to id and a tree of (score, id).

// Scores are equal or they are not: the order of a sorted set knows no tolerance.
#![allow(clippy::float_cmp)]

mod tree;

use super::limits::Limits;
use super::pack::{Pack, cost};
use super::table::Table;
use tree::{Item, Tree};

/// Members with their scores, ordered by score, then by the members' bytes. Scores are never NaN.
#[derive(Clone, Debug)]
pub enum ZSet {
    /// Member and score (eight bytes, little-endian) by turns, in order.
    Pack(Pack),
    Large(Box<Large>),
}

/// What setting a score did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Updated,
    Same,
}

/// The form beyond the flat one.
#[derive(Clone, Debug)]
pub struct Large {
    ids: Table<u32>,
    nodes: Nodes,
    tree: Tree,
}

#[derive(Clone, Debug)]
struct Node {
    score: f64,
    member: Box<[u8]>,
}

/// Nodes by id, in blocks, so that growth moves none of them.
#[derive(Clone, Debug, Default)]
struct Nodes {
    blocks: Vec<Vec<Node>>,
    free: Vec<u32>,
}

const BLOCK: usize = 512;

impl Nodes {
    #[inline]
    fn get(&self, id: u32) -> &Node {
        &self.blocks[id as usize / BLOCK][id as usize % BLOCK]
    }

    fn get_mut(&mut self, id: u32) -> &mut Node {
        &mut self.blocks[id as usize / BLOCK][id as usize % BLOCK]
    }

    /// The id that the next [`Self::place`] will use.
    fn next_id(&self) -> u32 {
        self.free.last().copied().unwrap_or_else(|| {
            let last = self.blocks.last().map_or(BLOCK, Vec::len);
            (self.blocks.len() * BLOCK - (BLOCK - last)) as u32
        })
    }

    fn place(&mut self, node: Node) {
        if let Some(id) = self.free.pop() {
            *self.get_mut(id) = node;
            return;
        }
        if self.blocks.last().is_none_or(|b| b.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(node);
        }
    }

    fn release(&mut self, id: u32) {
        self.get_mut(id).member = Box::default();
        self.free.push(id);
    }
}

impl Large {
    #[inline]
    fn id(&self, member: &[u8]) -> Option<u32> {
        let position = self.ids.position(member);
        self.ids.find(position, |&id| &*self.nodes.get(id).member == member).map(|s| s.entry)
    }

    /// Whether an element comes before (score, member).
    #[inline]
    fn precedes(nodes: &Nodes, item: Item, score: f64, member: &[u8]) -> bool {
        item.score < score || (item.score == score && *nodes.get(item.id).member < *member)
    }

    fn rank(&self, score: f64, member: &[u8]) -> usize {
        self.tree.rank(|item| Self::precedes(&self.nodes, item, score, member))
    }

    fn set(&mut self, member: &[u8], score: f64) -> Change {
        let position = self.ids.position(member);
        let id = self.nodes.next_id();
        let nodes = &self.nodes;
        let same = |&id: &u32| &*nodes.get(id).member == member;
        let (slot, new) = self.ids.find_or_insert(position, same, || id);
        let id = slot.entry;
        if new {
            self.nodes.place(Node { score, member: member.into() });
        } else {
            let old = self.nodes.get(id).score;
            if old.to_bits() == score.to_bits() {
                return Change::Same;
            }
            if old == score {
                // Minus zero and zero are one score in the order, and one to the user.
                return Change::Same;
            }
            let rank = self.rank(old, member);
            self.tree.remove_rank(rank);
            self.nodes.get_mut(id).score = score;
        }
        let nodes = &self.nodes;
        self.tree.insert(Item { score, id }, |item| Self::precedes(nodes, item, score, member));
        if new { Change::Added } else { Change::Updated }
    }

    fn forget(&mut self, id: u32) {
        let position = self.ids.position(&self.nodes.get(id).member);
        self.ids.remove_at(position, |&other| other == id);
        self.nodes.release(id);
    }
}

impl Default for ZSet {
    fn default() -> Self {
        Self::Pack(Pack::new())
    }
}

/// The next member and score of a walk over the flat form.
fn pair<'a>(walk: &mut impl Iterator<Item = &'a [u8]>) -> Option<(&'a [u8], f64)> {
    let member = walk.next()?;
    Some((member, decode(walk.next()?)))
}

fn decode(score: &[u8]) -> f64 {
    score.first_chunk::<8>().map_or(0.0, |bytes| f64::from_le_bytes(*bytes))
}

impl ZSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Pack(pack) => pack.len() / 2,
            Self::Large(large) => large.tree.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Pack(_) => "listpack",
            Self::Large(_) => "skiplist",
        }
    }

    /// Estimated bytes.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Pack(pack) => pack.memory(),
                Self::Large(large) => {
                    let members = large.nodes.blocks.iter().flatten().map(|n| n.member.len());
                    large.ids.memory()
                        + large.tree.memory()
                        + large.nodes.blocks.len() * BLOCK * size_of::<Node>()
                        + members.sum::<usize>()
                }
            }
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Pack(pack) => {
                let mut walk = pack.iter();
                while let Some((name, score)) = pair(&mut walk) {
                    if name == member {
                        return Some(score);
                    }
                }
                None
            }
            Self::Large(large) => large.id(member).map(|id| large.nodes.get(id).score),
        }
    }

    /// Gives a member this score.
    pub fn set(&mut self, member: &[u8], score: f64, limits: &Limits) -> Change {
        debug_assert!(!score.is_nan(), "the commands refuse NaN");
        match self {
            Self::Pack(pack) => {
                let change = match remove_changed(pack, member, score) {
                    Some(Change::Same) => return Change::Same,
                    Some(change) => change,
                    None => Change::Added,
                };
                if pack.len() / 2 < limits.zset_entries && member.len() <= limits.zset_value {
                    insert_sorted(pack, member, score);
                } else {
                    self.grow(limits);
                    self.set(member, score, limits);
                }
                change
            }
            Self::Large(large) => large.set(member, score),
        }
    }

    /// Turns the flat form into the large one.
    fn grow(&mut self, limits: &Limits) {
        let Self::Pack(pack) = self else { return };
        let ids = Table::new(limits.seed);
        let mut large = Large { ids, nodes: Nodes::default(), tree: Tree::default() };
        let mut walk = pack.iter();
        while let Some((member, score)) = pair(&mut walk) {
            large.set(member, score);
        }
        *self = Self::Large(Box::new(large));
    }

    /// Removes a member; `false` when it was absent.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Pack(pack) => remove_changed(pack, member, f64::NAN).is_some(),
            Self::Large(large) => {
                let Some(id) = large.id(member) else { return false };
                let rank = large.rank(large.nodes.get(id).score, member);
                large.tree.remove_rank(rank);
                large.forget(id);
                true
            }
        }
    }

    /// How many elements precede this member.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match self {
            Self::Pack(pack) => pack.iter().step_by(2).position(|name| name == member),
            Self::Large(large) => {
                let id = large.id(member)?;
                Some(large.rank(large.nodes.get(id).score, member))
            }
        }
    }

    /// How many elements, from the first on, the predicate holds for. It must hold for a prefix of
    /// the order: this is where a range of scores or of members starts or ends.
    pub fn prefix(&self, mut before: impl FnMut(f64, &[u8]) -> bool) -> usize {
        match self {
            Self::Pack(pack) => {
                let mut walk = pack.iter();
                let mut rank = 0;
                while let Some((member, score)) = pair(&mut walk) {
                    if !before(score, member) {
                        break;
                    }
                    rank += 1;
                }
                rank
            }
            Self::Large(large) => {
                large.tree.rank(|item| before(item.score, &large.nodes.get(item.id).member))
            }
        }
    }

    /// The elements of ranks `start..end`, ascending or, with `reverse`, descending.
    pub fn range(&self, start: usize, end: usize, reverse: bool) -> Elements<'_> {
        match self {
            Self::Pack(pack) => {
                let end = end.min(self.len());
                let start = start.min(end);
                let mut found = Vec::with_capacity(end - start);
                let mut walk = pack.iter().skip(start * 2);
                while let Some(item) = pair(&mut walk) {
                    if found.len() == end - start {
                        break;
                    }
                    found.push(item);
                }
                if reverse {
                    found.reverse();
                }
                Elements(Walk::Pack(found.into_iter()))
            }
            Self::Large(large) => {
                Elements(Walk::Large(&large.nodes, large.tree.range(start, end, reverse)))
            }
        }
    }

    /// All elements in order.
    pub fn iter(&self) -> Elements<'_> {
        self.range(0, self.len(), false)
    }

    /// Removes the elements of ranks `start..end`; returns how many there were.
    pub fn remove_range(&mut self, start: usize, end: usize) -> usize {
        let end = end.min(self.len());
        let count = end.saturating_sub(start);
        match self {
            _ if count == 0 => {}
            Self::Pack(pack) => {
                let offset = pack.offset_of(start * 2);
                pack.remove_at(offset, count * 2);
            }
            Self::Large(large) => {
                for _ in 0..count {
                    let item = large.tree.remove_rank(start);
                    large.forget(item.id);
                }
            }
        }
        count
    }

    /// One step of ZSCAN: calls `f` for about `count` elements, returns the next cursor. The flat
    /// form is given whole.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], f64)) -> u64 {
        match self {
            Self::Pack(_) => {
                self.iter().for_each(|(member, score)| f(member, score));
                0
            }
            Self::Large(large) => large.ids.scan(cursor, count, |s| {
                let node = large.nodes.get(s.entry);
                f(&node.member, node.score);
            }),
        }
    }

    /// The element of this rank.
    pub fn at(&self, rank: usize) -> Option<(&[u8], f64)> {
        self.range(rank, rank + 1, false).next()
    }
}

/// Removes the member unless it has this score already. `None` when it was absent.
fn remove_changed(pack: &mut Pack, member: &[u8], score: f64) -> Option<Change> {
    let mut walk = pack.iter();
    loop {
        let offset = walk.offset();
        let (name, old) = pair(&mut walk)?;
        if name == member {
            if old == score {
                return Some(Change::Same);
            }
            pack.remove_at(offset, 2);
            return Some(Change::Updated);
        }
    }
}

fn insert_sorted(pack: &mut Pack, member: &[u8], score: f64) {
    let mut walk = pack.iter();
    let offset = loop {
        let offset = walk.offset();
        match pair(&mut walk) {
            Some((name, other)) if other < score || (other == score && name < member) => {}
            _ => break offset,
        }
    };
    pack.insert_at(offset, member);
    pack.insert_at(offset + cost(member.len()), &score.to_le_bytes());
}

/// Members with their scores, in the order asked for.
pub struct Elements<'a>(Walk<'a>);

enum Walk<'a> {
    Pack(std::vec::IntoIter<(&'a [u8], f64)>),
    Large(&'a Nodes, tree::Range<'a>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::Pack(items) => items.next(),
            Walk::Large(nodes, items) => {
                let item = items.next()?;
                Some((&nodes.get(item.id).member, item.score))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Walk::Pack(items) => items.size_hint(),
            Walk::Large(_, items) => items.size_hint(),
        }
    }
}

impl ExactSizeIterator for Elements<'_> {}

#[cfg(test)]
mod tests;
