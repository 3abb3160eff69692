//! Operators in a state: the real decision, its looks, and the arbiter's store.

use server::handover::{Config, Event as Told, Request as Asked, Role, Verb};
use switchover::{
    Arbiter, Command, Durability, Effect, Event, Label, Link, Member, Observation, Phase,
    Publication, Reason, Refusal, Replica, Reply, Request, Seen, Settings, Status, Tag, step,
};

use super::state::{Message, Part, State};
use crate::convert;
use crate::mutant::Mutant;
use crate::node::place_of;
use crate::world::{NAMES, UID};

/// A phase's tag counts only while it lasts, so all present ones may be called alike.
const PRESENT: Tag = Tag(1);
const PAST: Tag = Tag(u64::MAX);
/// Steps that one look may lead to without anything under way.
const STEPS: usize = 20;

#[derive(Clone, Debug, Default)]
pub struct Operator {
    pub state: switchover::State,
    /// Of a mutant: one seal less is enough.
    fewer: bool,
}

impl State {
    /// Tells an operator something; what it asks for goes under way.
    pub(super) fn tell(&mut self, number: usize, event: Event) {
        let mut events = vec![event];
        let mut operator = (*self.operators[number]).clone();
        for _ in 0..STEPS {
            let Some(event) = events.pop() else { break };
            let (state, effects) = step(&operator.state, event);
            operator.state = state;
            for effect in effects {
                match effect {
                    Effect::Observe { tag } => {
                        let (observation, fewer) = self.look();
                        operator.fewer = fewer;
                        events.push(Event::Observed { tag, observation: Box::new(observation) });
                    }
                    Effect::Label { tag, name, .. } => {
                        events.push(Event::Labelled { tag, name, done: true });
                    }
                    Effect::Publish { tag, mut arbiter } => {
                        if operator.fewer {
                            arbiter.config.w = (arbiter.config.w - 1).max(1);
                        }
                        self.send(Message::Publish { operator: number, tag, arbiter });
                    }
                    Effect::Command { tag, to, command } => {
                        self.command(number, tag, to, command, &mut events);
                    }
                    Effect::SetTimer { .. } | Effect::Notify(_) => {}
                }
            }
        }
        self.rest(number, operator);
    }

    fn command(
        &mut self,
        operator: usize,
        tag: Tag,
        to: Member,
        command: Command,
        events: &mut Vec<Event>,
    ) {
        if self.mutant == Some(Mutant::PrepareSkipped) && matches!(command, Command::Prepare { .. })
        {
            let name = to.name;
            return events.push(Event::Replied { tag, name, result: Ok(Reply::Prepared) });
        }
        self.send(Message::Command { operator, tag, to, command });
    }

    /// Keeps an operator as it is now, without what no later step can ask for.
    fn rest(&mut self, number: usize, mut operator: Operator) {
        let now = operator.state.tag;
        for place in 0..self.flight.len() {
            let (by, tag) = match &*self.flight[place] {
                Message::Command { operator, tag, .. } | Message::Publish { operator, tag, .. } => {
                    (*operator, *tag)
                }
                _ => continue,
            };
            if by == number && tag != Tag(0) {
                let told = if tag == now { PRESENT } else { PAST };
                let mut message = (*self.flight[place]).clone();
                match &mut message {
                    Message::Command { tag, .. } | Message::Publish { tag, .. } => *tag = told,
                    _ => {}
                }
                self.flight[place] = Part::new(message);
            }
        }
        for place in 0..self.nodes.len() {
            if self.nodes[place].tokens.iter().any(|(_, by, _)| *by == number) {
                self.edit(place, |node| {
                    for (_, by, tag) in &mut node.tokens {
                        if *by == number && *tag != Tag(0) {
                            *tag = if *tag == now { PRESENT } else { PAST };
                        }
                    }
                });
            }
        }
        operator.state.tag = PRESENT;
        operator.state.told = None;
        if matches!(operator.state.phase, Phase::Idle | Phase::Start) {
            // The next look replaces these; the arbiter's number is all that it compares.
            operator.state.members.clear();
        }
        self.operators[number] = Part::new(operator);
    }

    /// What an operator sees now. True: it counts one seal less.
    fn look(&self) -> (Observation, bool) {
        let mut arbiter = (*self.store).clone();
        let last = arbiter.last_switchover.as_ref().map(|last| last.id.clone());
        let open = self.requested && last.as_deref() != Some("r1");
        let request = open.then(|| Request {
            id: "r1".into(),
            reason: Reason::Request,
            to: Some("b".into()),
        });
        let members: Vec<Seen> = (0..NAMES.len()).map(|place| self.seen(place)).collect();
        let led = members.iter().any(|seen| {
            let role = seen.status.as_ref().map(|status| status.role);
            role == Some(switchover::Role::Primary)
        });
        let fewer = self.mutant == Some(Mutant::FewerSeals)
            && !led
            && arbiter.initialised
            && arbiter.config.w < arbiter.config.members.len();
        arbiter.config.w += usize::from(fewer);
        let settings =
            Settings { durability: Durability::Replicated, degrade: false, ..Settings::default() };
        (Observation { arbiter, settings, members, request }, fewer)
    }

    fn seen(&self, place: usize) -> Seen {
        let name = NAMES[place];
        // Labels are right whenever somebody looks: they decide nothing here.
        let primary = self.store.primary.as_ref().is_some_and(|one| one.name == name);
        Seen {
            name: name.into(),
            host: name.into(),
            port: 1,
            hostname: String::new(),
            eligible: true,
            label: if primary { Label::Primary } else { Label::Replica },
            status: self.status(place),
            // No promise rests on what a probe says.
            ..Seen::default()
        }
    }

    fn status(&self, place: usize) -> Option<Status> {
        let node = &self.nodes[place];
        if !node.up || node.cut {
            return None;
        }
        let leader = node.leader();
        let heard =
            leader.is_some_and(|leader| self.nodes[leader].up && self.reaches(place, leader));
        let link = match node.member.role() {
            Role::Follower { .. } if node.is_linked() && heard => Link::Up,
            Role::Follower { .. } if node.is_linked() => Link::Down,
            Role::Follower { .. } => Link::Connecting,
            _ => Link::None,
        };
        let own = node.id();
        let follows = |other: &&Part<super::node::Node>| {
            other.up && other.is_linked() && other.leader_id() == Some(own.as_str())
        };
        let replicas = self.nodes.iter().filter(follows).map(|other| Replica {
            member: other.id(),
            offset: other.log.offset(),
            online: true,
        });
        let status = node.member.status(node.env(self.now));
        Some(convert::status(status, link, replicas.collect()))
    }

    /// A command has come to the place that it was sent to.
    pub(super) fn commanded(
        &mut self,
        operator: usize,
        tag: Tag,
        mut to: Member,
        command: Command,
    ) {
        let place = place_of(&to.name);
        if !self.nodes[place].up {
            let result = Err(Refusal::Lost("nobody is there".into()));
            return self.answered(operator, tag, place, result);
        }
        let mut command = command;
        match (self.mutant, &mut command) {
            (Some(Mutant::NoLeaseWait), Command::Promote { wait_ms, .. }) => *wait_ms = 0,
            (Some(Mutant::KeepsUnequal), Command::Promote { config, .. }) => {
                *config = self.store.config.clone();
            }
            (Some(Mutant::ReusedAddress), _) => to.member = self.nodes[place].id(),
            _ => {}
        }
        let seals = matches!(command, Command::Seal { .. });
        let mut token = 1;
        self.edit(place, |node| {
            while node.tokens.iter().any(|(one, _, _)| *one == token) {
                token += 1;
            }
            node.tokens.push((token, operator, tag));
            if seals {
                node.promised_before = node.member.promised();
            }
        });
        let request = Asked { uid: UID.into(), member: to.member, verb: convert::verb(command) };
        self.event(place, Told::Request { token, request });
    }

    /// The answer as it leaves the member.
    pub(super) fn misreported(
        &mut self,
        place: usize,
        result: Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        match (self.mutant, result) {
            (
                Some(Mutant::WinnerByPromise),
                Ok(Reply::Sealed { member, offset, empty, lease_left_ms, restarted, .. }),
            ) => {
                let data_epoch = convert::epoch_out(self.nodes[place].promised_before);
                Ok(Reply::Sealed { member, data_epoch, offset, empty, lease_left_ms, restarted })
            }
            (Some(Mutant::GrowCountedEarly | Mutant::AbortWithoutCas), Ok(Reply::Prepared)) => {
                self.obey_one(place);
                Ok(Reply::Prepared)
            }
            (Some(Mutant::PreparedWithoutData), Err(Refusal::NotReady(text)))
                if text.starts_with("too few members of the config") =>
            {
                Ok(Reply::Prepared)
            }
            (_, result) => result,
        }
    }

    /// Of a mutant: a primary forgets one of two configs by itself.
    fn obey_one(&mut self, place: usize) {
        let node = &self.nodes[place];
        let [old, next] = node.member.configs() else { return };
        let config = match self.mutant {
            Some(Mutant::AbortWithoutCas) => Config { v: next.v, ..old.clone() },
            _ => next.clone(),
        };
        let request = Asked { uid: UID.into(), member: node.id(), verb: Verb::Commit { config } };
        self.event(place, Told::Request { token: 0, request });
    }

    /// An answer comes to the operator that asked, if it still asks.
    pub(super) fn answered(
        &mut self,
        operator: usize,
        tag: Tag,
        place: usize,
        result: Result<Reply, Refusal>,
    ) {
        if tag == PRESENT {
            let name = NAMES[place].to_owned();
            self.tell(operator, Event::Replied { tag, name, result });
        }
    }

    /// The compare-and-swap.
    pub(super) fn published(&mut self, operator: usize, tag: Tag, mut arbiter: Arbiter) {
        if self.mutant == Some(Mutant::ConflictRetried) {
            arbiter.version = self.store.version + 1;
        }
        let result = if arbiter.version == self.store.version + 1 {
            if arbiter.data_loss_possible != self.store.data_loss_possible {
                // Everyone is told; what was shown may go.
                self.shown.clear();
            }
            self.store = Part::new(arbiter);
            Publication::Done
        } else {
            Publication::Conflict
        };
        if tag == PRESENT {
            self.tell(operator, Event::Published { tag, result });
        }
    }

    /// An operator's process ends; the next one knows nothing.
    pub(super) fn kill(&mut self, number: usize) {
        self.rest(
            number,
            Operator {
                state: switchover::State { tag: Tag(2), ..Default::default() },
                fewer: false,
            },
        );
    }
}
