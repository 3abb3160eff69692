//! Judges what a client was told against what the server holds in the end.
//!
//! Pure: the ledger's text (see `tests/clients/README.md`) and the final values in, a verdict out.
//! Each client is the only writer of its counter and of its log, so every operation can be
//! accounted for. An operation that the library gave up on may or may not have run.

use std::collections::HashMap;

/// What became of one client's operations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Operations answered.
    pub replies: u64,
    /// Operations that the library gave up on, with its words.
    pub errors: Vec<String>,
    /// Acknowledged operations that are not in the final values.
    pub lost: u64,
    /// Operations that count more than once in the final values.
    pub duplicated: u64,
    /// The client's own longest time between two answers, in milliseconds; `None` when it did not
    /// end by itself.
    pub gap_ms: Option<f64>,
}

/// Compares a ledger with the final value of its counter and of its log.
pub fn judge(ledger: &str, counter: u64, log: &str) -> Verdict {
    let mut verdict = Verdict::default();
    let (mut increments, mut unknown, mut highest) = (0, 0, 0);
    let mut appended = Vec::new();
    for line in ledger.lines() {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("incr"), Some(value), _) => {
                let value: u64 = value.parse().unwrap_or(0);
                // A counter that goes back has forgotten what it acknowledged.
                verdict.lost += u64::from(value <= highest);
                highest = highest.max(value);
                increments += 1;
            }
            (Some("append"), Some(turn), _) => appended.push(turn.to_owned()),
            (Some("error"), Some(operation), text) => {
                unknown += u64::from(operation == "incr");
                verdict.errors.push(format!("{operation} {}", text.unwrap_or_default()));
            }
            (Some("end"), Some(gap), _) => verdict.gap_ms = gap.parse().ok(),
            _ => verdict.errors.push(format!("unreadable ledger line: {line}")),
        }
    }
    verdict.replies = increments + appended.len() as u64;
    verdict.lost += increments.saturating_sub(counter);
    verdict.duplicated += counter.saturating_sub(increments + unknown);

    let mut held: HashMap<&str, u64> = HashMap::new();
    for turn in log.split_terminator(',') {
        *held.entry(turn).or_default() += 1;
    }
    verdict.lost += appended.iter().filter(|turn| !held.contains_key(turn.as_str())).count() as u64;
    verdict.duplicated += held.values().map(|count| count - 1).sum::<u64>();
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ledger: &str, counter: u64, log: &str, lost: u64, duplicated: u64, errors: usize) {
        let verdict = judge(ledger, counter, log);
        assert_eq!(
            (verdict.lost, verdict.duplicated, verdict.errors.len()),
            (lost, duplicated, errors),
            "{ledger}"
        );
    }

    #[test]
    fn every_kind_of_breach_is_seen() {
        let ledger = "incr 1\nappend 1 2\nincr 2\nappend 2 4\nend 1.5\n";
        check(ledger, 2, "1,2,", 0, 0, 0);
        check(ledger, 1, "1,2,", 1, 0, 0);
        check(ledger, 3, "1,2,", 0, 1, 0);
        check(ledger, 2, "2,", 1, 0, 0);
        check(ledger, 2, "1,2,2,", 0, 1, 0);
        check("incr 1\nincr 2\nincr 2\n", 2, "", 2, 0, 0);
        check("incr 1\nnonsense\n", 1, "", 0, 0, 1);
        assert_eq!(judge(ledger, 2, "1,2,").gap_ms, Some(1.5));
        assert_eq!(judge(ledger, 2, "1,2,").replies, 4);
    }

    #[test]
    fn an_operation_given_up_may_or_may_not_have_run() {
        let ledger = "incr 1\nerror incr timed out\nerror append timed out\n";
        check(ledger, 1, "", 0, 0, 2);
        check(ledger, 2, "1,", 0, 0, 2);
        check(ledger, 3, "1,1,", 0, 2, 2);
    }
}
