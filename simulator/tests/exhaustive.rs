//! Small clusters, every course up to a number of states: no promise is broken, and planted bugs
//! are found.

use simulator::model::{Found, MUTANTS, SMALL, explore, walk};

/// A debug build runs about ten times slower.
const LIMIT: usize = if cfg!(debug_assertions) { 5_000 } else { 30_000 };
/// How many courses a planted bug is looked for on, and how long each is.
const COURSES: u64 = if cfg!(debug_assertions) { 500 } else { 3_000 };
const LENGTH: usize = 80;

#[test]
fn no_course_of_a_small_cluster_breaks_a_promise() {
    for (name, bounds) in SMALL {
        let Found { states, complete, broken } = explore(bounds, None, LIMIT);
        eprintln!("{name}: {states} states, complete: {complete}");
        assert_eq!(broken, None, "{name}");
        assert!(states > 1_000, "{name}: {states} states show nothing");
    }
}

#[test]
fn planted_bugs_are_found() {
    let mut missed = Vec::new();
    for (mutant, bounds) in MUTANTS {
        let Found { states, broken, .. } = walk(bounds, mutant, COURSES, LENGTH);
        match broken {
            Some((line, course)) => {
                eprintln!("{mutant}: {line}, after {} acts, {states} states seen", course.len());
            }
            None => missed.push(format!("{mutant} ({states} states)")),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
