//! Faults beyond crashes: processes stopped and continued, ways open in one direction only, clocks
//! of different rates, a status that is read late or lost.

use switchover::Arbiter;

use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::theme::Harm;
use crate::world::{BRAIN, MS, NAMES, SEC, STORE, Thing, UID, World};

/// How far the rate of a member's clock may be off, in thousandths.
const RATE_OFF: u64 = 45;

impl World {
    pub fn draw_rates(&mut self) {
        for node in 0..NAMES.len() {
            self.nodes[node].rate = 1_000 - RATE_OFF + self.rng.below(2 * RATE_OFF + 1);
            self.walls[node] = self.rng.below(2_000) as i64;
        }
    }

    /// SIGSTOP; everything that comes waits in its sockets until SIGCONT.
    pub fn stop(&mut self, node: usize) {
        let lasts = match self.rng.below(4) {
            0 => self.rng.between(5 * SEC, 15 * SEC),
            _ => self.rng.between(20 * MS, 3 * SEC),
        };
        self.stop_for(node, lasts);
    }

    pub fn stop_for(&mut self, node: usize, lasts: u64) {
        if self.nodes[node].stopped.is_some() || self.nodes[node].life.is_none() {
            return;
        }
        self.note(|| format!("{} is stopped for {} ms", NAMES[node], lasts / MS));
        self.nodes[node].stopped = Some(self.now);
        self.checks.faults += 1;
        self.after(lasts, Thing::Continue { node });
    }

    pub fn go_on(&mut self, node: usize) {
        let Some(since) = self.nodes[node].stopped.take() else { return };
        self.note(|| format!("{} goes on", NAMES[node]));
        self.nodes[node].woken_at = self.now;
        if self.mutant == Some(Mutant::CachedClock)
            && let Some(life) = &mut self.nodes[node].life
        {
            life.cached_clock = Some(since);
        }
        for thing in std::mem::take(&mut self.nodes[node].deferred) {
            self.happen(thing);
        }
        if let Some(life) = &mut self.nodes[node].life {
            life.cached_clock = None;
        }
    }

    /// The stopped member that this is for, if it is for one.
    pub fn addressee(&self, thing: &Thing) -> Option<usize> {
        let node = match thing {
            Thing::AskStatus { node, .. }
            | Thing::TakeoverAnswer { node, .. }
            | Thing::Connect { node, .. }
            | Thing::Tick { node, .. }
            | Thing::Synced { node, .. }
            | Thing::Exit { node, .. }
            | Thing::Ask { node, .. }
            | Thing::RelayAgain { node, .. }
            | Thing::RelayDue { node, .. }
            | Thing::UserUnpause { node, .. } => *node,
            Thing::Command { to, .. } => crate::node::place_of(&to.name),
            Thing::Takeover { to, .. } => crate::node::place_of(&to.host),
            Thing::Wire { conn, to_follower, .. } => {
                let ends = self.conns.get(conn)?;
                if *to_follower { ends.follower.0 } else { ends.primary.0 }
            }
            _ => return None,
        };
        self.nodes[node].stopped.map(|_| node)
    }

    /// Nothing goes from `a` to `b` any more, while the other way stays open.
    pub fn deafen(&mut self, a: usize, b: usize) {
        let lasts = self.rng.between(50 * MS, 8 * SEC);
        self.deafen_for(a, b, lasts);
    }

    pub fn deafen_for(&mut self, a: usize, b: usize, lasts: u64) {
        if a == b {
            return;
        }
        self.note(|| format!("nothing goes from {a} to {b} for {} ms", lasts / MS));
        self.checks.faults += 1;
        self.deaf.insert((a, b), self.now + lasts);
    }

    /// Until when what is sent from `a` to `b` is not delivered.
    pub fn deaf_until(&self, a: usize, b: usize) -> Option<u64> {
        self.deaf.get(&(a, b)).copied().filter(|until| *until > self.now)
    }

    pub fn more_chaos(&mut self) {
        let office = |node: &crate::node::Node| {
            let role = node.life.as_ref().map(|life| life.member.role().name());
            role == Some("primary")
        };
        // What happens to a primary matters most.
        let node = match self.nodes.iter().position(office) {
            Some(primary) if self.rng.chance(6_000) => primary,
            _ => self.rng.below(3) as usize,
        };
        match self.rng.below(15) {
            0..3 => self.stop(node),
            3 | 4 => {
                let (a, b) = (self.rng.below(5) as usize, self.rng.below(5) as usize);
                self.deafen(a, b);
            }
            5 => {
                // A whole machine is cut off, without any connection being closed.
                for other in 0..=STORE {
                    self.deafen(node, other);
                    self.deafen(other, node);
                }
            }
            6 => self.deafen(node, BRAIN),
            7 if self.rng.chance(1_500) => {
                self.note(|| "the status is lost".into());
                self.checks.faults += 1;
                self.arbiter = Arbiter::new(UID);
            }
            8 => self.late_reads += 3,
            9 | 10 => {
                for other in 0..=STORE {
                    self.part(node.min(other), node.max(other));
                }
            }
            11 | 12 => drop(self.claim()),
            13 if self.rng.chance(3_000) => self.restore_status(),
            14 if self.on_disk() => self.harm_disk(node),
            _ => {}
        }
    }

    fn harm_disk(&mut self, node: usize) {
        let lasts = self.rng.between(50, 3_000);
        let harm = match self.rng.below(4) {
            0 => Harm::DiskFails(node),
            1 => Harm::DiskRefuses(node),
            2 => Harm::DiskFull(node, lasts),
            _ => Harm::DiskStalls(node, lasts),
        };
        self.harmed(harm);
    }

    /// The status becomes what it was some time ago. Only such a copy as the members' words can
    /// tell from the present: of a term before theirs, with a config of which any two sets of
    /// sealed members have one in common.
    pub fn restore_status(&mut self) {
        let old = |(at, copy): &&(u64, Arbiter)| {
            let (members, seals) = (copy.config.members.len(), copy.config.seals_needed());
            at + 5 * SEC < self.now && 2 * seals > members
        };
        let Some((_, copy)) = self.copies.iter().rev().find(old).cloned() else { return };
        self.note(|| format!("the status is restored: {copy}"));
        self.checks.faults += 1;
        if self.rule.0 == switchover::Durability::Async {
            self.mark(Mark::RestoredUnderAsync);
        }
        self.arbiter = copy;
    }

    /// What a read of the status answers: now and then not the newest.
    pub fn status_read(&mut self) -> Arbiter {
        let careless = [Some(Mutant::ConflictRetried), Some(Mutant::StaleReadActedOn)];
        if self.late_reads > 0 && !careless.contains(&self.mutant) {
            self.late_reads -= 1;
            return self.former.clone();
        }
        if self.mutant == Some(Mutant::ConflictRetried) && self.late_reads > 0 {
            self.late_reads -= 1;
            return self.former.clone();
        }
        if self.mutant == Some(Mutant::StaleReadActedOn) && self.late_reads > 0 {
            self.late_reads -= 1;
            // Out of a cache, under the number that a write must test.
            return Arbiter { version: self.arbiter.version, ..self.former.clone() };
        }
        self.arbiter.clone()
    }
}
