//! Changing the configuration: tighten the primary, publish, loosen the primary.
//!
//! Where answers wait for members, the primary obeys the next config before it is published, and
//! the last one until it knows that the next is: whatever config an election reads, the primary
//! obeyed it. Fewer members are required only on the primary's own word.

use crate::{
    Command, Config, Durability, Epoch, Link, Member, Phase, Refusal, Reply, Role, Status, Then,
};

use super::turn::{SOON_MS, Turn};

/// Looks in a row that must find too few replicas before the config shrinks.
const LACKING_LOOKS: u32 = 3;

/// The greatest number of a config that a primary obeys; 0 for who obeys none.
pub(super) fn greatest_v(status: &Status) -> u64 {
    let numbers = status.configs.split(';').filter_map(|text| text.split('/').next()?.parse().ok());
    numbers.max().unwrap_or(0)
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
        if config.durability == Durability::Async && wanted.durability == Durability::Async {
            // Nobody waits for it: the primary need not know.
            if wanted.same_rule(&config) {
                return false;
            }
            self.publish(Then::Tell(Vec::new()), |arbiter| arbiter.config = wanted);
            return true;
        }
        let pending = obeyed.split_once(';').is_some();
        let published = config.text();
        if pending && known_v <= config.v {
            // It was published, or another one was in its place; the primary does not know yet.
            self.send(primary, Command::Commit { config });
            self.idle_for(SOON_MS);
            return true;
        }
        if pending && !obeyed.ends_with(&wanted.text()) {
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

    fn config_now(&mut self, primary: &Member, epoch: Epoch) -> Config {
        let settings = self.state.settings;
        let mut members = self.members_now(primary);
        if settings.durability == Durability::Replicated && settings.degrade {
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
