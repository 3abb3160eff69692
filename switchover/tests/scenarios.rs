//! Every file in `scenarios/` is a story: lines that describe a cluster, events, and beneath each
//! event the effects that must follow (two spaces deep; `REDISHA_REWRITE=1` writes them anew).
//! A first line `# …` says what it shows. `crash` forgets the state, as a new operator would.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic with its place is clear")]

#[path = "support/snapshot.rs"]
mod snapshot;
#[path = "support/world.rs"]
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use switchover::{Effect, Event, Publication, State, step};
use world::World;

fn check(path: &Path) {
    let story = std::fs::read_to_string(path).expect("a scenario can be read");
    assert!(story.starts_with("# "), "{} does not say what it shows", path.display());
    let mut world = World::new();
    let mut state = State::new();
    let mut told = String::new();
    for line in story.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(told, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') || world.describe(line) {
            continue;
        }
        if line == "crash" {
            state = State::new();
            continue;
        }
        let event = world.event(line, &state);
        if let (Event::Published { result: Publication::Done, .. }, Some(next)) =
            (&event, publishing(&state))
        {
            world.arbiter = next;
        }
        let (next, effects) = step(&state, event);
        guard(&state, &effects);
        for effect in &effects {
            writeln!(told, "  {effect}").unwrap();
        }
        writeln!(told, "  = {}", next.phase.name()).unwrap();
        state = next;
    }
    snapshot::assert_same(path, &told);
}

fn publishing(state: &State) -> Option<switchover::Arbiter> {
    match &state.phase {
        switchover::Phase::Publishing { next, .. } => Some((**next).clone()),
        _ => None,
    }
}

/// The promise that no expectation may overrule: nothing is written while writes are held.
fn guard(state: &State, effects: &[Effect]) {
    let held = matches!(
        state.phase.name(),
        "Pausing" | "Levelling" | "HandingOver" | "Labelling" | "Releasing"
    );
    let writes = effects.iter().any(|effect| matches!(effect, Effect::Publish { .. }));
    assert!(!(held && writes), "the arbiter is written in {}", state.phase.name());
}

fn all() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/scenarios").expect("the scenarios are there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_story_holds() {
    let stories = all();
    assert!(stories.len() >= 20, "only {} stories were found", stories.len());
    for path in stories {
        check(&path);
    }
}
