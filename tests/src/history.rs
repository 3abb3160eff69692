//! Judges a recorded history of counters that many clients share.
//!
//! Pure. A counter hands out each number once and in the order of real time, so a history of INCR
//! and GET is linearizable exactly when no number was handed out twice, no later increment or read
//! saw less than an earlier one was told, and the last value holds every number that was told.
//! An operation whose outcome its client does not know may have run once or not at all.

use std::collections::HashMap;
use std::time::Duration;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Increment,
    Read,
}

/// One answered operation; instants are counted from the start of the history, by one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub kind: Kind,
    /// The number of the counter.
    pub counter: u32,
    /// Before the command was sent.
    pub begun: Duration,
    /// After its answer was read.
    pub ended: Duration,
    /// What the answer said; a counter that is not there reads 0.
    pub value: u64,
}

/// How often each promise was broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Answered operations.
    pub operations: u64,
    /// Acknowledged increments that a later increment or the last value has forgotten.
    pub lost: u64,
    /// Increments that were told the same number as another one: two nodes acknowledged.
    pub dual_ack: u64,
    /// Reads that saw less than had been acknowledged before they began.
    pub stale_reads: u64,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.lost + self.dual_ack + self.stale_reads == 0
    }
}

/// Judges all counters; `last` holds the value of each in the end, by number.
pub fn judge(history: &[Operation], last: &[u64]) -> Verdict {
    let mut counters: HashMap<u32, Vec<Operation>> = HashMap::new();
    for operation in history {
        counters.entry(operation.counter).or_default().push(*operation);
    }
    let mut verdict = Verdict { operations: history.len() as u64, ..Verdict::default() };
    for (counter, operations) in &counters {
        let last = last.get(*counter as usize).copied().unwrap_or(0);
        let (increments, reads): (Vec<Operation>, Vec<_>) =
            operations.iter().partition(|operation| operation.kind == Kind::Increment);
        let mut values: Vec<_> = increments.iter().map(|increment| increment.value).collect();
        values.sort_unstable();
        values.dedup();
        verdict.dual_ack += (increments.len() - values.len()) as u64;
        verdict.lost += values.iter().filter(|value| **value > last).count() as u64;
        let told = Told::new(&increments);
        let forgets = |one: &&Operation| one.value <= told.before(one.begun);
        verdict.lost += increments.iter().filter(forgets).count() as u64;
        let is_stale = |one: &&Operation| one.value < told.before(one.begun);
        verdict.stale_reads += reads.iter().filter(is_stale).count() as u64;
    }
    verdict
}

/// The greatest number that had been told by each instant.
struct Told(Vec<(Duration, u64)>);

impl Told {
    fn new(increments: &[Operation]) -> Self {
        let mut told: Vec<_> = increments.iter().map(|one| (one.ended, one.value)).collect();
        told.sort_unstable();
        let mut greatest = 0;
        for (_, value) in &mut told {
            greatest = greatest.max(*value);
            *value = greatest;
        }
        Self(told)
    }

    fn before(&self, instant: Duration) -> u64 {
        let count = self.0.partition_point(|(ended, _)| *ended < instant);
        count.checked_sub(1).map_or(0, |index| self.0[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations as `+value begun-ended` and `?value begun-ended`, by blanks.
    fn check(history: &str, last: u64, lost: u64, dual_ack: u64, stale_reads: u64) {
        let words: Vec<_> = history.split_whitespace().collect();
        let operations: Vec<_> = words
            .chunks_exact(2)
            .map(|pair| {
                let (kind, value) = pair[0].split_at(1);
                let (begun, ended) = pair[1].split_once('-').unwrap();
                let kind = if kind == "+" { Kind::Increment } else { Kind::Read };
                let at = |text: &str| Duration::from_millis(text.parse().unwrap());
                let (begun, ended) = (at(begun), at(ended));
                Operation { kind, counter: 0, begun, ended, value: value.parse().unwrap() }
            })
            .collect();
        let found = judge(&operations, &[last]);
        let operations = operations.len() as u64;
        assert_eq!(found, Verdict { operations, lost, dual_ack, stale_reads }, "{history}");
    }

    #[test]
    fn a_counter_that_keeps_its_word_is_clean() {
        check("", 0, 0, 0, 0);
        check("+1 0-1 ?1 2-3 +2 4-5 ?2 6-7", 2, 0, 0, 0);
        // Overlapping operations may have run in any order.
        check("+2 0-9 +1 1-8 ?0 0-9 ?2 3-4", 2, 0, 0, 0);
        // Somebody's increment whose answer was lost.
        check("+1 0-1 +3 4-5 ?2 2-3", 3, 0, 0, 0);
    }

    #[test]
    fn every_breach_is_seen() {
        check("+1 0-1 +2 2-3", 1, 1, 0, 0);
        check("+5 0-1 +4 2-3", 5, 1, 0, 0);
        check("+1 0-5 +1 1-6", 1, 0, 1, 0);
        // An old primary that goes on after the new one has answered.
        check("+1 0-1 +1 2-3", 1, 1, 1, 0);
        check("+1 0-1 +2 2-3 ?1 4-5", 2, 0, 0, 1);
        check("+1 0-1 ?0 2-3", 1, 0, 0, 1);
    }
}
