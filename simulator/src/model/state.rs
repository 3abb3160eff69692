//! A state: members, operators, the arbiter, what is under way, and what clients were shown.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use server::handover::{Epoch, Role};
use switchover::{Arbiter, Command, Tag};

use super::node::Node;
use super::operate::Operator;
use super::{Act, Bounds};
use crate::mutant::Mutant;
use crate::world::{NAMES, UID};

/// A part of a state, with the print of what it looks like, and of its mirror image.
#[derive(Debug)]
pub struct Part<T> {
    value: Rc<T>,
    prints: [u64; 2],
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self { value: Rc::clone(&self.value), prints: self.prints }
    }
}

impl<T: Mirror> Part<T> {
    pub fn new(value: T) -> Self {
        let own = print(&value);
        let mirrored = value.mirrored().map_or(own, |image| print(&image));
        Self { value: Rc::new(value), prints: [own, mirrored] }
    }
}

/// Two operators are alike: a state in which they have changed places is the same state.
pub trait Mirror: Debug + Sized {
    /// The part with the two operators in each other's place; none if it names none.
    fn mirrored(&self) -> Option<Self> {
        None
    }
}

impl Mirror for Arbiter {}
impl Mirror for Operator {}

impl Mirror for Node {
    fn mirrored(&self) -> Option<Self> {
        let mut image = (!self.tokens.is_empty()).then(|| self.clone())?;
        for (_, operator, _) in &mut image.tokens {
            *operator ^= 1;
        }
        Some(image)
    }
}

impl Mirror for Message {
    fn mirrored(&self) -> Option<Self> {
        let mut image = self.clone();
        match &mut image {
            Self::Command { operator, .. } | Self::Publish { operator, .. } => *operator ^= 1,
            Self::Ack { .. } | Self::Answer { .. } | Self::Takeover { .. } => return None,
        }
        Some(image)
    }
}

impl<T> std::ops::Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Hashes the text of a value as it comes.
struct Printer(DefaultHasher);

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn print(value: &impl Debug) -> u64 {
    let mut printer = Printer(DefaultHasher::new());
    write!(printer, "{value:?}").expect("a hash takes all text");
    printer.0.finish()
}

/// Something under way; it may come at any later time, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Command {
        operator: usize,
        tag: Tag,
        to: switchover::Member,
        command: Command,
    },
    Publish {
        operator: usize,
        tag: Tag,
        arbiter: Box<Arbiter>,
    },
    /// Everything up to this offset was applied by that member.
    Ack {
        to: usize,
        life: u8,
        from: usize,
        member: String,
        offset: u64,
    },
    /// A target's answer to a handover.
    Answer {
        to: usize,
        life: u8,
        from: usize,
        member: String,
        epoch: Epoch,
        accepted: bool,
    },
    Takeover {
        from: usize,
        life: u8,
        to: server::handover::Target,
        blob: String,
    },
}

#[derive(Clone, Debug)]
pub struct State {
    pub(super) nodes: Vec<Part<Node>>,
    pub(super) operators: Vec<Part<Operator>>,
    pub(super) store: Part<Arbiter>,
    pub(super) flight: Vec<Part<Message>>,
    /// The writes that anybody was shown, in their order.
    pub(super) shown: Vec<u64>,
    pub(super) owners: BTreeMap<Epoch, String>,
    pub(super) decided: BTreeMap<Epoch, bool>,
    /// What may still happen.
    pub(super) left: Bounds,
    pub(super) requested: bool,
    pub(super) now: u64,
    pub(super) writes: u64,
    pub(super) mutant: Option<Mutant>,
    pub(super) broken: Option<String>,
}

impl State {
    /// Three members in step under a published config of W 2, as the machines themselves make it.
    pub fn settled(bounds: Bounds, mutant: Option<Mutant>) -> Self {
        let mut state = Self {
            nodes: (0..NAMES.len()).map(|place| Part::new(Node::boot(place, 1, None))).collect(),
            operators: (0..bounds.operators).map(|_| Part::new(Operator::default())).collect(),
            store: Part::new(Arbiter::new(UID)),
            flight: Vec::new(),
            shown: Vec::new(),
            owners: BTreeMap::new(),
            decided: BTreeMap::new(),
            left: super::NONE,
            requested: false,
            now: 1_000_000,
            writes: 0,
            mutant: None,
            broken: None,
        };
        for _ in 0..200 {
            let mut acts = state.acts();
            // One operator settles it, and time does not pass.
            acts.retain(|act| match act {
                Act::Expire(operator) => *operator == 0,
                Act::Kill(_) | Act::Read(_) => false,
                _ => true,
            });
            let quiet = |act: &Act| matches!(act, Act::Expire(_));
            let next = acts.iter().find(|act| !quiet(act)).or(acts.first()).cloned();
            let Some(next) = next else { break };
            let after = state.after(&next);
            let same = after.print() == state.print();
            state = after;
            if same && acts.iter().all(quiet) {
                break;
            }
        }
        let settled = state.store.config.members.len() == NAMES.len() && state.store.config.w == 2;
        assert!(settled, "the machines did not settle: {}", *state.store);
        // Everyone starts alike: what one operator remembers of the beginning is of no use.
        for number in 0..bounds.operators {
            state.kill(number);
        }
        state.left = bounds;
        state.mutant = mutant;
        state
    }

    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    pub(super) fn violated(&mut self, line: String) {
        self.broken.get_or_insert(line);
    }

    /// The print of everything that decides what may follow; of a state and its mirror image the same.
    pub fn print(&self) -> u64 {
        let own = self.print_as(0);
        if self.operators.len() == 2 { own.min(self.print_as(1)) } else { own }
    }

    /// The print of the state, or with 1 of its mirror image.
    fn print_as(&self, image: usize) -> u64 {
        let mut flight: Vec<u64> = self.flight.iter().map(|one| one.prints[image]).collect();
        flight.sort_unstable();
        let nodes: Vec<u64> = self.nodes.iter().map(|one| one.prints[image]).collect();
        let mut operators: Vec<u64> = self.operators.iter().map(|one| one.prints[image]).collect();
        operators.rotate_left(image);
        let rest = (&self.shown, &self.owners, &self.decided, &self.left, self.requested);
        print(&(nodes, operators, self.store.prints[image], flight, rest, self.now))
    }

    /// Adds a message, once; of acknowledgements of one member the last stands for all.
    pub(super) fn send(&mut self, message: Message) {
        if let Message::Ack { to, member, .. } = &message {
            self.flight.retain(|one| match &**one {
                Message::Ack { to: at, member: by, .. } => (at, by) != (to, member),
                _ => true,
            });
        }
        if !self.flight.iter().any(|one| **one == message) {
            self.flight.push(Part::new(message));
        }
    }

    /// Whether two places reach each other; operators and the store are the place behind the last.
    pub(super) fn reaches(&self, a: usize, b: usize) -> bool {
        let open = |place: usize| self.nodes.get(place).is_none_or(|node| !node.cut);
        open(a) && open(b)
    }

    /// Clients were shown what this member holds up to an offset. `read`: they asked just now.
    pub(super) fn show(&mut self, place: usize, upto: u64, read: bool) {
        let node = &self.nodes[place];
        let writes = node.writes_upto(upto);
        let common = self.shown.len().min(writes.len());
        if self.shown[..common] != writes[..common] {
            let (name, shown) = (node.id(), self.shown.clone());
            return self.violated(format!("{name} shows {writes:?}, and {shown:?} were shown"));
        }
        if read && writes.len() < self.shown.len() {
            let (name, shown) = (node.id(), self.shown.clone());
            return self.violated(format!("{name} reads {writes:?} after {shown:?} were shown"));
        }
        if writes.len() > self.shown.len() {
            self.shown = writes;
        }
    }

    /// What holds in every state: an epoch has one owner, and what is read now is fresh.
    pub(super) fn check(&mut self) {
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            if !node.up {
                continue;
            }
            if let Role::Primary { epoch } = *node.member.role() {
                let id = node.id();
                let owner = self.owners.entry(epoch).or_insert_with(|| id.clone()).clone();
                if owner != id {
                    self.violated(format!("{epoch} belongs to {owner}, and {id} takes it"));
                }
            }
            if let Some(upto) = self.nodes[place].readable(self.now, self.mutant) {
                let writes = self.nodes[place].writes_upto(upto);
                if !writes.starts_with(&self.shown) {
                    let (id, shown) = (self.nodes[place].id(), self.shown.clone());
                    self.violated(format!("{id} would read {writes:?} after {shown:?}"));
                }
            }
        }
    }
}
