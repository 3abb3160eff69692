//! One world from its seed to its end.

use crate::mutant::Mutant;
use crate::world::{MS, SEC, World};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub seed: u64,
    pub mutant: Option<Mutant>,
    /// Keep a line for everything that matters.
    pub trace: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    /// Broken promises; a run ends at the first.
    pub violations: Vec<String>,
    pub switchovers: u64,
    pub aborted: u64,
    pub elections: u64,
    pub crashes: u64,
    pub acknowledged: u64,
    /// Of the whole course: equal for equal seeds.
    pub hash: u64,
    pub trace: Vec<String>,
}

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
    let checks = &world.checks;
    Report {
        seed: run.seed,
        violations: checks.violations.clone(),
        switchovers: checks.switchovers,
        aborted: checks.aborted,
        elections: checks.elections,
        crashes: checks.crashes,
        acknowledged: checks.acknowledged.len() as u64,
        hash: world.hash,
        trace: world.trace,
    }
}
