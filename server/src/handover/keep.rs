//! What outlives a restart where answers promise the disk.
//!
//! **Invariant (kept means bound).** An id that comes back after a restart holds everything that it ever
//! said to hold durably, and is bound by everything that it ever answered: its promise, what it accepted
//! or declined, and the epochs that it owned, of which it owns none again. So the record is durable
//! before an answer leaves, and is erased before data go. An id whose record was erased dies with the
//! process, as every id does under the other modes; nothing is asked of the disk for it.
//!
//! **A disk that is full or slow is no evidence of loss.** The last record is still there, and true of
//! the data. So what was to be answered is not, the id stays, and a promise stays in memory at least as
//! high as it was raised; who asked may ask again. Only what was taken over and could not be recorded
//! ends the id.
//!
//! What a follower promises by following needs no record: before any of that epoch's offsets counts,
//! its start record is in the log.

use std::collections::BTreeSet;

use super::commit::{Commit, Opening};
use super::config::Config;
use super::epoch::Epoch;
use super::event::{Effect, Env, Reply};
use super::fields::{self, Fields};
use super::member::{Identity, Member, Role, Timing};
use super::record::RecordError;

/// The record of one id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The cluster that it belongs to.
    pub uid: String,
    pub member: String,
    pub promised: Epoch,
    /// The greatest epoch that it owned.
    pub owned: Epoch,
    /// Epochs taken over.
    pub accepted: BTreeSet<Epoch>,
    /// The log was durable up to here: one that is shorter has lost something.
    pub offset: u64,
}

impl Kept {
    /// One line of versioned text.
    pub fn encode(&self) -> String {
        let epochs = (self.promised.to_string(), self.owned.to_string());
        let accepted: Vec<String> = self.accepted.iter().map(ToString::to_string).collect();
        fields::encode(&[
            ("uid", self.uid.as_str()),
            ("member", &self.member),
            ("promised", &epochs.0),
            ("owned", &epochs.1),
            ("accepted", &accepted.join(",")),
            ("offset", &self.offset.to_string()),
        ])
    }

    /// The inverse of [`Kept::encode`].
    pub fn decode(text: &str) -> Result<Self, RecordError> {
        let fields = Fields::of(text)?;
        let accepted = fields.get("accepted")?;
        let accepted = accepted.split(',').filter(|text| !text.is_empty()).map(str::parse);
        Ok(Self {
            uid: fields.needed("uid")?,
            member: fields.needed("member")?,
            promised: fields.parsed("promised")?,
            owned: fields.parsed("owned")?,
            accepted: accepted
                .collect::<Result<_, _>>()
                .map_err(|_| RecordError::Field("accepted"))?,
            offset: fields.parsed("offset")?,
        })
    }
}

/// What becomes of a member if the disk does not take its record.
#[derive(Clone, Debug, Default)]
pub(super) enum Unwritten {
    /// It has answered nothing, and stays what it is.
    #[default]
    Unanswered,
    /// It has not taken the office, of which nobody has heard.
    NoOffice(Box<Before>),
    /// The id is not kept yet, and what is durable here counts for nothing, as before.
    NotYet(Box<Commit>),
    /// It took an epoch over, and cannot be asked again; the epoch of what was in its log before.
    NoId(Epoch),
}

/// What taking an office has changed, but for the promise.
#[derive(Clone, Debug)]
pub(super) struct Before {
    commit: Commit,
    owned: Epoch,
    data_epoch: Epoch,
}

impl Member {
    /// A member as it boots with what its files hold: under the id of the record if that is of this
    /// cluster and nothing is missing, else under the one that was drawn. `env` tells what was loaded.
    pub fn boot(
        mut identity: Identity,
        timing: Timing,
        data_epoch: Epoch,
        kept: Option<Kept>,
        env: Env,
    ) -> Self {
        let trusted = |kept: &Kept| {
            let ours = identity.uid.as_ref() == Some(&kept.uid);
            identity.keeps && ours && kept.offset <= env.offset
        };
        let Some(kept) = kept.filter(trusted) else {
            return Self::new(identity, timing, data_epoch);
        };
        identity.here.member = kept.member;
        let mut member = Self::new(identity, timing, data_epoch);
        member.promised = kept.promised.max(data_epoch);
        (member.owned, member.accepted) = (kept.owned, kept.accepted);
        (member.kept, member.restarted) = (true, true);
        member.commit.durable = env.offset;
        // Nobody remembers which leases it gave; none can be younger than this.
        member.granted(env.now_us);
        member
    }

    /// Up to where this member would find its log again under this id: what it acknowledges as
    /// durable.
    pub fn durable(&self) -> u64 {
        if self.kept { self.commit.durable } else { 0 }
    }

    /// Whether a restart would find this id again.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether the id is to be kept from now on, with files that there are. The effects come before
    /// the files are left.
    pub fn set_keeps(&mut self, keeps: bool) -> Vec<Effect> {
        let mut out = Vec::new();
        self.identity.keeps = keeps;
        if !keeps {
            self.forget_kept(&mut out);
        }
        out
    }

    /// Makes durable what this id is bound by, before whatever follows.
    pub(super) fn keep(&mut self, env: Env, out: &mut Vec<Effect>) {
        self.unwritten = Unwritten::Unanswered;
        if !self.kept {
            return;
        }
        let kept = Kept {
            uid: self.identity.uid.clone().unwrap_or_default(),
            member: self.identity.here.member.clone(),
            promised: self.promised,
            owned: self.owned,
            accepted: self.accepted.clone(),
            offset: self.commit.durable.min(env.offset),
        };
        out.push(Effect::Keep { kept: Some(Box::new(kept)) });
    }

    /// As [`Member::keep`], for the answer to who gives an epoch away.
    pub(super) fn keep_answer(&mut self, env: Env, accepted: bool, out: &mut Vec<Effect>) {
        self.keep(env, out);
        if accepted {
            self.unwritten = Unwritten::NoId(self.data_epoch);
        }
    }

    /// This id dies with the process from here on.
    pub(super) fn forget_kept(&mut self, out: &mut Vec<Effect>) {
        self.commit.durable = 0;
        self.unwritten = Unwritten::Unanswered;
        if std::mem::take(&mut self.kept) {
            out.push(Effect::Keep { kept: None });
        }
    }

    /// The files hold the log up to here, so the id may be kept with them.
    pub(super) fn durable_upto(&mut self, env: Env, offset: u64, out: &mut Vec<Effect>) {
        if !self.identity.keeps || self.has_resigned {
            return;
        }
        let before = (!self.kept).then(|| Box::new(self.commit.clone()));
        self.commit.durable = self.commit.durable.max(offset.min(env.offset));
        if let Some(before) = before {
            self.kept = true;
            self.keep(env, out);
            self.unwritten = Unwritten::NotYet(before);
            self.count_commit(env.offset, None);
            // A switch goes on with the next word: this one may have to be taken back.
            return;
        }
        self.count_commit(env.offset, None);
        self.maybe_level(env, out);
    }

    /// The disk did not take the log or the record, and nothing has followed from them.
    pub(super) fn not_kept(&mut self, env: Env, renewed: String, out: &mut Vec<Effect>) {
        match std::mem::take(&mut self.unwritten) {
            Unwritten::Unanswered => {}
            Unwritten::NoOffice(before) => {
                let Before { commit, owned, data_epoch } = *before;
                (self.commit, self.owned, self.data_epoch) = (commit, owned, data_epoch);
                self.role = Role::Fenced;
            }
            Unwritten::NotYet(before) => {
                self.commit = *before;
                // If it is there in spite of all it would not know of what is promised from now on.
                self.forget_kept(out);
                return;
            }
            Unwritten::NoId(data_epoch) => {
                // The start record of the office is in no log.
                self.data_epoch = data_epoch;
                return self.end_id(env, renewed, out);
            }
        }
        if self.role == Role::Fenced {
            // What was to be done for this may be among what was not.
            self.fence(env, out);
        }
    }

    /// This id ends, and with it whatever it was bound by; the member goes on as another one.
    fn end_id(&mut self, env: Env, renewed: String, out: &mut Vec<Effect>) {
        self.forget_kept(out);
        self.fence(env, out);
        self.identity.here.member = renewed;
        self.accepted.clear();
        self.restarted = false;
    }

    /// Takes an epoch of the arbiter's, before anything is written under it.
    pub(super) fn own(
        &mut self,
        env: Env,
        epoch: Epoch,
        (configs, how): (Vec<Config>, Opening),
        out: &mut Vec<Effect>,
    ) {
        let before =
            Before { commit: self.commit.clone(), owned: self.owned, data_epoch: self.data_epoch };
        self.commit.begin(configs, env, how);
        (self.owned, self.promised) = (epoch, epoch);
        self.keep(env, out);
        self.unwritten = Unwritten::NoOffice(Box::new(before));
    }

    pub(super) fn not_again(&self, epoch: Epoch) -> Reply {
        Reply::NotReady(format!(
            "this member owned {} and was restarted, so not {epoch}",
            self.owned
        ))
    }
}
