//! The short form: clean worlds stay clean, every planted bug is caught, and a seed is a course.

use std::collections::BTreeSet;

use simulator::{Mark, Mutant, Report, Run, Theme, run};

/// A debug build runs about ten times slower.
const SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 400 };
/// As many as `simulate --mutants` takes: a few of the bugs break one world of some hundreds.
const MUTANT_SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 2_000 };

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

/// `seeds.txt`: worlds that lead to places where a promise was broken once, or seemed to be. Each must
/// still come through its place, or it shows nothing: then take another seed, which
/// `cargo xtask simulate --json` names among its `marks`.
#[test]
fn worlds_that_once_broke_a_promise_keep_it() {
    let mut shown = BTreeSet::new();
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#'));
    for line in lines.filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let seed = words.next().and_then(|word| word.parse().ok()).expect("a seed");
        let theme = match words.next() {
            Some("-") => None,
            word => {
                let named = |theme: &Theme| word == Some(format!("{theme:?}").as_str());
                Some(Theme::ALL.into_iter().find(named).expect("a plan, or -"))
            }
        };
        let report = run(&Run { seed, mutant: None, theme, trace: false });
        assert!(report.violations.is_empty(), "{line}: {:?}", report.violations);
        let marks: Vec<Mark> =
            words.map(|word| Mark::named(word).unwrap_or_else(|| panic!("{word}"))).collect();
        assert!(!marks.is_empty(), "{line}: what does it show?");
        for mark in marks {
            assert!(report.marks.contains(&mark), "{line}: it shows {:?}", report.marks);
            shown.insert(mark);
        }
    }
    assert!(shown.len() > 10, "only {shown:?} are shown");
}

#[test]
fn every_planted_bug_is_caught() {
    for mutant in Mutant::ALL {
        let caught =
            (1..=MUTANT_SEEDS).any(|seed| !world(seed, Some(mutant), false).violations.is_empty());
        assert!(caught, "{mutant} is not caught by {MUTANT_SEEDS} seeds");
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
