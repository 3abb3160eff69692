//! Judges recorded histories: could one server, one command after another, have answered so?
//!
//! Pure. The search is Wing and Gong's with Lowe's memory: of the operations that are left, any one
//! that began before the first of the others ended may come next; a course that reaches the same
//! operations done and the same state as an earlier one is not followed again. Objects share
//! nothing, so each is judged by itself, which keeps a history of many clients short.
//!
//! An operation whose outcome its client does not know may have run once, at any time after it was
//! sent, or not at all: its interval has no end.

mod model;
pub mod record;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

pub use model::{Action, Kind};

use crate::resp::Value;
use model::State;

/// How many courses are followed for one object before it counts as undecided.
const COURSES: usize = 4_000_000;

/// One command of one client; instants are counted from the start of the history, by one clock.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The object: all keys of one name are one object.
    pub object: String,
    pub action: Action,
    /// Before the command was sent.
    pub begun: Duration,
    /// After its answer was read, and the answer; none if the outcome is not known.
    pub answer: Option<(Duration, Value)>,
}

impl Operation {
    /// The last moment at which it can have run.
    fn ended(&self) -> Duration {
        self.answer.as_ref().map_or(Duration::MAX, |(ended, _)| *ended)
    }
}

/// What came of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Answered operations, and those whose outcome is not known.
    pub operations: u64,
    pub unknown: u64,
    pub objects: u64,
    /// Sentences about objects whose history no single server could have answered.
    pub broken: Vec<String>,
    /// Objects whose history has more courses than were followed.
    pub undecided: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty() && self.undecided.is_empty()
    }
}

/// Judges every object of a history.
pub fn judge(history: Vec<Operation>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut objects: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        match operation.answer {
            Some(_) => verdict.operations += 1,
            None => verdict.unknown += 1,
        }
        objects.entry(operation.object.clone()).or_default().push(operation);
    }
    verdict.objects = objects.len() as u64;
    for (object, operations) in objects {
        match Search::new(operations).run() {
            Found::Course => {}
            Found::None(why) => verdict.broken.push(format!("{object}: {why}")),
            Found::TooMany => verdict.undecided.push(object),
        }
    }
    verdict
}

/// What a search came to.
enum Found {
    Course,
    /// The longest course that was possible, and what could not follow it.
    None(String),
    TooMany,
}

/// Which operations have been done, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Done {
    bits: Vec<u64>,
    /// How many of them were answered.
    answered: usize,
}

impl Done {
    fn holds(&self, index: usize) -> bool {
        self.bits[index / 64] & (1 << (index % 64)) != 0
    }

    fn with(&self, index: usize, answered: bool) -> Self {
        let mut next = self.clone();
        next.bits[index / 64] |= 1 << (index % 64);
        next.answered += usize::from(answered);
        next
    }
}

struct Search {
    /// In the order of their beginnings.
    operations: Vec<Operation>,
    seen: HashSet<(Done, State)>,
    /// The furthest point that any course has reached.
    best: (Done, State),
}

impl Search {
    fn new(mut operations: Vec<Operation>) -> Self {
        operations.sort_by_key(|operation| operation.begun);
        let bits = vec![0; operations.len().div_ceil(64)];
        let start = (Done { bits, answered: 0 }, State::default());
        Self { operations, seen: HashSet::new(), best: start }
    }

    fn run(mut self) -> Found {
        let answered = self.operations.iter().filter(|one| one.answer.is_some()).count();
        let mut courses = vec![self.best.clone()];
        while let Some((done, state)) = courses.pop() {
            if done.answered == answered {
                return Found::Course;
            }
            if self.seen.len() > COURSES {
                return Found::TooMany;
            }
            if done.answered > self.best.0.answered {
                self.best = (done.clone(), state.clone());
            }
            // Followed last is tried first: what ends first most likely ran first, and what nobody
            // knows of most likely did not run.
            let mut next = self.candidates(&done);
            next.sort_by_key(|index| std::cmp::Reverse(self.operations[*index].ended()));
            for index in next {
                let operation = &self.operations[index];
                let Some(state) = state.after(operation) else { continue };
                let course = (done.with(index, operation.answer.is_some()), state);
                if self.seen.insert(course.clone()) {
                    courses.push(course);
                }
            }
        }
        Found::None(self.told())
    }

    /// Those that may run next: none of the others ended before they began.
    fn candidates(&self, done: &Done) -> Vec<usize> {
        let mut first_end = Duration::MAX;
        let mut found = Vec::new();
        for (index, operation) in self.operations.iter().enumerate() {
            if operation.begun > first_end {
                break;
            }
            if !done.holds(index) {
                first_end = first_end.min(operation.ended());
                found.push(index);
            }
        }
        found.retain(|index| self.operations[*index].begun <= first_end);
        found
    }

    fn told(&self) -> String {
        let (done, state) = &self.best;
        let next: Vec<String> = self
            .candidates(done)
            .into_iter()
            .map(|index| {
                let Operation { action, begun, answer, .. } = &self.operations[index];
                let begun = begun.as_micros();
                match answer {
                    Some((ended, value)) => {
                        format!("{action:?} at {begun}–{} µs answered {value:?}", ended.as_micros())
                    }
                    None => format!("{action:?} at {begun} µs without an answer"),
                }
            })
            .collect();
        let (count, all) = (done.answered, self.operations.len());
        format!("after {count} of {all} operations in {state:?}, none can follow of: {next:?}")
    }
}
