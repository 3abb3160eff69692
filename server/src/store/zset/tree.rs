//! The order of a sorted set: a B+tree of (score, id) with counts, so that ranks are found as fast
//! as scores.
//!
//! Scores lie side by side in a leaf; only equal scores need the members, which the caller keeps
//! and compares by id. Every question is asked as a predicate that holds for a prefix of the order.

const FAN: usize = 64;
/// A node this small tries to join a neighbour.
const SPARSE: usize = FAN / 4;
/// The joined node must leave room to grow.
const JOINED_MAX: usize = FAN * 3 / 4;
const NONE: u32 = u32::MAX;

/// One element of the order: its score, and the id under which the caller keeps its member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item {
    pub score: f64,
    pub id: u32,
}

#[derive(Clone, Debug)]
struct Leaf {
    len: usize,
    previous: u32,
    next: u32,
    scores: [f64; FAN],
    ids: [u32; FAN],
}

#[derive(Clone, Debug)]
struct Inner {
    len: usize,
    children: [u32; FAN],
    counts: [u32; FAN],
    /// The first element of each child.
    scores: [f64; FAN],
    ids: [u32; FAN],
}

/// See the module's text.
#[allow(clippy::vec_box)]
#[derive(Clone, Debug)]
pub struct Tree {
    // Boxes, so that a growing vector moves pointers and not nodes of a kilobyte.
    leaves: Vec<Box<Leaf>>,
    inners: Vec<Box<Inner>>,
    free_leaves: Vec<u32>,
    free_inners: Vec<u32>,
    root: u32,
    /// Levels of inner nodes above the leaves.
    height: usize,
    len: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            leaves: vec![Box::new(Leaf::new())],
            inners: Vec::new(),
            free_leaves: Vec::new(),
            free_inners: Vec::new(),
            root: 0,
            height: 0,
            len: 0,
        }
    }
}

impl Leaf {
    fn new() -> Self {
        Self { len: 0, previous: NONE, next: NONE, scores: [0.0; FAN], ids: [0; FAN] }
    }

    fn item(&self, at: usize) -> Item {
        Item { score: self.scores[at], id: self.ids[at] }
    }

    fn insert(&mut self, at: usize, item: Item) {
        self.scores.copy_within(at..self.len, at + 1);
        self.ids.copy_within(at..self.len, at + 1);
        self.scores[at] = item.score;
        self.ids[at] = item.id;
        self.len += 1;
    }

    fn remove(&mut self, at: usize) {
        self.scores.copy_within(at + 1..self.len, at);
        self.ids.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    fn take_from(&mut self, other: &Self, from: usize) {
        let n = other.len - from;
        self.scores[self.len..self.len + n].copy_from_slice(&other.scores[from..other.len]);
        self.ids[self.len..self.len + n].copy_from_slice(&other.ids[from..other.len]);
        self.len += n;
    }
}

impl Inner {
    fn new() -> Self {
        Self { len: 0, children: [0; FAN], counts: [0; FAN], scores: [0.0; FAN], ids: [0; FAN] }
    }

    fn insert(&mut self, at: usize, child: u32, count: u32, first: Item) {
        self.children.copy_within(at..self.len, at + 1);
        self.counts.copy_within(at..self.len, at + 1);
        self.scores.copy_within(at..self.len, at + 1);
        self.ids.copy_within(at..self.len, at + 1);
        self.len += 1;
        self.children[at] = child;
        self.counts[at] = count;
        self.scores[at] = first.score;
        self.ids[at] = first.id;
    }

    fn remove(&mut self, at: usize) {
        self.children.copy_within(at + 1..self.len, at);
        self.counts.copy_within(at + 1..self.len, at);
        self.scores.copy_within(at + 1..self.len, at);
        self.ids.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    fn take_from(&mut self, other: &Self, from: usize) {
        let n = other.len - from;
        let room = self.len..self.len + n;
        self.children[room.clone()].copy_from_slice(&other.children[from..other.len]);
        self.counts[room.clone()].copy_from_slice(&other.counts[from..other.len]);
        self.scores[room.clone()].copy_from_slice(&other.scores[from..other.len]);
        self.ids[room].copy_from_slice(&other.ids[from..other.len]);
        self.len += n;
    }

    fn total(&self) -> u32 {
        self.counts[..self.len].iter().sum()
    }
}

/// How many of the first `len` items the predicate, true for a prefix of them, holds for.
#[inline]
fn prefix(scores: &[f64], ids: &[u32], mut before: impl FnMut(Item) -> bool) -> usize {
    let (mut low, mut high) = (0, scores.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if before(Item { score: scores[middle], id: ids[middle] }) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

impl Tree {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the tree's nodes.
    pub fn memory(&self) -> usize {
        self.leaves.len() * (size_of::<Leaf>() + 8) + self.inners.len() * (size_of::<Inner>() + 8)
    }

    /// How many elements the predicate holds for: the rank of the first one that it does not.
    pub fn rank(&self, mut before: impl FnMut(Item) -> bool) -> usize {
        let mut node = self.root as usize;
        let mut rank = 0;
        for _ in 0..self.height {
            let inner = &self.inners[node];
            let at = prefix(&inner.scores[..inner.len], &inner.ids, &mut before);
            let child = at.saturating_sub(1);
            rank += inner.counts[..child].iter().map(|&n| n as usize).sum::<usize>();
            node = inner.children[child] as usize;
        }
        let leaf = &self.leaves[node];
        rank + prefix(&leaf.scores[..leaf.len], &leaf.ids, before)
    }

    /// Adds an item behind the elements that `before` holds for.
    pub fn insert(&mut self, item: Item, mut before: impl FnMut(Item) -> bool) {
        if let Some(right) = self.insert_below(self.root, self.height, item, &mut before) {
            let mut top = Inner::new();
            for child in [self.root, right] {
                let (count, first) = self.summary(child, self.height);
                top.insert(top.len, child, count, first);
            }
            self.root = self.place_inner(top);
            self.height += 1;
        }
        self.len += 1;
    }

    /// Adds an item under a node; returns the node that was split off to its right, if one was.
    fn insert_below(
        &mut self,
        node: u32,
        level: usize,
        item: Item,
        before: &mut impl FnMut(Item) -> bool,
    ) -> Option<u32> {
        if level == 0 {
            return self.insert_leaf(node, item, before);
        }
        let inner = &self.inners[node as usize];
        let at = prefix(&inner.scores[..inner.len], &inner.ids, &mut *before).saturating_sub(1);
        let child = inner.children[at];
        let new = self.insert_below(child, level - 1, item, before);
        let Some(new) = new else {
            let first = self.first(child, level - 1);
            let inner = &mut self.inners[node as usize];
            inner.counts[at] += 1;
            inner.scores[at] = first.score;
            inner.ids[at] = first.id;
            return None;
        };
        self.refresh(node, level, at);
        let (count, first) = self.summary(new, level - 1);
        let inner = &mut self.inners[node as usize];
        if inner.len < FAN {
            inner.insert(at + 1, new, count, first);
            return None;
        }
        let cut = if at + 1 == FAN { FAN - 1 } else { FAN / 2 };
        let mut right = Inner::new();
        right.take_from(inner, cut);
        inner.len = cut;
        if at < cut {
            inner.insert(at + 1, new, count, first);
        } else {
            right.insert(at + 1 - cut, new, count, first);
        }
        Some(self.place_inner(right))
    }

    fn insert_leaf(
        &mut self,
        node: u32,
        item: Item,
        before: &mut impl FnMut(Item) -> bool,
    ) -> Option<u32> {
        let leaf = &mut self.leaves[node as usize];
        let at = prefix(&leaf.scores[..leaf.len], &leaf.ids, before);
        if leaf.len < FAN {
            leaf.insert(at, item);
            return None;
        }
        // Ascending input fills its leaves: only the newest element moves on.
        let cut = if at == FAN && leaf.next == NONE { FAN } else { FAN / 2 };
        let mut right = Leaf::new();
        right.take_from(leaf, cut);
        leaf.len = cut;
        if at < cut {
            leaf.insert(at, item);
        } else {
            right.insert(at - cut, item);
        }
        right.previous = node;
        right.next = leaf.next;
        let after = leaf.next;
        let new = self.place_leaf(right);
        self.leaves[node as usize].next = new;
        if after != NONE {
            self.leaves[after as usize].previous = new;
        }
        Some(new)
    }

    /// Removes the element of this rank and returns it.
    pub fn remove_rank(&mut self, rank: usize) -> Item {
        assert!(rank < self.len, "the rank lies in the tree");
        let item = self.remove_below(self.root, self.height, rank);
        self.len -= 1;
        while self.height > 0 && self.inners[self.root as usize].len == 1 {
            self.free_inners.push(self.root);
            self.root = self.inners[self.root as usize].children[0];
            self.height -= 1;
        }
        item
    }

    fn remove_below(&mut self, node: u32, level: usize, mut rank: usize) -> Item {
        if level == 0 {
            let leaf = &mut self.leaves[node as usize];
            let item = leaf.item(rank);
            leaf.remove(rank);
            return item;
        }
        let inner = &self.inners[node as usize];
        let mut at = 0;
        while rank >= inner.counts[at] as usize {
            rank -= inner.counts[at] as usize;
            at += 1;
        }
        let child = inner.children[at];
        let item = self.remove_below(child, level - 1, rank);
        let size = self.size(child, level - 1);
        if size == 0 {
            self.release(child, level - 1);
            self.inners[node as usize].remove(at);
        } else {
            self.refresh(node, level, at);
            if size < SPARSE {
                self.join(node, level, at);
            }
        }
        item
    }

    /// Joins a sparse child with a neighbour, when both together leave room.
    fn join(&mut self, node: u32, level: usize, at: usize) {
        let inner = &self.inners[node as usize];
        let left = if at + 1 < inner.len { at } else { at.wrapping_sub(1) };
        if left >= inner.len || left + 1 >= inner.len {
            return;
        }
        let (a, b) = (inner.children[left], inner.children[left + 1]);
        if self.size(a, level - 1) + self.size(b, level - 1) > JOINED_MAX {
            return;
        }
        if level == 1 {
            let from = self.leaves[b as usize].clone();
            self.leaves[a as usize].take_from(&from, 0);
        } else {
            let from = self.inners[b as usize].clone();
            self.inners[a as usize].take_from(&from, 0);
        }
        self.release(b, level - 1);
        self.inners[node as usize].remove(left + 1);
        self.refresh(node, level, left);
    }

    /// Takes a node out of use; a leaf leaves the chain.
    fn release(&mut self, node: u32, level: usize) {
        if level > 0 {
            self.free_inners.push(node);
            return;
        }
        let (previous, next) = {
            let leaf = &self.leaves[node as usize];
            (leaf.previous, leaf.next)
        };
        if previous != NONE {
            self.leaves[previous as usize].next = next;
        }
        if next != NONE {
            self.leaves[next as usize].previous = previous;
        }
        self.free_leaves.push(node);
    }

    fn size(&self, node: u32, level: usize) -> usize {
        if level == 0 { self.leaves[node as usize].len } else { self.inners[node as usize].len }
    }

    fn first(&self, node: u32, level: usize) -> Item {
        if level == 0 {
            self.leaves[node as usize].item(0)
        } else {
            let inner = &self.inners[node as usize];
            Item { score: inner.scores[0], id: inner.ids[0] }
        }
    }

    fn summary(&self, node: u32, level: usize) -> (u32, Item) {
        let count = if level == 0 {
            self.leaves[node as usize].len as u32
        } else {
            self.inners[node as usize].total()
        };
        (count, self.first(node, level))
    }

    fn refresh(&mut self, node: u32, level: usize, at: usize) {
        let child = self.inners[node as usize].children[at];
        let (count, first) = self.summary(child, level - 1);
        let inner = &mut self.inners[node as usize];
        inner.counts[at] = count;
        inner.scores[at] = first.score;
        inner.ids[at] = first.id;
    }

    fn place_leaf(&mut self, leaf: Leaf) -> u32 {
        if let Some(index) = self.free_leaves.pop() {
            *self.leaves[index as usize] = leaf;
            return index;
        }
        self.leaves.push(Box::new(leaf));
        (self.leaves.len() - 1) as u32
    }

    fn place_inner(&mut self, inner: Inner) -> u32 {
        if let Some(index) = self.free_inners.pop() {
            *self.inners[index as usize] = inner;
            return index;
        }
        self.inners.push(Box::new(inner));
        (self.inners.len() - 1) as u32
    }

    /// The leaf and the place in it of this rank.
    fn seek(&self, mut rank: usize) -> (u32, usize) {
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = &self.inners[node as usize];
            let mut at = 0;
            while rank >= inner.counts[at] as usize {
                rank -= inner.counts[at] as usize;
                at += 1;
            }
            node = inner.children[at];
        }
        (node, rank)
    }

    /// The elements of ranks `start..end`, ascending or, with `reverse`, descending.
    pub fn range(&self, start: usize, end: usize, reverse: bool) -> Range<'_> {
        let end = end.min(self.len);
        if start >= end {
            return Range { tree: self, leaf: NONE, at: 0, left: 0, reverse };
        }
        let (leaf, at) = self.seek(if reverse { end - 1 } else { start });
        Range { tree: self, leaf, at, left: end - start, reverse }
    }
}

/// Elements in order of rank.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    tree: &'a Tree,
    leaf: u32,
    at: usize,
    left: usize,
    reverse: bool,
}

impl Iterator for Range<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let leaf = &self.tree.leaves[self.leaf as usize];
        let item = leaf.item(self.at);
        if self.left > 0 {
            if self.reverse {
                if self.at == 0 {
                    self.leaf = leaf.previous;
                    self.at = self.tree.leaves[self.leaf as usize].len;
                }
                self.at -= 1;
            } else {
                self.at += 1;
                if self.at == leaf.len {
                    self.leaf = leaf.next;
                    self.at = 0;
                }
            }
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Range<'_> {}
