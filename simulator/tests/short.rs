//! The short form: clean worlds stay clean, every planted bug is caught, and a seed is a course.

use simulator::{Mutant, Report, Run, Theme, run};

/// A debug build runs about ten times slower.
const SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 400 };

fn world(seed: u64, mutant: Option<Mutant>, trace: bool) -> Report {
    let theme = mutant.map_or(Theme::of(seed), Mutant::theme);
    run(&Run { seed, mutant, theme, trace })
}

#[test]
fn clean_worlds_keep_every_promise() {
    let (mut switchovers, mut elections, mut crashes) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let report = world(seed, None, false);
        assert!(report.violations.is_empty(), "seed {seed}: {:?}", report.violations);
        switchovers += report.switchovers;
        elections += report.elections;
        crashes += report.crashes;
    }
    // Worlds in which nothing happens prove nothing.
    assert!(switchovers > SEEDS && elections > SEEDS / 10 && crashes > SEEDS / 2);
}

/// Worlds in which a promise was broken once, or seemed to be. 8421: after a lost status an old primary that had
/// never heard of its successors was adopted, and answered without what they had acknowledged.
/// 3158, 9701 and 2425 (an answer counted that had never left) were mistakes of the checkers.
#[test]
fn worlds_that_once_broke_a_promise_keep_it() {
    for seed in [8421, 3158, 9701, 2425] {
        let report = world(seed, None, false);
        assert!(report.violations.is_empty(), "seed {seed}: {:?}", report.violations);
    }
}

#[test]
fn every_planted_bug_is_caught() {
    for mutant in Mutant::ALL {
        let caught =
            (1..=SEEDS).any(|seed| !world(seed, Some(mutant), false).violations.is_empty());
        assert!(caught, "{mutant} is not caught by {SEEDS} seeds");
    }
}

#[test]
fn a_seed_gives_the_same_course_each_time() {
    for seed in [3, 8, 21] {
        let (first, second) = (world(seed, None, true), world(seed, None, true));
        assert!(first.trace.len() > 100, "seed {seed} tells too little");
        assert_eq!(first, second, "seed {seed}");
        // Watching must not steer.
        assert_eq!(first.hash, world(seed, None, false).hash, "seed {seed}");
    }
}
