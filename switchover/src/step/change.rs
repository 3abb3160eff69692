//! Changing the configuration: tighten the primary, publish, loosen the primary.
//!
//! The primary obeys the next config before it is published, and the last one until it knows that
//! the next is: whatever config an election reads, the primary obeyed it. Fewer members are
//! required only on the primary's own word.

use crate::{Command, Config, Epoch, Link, Member, Phase, Refusal, Reply, Role, Status, Then};

use super::turn::{SOON_MS, Turn};

/// Looks in a row that must find too few replicas before the config shrinks.
const LACKING_LOOKS: u32 = 3;

/// The greatest number of a config that a primary obeys; 0 for who obeys none.
pub(super) fn greatest_v(status: &Status) -> u64 {
    numbers(status).max().unwrap_or(0)
}

fn numbers(status: &Status) -> impl Iterator<Item = u64> {
    status.configs.split(';').filter_map(|text| text.split('/').next()?.parse().ok())
}

/// Whether this member obeys a config that can only have been published later than number `v`.
pub(super) fn knows_later(status: &Status, v: u64) -> bool {
    // The second may still be in preparation, under the number after the published one.
    numbers(status).enumerate().any(|(at, known)| known > v + at as u64)
}

impl Turn {
    /// Brings arbiter and primary to the config that should be. True: something was begun, and
    /// nothing else may be.
    pub fn change_config(&mut self, primary: &Member, epoch: Epoch) -> bool {
        let Some(answer) = self.by_id(&primary.member) else { return false };
        let obeyed = answer.status.configs.clone();
        let known_v = greatest_v(answer.status);
        let wanted = self.config_now(primary, epoch);
        let config = self.state.arbiter.config.clone();
        let pending = obeyed.split_once(';').map(|(old, _)| old.to_owned());
        let published = config.text();
        if let Some(old) = pending.as_ref().filter(|_| known_v < config.v) {
            // A status that was lost, and filled anew above every number: what was in preparation
            // will never be published, and no election reads what was before.
            let name = |id: &str| self.name_of(id);
            if let Some(old) = Config::from_text(old, name) {
                self.send(primary, Command::Commit { config: old.numbered(known_v) });
            }
            self.idle_for(SOON_MS);
            return true;
        }
        if pending.is_some() && known_v == config.v {
            // It was published, or another one was in its place; the primary does not know yet.
            self.send(primary, Command::Commit { config });
            self.idle_for(SOON_MS);
            return true;
        }
        if pending.is_some() && !obeyed.ends_with(&wanted.text()) {
            // What is being prepared is not wanted any more. Only a number of its own undoes it.
            self.publish(Then::Commit(primary.clone()), |arbiter| arbiter.config.v += 1);
            return true;
        }
        if obeyed == published && wanted.same_rule(&config) {
            return false;
        }
        self.prepare(primary, wanted);
        true
    }

    fn prepare(&mut self, primary: &Member, config: Config) {
        let command = Command::Prepare { config: config.clone() };
        let phase = Phase::Preparing { primary: primary.clone(), config };
        let tag = self.enter(phase, self.state.settings.answer_timeout_ms);
        self.command(tag, primary, command);
    }

    pub fn prepare_answered(
        &mut self,
        primary: Member,
        config: Config,
        result: &Result<Reply, Refusal>,
    ) {
        match result {
            Ok(Reply::Prepared) => {
                self.publish(Then::Commit(primary), |arbiter| arbiter.config = config);
            }
            _ => self.idle_for(SOON_MS * 2),
        }
    }

    /// The config is published; a later look repeats this if it is lost.
    pub fn commit(&mut self, primary: &Member) {
        let config = self.state.arbiter.config.clone();
        self.send(primary, Command::Commit { config });
        self.idle_for(SOON_MS);
    }

    /// The name of a member of the arbiter's config, or of one that answers; empty if neither.
    fn name_of(&self, id: &str) -> String {
        let known = self.state.arbiter.config.members.iter().find(|member| member.member == id);
        let known = known.cloned().or_else(|| self.by_id(id).map(|answer| answer.member()));
        known.map(|member| member.name).unwrap_or_default()
    }

    fn config_now(&mut self, primary: &Member, epoch: Epoch) -> Config {
        let settings = self.state.settings;
        let mut members = self.members_now(primary);
        if settings.degrade {
            members = self.those_left(primary, members);
        }
        let (v, w) = (self.state.arbiter.config.v + 1, members.len() / 2 + 1);
        let (durability, degrade) = settings.rule();
        Config { v, term: epoch.term, members, w, durability, degrade }
    }

    /// The members that the primary itself is connected to, once it has lacked W of the others for
    /// some looks; until then all of them.
    fn those_left(&mut self, primary: &Member, members: Vec<Member>) -> Vec<Member> {
        let Some(status) = self.by_id(&primary.member).map(|answer| answer.status.clone()) else {
            return members;
        };
        let there = |member: &Member| {
            let online =
                |id: &str| status.replicas.iter().any(|one| one.member == id && one.online);
            member == primary || online(&member.member)
        };
        let left: Vec<Member> = members.iter().filter(|one| there(one)).cloned().collect();
        if left.len() > members.len() / 2 {
            self.state.lacking = 0;
            return members;
        }
        self.state.lacking += 1;
        if self.state.lacking >= LACKING_LOOKS {
            left
        } else {
            self.state.arbiter.config.members.clone()
        }
    }

    /// The configuration as it should be: a new life counts once it is in sync, a silent member
    /// keeps its place, and a name that no longer exists leaves.
    fn members_now(&self, primary: &Member) -> Vec<Member> {
        let config = &self.state.arbiter.config;
        let known = |name: &str| config.members.iter().find(|member| member.name == name).cloned();
        let synced = |status: &Status| {
            status.member == primary.member
                || status.role == Role::Follower
                    && status.primary_member == primary.member
                    && status.link == Link::Up
        };
        let members = self.state.members.iter().filter_map(|seen| {
            let now = seen.status.as_ref().filter(|status| synced(status));
            let now = now.map(|s| Member { name: seen.name.clone(), member: s.member.clone() });
            now.or_else(|| known(&seen.name))
        });
        members.collect()
    }
}
