//! A member's process in a state: the real machine, its log and whom it follows.

use std::rc::Rc;

use server::handover::{
    Effect, Env, Event, Handover, Identity, Member, Outcome, Peer, Record, Reply, Request, Role,
    Target, Timing, Verb,
};

use super::state::{Message, Part, State};
use crate::log::{Log, Rec};
use crate::mutant::Mutant;
use crate::node::{place_of, record_of};
use crate::world::{NAMES, UID};

#[derive(Clone, Debug)]
pub struct Node {
    pub place: usize,
    pub up: bool,
    /// Counts processes.
    pub life: u8,
    pub member: Member,
    pub log: Log,
    replid: u64,
    /// The id before it, and the offset up to which it is shared.
    former: Option<(u64, u64)>,
    pub follow: Option<Follow>,
    /// Writes whose answers wait: their numbers and the offsets behind them.
    owed: Vec<(u64, u64)>,
    /// Behind the last data, now and when its office began.
    data_end: u64,
    office_end: u64,
    /// Requests of operators whose answers come later.
    pub tokens: Vec<(u64, usize, switchover::Tag)>,
    pub cut: bool,
    /// Of a mutant: what was promised before the last seal.
    pub promised_before: server::handover::Epoch,
}

#[derive(Clone, Debug)]
pub struct Follow {
    target: Target,
    /// The primary's life when the link is up.
    pub linked: Option<u8>,
}

impl Node {
    pub fn boot(place: usize, life: u8, mutant: Option<Mutant>) -> Self {
        let name = NAMES[place];
        let number = if mutant == Some(Mutant::RestartedIdCounted) { 1 } else { life };
        let here = Target {
            member: format!("{name}{number}"),
            host: name.into(),
            port: 1,
            hostname: String::new(),
        };
        let identity =
            Identity { uid: Some(UID.into()), name: name.into(), here, ..Identity::default() };
        let log = Log::default();
        let member = Member::new(identity, Timing::default(), log.data_epoch());
        Self {
            place,
            up: true,
            life,
            member,
            log,
            replid: place as u64 * 100 + u64::from(life),
            former: None,
            follow: None,
            owed: Vec::new(),
            data_end: 0,
            office_end: 0,
            tokens: Vec::new(),
            cut: false,
            promised_before: server::handover::Epoch::ZERO,
        }
    }

    pub fn id(&self) -> String {
        self.member.identity().here.member.clone()
    }

    pub fn env(&self, now_us: u64) -> Env {
        Env { now_us, offset: self.log.offset(), empty: self.log.is_empty() }
    }

    pub fn writes_upto(&self, offset: u64) -> Vec<u64> {
        let count = self.log.records_between(0, offset).len();
        let mut kept = self.log.clone();
        kept.truncate(count);
        kept.writes().collect()
    }

    fn released(&self, now: u64, mutant: Option<Mutant>) -> Option<u64> {
        let primary = matches!(self.member.role(), Role::Primary { .. });
        let limbo = matches!(self.member.role(), Role::Limbo(_));
        match mutant {
            Some(Mutant::OpenWithoutStart) if primary => {
                Some(self.member.committed().max(self.office_end))
            }
            Some(Mutant::ReadsWithoutLease) if primary => Some(self.member.committed()),
            Some(Mutant::ReadsInLimbo) if limbo => Some(self.member.committed()),
            _ => self.member.released(now),
        }
    }

    /// What a read would be answered from, if it were answered now.
    pub fn readable(&self, now: u64, mutant: Option<Mutant>) -> Option<u64> {
        self.released(now, mutant).filter(|upto| *upto >= self.data_end)
    }

    pub fn is_linked(&self) -> bool {
        self.follow.as_ref().is_some_and(|follow| follow.linked.is_some())
    }

    /// The place of whom it follows.
    pub fn leader(&self) -> Option<usize> {
        self.follow.as_ref().map(|follow| place_of(&follow.target.host))
    }

    /// The member that it follows.
    pub fn leader_id(&self) -> Option<&str> {
        self.follow.as_ref().map(|follow| follow.target.member.as_str())
    }
}

impl State {
    pub(super) fn edit(&mut self, place: usize, change: impl FnOnce(&mut Node)) {
        let mut node = (*self.nodes[place]).clone();
        change(&mut node);
        self.nodes[place] = Part::new(node);
    }

    /// Tells a member something and performs what it asks for.
    pub(super) fn event(&mut self, place: usize, event: Event) {
        let mut node = (*self.nodes[place]).clone();
        let mut env = node.env(self.now);
        if self.mutant == Some(Mutant::PromoteWithoutT)
            && let Event::Request { request: Request { verb: Verb::Takeover { blob }, .. }, .. } =
                &event
            && let Ok(record) = Handover::decode(blob)
        {
            env.offset = record.offset;
        }
        let event = self.misheard(&node, event);
        let serves = |role: &Role| matches!(role, Role::Primary { .. } | Role::Limbo(_));
        let before = node.member.role().clone();
        let effects = node.member.handle(env, event);
        let left = serves(&before) && !serves(node.member.role());
        let given = matches!(before, Role::Limbo(_))
            && node.member.last_outcome() == Outcome::Accepted
            && node.member.pair_is_enough();
        let owed = if left { std::mem::take(&mut node.owed) } else { Vec::new() };
        self.nodes[place] = Part::new(node);
        for (_, depends) in owed.into_iter().filter(|_| given) {
            self.show(place, depends, false);
        }
        for effect in effects {
            self.effect(place, effect);
        }
        self.settle(place);
    }

    fn misheard(&self, node: &Node, event: Event) -> Event {
        match (event, node.member.role()) {
            (Event::Answer { accepted, .. }, Role::Limbo(limbo))
                if self.mutant == Some(Mutant::AnyAnswerCounts) =>
            {
                let record = &limbo.record;
                Event::Answer { member: record.to.member.clone(), epoch: record.epoch, accepted }
            }
            (event, _) => event,
        }
    }

    fn effect(&mut self, place: usize, effect: Effect) {
        match effect {
            Effect::Reply { token, reply } => self.replied(place, token, reply),
            Effect::Append { argument } => self.append(place, Rec::Note(Rc::from(argument))),
            Effect::Answer { epoch, accepted } => {
                self.note_decision(epoch, accepted);
                let node = &self.nodes[place];
                let follow = node.follow.as_ref();
                let linked =
                    follow.and_then(|follow| Some((place_of(&follow.target.host), follow.linked?)));
                if let Some((to, life)) = linked {
                    let member = node.id();
                    self.send(Message::Answer { to, life, from: place, member, epoch, accepted });
                }
            }
            Effect::Takeover { to, blob } => {
                let life = self.nodes[place].life;
                self.send(Message::Takeover { from: place, life, to, blob });
            }
            Effect::Promote { epoch } => self.edit(place, |node| {
                let end = node.log.offset();
                node.former = Some((node.replid, end));
                // Of the office alone, so that two courses to it look alike.
                node.replid = 10_000 + epoch.term * 100 + epoch.hop;
                (node.follow, node.data_end, node.office_end) = (None, end, end);
            }),
            Effect::Follow { primary, .. } => {
                self.part_from(place);
                let follow = Some(Follow { target: primary, linked: None });
                self.edit(place, |node| node.follow = follow);
            }
            Effect::Detach => {
                self.part_from(place);
                self.edit(place, |node| node.follow = None);
            }
            Effect::Sync
            | Effect::Keep { .. }
            | Effect::ResumeHeld
            | Effect::RefuseHeld
            | Effect::CloseClients
            | Effect::Resign
            | Effect::Redirect(_)
            | Effect::Notify(_) => {}
        }
    }

    pub(super) fn note_decision(&mut self, epoch: server::handover::Epoch, accepted: bool) {
        let earlier = *self.decided.entry(epoch).or_insert(accepted);
        if earlier != accepted {
            self.violated(format!("the handover of {epoch} is answered in both ways"));
        }
    }

    /// Nobody is served by this member any more.
    pub(super) fn part_from(&mut self, place: usize) {
        for other in 0..self.nodes.len() {
            if self.nodes[other].leader() == Some(place) && self.nodes[other].is_linked() {
                self.edit(other, |node| {
                    if let Some(follow) = &mut node.follow {
                        follow.linked = None;
                    }
                });
            }
        }
    }

    pub(super) fn append(&mut self, place: usize, rec: Rec) {
        let now = self.now;
        self.edit(place, |node| {
            let write = match rec {
                Rec::Write(id) => Some(id),
                _ => None,
            };
            node.log.append(rec);
            let end = node.log.offset();
            if let Some(id) = write {
                node.data_end = end;
                node.owed.push((id, end));
            }
            if node.member.waits_for_commit() {
                node.member.note_stream(end, now);
            }
        });
        self.settle(place);
    }

    /// Releases the answers that may be released.
    pub(super) fn settle(&mut self, place: usize) {
        let released = self.nodes[place].released(self.now, self.mutant);
        let Some(released) = released else { return };
        if self.nodes[place].owed.first().is_none_or(|(_, depends)| *depends > released) {
            return;
        }
        let mut ready = Vec::new();
        self.edit(place, |node| {
            ready.clone_from(&node.owed);
            ready.retain(|(_, depends)| *depends <= released);
            node.owed.retain(|(_, depends)| *depends > released);
        });
        for (_, depends) in ready {
            self.show(place, depends, false);
        }
    }

    /// Whether this follower could be linked to whom it follows now.
    pub(super) fn can_link(&self, place: usize) -> bool {
        let node = &self.nodes[place];
        let (Some(leader), false) = (node.leader(), node.is_linked()) else { return false };
        let primary = &self.nodes[leader];
        let target = node.leader_id().unwrap_or_default();
        let epoch = node.member.epoch().unwrap_or_default();
        node.up
            && primary.up
            && self.reaches(place, leader)
            && primary.member.may_serve(UID, target, epoch).is_ok()
    }

    /// The whole introduction, up to the first acknowledgement.
    pub(super) fn link(&mut self, place: usize) {
        let Some(leader) = self.nodes[place].leader() else { return };
        let primary = self.nodes[leader].clone();
        let node = self.nodes[place].clone();
        let epoch = node.member.epoch().unwrap_or_default();
        let target = node.leader_id().unwrap_or_default();
        let Ok(own) = primary.member.may_serve(UID, target, epoch) else { return };
        if own < node.member.promised() {
            return;
        }
        let offset = node.log.offset();
        let former = primary.former.is_some_and(|(id, upto)| id == node.replid && offset <= upto);
        let shared = node.replid == primary.replid || former;
        let partial = shared && primary.log.count_at(offset).is_some();
        if partial && primary.log.hash_at(offset) != node.log.hash_at(offset) {
            self.violated(format!("{} continues where the histories differ", node.id()));
        }
        let (replid, life) = (primary.replid, primary.life);
        self.edit(place, |node| {
            (node.replid, node.former) = (replid, None);
            if !partial {
                node.log = primary.log.clone();
            }
            if let Some(follow) = &mut node.follow {
                follow.linked = Some(life);
            }
        });
        self.event(place, Event::Linked { epoch: own });
        if !partial {
            let data_epoch = self.nodes[place].log.data_epoch();
            self.event(place, Event::Replaced { data_epoch });
        }
        let now = self.now;
        self.edit(place, |node| node.member.granted(now));
        let target = self.nodes[place].member.identity().here.clone();
        let acked = self.acked(place, leader);
        self.event(leader, Event::ReplicaUp { peer: Peer { target, acked, durable: 0, level: 0 } });
        self.acknowledge(place);
    }

    /// What a member says to have applied.
    fn acked(&self, place: usize, leader: usize) -> u64 {
        let careless = [Some(Mutant::ReceiveAsApply), Some(Mutant::PromoteWithoutT)];
        let says = if careless.contains(&self.mutant) { leader } else { place };
        self.nodes[says].log.offset()
    }

    fn acknowledge(&mut self, place: usize) {
        let node = &self.nodes[place];
        let linked = node.follow.as_ref().and_then(|follow| follow.linked);
        let (Some(to), Some(life)) = (node.leader(), linked) else { return };
        let member = node.id();
        let offset = self.acked(place, to);
        self.send(Message::Ack { to, life, from: place, member, offset });
    }

    /// The next record of the stream that this follower lacks.
    pub(super) fn coming(&self, place: usize) -> Option<Rec> {
        let node = &self.nodes[place];
        let leader = node.leader().filter(|_| node.is_linked())?;
        if !self.reaches(place, leader) || !node.up {
            return None;
        }
        let primary = &self.nodes[leader];
        let count = primary.log.count_at(node.log.offset())?;
        primary.log.since(count).first().map(|entry| entry.rec.clone())
    }

    pub(super) fn feed(&mut self, place: usize) {
        let Some(rec) = self.coming(place) else { return };
        let start = self.nodes[place].log.offset();
        let record = record_of(&rec);
        self.edit(place, |node| {
            node.log.append(rec);
        });
        if let Some(mut record) = record {
            if self.mutant == Some(Mutant::TwoOwners)
                && let Record::Handover(handover) = &mut record
            {
                handover.to = self.nodes[place].member.identity().here.clone();
            }
            self.event(place, Event::Applied { record, start });
        }
        let now = self.now;
        if self.nodes[place].is_linked() {
            self.edit(place, |node| node.member.granted(now));
        }
        self.acknowledge(place);
    }

    /// A handover's record by another route, with the answer on the same way.
    pub(super) fn takeover(&mut self, from: usize, life: u8, to: &Target, blob: String) {
        let place = place_of(&to.host);
        let node = &self.nodes[place];
        let right = node.id() == to.member;
        let Ok(record) = Handover::decode(&blob) else { return };
        let epoch = record.epoch;
        let request =
            Request { uid: UID.into(), member: to.member.clone(), verb: Verb::Takeover { blob } };
        let accepted = if right {
            self.event(place, Event::Request { token: 0, request });
            self.decided.get(&epoch).copied()
        } else {
            (self.mutant == Some(Mutant::RestartedTargetDeclines)).then_some(false)
        };
        if let Some(accepted) = accepted {
            let member = to.member.clone();
            self.send(Message::Answer { to: from, life, from: place, member, epoch, accepted });
        }
    }

    fn replied(&mut self, place: usize, token: u64, reply: Reply) {
        if let Reply::Outcome { outcome, epoch } = &reply
            && self.nodes[place].member.role().name() != "limbo"
            && token == 0
        {
            self.note_decision(*epoch, *outcome == Outcome::Accepted);
        }
        let Some((_, operator, tag)) =
            self.nodes[place].tokens.iter().find(|(one, _, _)| *one == token).copied()
        else {
            return;
        };
        self.edit(place, |node| node.tokens.retain(|(one, _, _)| *one != token));
        let result = self.misreported(place, crate::convert::reply(reply));
        self.answered(operator, tag, place, result);
    }
}
