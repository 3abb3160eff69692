//! Planted bugs of what goes between operators and members.

use server::handover::{Config, Event, Request, Verb};
use switchover::{Arbiter, Command, Member, Refusal, Reply, Role, Seen, Tag};

use crate::answer::is_async;
use crate::convert::epoch_out;
use crate::log::Log;
use crate::mutant::Mutant;
use crate::node::Cause;
use crate::world::{MS, SEC, Thing, UID, World};

impl World {
    /// The command as it reaches the member, or none.
    pub fn miscommanded(
        &mut self,
        node: usize,
        (brain, tag): (u64, Tag),
        to: &Member,
        mut command: Command,
    ) -> Option<(Member, Command)> {
        let mut to = to.clone();
        let published = self.arbiter.config.clone();
        let life = self.nodes[node].life.as_mut()?;
        if matches!(command, Command::Seal { .. }) {
            life.note_promise();
        }
        match (self.mutant, &mut command) {
            (Some(Mutant::KeepsUnequal), Command::Promote { config, .. }) => *config = published,
            (Some(Mutant::NoLeaseWait), Command::Promote { wait_ms, .. }) => *wait_ms = 0,
            (Some(Mutant::HandoverUncommitted), Command::Level { to: target, .. })
                if life.is_applied_by(target) =>
            {
                let name = to.name.clone();
                let event = switchover::Event::Replied { tag, name, result: Ok(Reply::Ok) };
                self.after(1, Thing::Told { brain, event });
                return None;
            }
            (Some(Mutant::HandoverUncommitted), Command::Handover { to: target, .. })
                if life.is_applied_by(target) =>
            {
                self.count_as_committed(node);
            }
            (Some(Mutant::ReusedAddress), _) => to.member = life.id(),
            (Some(Mutant::PrepareSkipped), Command::Prepare { .. }) => {
                let name = to.name.clone();
                let event = switchover::Event::Replied { tag, name, result: Ok(Reply::Prepared) };
                self.after(1, Thing::Told { brain, event });
                return None;
            }
            _ => {}
        }
        Some((to, command))
    }

    /// The answer as it leaves the member.
    pub fn misreported(
        &mut self,
        node: usize,
        result: Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        if result == Ok(Reply::Prepared) && self.chaos && self.rng.chance(1_500) {
            // A change of members is a narrow place too.
            let wait = self.rng.between(0, 5_000);
            self.after(wait, Thing::Crash { node });
        }
        let Some(life) = &self.nodes[node].life else { return result };
        match (self.mutant, result) {
            (
                Some(Mutant::WinnerByPromise),
                Ok(Reply::Sealed { member, offset, empty, lease_left_ms, restarted, .. }),
            ) => {
                let data_epoch = epoch_out(life.promise_before());
                Ok(Reply::Sealed { member, data_epoch, offset, empty, lease_left_ms, restarted })
            }
            (
                Some(Mutant::LeasesForgotten),
                Ok(Reply::Sealed { member, data_epoch, offset, empty, restarted: true, .. }),
            ) => {
                let (lease_left_ms, restarted) = (0, true);
                Ok(Reply::Sealed { member, data_epoch, offset, empty, lease_left_ms, restarted })
            }
            (
                Some(Mutant::LeaseForgottenAtNext),
                Ok(Reply::Sealed { member, data_epoch, offset, empty, restarted, .. }),
            ) if life.granted_at <= life.knows_leases_since => {
                Ok(Reply::Sealed { member, data_epoch, offset, empty, lease_left_ms: 0, restarted })
            }
            (Some(Mutant::AbortWithoutCas), Ok(Reply::Prepared)) => {
                if let [old, next] = life.member.configs() {
                    let config = Config { v: next.v, ..old.clone() };
                    self.adopt(node, config);
                }
                Ok(Reply::Prepared)
            }
            (Some(Mutant::GrowCountedEarly), Ok(Reply::Prepared)) => {
                if let [_, next] = life.member.configs() {
                    let config = next.clone();
                    self.adopt(node, config);
                }
                Ok(Reply::Prepared)
            }
            (Some(Mutant::PreparedWithoutData), Err(Refusal::NotReady(text)))
                if text.starts_with("too few members of the config") =>
            {
                Ok(Reply::Prepared)
            }
            (Some(Mutant::PreparedWithoutLeases), Err(Refusal::NotReady(text)))
                if is_async(life)
                    && life.member.has_committed(0)
                    && text.starts_with("too few members of the config") =>
            {
                Ok(Reply::Prepared)
            }
            (_, result) => result,
        }
    }

    /// The primary obeys no config but this one from now on.
    fn adopt(&mut self, node: usize, config: Config) {
        let Some(life) = &self.nodes[node].life else { return };
        let verb = Verb::Commit { config };
        let request = Request { uid: UID.into(), member: life.id(), verb };
        self.event(node, Event::Request { token: 0, request }, &Cause::Other);
    }

    /// The others are taken to have on their disks what the giver has in its log.
    fn count_as_committed(&mut self, node: usize) {
        let now = self.now;
        let Some(life) = &mut self.nodes[node].life else { return };
        let env = life.env(now);
        let offset = env.offset;
        let members: Vec<String> = life.served.values().map(|one| one.member.clone()).collect();
        for member in members {
            life.member.handle(env, Event::Ack { member, offset, durable: offset });
        }
    }

    /// The stream's level as this member says it.
    pub fn level_told(&self, node: usize) -> u32 {
        if self.mutant == Some(Mutant::LevelSkipped) { 1 } else { self.levels[node] }
    }

    /// What a giver makes of an answer: a late one may be taken for the answer to what is asked now.
    pub fn misheard(&self, node: usize, event: Event) -> Event {
        let life = self.nodes[node].life.as_ref();
        let limbo = life.and_then(|life| match life.member.role() {
            server::handover::Role::Limbo(limbo) => Some(&limbo.record),
            _ => None,
        });
        match (event, limbo) {
            (Event::Answer { accepted, .. }, Some(record))
                if self.mutant == Some(Mutant::AnyAnswerCounts) =>
            {
                Event::Answer { member: record.to.member.clone(), epoch: record.epoch, accepted }
            }
            (event, _) => event,
        }
    }

    /// What a process finds on its disk as it begins. One that answers before it has read all of it
    /// says that it holds nothing.
    pub fn loaded(&mut self, node: usize) -> Log {
        let log = self.nodes[node].disk.clone();
        if self.mutant != Some(Mutant::LoadingNodeSeals) || log.is_empty() {
            return log;
        }
        let wait = self.rng.between(500 * MS, 2 * SEC);
        self.after(wait, Thing::Loaded { node });
        Log::default()
    }

    /// The rest has been read, if nobody has given it other data meanwhile.
    pub fn loading_ends(&mut self, node: usize) {
        let log = self.nodes[node].disk.clone();
        let Some(life) = &mut self.nodes[node].life else { return };
        if life.log.is_empty() {
            let data_epoch = log.data_epoch();
            life.log = log;
            self.event(node, Event::Replaced { data_epoch }, &Cause::Other);
        }
    }

    /// What an operator believes to have seen. True: it counts one seal less.
    pub fn misseen(&mut self, arbiter: &mut Arbiter, members: &mut Vec<Seen>) -> bool {
        let role = |seen: &Seen| seen.status.as_ref().map(|status| status.role);
        let led = members.iter().any(|seen| role(seen) == Some(Role::Primary));
        match self.mutant {
            Some(Mutant::FewerSeals)
                if !led
                    && arbiter.initialised
                    && arbiter.config.w < arbiter.config.members.len() =>
            {
                arbiter.config.w += 1;
                return true;
            }
            Some(Mutant::RestoredBelieved) if !led && arbiter.initialised => {
                let words = members.iter().filter_map(|seen| seen.status.as_ref());
                let term = words.map(|one| one.promised.term.max(one.data_epoch.term)).max();
                arbiter.term = term.unwrap_or(0).max(arbiter.term);
                members.iter_mut().filter_map(|seen| seen.status.as_mut()).for_each(|status| {
                    status.configs.clear();
                });
            }
            Some(Mutant::ColdStartSilent) if !led && arbiter.initialised => {
                members.retain(|seen| seen.status.is_some());
            }
            Some(Mutant::StatusResetBootstraps) if !arbiter.initialised => {
                let empty = |seen: &Seen| {
                    let status = seen.status.as_ref();
                    status.is_some_and(|status| status.empty && status.role == Role::Fenced)
                };
                if members.iter().any(empty) {
                    members.retain(empty);
                }
            }
            _ => {}
        }
        false
    }

    /// What an operator writes.
    pub fn miswritten(&mut self, arbiter: &mut Arbiter, fewer: bool) {
        if fewer {
            arbiter.config.w = (arbiter.config.w - 1).max(1);
        }
        let decided = arbiter.election.as_ref().filter(|election| election.winner.is_some());
        if self.mutant == Some(Mutant::KeepsUnequal)
            && let Some(election) = decided
            && self.arbiter.election.as_ref().is_none_or(|old| old.winner.is_none())
        {
            let term = election.term;
            let sealed = |one: &Member| {
                let node = &self.nodes[crate::node::place_of(&one.name)];
                node.life.as_ref().is_some_and(|life| {
                    life.id() == one.member && life.member.promised().term == term
                })
            };
            if !arbiter.config.members.iter().any(sealed) {
                return;
            }
            arbiter.config.members.retain(sealed);
            arbiter.config.w = arbiter.config.members.len() / 2 + 1;
        }
    }
}
