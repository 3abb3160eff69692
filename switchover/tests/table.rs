//! Every phase with every event: `table.txt` holds the whole of it and is remade by
//! `REDISHA_REWRITE=1 cargo test -p switchover --test table`.
//!
//! Each phase is reached by a true course of events, never built by hand. The test
//! refuses a phase that no course reaches.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic with its place is clear")]

#[path = "support/snapshot.rs"]
mod snapshot;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use switchover::{Event, Phase, Publication, State, Then, step};
use world::World;

const HEALTHY: &str = "member a primary 1.0 label=primary replicas=b1,c1
    member b follower a1 1.0
    member c follower a1 1.0
    arbiter term=1 primary=a1@1.0 config=a1,b1,c1";

/// The way to each phase, from a new state in the healthy cluster.
const COURSES: &[(&str, &str)] = &[
    ("start", ""),
    ("idle", "nudge|observed"),
    ("observing", "nudge"),
    ("observing, silence lasted", "SILENT|nudge|observed|expired"),
    ("suspecting", "SILENT|nudge|observed"),
    ("publishing an intent", "REQUEST|nudge|observed"),
    ("publishing a claim", "SILENT|nudge|observed|expired|observed"),
    ("publishing a decision", "SILENT|nudge|observed|expired|observed|published done|SEALED"),
    ("publishing an end", "REQUEST|nudge|observed|published done|reply a NOTREADY x|reply a ok"),
    ("pausing", "REQUEST|nudge|observed|published done"),
    ("levelling", "REQUEST|nudge|observed|published done|reply a paused"),
    ("handing over", "REQUEST|nudge|observed|published done|reply a paused|reply a level"),
    ("aborting", "REQUEST|nudge|observed|published done|reply a paused|expired"),
    ("labelling the new primary", "MOVED|nudge|observed"),
    ("labelling the old primary", "MOVED|nudge|observed|labelled b"),
    ("releasing", "MOVED|nudge|observed|labelled b|labelled a"),
    ("sealing", "SILENT|nudge|observed|expired|observed|published done"),
    ("sealing, one answered", "SILENT|nudge|observed|expired|observed|published done|SEALED ONE"),
    ("preparing a config", "replicated|nudge|observed"),
    ("publishing a config", "replicated|nudge|observed|reply a prepared"),
    ("promoting", "SILENT|nudge|observed|expired|observed|published done|SEALED|published done"),
];

/// What an observation may show.
const SIGHTS: &[(&str, &str)] = &[
    ("healthy", ""),
    ("request", "REQUEST"),
    ("request without a target", "REQUEST|NO LINKS"),
    ("request for a named pod", "request p1 request c"),
    ("primary silent", "SILENT"),
    ("primary silent, replicas hear it", "member a silent"),
    ("primary killed", "PUBLISHED|NO LINKS|member a silent pulse=gone"),
    ("primary busy", "PUBLISHED|member a silent pulse=beats|QUIET"),
    ("primary's node lost", "PUBLISHED|member a silent|QUIET"),
    ("primary restarted", "NO LINKS|member a fenced id=a2 empty=1"),
    ("primary abdicated", "NO LINKS|member a fenced promised=1.1 data=1.0"),
    ("primary in limbo", "member a limbo 1.1 to b1 record=BLOB"),
    ("handed over", "MOVED"),
    ("handed back", "INTENT|member a primary 1.2 label=primary replicas=b1,c1"),
    ("intent open", "INTENT"),
    ("intent open, paused", "INTENT|member a primary 1.0 label=primary replicas=b1 pause=r1/1"),
    ("intent open, target gone", "INTENT|member b silent"),
    ("intent open, primary silent", "INTENT|SILENT"),
    ("election open", "SEALED STATE|arbiter term=2 primary=a1@1.0 config=a1,b1,c1 election=2"),
    (
        "election decided",
        "SEALED STATE|arbiter term=2 primary=a1@1.0 config=a1,b1,c1 election=2:b1",
    ),
    ("election won", "WON"),
    ("label drifted", "member a primary 1.0 label=replica replicas=b1,c1"),
    ("replica restarted", "member c fenced id=c2 empty=1"),
    ("replica in sync again", "member c follower a1 1.0 id=c2"),
    ("config to change", "replicated"),
    ("config being prepared", "replicated|member a PRIMARY configs=1/1/1/async/block/a1;NEXT"),
    (
        "another config being prepared",
        "replicated|member a PRIMARY configs=1/1/1/async/block/a1;2/1/1/replicated/degrade/a1",
    ),
    ("config published", "PUBLISHED|member a PRIMARY configs=0/1/1/replicated/degrade/a1;OBEYED"),
    ("config obeyed", "PUBLISHED|member a PRIMARY configs=OBEYED"),
    (
        "replicas gone",
        "PUBLISHED|member a primary 1.0 label=primary configs=OBEYED|member b silent\
         |member c silent",
    ),
    ("nobody answers", "member a silent|member b silent|member c silent"),
    ("nothing yet", "EMPTY"),
    ("nothing yet, one silent", "EMPTY|member c silent"),
    ("status lost", "arbiter version=0"),
    ("stale read", "arbiter version=0 term=1 primary=a1@1.0 config=a1,b1,c1"),
];

const OTHERS: &[&str] = &[
    "nudge",
    "expired",
    "expired late",
    "published done",
    "published conflict",
    "published unknown",
    "reply a ok",
    "reply a paused",
    "reply a prepared",
    "reply a accepted 1.1",
    "reply a declined 1.2",
    "reply a abdicated",
    "reply a lost",
    "reply a WRONGMEMBER it is a2",
    "reply a STALE promised 2.0",
    "reply a NOTREADY busy",
    "reply a NOTLEVEL the pause has ended",
    "reply a ERR unknown",
    "reply b ok",
    "reply b sealed b1 1.0 100",
    "reply b sealed b2 1.0 100",
    "reply b sealed b1 0.0 0 empty",
    "reply b lost",
    "labelled a",
    "labelled b",
    "labelled b failed",
];

/// Short names for lines that occur often.
fn expand(word: &str) -> &str {
    match word {
        "SILENT" => "NO LINKS|member a silent",
        "NO LINKS" => "member b follower a1 1.0 link=down|member c follower a1 1.0 link=down",
        "QUIET" => "member b follower a1 1.0 silence=1200|member c follower a1 1.0 silence=1200",
        "REQUEST" => "request r1 drain",
        "PUBLISHED" => {
            "replicated|arbiter term=1 primary=a1@1.0 config=a1,b1,c1 durability=degrade"
        }
        "INTENT" => "arbiter term=1 primary=a1@1.0 config=a1,b1,c1 intent=r1/1:a1:b1",
        "MOVED" => {
            "INTENT|member a follower b1 1.1 label=primary handover=r1/1:accepted:b1 pause-us=900\
             |member b primary 1.1 replicas=a1,c1|member c follower b1 1.1"
        }
        "SEALED" => "reply b sealed b1 1.0 100|reply c sealed c1 1.0 90",
        "SEALED ONE" => "reply b sealed b1 1.0 100",
        "SEALED STATE" => {
            "member a silent|member b fenced promised=2.0 data=1.0\
             |member c fenced promised=2.0 data=1.0"
        }
        "WON" => {
            "SEALED STATE|member b primary 2.0\
             |arbiter term=2 primary=a1@1.0 config=a1,b1,c1 election=2:b1"
        }
        "EMPTY" => {
            "arbiter version=0|member a fenced empty=1 label=none\
             |member b fenced empty=1 label=none|member c fenced empty=1 label=none"
        }
        line => line,
    }
}

/// Short names for words within a line.
fn within(line: &str) -> String {
    line.replace("PRIMARY", "primary 1.0 label=primary replicas=b1,c1")
        .replace("NEXT", "2/1/2/replicated/degrade/a1,b1,c1")
        .replace("OBEYED", "1/1/2/replicated/degrade/a1,b1,c1")
}

fn lines(course: &str) -> Vec<String> {
    let words = course.split('|').map(str::trim).filter(|line| !line.is_empty());
    let expanded = words.map(|word| (word, expand(word)));
    let part = |(word, text): (&str, &str)| {
        if word == text { vec![within(text)] } else { lines(text) }
    };
    expanded.flat_map(part).collect()
}

fn reach(course: &str) -> (World, State) {
    let mut world = World::new();
    for line in HEALTHY.lines() {
        world.describe(line.trim());
    }
    let mut state = State::new();
    for line in lines(course) {
        if world.describe(&line) {
            continue;
        }
        let event = world.event(&line, &state);
        if let (
            Event::Published { result: Publication::Done, .. },
            Phase::Publishing { next, .. },
        ) = (&event, &state.phase)
        {
            world.arbiter = (**next).clone();
        }
        state = step(&state, event).0;
    }
    (world, state)
}

fn row(out: &mut String, title: &str, state: &State, event: Event) {
    let (next, effects) = step(state, event);
    let same = next == *state && effects.is_empty();
    let effects: Vec<String> = effects.iter().map(ToString::to_string).collect();
    let told = if same { "-".to_owned() } else { effects.join("; ") };
    writeln!(out, "  {title} => {} | {told}", detail(&next.phase)).unwrap();
}

/// The phase, and what tells two states of one phase apart.
fn detail(phase: &Phase) -> String {
    match phase {
        Phase::Publishing { then, .. } => {
            let then = match then {
                Then::Switch(_) => "switch",
                Then::Seal => "seal",
                Then::Promote => "promote",
                Then::Tell(_) => "tell",
                Then::Commit(_) => "commit",
            };
            format!("Publishing, then {then}")
        }
        Phase::Observing { again: true, .. } => "Observing, and again".into(),
        Phase::Sealing { asked, sealed } => format!("Sealing {}/{}", sealed.len(), asked.len()),
        phase => phase.name().into(),
    }
}

#[test]
fn every_phase_with_every_event_is_as_checked_in() {
    let mut out = String::new();
    let mut reached = BTreeSet::new();
    for (name, course) in COURSES {
        let (_, state) = reach(course);
        reached.insert(state.phase.name());
        writeln!(out, "{name} ({})", detail(&state.phase)).unwrap();
        let mut plain = World::new();
        for event in OTHERS {
            row(&mut out, event, &state, plain.event(event, &state));
        }
        for (sight, course) in SIGHTS {
            let (mut world, _) = reach(course);
            // What a crashed operator's successor reads has the version that this state knows.
            if *sight != "stale read" {
                world.arbiter.version = world.arbiter.version.max(state.arbiter.version);
            }
            let event = world.event("observed", &state);
            row(&mut out, &format!("observed: {sight}"), &state, event);
        }
    }
    let all = [
        "Start",
        "Idle",
        "Observing",
        "Suspecting",
        "Publishing",
        "Pausing",
        "Levelling",
        "HandingOver",
        "Aborting",
        "Labelling",
        "Releasing",
        "Sealing",
        "Preparing",
        "Promoting",
    ];
    assert_eq!(reached, BTreeSet::from(all), "a phase without a course, or an unknown one");
    snapshot::assert_same(Path::new("tests/table.txt"), &out);
}

/// An answer to an effect of an earlier phase must change nothing, whatever it says: otherwise a
/// slow answer of a failed attempt would steer the next one.
#[test]
fn answers_that_come_too_late_change_nothing() {
    for (name, course) in COURSES {
        let (mut world, state) = reach(course);
        let events = OTHERS.iter().filter(|event| !event.starts_with("nudge"));
        for event in events.chain(&["observed"]) {
            let event = world.event(&format!("{event} late"), &state);
            let (next, effects) = step(&state, event.clone());
            assert!(next == state && effects.is_empty(), "{name}: {event:?} took effect");
        }
    }
}
