//! Fuzzing on a stable toolchain: seeded mutations of a corpus that is checked in, run in this
//! process. A panic is caught, named with its target, seed and run, and can be run again.
//!
//! The seeds lie in `tests/fuzz/`. Everything a run does follows from the number of the run and
//! the seed, so `--target T --seed S --run N` repeats it alone.

pub mod chance;
pub mod corpus;
pub mod differential;
pub mod mutate;
pub mod node;
pub mod targets;

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use chance::Chance;
use corpus::Corpus;
use targets::Target;

thread_local! {
    /// Panics of this thread are findings; those of others are told as usual.
    static FUZZING: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What became of one target.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub name: &'static str,
    pub runs: u64,
    /// A text for each panic: how to run it again, and what it said.
    pub panics: Vec<String>,
}

/// How much of a target is run.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// As many runs as the machine makes in this time.
    Time(Duration),
    /// So many runs, the same on every machine.
    Runs(u64),
}

impl Extent {
    /// Whether there is another run, after so many since that moment.
    pub fn goes_on(self, begun: Instant, runs: u64) -> bool {
        match self {
            Self::Time(time) => begun.elapsed() < time,
            Self::Runs(count) => runs < count,
        }
    }
}

/// Which runs to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For each target.
    pub each: Extent,
    pub seed: u64,
    /// Only this target.
    pub target: Option<String>,
    /// Only this run.
    pub run: Option<u64>,
}

/// How many panics of one target are kept.
const PANICS_MAX: usize = 10;

/// Runs the targets one after the other. `data` is the folder of the seeds.
pub fn run(data: &Path, plan: &Plan) -> Result<Vec<Found>> {
    let corpus = Corpus::read(data)?;
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if FUZZING.get() {
            LAST_PANIC.with(|last| *last.borrow_mut() = info.to_string());
        } else {
            default(info);
        }
    }));
    FUZZING.set(true);
    let wanted = |name: &str| plan.target.as_deref().is_none_or(|target| target == name);
    let mut found = Vec::new();
    for (name, make) in targets::ALL {
        if wanted(name) {
            found.push(run_target(name, *make, &corpus, plan));
        }
    }
    FUZZING.set(false);
    drop(panic::take_hook());
    Ok(found)
}

fn run_target(name: &'static str, make: targets::Make, corpus: &Corpus, plan: &Plan) -> Found {
    let mut found = Found { name, ..Found::default() };
    let mut target: Box<dyn Target + '_> = make(corpus);
    let begun = Instant::now();
    let mut run = plan.run.unwrap_or(0);
    while plan.each.goes_on(begun, found.runs) && found.panics.len() < PANICS_MAX {
        let mut chance = Chance::of(plan.seed, run);
        let caught = panic::catch_unwind(AssertUnwindSafe(|| target.run(&mut chance)));
        if caught.is_err() {
            let said = LAST_PANIC.with(|last| last.borrow().clone());
            let again = format!("--target {name} --seed {} --run {run}", plan.seed);
            found.panics.push(format!("{again}: {said}"));
            // What the panic left behind is no state to go on from.
            target = make(corpus);
        }
        found.runs += 1;
        run += 1;
        if plan.run.is_some() {
            break;
        }
    }
    found
}
