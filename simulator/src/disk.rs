//! Disks where answers promise them: what a process gives to its disk is taken a while later, or
//! never; a crash leaves what was taken and by chance some of the rest. The record that outlives a
//! process (`Kept`) is on the same disk, and is written at once.
//!
//! A disk that is full or stalls takes nothing for a while: the member hears that its seal or record
//! was not kept, and what was to follow is not done. A sync that fails ends the process. What it had
//! written can still be read, but may be gone after the next loss of power; so the record says that
//! nothing is to be believed until the files have been written anew.
//!
//! Watched here: an id that comes back holds all that it ever told to be durable, and has promised all
//! that it ever answered (`Checks::told`).

use server::handover::{Effect, Event, Kept, Reply, Role};

use crate::log::Log;
use crate::mark::Mark;
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
    /// Of a process that has read this log, of which only `sound` records are certain to be on the disk.
    pub fn of(log: &Log, sound: Option<usize>) -> Self {
        let durable = sound.map_or(log.count(), |sound| sound.min(log.count()));
        Self { durable, ..Self::default() }
    }

    /// Of a mutant: behind what is missing nothing will be found, whatever is written there.
    pub fn with_a_hole(self) -> Self {
        Self { broken: true, ..self }
    }
}

/// What has come of something given to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    Taken,
    /// The disk is full or slow, and as it was.
    Refused,
    /// Of a mutant: refused, and nobody looked.
    Unseen,
    /// The process has ended.
    Ended,
}

/// A sync is waited for so long.
const PATIENCE: u64 = 1_500 * MS;

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
        let wait = wait + self.disk_rests_for(node);
        let Some(life) = self.nodes[node].life.as_mut().filter(|life| !life.sync.busy) else {
            return;
        };
        life.sync.busy = true;
        let (boot, turn, count) = (life.boot, life.sync.turn, life.log.count());
        self.after(wait, Thing::Synced { node, boot, turn, count });
    }

    /// How long this disk still takes nothing.
    fn disk_rests_for(&self, node: usize) -> u64 {
        let place = &self.nodes[node];
        place.full_until.max(place.stalled_until).saturating_sub(self.now)
    }

    pub fn synced(&mut self, node: usize, boot: u64, turn: u64, count: usize) {
        let by_memory = self.mutant == Some(Mutant::KeepsByMemory);
        let fits = |life: &&mut crate::node::Life| life.boot == boot && life.sync.turn == turn;
        let rests = self.disk_rests_for(node);
        let Some(life) = self.nodes[node].life.as_mut().filter(fits) else { return };
        if rests > 0 {
            let wait = rests + self.rng.between(200, 4_000);
            return self.after(wait, Thing::Synced { node, boot, turn, count });
        }
        life.sync.busy = false;
        if self.sync_fails(node) {
            return;
        }
        let place = &mut self.nodes[node];
        let Some(life) = &mut place.life else { return };
        if !life.sync.broken {
            life.sync.durable = life.sync.durable.max(count);
            // All of it is in new files.
            place.unsound = None;
        }
        let offset = if by_memory { life.log.offset() } else { life.log.end_of(count) };
        let more = life.log.count() > count;
        let conn = life.follow.as_ref().and_then(|follow| follow.conn.filter(|_| follow.up));
        self.event(node, Event::Durable { offset }, &Cause::Other);
        self.told_durable(node);
        if let Some(conn) = conn {
            self.acknowledge(node, conn);
        }
        if more {
            self.sync_soon(node);
        }
    }

    /// Whether the disk fails to make durable what it is given now. Then the process ends, and the
    /// next one is told so by the record.
    fn sync_fails(&mut self, node: usize) -> bool {
        if !std::mem::take(&mut self.nodes[node].failing) {
            return false;
        }
        self.note(|| format!("the disk of {} fails", NAMES[node]));
        let Some(life) = &mut self.nodes[node].life else { return true };
        if self.mutant == Some(Mutant::FailedSyncIgnored) {
            life.sync.broken = true;
            return false;
        }
        let (durable, written) = (life.sync.durable, life.log.count());
        self.nodes[node].quick = self.rng.chance(7_000);
        self.crash(node, written);
        self.nodes[node].unsound = Some(durable);
        true
    }

    /// Gives a member's seal or record to its disk. Erasing a record works, or ends the process.
    pub fn give_to_disk(&mut self, node: usize, effect: &Effect) -> Given {
        let wait = match effect {
            Effect::Sync => PATIENCE,
            Effect::Keep { kept: Some(_) } => 0,
            Effect::Keep { kept: None } => u64::MAX,
            _ => return Given::Taken,
        };
        let refuses = wait < u64::MAX && std::mem::take(&mut self.nodes[node].refusing);
        if refuses || self.disk_rests_for(node) > wait {
            let unseen = self.mutant == Some(Mutant::NotKeptUnseen);
            return if unseen { Given::Unseen } else { Given::Refused };
        }
        if *effect == Effect::Sync && self.sync_fails(node) {
            return Given::Ended;
        }
        self.struck_at_record(node, effect);
        Given::Taken
    }

    /// The disk did not take what the `rest` was to follow from. Who waits for an answer gets one.
    pub fn not_kept(&mut self, node: usize, rest: impl Iterator<Item = Effect>) {
        self.note(|| format!("the disk of {} takes nothing", NAMES[node]));
        self.nodes[node].boots += 1;
        let renewed = format!("{}{}", NAMES[node], self.nodes[node].boots);
        let now = |world: &Self| {
            let member = world.nodes[node].life.as_ref().map(|life| &life.member);
            member.map(|member| (member.is_kept(), member.role().name()))
        };
        let before = now(self);
        self.event(node, Event::NotKept { renewed: renewed.clone() }, &Cause::Other);
        let is_lost = self.nodes[node].life.as_ref().is_some_and(|life| life.id() == renewed);
        self.mark(match (before, now(self)) {
            _ if is_lost => Mark::TakeoverNotKept,
            (Some((true, _)), Some((false, _))) => Mark::IdNotKept,
            (Some((_, "primary")), Some((_, "fenced"))) => Mark::OfficeNotKept,
            _ => Mark::SealNotKept,
        });
        let refusal = || {
            if is_lost {
                Reply::WrongMember
            } else {
                Reply::NotReady("the disk did not take it".into())
            }
        };
        for effect in rest {
            if let Effect::Reply { token, .. } = effect {
                self.effect(node, Effect::Reply { token, reply: refusal() });
            }
        }
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
        place.unsound = None;
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
