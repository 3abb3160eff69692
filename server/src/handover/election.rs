//! The arbiter's decisions: BOOTSTRAP, SEAL, PROMOTE, FOLLOW.

use super::commit::Opening;
use super::config::Config;
use super::epoch::Epoch;
use super::event::{Effect, Env, Reply, Target};
use super::member::{Member, Role};
use super::record::Record;
use super::status::Outcome;

impl Member {
    /// The first primary of all: only a fenced member without any data.
    pub(super) fn bootstrap(
        &mut self,
        env: Env,
        term: u64,
        config: Option<Config>,
        out: &mut Vec<Effect>,
    ) -> Reply {
        let epoch = Epoch::of_term(term);
        match &self.role {
            _ if epoch < self.promised => Reply::Stale { promised: self.promised },
            Role::Primary { epoch: own } if *own == epoch => Reply::Ok,
            Role::Fenced if !env.empty => Reply::NotReady("this member has data".into()),
            Role::Fenced if epoch <= self.owned => self.not_again(epoch),
            Role::Fenced => {
                let configs = config.into_iter().collect();
                self.own(env, epoch, (configs, Opening::Level), out);
                self.become_primary(epoch, out);
                Reply::Ok
            }
            role => Reply::NotReady(format!("this member is {}", role.name())),
        }
    }

    /// Promises the term: from here on nothing of a lower epoch is taken, answered or served.
    pub(super) fn seal(&mut self, env: Env, term: u64, out: &mut Vec<Effect>) -> Reply {
        let epoch = Epoch::of_term(term);
        if epoch < self.promised {
            return Reply::Stale { promised: self.promised };
        }
        if self.has_resigned {
            return Reply::NotReady("this member has resigned".into());
        }
        if epoch == self.promised && self.role != Role::Fenced {
            // A late copy of a seal that has already led to a decision.
            return Reply::NotReady(format!("this member is {} of {epoch}", self.role.name()));
        }
        if epoch > self.promised {
            self.promised = epoch;
            self.fence(env, out);
        }
        // What the answer tells is what a decision rests on, so a restart must find it again. While
        // the disk cannot take it there is no answer, and the same term may be asked for again.
        if self.kept {
            out.push(Effect::Sync);
            self.keep(env, out);
        }
        Reply::Sealed(Box::new(self.status(env)))
    }

    /// `told`: the config to obey, if any, and how long to stay shut, in milliseconds.
    pub(super) fn promote(
        &mut self,
        env: Env,
        term: u64,
        told: (Option<Config>, u64),
        out: &mut Vec<Effect>,
    ) -> Reply {
        let epoch = Epoch::of_term(term);
        match &self.role {
            _ if epoch < self.promised => Reply::Stale { promised: self.promised },
            Role::Primary { epoch: own } if *own == epoch => Reply::Ok,
            Role::Fenced if epoch <= self.owned => self.not_again(epoch),
            Role::Fenced if self.promised == epoch => {
                let wait_us = told.1.saturating_mul(1000);
                let configs = told.0.into_iter().collect();
                self.own(env, epoch, (configs, Opening::Elected { wait_us }), out);
                self.become_primary(epoch, out);
                Reply::Ok
            }
            role => {
                let role = role.name();
                Reply::NotReady(format!("this member is {role} and has not sealed term {term}"))
            }
        }
    }

    pub(super) fn follow(
        &mut self,
        env: Env,
        epoch: Epoch,
        primary: Target,
        out: &mut Vec<Effect>,
    ) -> Reply {
        if epoch < self.promised {
            return Reply::Stale { promised: self.promised };
        }
        if primary.member == self.identity.here.member {
            return Reply::NotReady("a member can not follow itself".into());
        }
        match &self.role {
            Role::Primary { epoch: own } if *own == epoch => {
                return Reply::NotReady(format!("this member is the primary of {epoch}"));
            }
            Role::Follower { epoch: own, primary: old } if *own == epoch => {
                if old.member != primary.member {
                    return Reply::NotReady(format!("{epoch} belongs to {}", old.member));
                }
                if (&old.host, old.port) == (&primary.host, primary.port) {
                    return Reply::Ok;
                }
            }
            Role::Limbo(limbo)
                if limbo.record.epoch == epoch && limbo.record.to.member != primary.member =>
            {
                let to = &limbo.record.to.member;
                return Reply::NotReady(format!("{epoch} was given to {to}"));
            }
            _ => {}
        }
        // In the limbo's own term the next epoch can only come from a target that accepted.
        let outcome = match &self.role {
            Role::Limbo(limbo) if limbo.record.epoch.term == epoch.term => Outcome::Accepted,
            _ => Outcome::Abdicated,
        };
        self.leave_limbo(outcome, out);
        self.become_follower(env, epoch, primary, out);
        Reply::Ok
    }

    /// Opens as primary of an epoch that nobody else owns, and says so in the log.
    pub(super) fn become_primary(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        self.promised = epoch;
        self.role = Role::Primary { epoch };
        self.peers.clear();
        out.push(Effect::Promote { epoch });
        self.write_start(epoch, out);
        out.push(Effect::Redirect(None));
        out.push(Effect::ResumeHeld);
    }

    pub(super) fn write_start(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        self.data_epoch = epoch;
        let member = self.identity.here.member.clone();
        out.push(Effect::Append { argument: Record::Start { epoch, member }.argument() });
    }

    /// Follows `primary`; what was held is answered there.
    pub(super) fn become_follower(
        &mut self,
        env: Env,
        epoch: Epoch,
        primary: Target,
        out: &mut Vec<Effect>,
    ) {
        self.promised = epoch;
        self.role = Role::Follower { epoch, primary: primary.clone() };
        self.drop_pause(env, out);
        self.peers.clear();
        out.push(Effect::Follow { primary: primary.clone(), epoch });
        out.push(Effect::Redirect(Some(primary)));
        out.push(Effect::ResumeHeld);
        self.start_release(env);
    }

    /// Serves and follows nobody any more. What was held is refused as not executed.
    pub(super) fn fence(&mut self, env: Env, out: &mut Vec<Effect>) {
        self.leave_limbo(Outcome::Abdicated, out);
        self.role = Role::Fenced;
        self.drop_pause(env, out);
        self.peers.clear();
        out.push(Effect::Detach);
        out.push(Effect::Redirect(None));
        out.push(Effect::RefuseHeld);
    }

    /// The primary named its epoch when this follower introduced itself: a higher one is adopted, so
    /// that records of the past, which follow in the stream, do not mislead.
    pub(super) fn linked(&mut self, named: Epoch) {
        if let Role::Follower { epoch, .. } = &mut self.role
            && named > self.promised
        {
            self.promised = named;
            *epoch = named;
        }
    }
}
