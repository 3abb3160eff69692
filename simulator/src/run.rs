//! One world from its seed to its end.

use std::collections::BTreeSet;

use switchover::{Reason, Request};

use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::theme::Theme;
use crate::world::{MS, SEC, World};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub seed: u64,
    pub mutant: Option<Mutant>,
    /// The fault plan; without one anything may go wrong at any time.
    pub theme: Option<Theme>,
    /// Keep a line for everything that matters.
    pub trace: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    /// Broken promises; a run ends at the first.
    pub violations: Vec<String>,
    /// Narrow places that it came through.
    pub marks: BTreeSet<Mark>,
    pub switchovers: u64,
    pub aborted: u64,
    pub elections: u64,
    pub crashes: u64,
    pub acknowledged: u64,
    pub reads: u64,
    /// Faults beside crashes.
    pub faults: u64,
    /// The id of the last finished attempt in the arbiter.
    pub last: Option<String>,
    /// Of the whole course: equal for equal seeds.
    pub hash: u64,
    pub trace: Vec<String>,
}

/// How long a world lasts, in seconds of its own.
pub const SECONDS: f64 = 60.0;

/// Half a minute of harm, then calm until everything must be at rest.
pub fn run(run: &Run) -> Report {
    let mut world = World::new(run);
    let harm = 30 * SEC;
    while world.now < harm && world.checks.violations.is_empty() {
        world.run_until(world.now + 100 * MS);
        world.check_pauses();
    }
    if world.checks.violations.is_empty() {
        world.calm();
        world.run_until(world.now + 30 * SEC);
    }
    if world.checks.violations.is_empty() {
        world.check_rest();
    }
    report(run.seed, world)
}

fn report(seed: u64, world: World) -> Report {
    let checks = &world.checks;
    Report {
        seed,
        violations: checks.violations.clone(),
        marks: checks.marks.clone(),
        switchovers: checks.switchovers,
        aborted: checks.aborted,
        elections: checks.elections,
        crashes: checks.crashes,
        acknowledged: checks.acknowledged.len() as u64,
        reads: checks.shown.reads,
        faults: checks.faults,
        last: world.arbiter.last_switchover.as_ref().map(|last| last.id.clone()),
        hash: world.hash,
        trace: world.trace,
    }
}

/// Who dies in [`strike`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Operator,
    /// The primary at the beginning is member 0; the switch's target is member 1.
    Member(usize),
}

/// The one crash of an otherwise calm world.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub victim: Victim,
    /// Which point of its effects, counted from the request: before the first is 0, after it 1,
    /// before the second 2, and so on.
    pub point: u64,
    pub(crate) seen: u64,
}

/// One planned switch in a calm world, in which `victim` dies once, at that point of its effects.
/// None when its effects end before that point.
pub fn strike(victim: Victim, point: u64, trace: bool) -> Option<Report> {
    let mut world = World::new(&Run { seed: point, mutant: None, theme: None, trace });
    world.chaos = false;
    // A target of an older version would rightly be refused.
    world.levels = [0; 3];
    world.run_until(10 * SEC);
    world.plan = Some(Plan { victim, point, seen: 0 });
    let to = Some("b".to_owned());
    world.request = Some(Request { id: "planned".into(), reason: Reason::Drain, to });
    world.wake_brains();
    // The victim is back after 5 s at most, and has half a minute to finish or roll back.
    for _ in 0..350 {
        world.run_until(world.now + 100 * MS);
        world.check_pauses();
    }
    if world.checks.violations.is_empty() {
        world.check_rest();
    }
    let struck = world.plan.is_none();
    struck.then(|| report(point, world))
}
