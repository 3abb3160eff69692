//! The giving side of a planned switch: PAUSE, LEVEL, HANDOVER, the answer, abdication.

use super::commit::Opening;
use super::config::Config;
use super::epoch::Epoch;
use super::event::{Effect, Env, Notice, Peer, Reply, Target};
use super::member::{Member, Role};
use super::record::{Handover, handover_argument};
use super::status::Outcome;

/// How many attempts are remembered by their id.
const ATTEMPTS_MAX: usize = 32;

/// The pause for a switch. No user lifts it; its timer does, and then the attempt is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub id: String,
    pub until_us: u64,
    /// The member that is to take over.
    pub to: String,
    /// `T`: nothing has entered the stream since.
    pub offset: u64,
    /// A draining member began it by itself.
    pub own: bool,
    /// Requests that wait until the target is level.
    waiters: Vec<u64>,
}

/// An epoch given away and not yet answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limbo {
    pub record: Handover,
    /// The record as it was written, byte for byte.
    pub(super) blob: String,
    pub(super) until_us: u64,
    pub(super) next_try_us: u64,
    waiters: Vec<u64>,
}

/// What is remembered of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempt {
    pub id: String,
    pub to: Target,
    pub epoch: Epoch,
    pub outcome: Outcome,
    pub released: bool,
}

/// From the gate's closing to the first held command's answer, or, if none was held, to the
/// gate's opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    shut_us: Option<u64>,
    pub held: bool,
    pub last_us: u64,
}

impl Measure {
    fn shut(&mut self, now_us: u64) {
        *self = Self { shut_us: Some(now_us), held: false, last_us: 0 };
    }

    fn opened(&mut self, now_us: u64) {
        if !self.held {
            self.answered(now_us);
        }
    }

    pub fn answered(&mut self, now_us: u64) {
        if let Some(shut_us) = self.shut_us.take() {
            self.last_us = now_us.saturating_sub(shut_us);
        }
    }
}

impl Member {
    pub(super) fn begin_pause(
        &mut self,
        env: Env,
        id: String,
        timeout_us: u64,
        to: String,
        out: &mut Vec<Effect>,
    ) -> Reply {
        let Role::Primary { epoch } = self.role else {
            return Reply::NotReady(format!("this member is {}", self.role.name()));
        };
        match &self.pause {
            Some(pause) if pause.id == id && pause.to == to => {
                return Reply::Paused { offset: pause.offset, epoch };
            }
            Some(pause) => return Reply::NotReady(format!("paused by {}", pause.id)),
            None => {}
        }
        if self.attempt(&id).is_some() {
            return Reply::NotReady(format!("the attempt {id} is over"));
        }
        let Some(peer) = self.peers.get(&to) else {
            return Reply::NotReady(format!("no member replica {to} is connected"));
        };
        if !self.counts(&to) {
            return Reply::NotReady(format!("{to} is no member of the config"));
        }
        let (theirs, own) = (peer.level, self.identity.level);
        if theirs < own {
            let why = format!("{to} takes streams up to level {theirs}, and this one's is {own}");
            return Reply::NotReady(why);
        }
        let target = peer.target.clone();
        self.pause = Some(Pause {
            id: id.clone(),
            until_us: env.now_us.saturating_add(timeout_us),
            to,
            offset: env.offset,
            own: false,
            waiters: Vec::new(),
        });
        self.attempts.push_back(Attempt { id, to: target, ..Attempt::default() });
        if self.attempts.len() > ATTEMPTS_MAX {
            self.attempts.pop_front();
        }
        self.measure.shut(env.now_us);
        out.push(Effect::Notify(Notice::Started));
        Reply::Paused { offset: env.offset, epoch }
    }

    pub(super) fn unpause(&mut self, env: Env, id: &str, out: &mut Vec<Effect>) -> Reply {
        if let Role::Limbo(limbo) = &self.role {
            return Reply::NotReady(format!("handing over under {}", limbo.record.id));
        }
        if self.pause.as_ref().is_some_and(|pause| pause.id == id) {
            self.abort(env, out);
        }
        Reply::Ok
    }

    /// None: the answer comes as soon as the target is level or the pause has ended.
    pub(super) fn level(&mut self, env: Env, token: u64, id: &str, to: &str) -> Option<Reply> {
        // Once handed over, the log holds the record too; it was level before that.
        let level = self.is_level(env) || matches!(self.role, Role::Limbo(_));
        match &mut self.pause {
            Some(pause) if pause.id == id && pause.to == to => {
                if level {
                    return Some(Reply::Level);
                }
                pause.waiters.push(token);
                None
            }
            _ => Some(Reply::NotLevel),
        }
    }

    /// Whether the pause's target has applied everything that this log holds.
    fn is_level(&self, env: Env) -> bool {
        self.pause.as_ref().is_some_and(|pause| {
            pause.offset == env.offset
                && (!self.commit.waits() || self.commit.reaches(env.offset))
                && self.peers.get(&pause.to).is_some_and(|peer| peer.acked == env.offset)
        })
    }

    /// Gives the epoch away. `token` is none when a draining member does so by itself.
    pub(super) fn hand_over(
        &mut self,
        env: Env,
        token: Option<u64>,
        id: &str,
        to: Target,
        out: &mut Vec<Effect>,
    ) -> Option<Reply> {
        if let Some(known) = self.known_outcome(token, id, &to) {
            return known;
        }
        let Role::Primary { epoch } = self.role else {
            return Some(Reply::NotReady(format!("this member is {}", self.role.name())));
        };
        let Some(pause) = self.pause.as_ref().filter(|p| p.id == id && p.to == to.member) else {
            return Some(Reply::NotReady(format!("not paused by {id} for {}", to.member)));
        };
        if !self.is_level(env) {
            return Some(Reply::NotReady(format!("{} is not level", pause.to)));
        }
        if !self.counts(&to.member) {
            return Some(Reply::NotReady(format!("{} is no member of the config", to.member)));
        }
        if !self.may_give(env) {
            return Some(Reply::NotReady("leases are missing here, or left elsewhere".into()));
        }
        let record = Handover {
            uid: self.identity.uid.clone().unwrap_or_default(),
            id: id.to_owned(),
            epoch: epoch.next_hop(),
            from: self.identity.here.clone(),
            to,
            data_epoch: self.data_epoch,
            offset: env.offset,
            configs: Config::print_all(&self.commit.configs),
            session: self.session.clone(),
            clock_ms: self.clock_ms,
        };
        self.enter_limbo(env, record, token, out);
        None
    }

    /// What an id that was seen before is answered with; `Some(None)` while it is pending.
    #[allow(clippy::option_option)]
    fn known_outcome(
        &mut self,
        token: Option<u64>,
        id: &str,
        to: &Target,
    ) -> Option<Option<Reply>> {
        let attempt = self.attempt(id)?;
        let (outcome, epoch) = (attempt.outcome, attempt.epoch);
        if outcome != Outcome::None && attempt.to.member != to.member {
            return Some(Some(Reply::NotReady(format!("{id} is for {}", attempt.to.member))));
        }
        match (outcome, &mut self.role) {
            (Outcome::None, _) => None,
            (Outcome::Pending, Role::Limbo(limbo)) => {
                limbo.waiters.extend(token);
                Some(None)
            }
            _ => Some(Some(Reply::Outcome { outcome, epoch })),
        }
    }

    fn enter_limbo(
        &mut self,
        env: Env,
        record: Handover,
        token: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        let blob = record.encode();
        self.promised = record.epoch;
        if let Some(attempt) = self.attempt_mut(&record.id) {
            attempt.outcome = Outcome::Pending;
            attempt.epoch = record.epoch;
            attempt.to = record.to.clone();
        }
        if let Some(pause) = &mut self.pause {
            for token in std::mem::take(&mut pause.waiters) {
                out.push(Effect::Reply { token, reply: Reply::Level });
            }
        }
        out.push(Effect::Append { argument: handover_argument(&blob) });
        self.role = Role::Limbo(Box::new(Limbo {
            record,
            blob,
            until_us: env.now_us.saturating_add(self.timing.takeover_us),
            next_try_us: env.now_us.saturating_add(self.timing.retry_us),
            waiters: token.into_iter().collect(),
        }));
    }

    pub(super) fn answered(
        &mut self,
        env: Env,
        member: &str,
        epoch: Epoch,
        accepted: bool,
        out: &mut Vec<Effect>,
    ) {
        let to = match &self.role {
            Role::Limbo(limbo) => limbo.record.to.clone(),
            // The answer came after the bound: it still says whom to follow, never who may write.
            Role::Fenced if accepted && self.promised == epoch => {
                match self.attempts.iter().find(|attempt| attempt.epoch == epoch) {
                    Some(attempt) => attempt.to.clone(),
                    None => return,
                }
            }
            _ => return,
        };
        if to.member != member || self.promised != epoch {
            return;
        }
        if accepted {
            self.leave_limbo(Outcome::Accepted, out);
            self.become_follower(env, epoch, to.clone(), out);
            out.push(Effect::Notify(Notice::Moved(to)));
        } else {
            self.take_back(env, out);
        }
    }

    /// The target has promised never to take the epoch: the next but one is this member's.
    fn take_back(&mut self, env: Env, out: &mut Vec<Effect>) {
        let Role::Limbo(limbo) = &self.role else { return };
        // The limbo's epoch is already one hop above the own one.
        let epoch = limbo.record.epoch.next_hop();
        self.leave_limbo(Outcome::Declined, out);
        self.role = Role::Primary { epoch };
        self.promised = epoch;
        let configs = std::mem::take(&mut self.commit.configs);
        self.commit.begin(configs, env, Opening::Level);
        self.write_start(epoch, out);
        self.abort(env, out);
    }

    /// Tells those who wait for the outcome and remembers it; does not change the role.
    pub(super) fn leave_limbo(&mut self, outcome: Outcome, out: &mut Vec<Effect>) {
        let Role::Limbo(limbo) = &mut self.role else { return };
        let waiters = std::mem::take(&mut limbo.waiters);
        let given = limbo.record.epoch;
        let epoch = if outcome == Outcome::Declined { given.next_hop() } else { given };
        let id = limbo.record.id.clone();
        if let Some(attempt) = self.attempt_mut(&id) {
            attempt.outcome = outcome;
            attempt.epoch = epoch;
        }
        for token in waiters {
            out.push(Effect::Reply { token, reply: Reply::Outcome { outcome, epoch } });
        }
    }

    /// Ends the pause of a primary that stays primary.
    fn abort(&mut self, env: Env, out: &mut Vec<Effect>) {
        self.drop_pause(env, out);
        out.push(Effect::ResumeHeld);
        out.push(Effect::Notify(Notice::Aborted));
    }

    /// Forgets the pause and tells those who wait for level.
    pub(super) fn drop_pause(&mut self, env: Env, out: &mut Vec<Effect>) {
        let Some(pause) = self.pause.take() else { return };
        self.measure.opened(env.now_us);
        for token in pause.waiters {
            out.push(Effect::Reply { token, reply: Reply::NotLevel });
        }
    }

    pub(super) fn replica_up(&mut self, env: Env, peer: Peer, out: &mut Vec<Effect>) {
        let member = peer.target.member.clone();
        self.peers.insert(member, peer);
        self.count_commit(env.offset, None);
        self.maybe_level(env, out);
    }

    pub(super) fn acked(
        &mut self,
        env: Env,
        member: &str,
        (offset, durable): (u64, u64),
        out: &mut Vec<Effect>,
    ) {
        if let Some(peer) = self.peers.get_mut(member) {
            peer.acked = peer.acked.max(offset);
            peer.durable = peer.durable.max(durable);
            self.count_commit(env.offset, Some((member, offset)));
            self.maybe_level(env, out);
        }
    }

    pub(super) fn maybe_level(&mut self, env: Env, out: &mut Vec<Effect>) {
        if !matches!(self.role, Role::Primary { .. }) || !self.is_level(env) {
            return;
        }
        let Some(pause) = &mut self.pause else { return };
        for token in std::mem::take(&mut pause.waiters) {
            out.push(Effect::Reply { token, reply: Reply::Level });
        }
        if pause.own {
            self.hand_over_alone(env, out);
        }
    }

    /// The pause's timer, the resending of the record, and the bound of limbo.
    pub(super) fn time_of_giver(&mut self, env: Env, out: &mut Vec<Effect>) {
        match &mut self.role {
            Role::Primary { .. }
                if self.pause.as_ref().is_some_and(|pause| pause.until_us <= env.now_us) =>
            {
                self.abort(env, out);
            }
            Role::Limbo(limbo) if limbo.until_us <= env.now_us => self.fence(env, out),
            Role::Limbo(limbo) if limbo.next_try_us <= env.now_us => {
                limbo.next_try_us = env.now_us.saturating_add(self.timing.retry_us);
                let (to, blob) = (limbo.record.to.clone(), limbo.blob.clone());
                out.push(Effect::Takeover { to, blob });
            }
            _ => {}
        }
    }

    pub(super) fn attempt(&self, id: &str) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.id == id)
    }

    pub(super) fn attempt_mut(&mut self, id: &str) -> Option<&mut Attempt> {
        self.attempts.iter_mut().rev().find(|attempt| attempt.id == id)
    }
}
