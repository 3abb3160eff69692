//! Every course of a small cluster, within bounds: a search through all states, not a sample; and
//! courses by chance, for planted bugs.
//!
//! Three members run the server's [`Member`](server::handover::Member), one or two operators run
//! [`switchover::step`]; both are the real machines, and so are the arbiter, the records and the
//! configs. Around them everything may happen in any order: a command is delivered early, late or
//! never, members and operators end between any two events, a place is cut off, time passes.
//!
//! What is simpler than the truth, and why it may be:
//! - Time stands still but for leaps longer than any lease, so that a lease is either on or over.
//! - A look of the operator sees the members at one moment; what it sends comes at any later one.
//! - Replicas hear their primary record by record, and one acknowledgement stands for all before.
//! - Labels are set at once: they lead clients, and any member may be asked here anyway.
//!
//! States are shared in parts and known by prints of 64 bits; two that look alike by chance would
//! hide one course, not invent one. Two operators are alike, so a state in which they have changed
//! places is the same one. A plain search instead of a checker's crate: the state is a
//! graph of shared parts that cannot cross threads, and no part of a web server is needed for it.

mod act;
mod node;
mod operate;
mod state;

use std::collections::HashSet;

use crate::mutant::Mutant;
use crate::rng::Rng;
pub use act::Act;
pub use state::State;

/// How much may happen on one course.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    pub operators: usize,
    pub writes: u8,
    /// Ends of members' processes; each comes back with a new id and without data.
    pub crashes: u8,
    /// Ends of operators' processes.
    pub kills: u8,
    /// Members that are cut off from all others and from the operators.
    pub cuts: u8,
    /// Answers that an operator gives up waiting for.
    pub timeouts: u8,
    /// Leaps of time, each longer than any lease.
    pub leaps: u8,
    /// Requests for another primary.
    pub requests: u8,
    /// Courses end with a later term: operators in doubt may claim for ever. The cluster begins with 1.
    pub terms: u64,
}

const NONE: Bounds = Bounds {
    operators: 1,
    writes: 0,
    crashes: 0,
    kills: 0,
    cuts: 0,
    timeouts: 0,
    leaps: 0,
    requests: 0,
    terms: 3,
};

const SWITCH: Bounds = Bounds { writes: 1, kills: 1, requests: 1, ..NONE };
const CRASH: Bounds = Bounds { writes: 1, crashes: 1, leaps: 1, ..NONE };
const CUT: Bounds = Bounds { writes: 1, cuts: 1, leaps: 1, ..NONE };
const WAITING: Bounds = Bounds { operators: 2, writes: 2, timeouts: 1, leaps: 2, ..NONE };
const RIVALS: Bounds = Bounds { operators: 2, cuts: 1, ..NONE };

/// Small enough for every run of the tests.
pub const SMALL: [(&str, Bounds); 5] = [
    ("two operators, and time passes", WAITING),
    ("a planned switch, in which the operator may end", SWITCH),
    ("a member ends", CRASH),
    ("a member is cut off", CUT),
    ("two operators, and a member is cut off", RIVALS),
];

/// For a patient machine, of which it sees a part. Two operators come to an end while nobody is cut off:
/// 139,083 states, in ten seconds. With one cut they do not: without any write 1,500,000 states (each
/// and its mirror image) were seen in four minutes, and with one write and no third term there was no
/// end after 150 seconds; nor after 100 of a planned switch by both in which nobody is elected.
pub const LARGE: [(&str, Bounds); 4] = [
    ("a planned switch and a crash", Bounds { crashes: 1, leaps: 1, ..SWITCH }),
    ("a planned switch and a cut", Bounds { cuts: 1, leaps: 1, timeouts: 1, ..SWITCH }),
    ("two writes, a crash and a cut", Bounds { writes: 2, cuts: 1, ..CRASH }),
    ("two operators", Bounds { operators: 2, writes: 1, timeouts: 1, ..CUT }),
];

/// Planted bugs, each with bounds within which its harm lies.
pub const MUTANTS: [(Mutant, Bounds); 2] = [
    (Mutant::FewerSeals, Bounds { crashes: 1, ..CUT }),
    (Mutant::RestartedIdCounted, Bounds { crashes: 1, ..CUT }),
];

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    pub states: usize,
    /// Whether every state within the bounds was seen.
    pub complete: bool,
    /// The first broken promise, and what led to it.
    pub broken: Option<(String, Vec<Act>)>,
}

/// A state on the present course, and what may still follow it.
struct Frame {
    state: State,
    acts: Vec<Act>,
    /// By which act it was reached.
    by: Option<Act>,
}

/// Goes through all states, at most `limit`, until a promise is broken.
pub fn explore(bounds: Bounds, mutant: Option<Mutant>, limit: usize) -> Found {
    let mut seen: HashSet<u64> = HashSet::new();
    let first = State::settled(bounds, mutant);
    let mut course = Vec::new();
    enter(first, None, &mut seen, &mut course);
    while let Some(frame) = course.last_mut() {
        let Some(act) = frame.acts.pop() else {
            course.pop();
            continue;
        };
        let next = frame.state.after(&act);
        if let Some(broken) = next.broken() {
            let mut acts: Vec<Act> = course.into_iter().filter_map(|frame| frame.by).collect();
            acts.push(act);
            let broken = Some((broken.to_owned(), acts));
            return Found { states: seen.len(), complete: false, broken };
        }
        if seen.len() >= limit {
            return Found { states: seen.len(), complete: false, broken: None };
        }
        enter(next, Some(act), &mut seen, &mut course);
    }
    Found { states: seen.len(), complete: true, broken: None }
}

/// Goes down many courses by chance, each at most `length` acts long, until a promise is broken:
/// what a planted bug breaks lies deep, and one course to it is enough.
pub fn walk(bounds: Bounds, mutant: Mutant, courses: u64, length: usize) -> Found {
    let first = State::settled(bounds, Some(mutant));
    let mut states = 0;
    for seed in 1..=courses {
        let mut rng = Rng::new(seed);
        let (mut state, mut course) = (first.clone(), Vec::new());
        for _ in 0..length {
            let mut acts = state.acts();
            if acts.is_empty() {
                break;
            }
            let act = acts.swap_remove(rng.below(acts.len() as u64) as usize);
            state = state.after(&act);
            states += 1;
            course.push(act);
            if let Some(line) = state.broken() {
                let broken = Some((line.to_owned(), course));
                return Found { states, complete: false, broken };
            }
        }
    }
    Found { states, complete: false, broken: None }
}

fn enter(state: State, by: Option<Act>, seen: &mut HashSet<u64>, course: &mut Vec<Frame>) {
    if seen.insert(state.print()) {
        let acts = state.acts();
        course.push(Frame { state, acts, by });
    }
}
