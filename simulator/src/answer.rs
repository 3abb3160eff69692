//! Clients that write and read where answers wait for members, and what they were shown.
//!
//! Whatever was shown to somebody, by an acknowledgement or by a read, is one history: every later
//! answer extends it or lies within it, and no read misses what was shown before it was asked. No
//! member shows anything after one of a later epoch has. Under `async` an election may cut off the
//! history's end, but nothing that was older than a lease when it was last shown.

use std::collections::VecDeque;

use server::handover::{Durability, Epoch, Role};

use crate::client::{Ask, Whose};
use crate::log::Rec;
use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::node::Life;
use crate::theme::Theme;
use crate::world::{MS, NAMES, Thing, World};

/// The longest that a lease lasts by any member's clock.
const LEASE_MAX: u64 = 630 * MS;

/// An answer that waits for commit.
#[derive(Clone, Debug)]
pub struct Owed {
    pub whose: Whose,
    what: What,
    epoch: Epoch,
    depends: u64,
}

#[derive(Clone, Debug)]
enum What {
    /// To a write, by its number.
    Write(u64),
    /// To a read, and what had been shown to anybody when it was asked for.
    Read(u64),
    /// The last bytes of a session.
    Last(Vec<u8>),
}

impl Owed {
    /// What is said last on the connection of a session.
    pub fn last(whose: Whose, depends: u64, bytes: Vec<u8>) -> Self {
        Self { whose, what: What::Last(bytes), epoch: Epoch::ZERO, depends }
    }
}

/// What clients were shown, record by record: the offset behind each, and the hash of all before.
#[derive(Default)]
pub struct Shown {
    records: Vec<(u64, u64)>,
    /// The last epoch in which a primary answered, and when it did last.
    epoch: Epoch,
    last_us: u64,
    pub reads: u64,
}

impl Shown {
    pub fn end(&self) -> u64 {
        self.records.last().map_or(0, |record| record.0)
    }

    /// Data may have been lost, and everybody was told so.
    pub fn forget(&mut self) {
        self.records.clear();
    }

    /// Epochs from this one on may come again: nobody who knows of them is left.
    pub fn forget_epochs(&mut self, first: Epoch) {
        self.epoch = self.epoch.min(first);
    }
}

impl World {
    pub fn next_read(&mut self) {
        // Under a plan the moment in which a read could be stale is short.
        let longest = if self.theme.is_some() { 10 * MS } else { 60 * MS };
        let wait = self.rng.between(longest / 6, longest);
        self.after(wait, Thing::NextRead);
        // Deposed primaries are asked too: those are the ones that could be stale.
        let node = self.rng.below(NAMES.len() as u64) as usize;
        let asked_at = self.checks.shown.end();
        let delay = self.delay();
        self.after(delay, Thing::Ask { node, ask: Ask::Read(asked_at) });
    }

    /// A mutant answers a read where it is asked.
    pub fn reads_here(&mut self, node: usize, ask: Ask) -> bool {
        let Ask::Read(asked_at) = ask else { return false };
        if self.mutant != Some(Mutant::RelayReadsHere) {
            return false;
        }
        let Some(life) = &self.nodes[node].life else { return false };
        let Role::Follower { epoch, .. } = *life.member.role() else { return false };
        let (what, depends) = (What::Read(asked_at), life.log.offset());
        // To whom matters to nobody: it is given at once.
        self.show(node, &Owed { whose: Whose::Client(0), what, epoch, depends });
        true
    }

    /// Whether a mutant reads on while the epoch is being given away.
    pub fn reads_in_limbo(&self, node: usize) -> bool {
        let life = self.nodes[node].life.as_ref();
        let limbo = life.is_some_and(|life| matches!(life.member.role(), Role::Limbo(_)));
        limbo && self.mutant == Some(Mutant::ReadsInLimbo)
    }

    /// A read is executed.
    pub fn read(&mut self, node: usize, whose: Whose, asked_at: u64) {
        let Some(life) = &mut self.nodes[node].life else { return };
        if !life.member.waits_for_commit() {
            return self.answered(node, whose, Some(asked_at));
        }
        let epoch = life.member.epoch().unwrap_or_default();
        let (what, depends) = (What::Read(asked_at), life.data_end);
        life.owed.push_back(Owed { whose, what, epoch, depends });
        self.settle(node);
    }

    /// A write was appended on a primary whose answers wait.
    pub fn owe_write(&mut self, node: usize, whose: Whose, id: u64) {
        let Some(life) = &mut self.nodes[node].life else { return };
        let epoch = life.member.epoch().unwrap_or_default();
        let depends = life.log.offset();
        life.owed.push_back(Owed { whose, what: What::Write(id), epoch, depends });
        self.settle(node);
    }

    /// Releases what may be released now.
    pub fn settle(&mut self, node: usize) {
        let now = self.now;
        let mutant = self.mutant;
        let Some(life) = &mut self.nodes[node].life else { return };
        let Some(released) = released(life, now, mutant) else { return };
        let on_disk = life.member.configs().iter().any(|one| one.durability == Durability::Disk);
        let lacks = on_disk && life.member.durable() < released;
        let owed = &mut life.owed;
        let mut ready = VecDeque::new();
        while owed.front().is_some_and(|one| one.depends <= released) {
            ready.extend(owed.pop_front());
        }
        if lacks && !ready.is_empty() {
            self.mark(Mark::CommittedByOthers);
        }
        for answer in ready {
            let (epoch, last) = (answer.epoch, self.checks.shown.epoch);
            if epoch < last && !matches!(answer.what, What::Last(_)) {
                let name = NAMES[node];
                self.violated(&format!("{name} answers in {epoch}, after {last} has answered"));
            }
            self.give(node, answer);
            self.checks.shown.last_us = self.now;
        }
    }

    /// An answer leaves the member, to its client or to the member that relays it.
    fn give(&mut self, node: usize, answer: Owed) {
        self.show(node, &answer);
        match (answer.what, answer.whose) {
            (What::Write(number) | What::Read(number), whose) => {
                self.answered(node, whose, Some(number));
            }
            (What::Last(bytes), Whose::Session(conn)) => self.session_is_back(conn, bytes),
            (What::Last(_), Whose::Client(_)) => {}
        }
    }

    /// The member has left office, or given it away with its whole log.
    pub fn office_left(&mut self, node: usize, accepted: bool) {
        let Some(life) = &mut self.nodes[node].life else { return };
        let owed = std::mem::take(&mut life.owed);
        let known = accepted && life.member.pair_is_enough();
        for answer in owed {
            match answer.whose {
                _ if known => self.give(node, answer),
                // It may be lost or may come to pass: the end of the connection says so.
                Whose::Client(number) => self.client_gone(node, number),
                Whose::Session(conn) => self.close_session(node, conn),
            }
        }
    }

    /// Under `async` the winner of an election lacks what it had not been sent.
    fn cut_history(&mut self, node: usize, epoch: Epoch) {
        let Some(life) = &self.nodes[node].life else { return };
        let records = &self.checks.shown.records;
        let kept = records.iter().take_while(|(at, hash)| life.log.hash_at(*at) == Some(*hash));
        let kept = kept.count();
        let since = self.checks.shown.last_us.saturating_sub(LEASE_MAX);
        let written = |hash: &u64| self.checks.written.get(hash).copied();
        let old =
            records[kept..].iter().find(|(_, hash)| written(hash).is_some_and(|at| at < since));
        let old = old.copied();
        // Nobody misses the signs of life behind the last write that is left.
        let writes = records[..kept].iter().rposition(|(_, hash)| written(hash).is_some());
        self.checks.shown.records.truncate(writes.map_or(0, |last| last + 1));
        if let Some((at, _)) = old {
            self.violated(&format!("{epoch} lacks {at}, which was older than a lease when shown"));
        }
    }

    fn show(&mut self, node: usize, answer: &Owed) {
        if matches!(answer.what, What::Last(_)) {
            return;
        }
        self.check_time(node, answer.epoch);
        let name = NAMES[node];
        let (epoch, last) = (answer.epoch, self.checks.shown.epoch);
        if epoch.term > last.term && self.rule.0 == switchover::Durability::Async {
            self.cut_history(node, epoch);
        }
        self.checks.shown.epoch = epoch.max(last);
        let Some(life) = &self.nodes[node].life else { return };
        let Some((end, hash)) = life.log.last_write(answer.depends) else { return };
        match answer.what {
            What::Write(id) => self.checks.acknowledged.push((id, answer.epoch)),
            What::Read(asked_at) => {
                self.checks.shown.reads += 1;
                let shown = asked_at.min(self.checks.shown.end());
                if end < shown {
                    return self.violated(&format!(
                        "{name} answers a read at {end}, after {shown} was shown"
                    ));
                }
            }
            What::Last(_) => {}
        }
        let shown = self.checks.shown.end();
        let same = if end <= shown {
            self.checks.shown.records.binary_search(&(end, hash)).is_ok()
        } else {
            let old = self.checks.shown.records.last();
            let extends = old.is_none_or(|(at, hash)| life.log.hash_at(*at) == Some(*hash));
            if extends {
                let more = life.log.records_between(shown, end);
                self.checks.shown.records.extend(more);
            }
            extends
        };
        if !same {
            let epoch = answer.epoch;
            self.violated(&format!(
                "{name} shows in {epoch} a history up to {end} that is not the one shown up to {shown}"
            ));
        }
    }

    /// What an election reads is always something that the primary obeys.
    pub fn check_config(&mut self) {
        let config = self.arbiter.config.clone();
        let Ok(published) = config.text().parse::<server::handover::Config>() else { return };
        let mut gaps = Vec::new();
        for life in self.nodes.iter().filter_map(|node| node.life.as_ref()) {
            let Role::Primary { epoch } = life.member.role() else { continue };
            let own = epoch.term == self.arbiter.term && published.term == epoch.term;
            let obeys = life.member.configs().iter().any(|one| one.gives_way_to(&published));
            if own && !obeys && !life.member.configs().is_empty() {
                gaps.push(format!("{} obeys {:?}", life.id(), life.member.configs()));
            }
        }
        for gap in gaps {
            self.violated(&format!("{gap} while {} is published", config.text()));
        }
    }
}

fn released(life: &Life, now: u64, mutant: Option<Mutant>) -> Option<u64> {
    let at = life.local(now);
    let primary = matches!(life.member.role(), Role::Primary { .. });
    match mutant {
        Some(Mutant::OpenWithoutStart) if primary && life.elected => {
            Some(life.member.committed().max(life.data_end_at_office))
        }
        Some(Mutant::ReadsInLimbo) if matches!(life.member.role(), Role::Limbo(_)) => {
            Some(life.member.committed())
        }
        Some(Mutant::ReadsWithoutLease) if primary && !is_async(life) => {
            Some(life.member.committed())
        }
        Some(Mutant::AsyncWithoutLease) if primary && is_async(life) => {
            Some(life.member.committed())
        }
        _ => life.member.released(at),
    }
}

/// Whether this primary's own copy is enough to answer.
pub fn is_async(life: &Life) -> bool {
    life.member.configs().iter().any(|config| config.durability == Durability::Async)
}

/// Whether this status was filled from the words of members of which none leads.
pub fn filled_anew(status: &switchover::Arbiter) -> bool {
    let undecided = status.election.as_ref().is_some_and(|open| open.winner.is_none());
    undecided && status.data_loss_possible == Some(status.term)
}

/// Whether this record is one that clients asked for.
pub fn is_data(rec: &Rec) -> bool {
    matches!(rec, Rec::Write(_))
}

/// How the seed's cluster answers.
pub fn rule(seed: u64, theme: Option<Theme>) -> (switchover::Durability, bool) {
    let durability = match seed % 3 {
        _ if theme.is_some_and(Theme::is_of_disks) => switchover::Durability::Disk,
        // What a config waits for before it is prepared is another thing under each of the two.
        _ if theme == Some(Theme::Growth) && (seed / 36).is_multiple_of(2) => {
            switchover::Durability::Async
        }
        0 if theme.is_none() => switchover::Durability::Async,
        1 if theme.is_none() && (seed / 3).is_multiple_of(2) => switchover::Durability::Disk,
        _ => switchover::Durability::Replicated,
    };
    // A plan that takes all replicas away leads nowhere unless the primary may go on.
    let alone = matches!(theme, Some(Theme::Growth | Theme::Restored));
    (durability, alone || (seed / 4).is_multiple_of(2))
}

impl World {
    /// A decision that gives up data is right only if too few lives are left that hold it.
    pub fn check_loss(&mut self, next: &switchover::Arbiter) {
        let config = &self.arbiter.config;
        // Nobody can tell what the former status would have.
        let anew = next.election.is_none() || filled_anew(next);
        let decided = next.election.as_ref().is_some_and(|election| election.winner.is_some());
        let replicated = config.durability != switchover::Durability::Async;
        // Under `async` nobody is told of the loss of what a first primary may have answered.
        let alone = decided && next.config.members.len() == 1;
        let quiet = !replicated && alone && next.config.members != config.members;
        let told = next.data_loss_possible != self.arbiter.data_loss_possible;
        if !told && !quiet {
            return;
        }
        let lives = self.nodes.iter().filter_map(|node| node.life.as_ref());
        let left = lives.filter(|life| config.members.iter().any(|one| one.member == life.id()));
        let (left, needed) = (left.count(), config.seals_needed());
        self.checks.data_lost = true;
        self.checks.shown.forget();
        self.checks.acknowledged.clear();
        if left >= needed && !anew {
            self.violated(&format!("data are given up though {left} of {needed} lives hold them"));
        }
        self.check_greatest(next);
    }

    /// Where data may be lost, the winner has the most of what any disk or memory holds.
    fn check_greatest(&mut self, next: &switchover::Arbiter) {
        let Some(winner) = next.election.as_ref().and_then(|election| election.winner.as_ref())
        else {
            return;
        };
        let held = |node: &crate::node::Node| {
            let life = node.life.as_ref()?;
            // What is still being read counts as well.
            let log = if life.log.is_empty() { &node.disk } else { &life.log };
            Some((life.id(), (log.data_epoch(), log.offset())))
        };
        let all: Vec<_> = self.nodes.iter().filter_map(held).collect();
        let of_winner = all.iter().find(|(id, _)| *id == winner.member).map(|(_, held)| *held);
        let more = all.iter().find(|(_, held)| of_winner.is_some_and(|own| own < *held));
        if let Some((id, _)) = more {
            let winner = &winner.member;
            self.violated(&format!("a cold start prefers {winner}, though {id} holds more"));
        }
    }
}
