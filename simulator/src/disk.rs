//! Disks where answers promise them: what a process gives to its disk is taken a while later, or
//! never; a crash leaves what was taken and by chance some of the rest. The record that outlives a
//! process (`Kept`) is on the same disk, and is written at once.
//!
//! Watched here: an id that comes back holds all that it ever told to be durable, and has promised all
//! that it ever answered (`Checks::told`).

use server::handover::{Effect, Event, Kept, Reply, Role};

use crate::log::Log;
use crate::mutant::Mutant;
use crate::node::Cause;
use crate::theme::Theme;
use crate::world::{MS, NAMES, SEC, Thing, World};

/// How far a process and its disk are.
#[derive(Debug, Default)]
pub struct Syncing {
    /// Records that a start would find.
    durable: usize,
    /// Counts files: what was asked for older ones is of no use any more.
    turn: u64,
    busy: bool,
    /// Of a mutant: a failure was passed over, and nothing reaches the disk since.
    broken: bool,
}

impl Syncing {
    pub fn of(log: &Log) -> Self {
        Self { durable: log.count(), ..Self::default() }
    }
}

impl World {
    pub fn on_disk(&self) -> bool {
        self.rule.0 == switchover::Durability::Disk
    }

    /// The disk begins to take what there is, unless it is at it.
    pub fn sync_soon(&mut self, node: usize) {
        if !self.on_disk() {
            return;
        }
        let slow = self.rng.chance(300);
        let wait =
            if slow { self.rng.between(50 * MS, 600 * MS) } else { self.rng.between(200, 4_000) };
        let Some(life) = self.nodes[node].life.as_mut().filter(|life| !life.sync.busy) else {
            return;
        };
        life.sync.busy = true;
        let (boot, turn, count) = (life.boot, life.sync.turn, life.log.count());
        self.after(wait, Thing::Synced { node, boot, turn, count });
    }

    pub fn synced(&mut self, node: usize, boot: u64, turn: u64, count: usize) {
        let by_memory = self.mutant == Some(Mutant::KeepsByMemory);
        let fits = |life: &&mut crate::node::Life| life.boot == boot && life.sync.turn == turn;
        let Some(life) = self.nodes[node].life.as_mut().filter(fits) else { return };
        life.sync.busy = false;
        if self.disk_fails(node) {
            return;
        }
        let Some(life) = &mut self.nodes[node].life else { return };
        if !life.sync.broken {
            life.sync.durable = life.sync.durable.max(count);
        }
        let offset = if by_memory { life.log.offset() } else { life.log.end_of(count) };
        let more = life.log.count() > count;
        let conn = life.follow.as_ref().and_then(|follow| follow.conn.filter(|_| follow.up));
        self.event(node, Event::Durable { offset }, &Cause::Other);
        if let Some(conn) = conn {
            self.acknowledge(node, conn);
        }
        if more {
            self.sync_soon(node);
        }
    }

    /// Whether the disk refuses what it is given now. The process then gives up the id that told of
    /// it, and writes all of its files anew.
    pub fn disk_fails(&mut self, node: usize) -> bool {
        if !std::mem::take(&mut self.nodes[node].failing) {
            return false;
        }
        self.note(|| format!("the disk of {} fails", NAMES[node]));
        self.nodes[node].boots += 1;
        let renewed = format!("{}{}", NAMES[node], self.nodes[node].boots);
        let Some(life) = &mut self.nodes[node].life else { return true };
        if self.mutant == Some(Mutant::FailedSyncIgnored) {
            life.sync.broken = true;
            return false;
        }
        life.sync = Syncing { turn: life.sync.turn + 1, ..Syncing::default() };
        self.event(node, Event::SyncFailed { renewed }, &Cause::Other);
        self.sync_soon(node);
        true
    }

    /// Everything that the process has written is taken before it goes on.
    pub fn sync_now(&mut self, node: usize) {
        let Some(life) = &mut self.nodes[node].life else { return };
        if !life.sync.broken {
            life.sync.durable = life.log.count();
        }
    }

    /// The record of the id, as it is found by the next process.
    pub fn keep(&mut self, node: usize, kept: Option<Kept>) {
        let Some(life) = &self.nodes[node].life else { return };
        if life.sync.broken {
            return;
        }
        let id = life.id();
        let fenced = *life.member.role() == Role::Fenced;
        let old = &self.nodes[node].kept;
        let promises = |kept: &Kept| old.as_ref().is_some_and(|old| old.promised < kept.promised);
        self.nodes[node].kept = match (self.mutant, kept) {
            (Some(Mutant::KeptAcrossDrop), None) => return,
            (Some(Mutant::KeepsUnsealed), Some(kept)) if fenced && promises(&kept) => return,
            // Nor does it look whether the log is as long as it was.
            (Some(Mutant::KeptAcrossDrop), Some(kept)) => Some(Kept { offset: 0, ..kept }),
            (Some(Mutant::AcceptanceForgotten), Some(mut kept)) => {
                kept.accepted.clear();
                Some(kept)
            }
            (_, kept) => kept,
        };
        if self.nodes[node].kept.is_none() {
            self.checks.told.remove(&id);
        }
    }

    /// The files are dropped for what comes with a full resynchronisation.
    pub fn drop_files(&mut self, node: usize) {
        if !self.on_disk() {
            return;
        }
        self.event(node, Event::Replacing, &Cause::Other);
        if self.theme == Some(Theme::Blackout) && self.chaos && self.rng.chance(3_000) {
            let wait = self.rng.between(0, 3 * MS);
            self.after(wait, Thing::Crash { node });
        }
        if let Some(life) = &mut self.nodes[node].life {
            life.sync = Syncing {
                turn: life.sync.turn + 1,
                broken: life.sync.broken,
                ..Syncing::default()
            };
        }
    }

    /// What this member says to hold durably.
    pub fn told_durable(&mut self, node: usize) -> u64 {
        let Some(life) = &self.nodes[node].life else { return 0 };
        let by_memory = self.on_disk() && self.mutant == Some(Mutant::KeepsByMemory);
        let told = if by_memory { life.log.offset() } else { life.member.durable() };
        if told > 0 {
            let id = life.id();
            let before = self.checks.told.entry(id).or_default();
            before.0 = before.0.max(told);
        }
        told
    }

    /// A seal is answered: the promise binds the id for ever.
    pub fn note_told(&mut self, effect: &Effect) {
        if let Effect::Reply { reply: Reply::Sealed(status), .. } = effect
            && self.on_disk()
        {
            let told = self.checks.told.entry(status.member.clone()).or_default();
            told.1 = told.1.max(status.promised.term);
        }
    }

    /// A process has begun; if it goes on under an id of before, it is bound as that was.
    pub fn check_kept(&mut self, node: usize) {
        let Some(life) = &self.nodes[node].life else { return };
        let (id, offset) = (life.id(), life.log.offset());
        let promised = life.member.promised().term;
        let Some((durable, term)) = self.checks.told.get(&id).copied() else { return };
        if offset < durable {
            self.violated(&format!(
                "{id} comes back with {offset}, and told that {durable} was durable"
            ));
        }
        if promised < term {
            self.violated(&format!("{id} comes back with term {promised}, and promised {term}"));
        }
    }

    /// How many records the next process finds, of which `wanted` would be right to chance.
    pub fn found_again(&self, node: usize, wanted: usize) -> usize {
        let Some(life) = self.nodes[node].life.as_ref().filter(|_| self.on_disk()) else {
            return wanted;
        };
        wanted.clamp(life.sync.durable, life.log.count())
    }

    /// Power is lost: the next process finds little more than what the disk had said to have.
    pub fn power_lost(&mut self, node: usize) {
        let Some(life) = &self.nodes[node].life else { return };
        let (least, all) = (life.sync.durable as u64, life.log.count() as u64);
        let keep =
            if self.rng.chance(5_000) { least } else { self.rng.between(least, all.max(least)) };
        self.nodes[node].quick = self.rng.chance(8_000);
        self.crash(node, keep as usize);
    }

    /// The next process finds an empty disk.
    pub fn disk_lost(&mut self, node: usize) {
        self.crash(node, 0);
        self.note(|| format!("{} loses its disk", NAMES[node]));
        let place = &mut self.nodes[node];
        (place.disk, place.kept, place.disk_replid) = (Log::default(), None, 0);
    }

    /// Processes end where something has just become durable, before or after others hear of it.
    pub fn struck_at_record(&mut self, node: usize, effect: &Effect) {
        let accepts = matches!(effect, Effect::Keep { kept: Some(kept) }
            if kept.accepted.contains(&kept.promised));
        let odds = if accepts { 6_000 } else { 500 };
        if self.theme != Some(Theme::Blackout) || !self.chaos || !self.rng.chance(odds) {
            return;
        }
        self.nodes[node].quick = self.rng.chance(7_000);
        let wait = self.rng.between(0, if accepts { MS } else { 3 * MS });
        self.after(wait, Thing::Crash { node });
        if self.rng.chance(2_000) {
            // Nobody is told in time.
            let (to, lasts) = (self.rng.below(5) as usize, self.rng.between(50 * MS, SEC));
            self.deafen_for(node, to, lasts);
        }
    }
}
