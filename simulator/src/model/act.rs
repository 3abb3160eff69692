//! What may happen next in a state.

use server::handover::{Event, Gate, Role};
use switchover::{Event as Told, Phase};

use super::node::Node;
use super::state::{Message, Part, State};
use crate::log::Rec;
use crate::node::place_of;
use crate::world::NAMES;

/// Longer than a lease, and than what its giver counts for it.
const LEAP_US: u64 = 700_000;
/// Courses end with more configs than these: operators in doubt may change them for ever.
const CONFIGS: u64 = 9;
/// Where operators and the store are.
const OUTSIDE: usize = NAMES.len();

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// What is under way at this place among all comes.
    Deliver(usize),
    /// A follower's link to its primary comes up.
    Link(usize),
    /// A follower applies the next record.
    Feed(usize),
    Write(usize),
    /// A client reads what had not been shown so far.
    Read(usize),
    /// The stream's sign of life.
    Ping(usize),
    Crash(usize),
    Boot(usize),
    Cut(usize),
    Heal(usize),
    /// An operator's timer ends.
    Expire(usize),
    Kill(usize),
    Request,
    Leap,
}

impl State {
    /// Everything that may follow.
    pub fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.store.term > self.left.terms || self.store.config.v > CONFIGS {
            return acts;
        }
        self.harms(&mut acts);
        for number in 0..self.operators.len() {
            let phase = &self.operators[number].state.phase;
            let free = matches!(phase, Phase::Start | Phase::Idle | Phase::Suspecting { .. });
            if free || self.left.timeouts > 0 {
                acts.push(Act::Expire(number));
            }
        }
        for place in 0..self.nodes.len() {
            self.acts_of(place, &mut acts);
        }
        let open = |index: &usize| self.can_come(&self.flight[*index]);
        acts.extend((0..self.flight.len()).filter(open).map(Act::Deliver));
        acts
    }

    fn harms(&self, acts: &mut Vec<Act>) {
        let left = &self.left;
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            if left.crashes > 0 && node.up {
                acts.push(Act::Crash(place));
            }
            if left.cuts > 0 && node.up && !node.cut {
                acts.push(Act::Cut(place));
            }
            if node.cut {
                acts.push(Act::Heal(place));
            }
        }
        if left.kills > 0 {
            let busy = |number: &usize| {
                !matches!(self.operators[*number].state.phase, Phase::Start | Phase::Idle)
            };
            acts.extend((0..self.operators.len()).filter(busy).map(Act::Kill));
        }
        if left.requests > 0 {
            acts.push(Act::Request);
        }
        if left.leaps > 0 {
            acts.push(Act::Leap);
        }
    }

    fn acts_of(&self, place: usize, acts: &mut Vec<Act>) {
        let node = &self.nodes[place];
        if !node.up {
            acts.push(Act::Boot(place));
            return;
        }
        let primary = matches!(node.member.role(), Role::Primary { .. });
        if primary && self.left.writes > 0 && node.member.gate(self.now, true, true) == Gate::Open {
            acts.push(Act::Write(place));
        }
        let fresh = node.readable(self.now, self.mutant);
        if fresh.is_some_and(|upto| node.writes_upto(upto).len() > self.shown.len()) {
            acts.push(Act::Read(place));
        }
        if primary && node.member.stream_open(self.now) && self.is_quiet(node) {
            acts.push(Act::Ping(place));
        }
        if self.can_link(place) {
            acts.push(Act::Link(place));
        }
        if self.coming(place).is_some() {
            acts.push(Act::Feed(place));
        }
    }

    /// Whether only a sign of life can renew the leases of this primary: one for each leap.
    fn is_quiet(&self, node: &Node) -> bool {
        node.member.waits_for_commit()
            && !node.member.leases_hold(self.now)
            && node.log.since(node.log.count().saturating_sub(1)).iter().all(|e| e.rec != Rec::Ping)
    }

    fn can_come(&self, message: &Message) -> bool {
        match message {
            Message::Command { to, .. } => self.reaches(place_of(&to.name), OUTSIDE),
            Message::Publish { .. } => true,
            Message::Ack { to, from, .. } | Message::Answer { to, from, .. } => {
                self.reaches(*to, *from)
            }
            Message::Takeover { from, to, .. } => {
                let place = place_of(&to.host);
                self.reaches(*from, place) && self.nodes[place].up
            }
        }
    }

    /// The state after one thing has happened.
    #[must_use]
    pub fn after(&self, act: &Act) -> Self {
        let mut next = self.clone();
        next.perform(act);
        next.check();
        next
    }

    fn perform(&mut self, act: &Act) {
        match *act {
            Act::Deliver(index) => self.deliver(index),
            Act::Link(place) => self.link(place),
            Act::Feed(place) => self.feed(place),
            Act::Write(place) => {
                self.left.writes -= 1;
                self.writes += 1;
                self.append(place, Rec::Write(self.writes));
            }
            Act::Read(place) => {
                if let Some(upto) = self.nodes[place].readable(self.now, self.mutant) {
                    self.show(place, upto, true);
                }
            }
            Act::Ping(place) => self.append(place, Rec::Ping),
            Act::Crash(place) => {
                self.left.crashes -= 1;
                self.crash(place);
            }
            Act::Boot(place) => {
                let life = self.nodes[place].life + 1;
                let cut = self.nodes[place].cut;
                let mut node = Node::boot(place, life, self.mutant);
                node.cut = cut;
                self.nodes[place] = Part::new(node);
            }
            Act::Cut(place) => {
                self.left.cuts -= 1;
                self.edit(place, |node| node.cut = true);
            }
            Act::Heal(place) => self.edit(place, |node| node.cut = false),
            Act::Expire(number) => self.expire(number),
            Act::Kill(number) => {
                self.left.kills -= 1;
                self.kill(number);
            }
            Act::Request => {
                self.left.requests -= 1;
                self.requested = true;
            }
            Act::Leap => {
                self.left.leaps -= 1;
                self.now += LEAP_US;
                for place in 0..self.nodes.len() {
                    let due = self.nodes[place].member.next_deadline_us();
                    if self.nodes[place].up && due.is_some_and(|due| due <= self.now) {
                        self.event(place, Event::Tick);
                    }
                    if self.nodes[place].up {
                        self.settle(place);
                    }
                }
            }
        }
    }

    fn expire(&mut self, number: usize) {
        let operator = &self.operators[number].state;
        let tag = operator.tag;
        match operator.phase {
            Phase::Start => return self.tell(number, Told::Nudge),
            Phase::Idle | Phase::Suspecting { .. } => {}
            _ => self.left.timeouts -= 1,
        }
        self.tell(number, Told::Expired { tag });
    }

    fn crash(&mut self, place: usize) {
        self.part_from(place);
        let tokens = self.nodes[place].tokens.clone();
        self.edit(place, |node| {
            let (life, cut) = (node.life, node.cut);
            // Nothing of it matters any more, so all that are down look alike.
            *node = Node::boot(node.place, life, None);
            (node.up, node.cut) = (false, cut);
        });
        for (_, operator, tag) in tokens {
            let lost = Err(switchover::Refusal::Lost("the connection ended".into()));
            self.answered(operator, tag, place, lost);
        }
    }

    fn deliver(&mut self, index: usize) {
        let message = (*self.flight[index]).clone();
        self.flight.remove(index);
        match message {
            Message::Command { operator, tag, to, command } => {
                self.commanded(operator, tag, to, command);
            }
            Message::Publish { operator, tag, arbiter } => self.published(operator, tag, *arbiter),
            Message::Ack { to, life, member, offset, .. } => {
                if self.lives(to, life) {
                    self.event(to, Event::Ack { member, offset, durable: 0 });
                }
            }
            Message::Answer { to, life, member, epoch, accepted, .. } => {
                if self.lives(to, life) {
                    self.event(to, Event::Answer { member, epoch, accepted });
                }
            }
            Message::Takeover { from, life, to, blob } => self.takeover(from, life, &to, blob),
        }
    }

    fn lives(&self, place: usize, life: u8) -> bool {
        self.nodes[place].up && self.nodes[place].life == life
    }
}
