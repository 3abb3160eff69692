//! Fault plans: each leads again and again to one narrow place, which chance alone meets rarely.
//!
//! A round is a list of harms and when they come, counted from its beginning, for the primary `a` of
//! that moment and the other two, `x` and `y`. What the machines do in between is theirs, so a clean
//! world must survive every round of every plan.

use server::handover::Role;
use switchover::{Arbiter, Command, Durability, Election, Member};

use crate::node::place_of;
use crate::rng::Rng;
use crate::world::{BRAIN, MS, NAMES, SEC, STORE, Thing, UID, World};

/// The number of no operator's process: whoever said it is dead.
const NOBODY: u64 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Theme {
    /// An operator claims a term, seals one member and dies, while the primary goes on.
    HalfSealed,
    /// The primary is elected again with a record that no other member holds, and is cut off.
    Marooned,
    /// One member lags; the other wins an election with it, and is cut off before it catches up.
    Chain,
    /// The target's answer to a handover comes late.
    SlowAnswer,
    /// The primary hears no other member and no operator, but clients reach it.
    Isolated,
    /// The primary's process is stopped until another one is elected, and goes on.
    Stopped,
    /// Two operators keep step, and reads of the status are late.
    Rivals,
    /// Every member is started anew, and the status may be lost with them.
    ColdStart,
    /// Both replicas are lost and come back while the stream to them stalls; in some worlds under `async`.
    Growth,
    /// Targets are told to stop as the record comes, and their refusals are heard twice.
    Declines,
    /// Members restart as the decision reaches them, and every command comes twice.
    Reused,
    /// Power is lost everywhere, again and again, and disks fail now and then.
    Blackout,
    /// Disks are full as members are sealed, promoted or handed over to, and then power is lost.
    Full,
    /// Another primary is elected or asked for while the one before may still answer.
    Regrant,
    /// The primary ends when half a transaction is with its replicas.
    Halves,
    /// The primary's disk takes nothing while others' do, and then power is lost everywhere.
    Stalled,
    /// The primary hears nobody, while its followers start anew within a lease.
    Revived,
    /// The primary goes on alone; the status is restored from before that, and it is cut off.
    Restored,
}

impl Theme {
    pub const ALL: [Self; 18] = [
        Self::HalfSealed,
        Self::Marooned,
        Self::Chain,
        Self::SlowAnswer,
        Self::Isolated,
        Self::Stopped,
        Self::Rivals,
        Self::ColdStart,
        Self::Growth,
        Self::Declines,
        Self::Reused,
        Self::Restored,
        Self::Blackout,
        Self::Revived,
        Self::Full,
        Self::Stalled,
        Self::Regrant,
        Self::Halves,
    ];

    /// The plan of a seed's world, if it has one: every second world is left to chance.
    pub fn of(seed: u64) -> Option<Self> {
        let number = (seed / 2) as usize % Self::ALL.len();
        seed.is_multiple_of(2).then_some(Self::ALL[number])
    }

    /// The harms of one round, and how long until the next.
    fn round(self, [a, x, y]: [usize; 3], rng: &mut Rng) -> (Vec<(u64, Harm)>, u64) {
        let mut between = |low: u64, high: u64| rng.between(low * MS, high * MS);
        match self {
            Self::HalfSealed => (vec![(0, Harm::SealOnly(x))], between(1_500, 4_000)),
            Self::Marooned => {
                let away = [Harm::Part(a, x, 4_000), Harm::Part(a, y, 4_000)];
                let claim = between(50, 200);
                let gone = claim + between(300, 1_200);
                let mut harms: Vec<_> = away.into_iter().map(|harm| (0, harm)).collect();
                harms.extend([(claim, Harm::Claim), (gone, Harm::Part(a, BRAIN, 2_500))]);
                (harms, between(6_000, 8_000))
            }
            Self::Chain => {
                let first = between(200, 500);
                let second = first + between(800, 2_000);
                let harms = vec![
                    (0, Harm::Part(y, a, 5_000)),
                    (0, Harm::Part(y, x, 5_000)),
                    (first, Harm::Alone(a, 5_000)),
                    (second, Harm::Alone(x, 4_000)),
                ];
                (harms, between(8_000, 10_000))
            }
            Self::SlowAnswer | Self::Declines => (vec![(0, Harm::Request)], between(300, 900)),
            Self::Isolated => {
                let lasts = between(1_000, 4_000) / MS;
                let claim = between(10, 150);
                let harms = vec![(0, Harm::Deaf(a, lasts)), (claim, Harm::Claim)];
                (harms, lasts * MS + between(1_000, 2_000))
            }
            Self::Stopped => {
                let lasts = between(1_200, 3_500) / MS;
                (vec![(0, Harm::Stop(a, lasts))], lasts * MS + between(1_000, 2_500))
            }
            Self::Rivals => {
                let mut harms = vec![(0, Harm::Operators), (0, Harm::LateReads(4))];
                harms.push((between(0, 100), Harm::Claim));
                harms.push((between(0, 300), Harm::LateReads(3)));
                (harms, between(1_000, 3_000))
            }
            Self::ColdStart => Self::cold_start([a, x, y], rng),
            Self::Growth => {
                let back = between(1_500, 3_000);
                let mut harms =
                    vec![(0, Harm::Part(a, x, back / MS)), (0, Harm::Part(a, y, back / MS))];
                let stall = back + between(0, 350);
                harms.extend([x, y].map(|to| (stall, Harm::Way(a, to, 1_500))));
                harms.push((stall + between(50, 400), Harm::Alone(a, 3_000)));
                (harms, between(6_500, 8_000))
            }
            Self::Blackout => Self::blackout([a, x, y], rng),
            Self::Regrant => {
                let lasts = between(1_000, 2_000) / MS;
                let claim = between(10, 60);
                let next = claim + between(10, 250);
                let again = if next.is_multiple_of(2) { Harm::Claim } else { Harm::Request };
                let harms = vec![(0, Harm::Deaf(a, lasts)), (claim, Harm::Claim), (next, again)];
                (harms, lasts * MS + between(1_000, 2_000))
            }
            Self::Halves => {
                let gone = between(50, 300);
                let wait = between(4_000, 6_000);
                (vec![(0, Harm::Halve(a)), (gone, Harm::Crash(a, true))], wait)
            }
            Self::Full => Self::full([a, x, y], rng),
            Self::Stalled => Self::stalled([a, x, y], rng),
            Self::Revived => {
                let lasts = between(1_000, 2_000) / MS;
                let end = between(0, 60);
                let mut harms = vec![(0, Harm::Deaf(a, lasts))];
                harms.extend([x, y].map(|node| (end, Harm::Quick(node))));
                harms.push((end + between(15, 60), Harm::Claim));
                (harms, lasts * MS + between(1_000, 2_000))
            }
            Self::Reused => (vec![(0, Harm::Crash(a, true))], between(2_500, 5_000)),
            Self::Restored => {
                let back = between(1_500, 3_000);
                let harms = vec![
                    (0, Harm::Part(a, x, 6_000)),
                    (0, Harm::Part(a, y, 6_000)),
                    (back, Harm::Restore),
                    (back + between(0, 20), Harm::Alone(a, 3_000)),
                    // The election leaves a copy for the next round.
                    (8_000 * MS, Harm::Claim),
                ];
                (harms, between(9_000, 11_000))
            }
        }
    }

    fn blackout([a, x, y]: [usize; 3], rng: &mut Rng) -> (Vec<(u64, Harm)>, u64) {
        let mut harms = Vec::new();
        // First one of them falls back, or ends while the others go on.
        if rng.chance(7_000) {
            harms.push((600 * MS, Harm::Request));
        }
        match rng.below(7) {
            0 => harms.push((0, Harm::Power(x))),
            1 => harms.push((0, Harm::DiskFails(x))),
            2 => harms.push((0, Harm::DiskFails(a))),
            3 => harms.push((0, Harm::Claim)),
            // The old primary comes back with what no other has.
            4 | 5 => {
                harms.extend([x, y].map(|to| (0, Harm::Part(a, to, 1_200))));
                harms.push((100 * MS, Harm::Claim));
            }
            _ => {}
        }
        // Late enough for all of them to count again.
        let dark = rng.between(800 * MS, 3_000 * MS);
        // All at once, or but one, or those two whose word counted last.
        let spared = rng.below(6) as usize;
        for (place, node) in [a, x, y].into_iter().enumerate() {
            if place != spared {
                harms.push((dark + rng.below(3) * MS, Harm::Power(node)));
            }
        }
        if rng.chance(1_000) {
            harms.push((dark + 5 * MS, Harm::DiskLost(y)));
        }
        (harms, dark + rng.between(500 * MS, 3 * SEC))
    }

    fn full([a, x, y]: [usize; 3], rng: &mut Rng) -> (Vec<(u64, Harm)>, u64) {
        let mut harms = Vec::new();
        for node in [a, x, y] {
            match rng.below(4) {
                0 => harms.push((0, Harm::DiskFull(node, rng.between(100, 1_500)))),
                1 | 2 => harms.push((0, Harm::DiskRefuses(node))),
                _ => {}
            }
        }
        // A seal, or a target that has to record what it takes over, or an id to be kept again.
        match rng.below(3) {
            0 => harms.push((rng.between(0, 30 * MS), Harm::Claim)),
            1 => harms.push((0, Harm::Request)),
            _ => harms.push((0, Harm::Quick(x))),
        }
        let dark = rng.between(100 * MS, 1_000 * MS);
        let spared = rng.below(4) as usize;
        for (place, node) in [a, x, y].into_iter().enumerate() {
            if place != spared {
                harms.push((dark + rng.below(3) * MS, Harm::Power(node)));
            }
        }
        (harms, dark + rng.between(1_500 * MS, 3 * SEC))
    }

    fn stalled([a, x, y]: [usize; 3], rng: &mut Rng) -> (Vec<(u64, Harm)>, u64) {
        let dark = rng.between(300 * MS, 1_400 * MS);
        let mut harms = vec![(0, Harm::DiskStalls(a, dark / MS + 100))];
        if rng.chance(5_000) {
            // What the primary answers now is on too few disks, unless it answers nothing.
            harms.push((0, Harm::DiskStalls(x, dark / MS + 100)));
        }
        if rng.chance(6_000) {
            harms.push((rng.between(0, dark), Harm::Request));
        }
        harms.extend([a, x].map(|node| (dark + rng.below(3) * MS, Harm::Quick(node))));
        // The third is away, so that the word of these two decides.
        harms.push((dark, Harm::Alone(y, 3_000)));
        if rng.chance(5_000) {
            harms.push((dark, Harm::Power(y)));
        }
        (harms, dark + rng.between(4 * SEC, 6 * SEC))
    }

    fn cold_start([a, x, y]: [usize; 3], rng: &mut Rng) -> (Vec<(u64, Harm)>, u64) {
        let mut harms = Vec::new();
        // One of them comes back without anything.
        let empty = rng.below(4) as usize;
        for (place, node) in [a, x, y].into_iter().enumerate() {
            harms.push((rng.below(50) * MS, Harm::Crash(node, place != empty)));
        }
        if rng.chance(5_000) {
            harms.push((rng.between(60 * MS, 400 * MS), Harm::LoseStatus));
        } else {
            // A name that is silent may be the one that holds most.
            let silent = rng.between(1_000, 6_000);
            harms.push((100 * MS, Harm::Part(a, BRAIN, silent)));
        }
        (harms, rng.between(8 * SEC, 11 * SEC))
    }

    /// Whether answers promise the disk.
    pub fn is_of_disks(self) -> bool {
        matches!(self, Self::Blackout | Self::Full | Self::Stalled | Self::Revived)
    }

    /// Whether operators must be quick, or the moment is over before they act.
    pub fn is_hasty(self) -> bool {
        self != Self::ColdStart
    }
}

/// Something that goes wrong at a place, for so many milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    Part(usize, usize, u64),
    /// Parted from all other places; clients still come.
    Alone(usize, u64),
    /// As [`Harm::Alone`], and no connection is closed.
    Deaf(usize, u64),
    /// Nothing goes from the first to the second.
    Way(usize, usize, u64),
    Stop(usize, u64),
    /// True: all that it holds stays on its disk.
    Crash(usize, bool),
    /// An operator that is in doubt claims a term; it may always do so.
    Claim,
    /// The process ends and whatever was on its way to the disk is lost.
    Power(usize),
    /// As [`Harm::Power`], and the next process is there at once.
    Quick(usize),
    /// The next sync fails.
    DiskFails(usize),
    /// The next seal or record is not taken.
    DiskRefuses(usize),
    /// Nothing is taken for so long: at once told, or waited for.
    DiskFull(usize, u64),
    DiskStalls(usize, u64),
    /// Nothing that the disk held is found again.
    DiskLost(usize),
    /// A claim by an operator that seals this member and dies.
    SealOnly(usize),
    /// The other half of the next transaction that this member sends comes much later.
    Halve(usize),
    Operators,
    LateReads(u32),
    LoseStatus,
    /// The status becomes what it was some time ago.
    Restore,
    Request,
}

impl World {
    /// The next round of this world's plan.
    pub fn next_round(&mut self, theme: Theme) {
        if !self.chaos {
            return;
        }
        let led = self.nodes.iter().position(|node| {
            let role = node.life.as_ref().map(|life| life.member.role());
            matches!(role, Some(Role::Primary { .. }))
        });
        let Some(a) = led else { return self.after(200 * MS, Thing::NextRound(theme)) };
        let turn = 1 + self.rng.below(2) as usize;
        let (x, y) = ((a + turn) % NAMES.len(), (a + 3 - turn) % NAMES.len());
        let (harms, wait) = theme.round([a, x, y], &mut self.rng);
        for (at, harm) in harms {
            self.after(at, Thing::Harm(harm));
        }
        self.after(wait, Thing::NextRound(theme));
    }

    pub fn harmed(&mut self, harm: Harm) {
        if !self.chaos {
            return;
        }
        self.checks.faults += 1;
        match harm {
            Harm::Part(a, b, ms) => self.part_for(a.min(b), a.max(b), ms * MS),
            Harm::Alone(node, ms) => {
                for other in (0..=STORE).filter(|other| *other != node) {
                    self.part_for(node.min(other), node.max(other), ms * MS);
                }
            }
            Harm::Deaf(node, ms) => {
                for other in (0..=STORE).filter(|other| *other != node) {
                    self.deafen_for(node, other, ms * MS);
                    self.deafen_for(other, node, ms * MS);
                }
            }
            Harm::Way(from, to, ms) => self.deafen_for(from, to, ms * MS),
            Harm::Stop(node, ms) => self.stop_for(node, ms * MS),
            Harm::Crash(node, keep) => {
                let life = self.nodes[node].life.as_ref();
                let count = life.map_or(0, |life| life.log.count());
                self.crash(node, if keep { count } else { 0 });
            }
            Harm::Power(node) => self.power_lost(node),
            Harm::Quick(node) => {
                self.power_lost(node);
                self.after(10 * MS, Thing::Boot { node });
            }
            Harm::DiskFails(node) => self.nodes[node].failing = true,
            Harm::DiskRefuses(node) => self.nodes[node].refusing = true,
            Harm::DiskFull(node, ms) => self.nodes[node].full_until = self.now + ms * MS,
            Harm::DiskStalls(node, ms) => self.nodes[node].stalled_until = self.now + ms * MS,
            Harm::DiskLost(node) => self.disk_lost(node),
            Harm::Claim => drop(self.claim()),
            Harm::SealOnly(node) => self.seal_only(node),
            Harm::Halve(node) => self.nodes[node].halving = 600 * MS,
            Harm::Operators => {
                self.new_brain();
                self.new_brain();
                self.brains.retain(|brain| brain.alive);
                while self.brains.len() > 2 {
                    self.brains.remove(0);
                }
            }
            Harm::LateReads(count) => self.late_reads += count,
            Harm::LoseStatus => {
                self.note(|| "the status is lost".into());
                self.arbiter = Arbiter::new(UID);
            }
            Harm::Restore => self.restore_status(),
            Harm::Request => {
                self.requests += 1;
                let id = format!("r{}", self.requests);
                let reason = switchover::Reason::Drain;
                self.request = Some(switchover::Request { id, reason, to: None });
            }
        }
    }

    /// Claims the next term, by a compare-and-swap that nobody can see the author of.
    pub fn claim(&mut self) -> Option<u64> {
        let arbiter = &mut self.arbiter;
        if !arbiter.initialised {
            return None;
        }
        arbiter.version += 1;
        arbiter.term += 1;
        arbiter.switchover = None;
        let term = arbiter.term;
        arbiter.election = Some(Election { term, winner: None, empty: false });
        self.note(|| format!("somebody claims term {term}"));
        Some(term)
    }

    fn seal_only(&mut self, node: usize) {
        let Some(member) = self.nodes[node].life.as_ref().map(crate::node::Life::id) else {
            return;
        };
        let Some(term) = self.claim() else { return };
        let to = Member { name: NAMES[node].into(), member };
        let command = Command::Seal { term };
        self.after(MS, Thing::Command { brain: NOBODY, tag: switchover::Tag(0), to, command });
    }

    /// Whether clients of this member only read: an answer that waits for a commit is not stale.
    pub fn only_read(&self, node: usize) -> bool {
        let gone = self.nodes[node].stopped.is_some() || self.deaf_until(node, BRAIN).is_some();
        let reads_only =
            [Theme::Isolated, Theme::Stopped, Theme::Revived, Theme::Regrant].map(Some);
        reads_only.contains(&self.theme) && gone
    }

    /// A member has begun to give its epoch away to `target`.
    pub fn theme_at_limbo(&mut self, node: usize, target: usize) {
        match self.theme {
            Some(Theme::SlowAnswer) => {
                let lasts = self.rng.between(200 * MS, 1_500 * MS);
                self.deafen_for(target, node, lasts);
                if self.rng.chance(2_000) {
                    // It accepts, and another one is there before anybody hears of it.
                    self.nodes[target].quick = true;
                    let wait = self.rng.between(2 * MS, 20 * MS);
                    self.after(wait, Thing::Crash { node: target });
                }
            }
            Some(Theme::Declines) if self.rng.chance(6_000) => {
                let name = NAMES[target];
                self.note(|| format!("{name} is told to stop as the record comes"));
                self.drain(target);
            }
            _ => {}
        }
    }

    /// A follower is welcome, and its link is up: under `async` what it lacks may come much later.
    pub fn theme_at_welcome(&mut self, primary: usize, follower: usize) {
        let applies = self.theme == Some(Theme::Growth) && self.chaos;
        if applies && self.rule.0 == Durability::Async && self.rng.chance(5_000) {
            self.deafen_for(primary, follower, 1_500 * MS);
        }
    }

    /// An answer to a handover comes once more, much later.
    pub fn theme_at_answer(&mut self, thing: impl FnOnce() -> Thing) {
        if self.theme == Some(Theme::Declines) && self.chaos {
            let late = self.rng.between(20 * MS, 2 * SEC);
            self.after(late, thing());
        }
    }

    /// A command is on its way to a member that may be another one when it comes.
    pub fn theme_at_command(
        &mut self,
        brain: u64,
        tag: switchover::Tag,
        to: &Member,
        what: &Command,
    ) {
        let decides = matches!(what, Command::Seal { .. } | Command::Promote { .. });
        if self.theme != Some(Theme::Reused) || !decides || !self.chaos {
            return;
        }
        let node = place_of(&to.name);
        if matches!(what, Command::Promote { .. }) && self.rng.chance(5_000) {
            self.nodes[node].quick = true;
            self.after(0, Thing::Crash { node });
        }
        for wait in [60 * MS, 120 * MS] {
            let (to, command) = (to.clone(), what.clone());
            self.after(wait, Thing::Command { brain, tag, to, command });
        }
    }
}
