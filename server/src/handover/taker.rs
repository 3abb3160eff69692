//! The taking side of a planned switch, and the other followers that see it.

use super::commit::Opening;
use super::config::Config;
use super::event::{Effect, Env, Reply};
use super::member::{Member, Role};
use super::record::{Handover, Record, handover_argument};
use super::status::Outcome;

impl Member {
    /// A record of the stream was applied; `start` is the offset before it.
    pub(super) fn applied(&mut self, env: Env, record: Record, start: u64, out: &mut Vec<Effect>) {
        match record {
            Record::Start { epoch, .. } => {
                self.data_epoch = epoch;
                self.linked(epoch);
            }
            Record::Handover(handover) => self.saw_handover(env, *handover, start, out),
        }
    }

    fn saw_handover(&mut self, env: Env, record: Handover, start: u64, out: &mut Vec<Effect>) {
        let Role::Follower { primary, .. } = &self.role else { return };
        // A record of the past, in the history of a later primary, concerns nobody any more.
        if self.identity.uid.as_ref() != Some(&record.uid) || primary.member != record.from.member {
            return;
        }
        if record.to.member == self.identity.here.member {
            let before = self.accepted.contains(&record.epoch);
            let accepted = before || self.decide(&record, start);
            if !before {
                self.keep_answer(env, accepted, out);
            }
            out.push(Effect::Answer { epoch: record.epoch, accepted });
            if accepted && !before {
                self.take_office(env, &record, out);
            }
        } else if record.epoch > self.promised {
            self.become_follower(env, record.epoch, record.to, out);
        }
    }

    /// The same record by another route, from the giver or from the operator.
    pub(super) fn takeover(&mut self, env: Env, blob: &str, out: &mut Vec<Effect>) -> Reply {
        let record = match Handover::decode(blob) {
            Ok(record) => record,
            Err(error) => return Reply::NotReady(error.to_string()),
        };
        if self.identity.uid.as_ref() != Some(&record.uid)
            || record.to.member != self.identity.here.member
        {
            return Reply::WrongMember;
        }
        let epoch = record.epoch;
        if self.accepted.contains(&epoch) {
            return Reply::Outcome { outcome: Outcome::Accepted, epoch };
        }
        if epoch > self.promised && !matches!(self.role, Role::Follower { .. } | Role::Fenced) {
            // It owns an epoch of its own, and only the arbiter or a target's answer ends that.
            return Reply::NotReady(format!("this member is {}", self.role.name()));
        }
        let accepted = self.decide(&record, env.offset);
        self.keep_answer(env, accepted, out);
        if !accepted {
            let stranger = matches!(&self.role, Role::Follower { primary, .. }
                if primary.member != record.from.member);
            if stranger {
                // It has promised more than its primary owns: it may acknowledge to it no longer.
                self.fence(env, out);
            }
            return Reply::Outcome { outcome: Outcome::Declined, epoch };
        }
        // The record belongs to the log; its bytes did not come by the stream.
        out.push(Effect::Append { argument: handover_argument(blob) });
        self.take_office(env, &record, out);
        Reply::Outcome { outcome: Outcome::Accepted, epoch }
    }

    /// The giver's log is committed as a whole: the new primary is open at once, under the giver's
    /// configs.
    fn take_office(&mut self, env: Env, record: &Handover, out: &mut Vec<Effect>) {
        let configs = Config::parse_all(&record.configs).unwrap_or_default();
        self.commit.begin(configs, env, Opening::Level);
        self.become_primary(record.epoch, out);
    }

    /// Decides about an epoch not yet accepted: takes it, or promises never to. `offset` is the
    /// own log's end without the record.
    fn decide(&mut self, record: &Handover, offset: u64) -> bool {
        let epoch = record.epoch;
        if epoch <= self.promised {
            return false;
        }
        // Configs that cannot be read cannot be obeyed.
        let whole = record.data_epoch == self.data_epoch
            && record.offset == offset
            && Config::parse_all(&record.configs).is_ok();
        self.promised = epoch;
        if whole && self.drain.is_none() {
            self.accepted.insert(epoch);
            self.owned = epoch;
            return true;
        }
        false
    }
}
