//! What one client was told, and whether the database kept it; pure.
//!
//! A client owns two keys. It INCRs one, and APPENDs a numbered entry to the other, so that a lost
//! write, a repeated one and one out of order can all be told apart at the end.

use std::collections::HashMap;

/// Bytes of one entry of the log: eight digits and a separator.
const ENTRY: usize = 9;

/// What was wrong with the database's word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Acknowledged writes that are not there.
    pub lost: u64,
    /// Writes that are there more often than they can have been sent.
    pub duplicated: u64,
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
    }
}

/// The account of one client.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Acknowledged INCRs, and those that were sent and have no answer.
    counted: u64,
    uncounted: u64,
    /// The number of the next entry, and by number whether an entry was acknowledged.
    next: u64,
    acknowledged: Vec<bool>,
    /// Answers that contradict the account as they came in.
    pub faults: Faults,
}

impl Ledger {
    /// The entry to append next; it is on the account from now on.
    pub fn entry(&mut self) -> (u64, String) {
        let number = self.next;
        self.next += 1;
        self.acknowledged.push(false);
        (number, format!("{number:08};"))
    }

    /// INCR answered this.
    pub fn counted(&mut self, value: u64) {
        let least = self.counted + 1;
        if value < least {
            self.faults.lost += least - value;
        } else if value > least + self.uncounted {
            self.faults.duplicated += value - least - self.uncounted;
        } else {
            // An earlier INCR without an answer turns out to have run.
            self.uncounted -= value - least;
        }
        self.counted = value;
    }

    /// INCR was sent and has no answer.
    pub fn uncounted(&mut self) {
        self.uncounted += 1;
    }

    /// APPEND of this entry was answered.
    pub fn appended(&mut self, number: u64) {
        self.acknowledged[number as usize] = true;
    }

    /// Acknowledged replies so far, of both kinds.
    pub fn replies(&self) -> u64 {
        self.counted + self.acknowledged.iter().filter(|yes| **yes).count() as u64
    }

    /// Compares the account with what is stored at the end.
    pub fn settle(&self, counter: u64, log: &str) -> Faults {
        let mut faults = self.faults;
        faults.lost += self.counted.saturating_sub(counter);
        faults.duplicated += counter.saturating_sub(self.counted + self.uncounted);
        let mut times: HashMap<u64, u64> = HashMap::new();
        let mut last = None;
        let whole = log.len() - log.len() % ENTRY;
        for start in (0..whole).step_by(ENTRY) {
            let number = log.get(start..start + ENTRY - 1).and_then(|text| text.parse().ok());
            let Some(number) = number else { break };
            *times.entry(number).or_default() += 1;
            // One client sends in order, so an acknowledged entry behind a later one was written
            // twice. What was given up may still run after what a new connection sent.
            if self.acknowledged.get(number as usize) == Some(&true) {
                faults.duplicated += u64::from(last.is_some_and(|last| number < last));
                last = Some(number);
            }
        }
        for (number, acknowledged) in self.acknowledged.iter().enumerate() {
            let times = times.get(&(number as u64)).copied().unwrap_or_default();
            faults.lost += u64::from(*acknowledged && times == 0);
            faults.duplicated += times.saturating_sub(1);
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Ledger {
        let mut ledger = Ledger::default();
        for value in 1..=3 {
            ledger.counted(value);
            let (number, _) = ledger.entry();
            ledger.appended(number);
        }
        ledger
    }

    const LOG: &str = "00000000;00000001;00000002;";

    #[test]
    fn an_account_that_was_kept_has_no_faults() {
        let ledger = three();
        assert_eq!(ledger.settle(3, LOG), Faults::default());
        assert_eq!(ledger.replies(), 6);
    }

    #[test]
    fn a_lost_write_is_seen_in_either_key() {
        assert_eq!(three().settle(2, LOG), Faults { lost: 1, duplicated: 0 });
        assert_eq!(three().settle(3, "00000000;00000002;"), Faults { lost: 1, duplicated: 0 });
        assert_eq!(three().settle(0, ""), Faults { lost: 6, duplicated: 0 });
    }

    #[test]
    fn a_repeated_write_is_seen_in_either_key() {
        assert_eq!(three().settle(4, LOG), Faults { lost: 0, duplicated: 1 });
        let twice = "00000000;00000001;00000001;00000002;";
        assert_eq!(three().settle(3, twice), Faults { lost: 0, duplicated: 1 });
        assert!(three().settle(3, "00000001;00000000;00000002;").duplicated > 0);
    }

    /// A client gave up on an entry after its timeout, reconnected and went on; the entry ran
    /// behind the next one and counted as written twice.
    #[test]
    fn an_entry_that_was_given_up_may_run_late() {
        let mut ledger = three();
        let _ = ledger.entry();
        let (number, _) = ledger.entry();
        ledger.appended(number);
        let late = format!("{LOG}00000004;00000003;");
        assert_eq!(ledger.settle(3, &late), Faults::default());
    }

    #[test]
    fn a_value_that_goes_back_is_a_lost_write_though_later_ones_cover_it() {
        let mut ledger = three();
        ledger.counted(3);
        assert_eq!(ledger.faults, Faults { lost: 1, duplicated: 0 });
    }

    #[test]
    fn a_write_without_an_answer_may_be_there_or_not_but_once() {
        for counter in [3, 4] {
            let mut ledger = three();
            ledger.uncounted();
            let _ = ledger.entry();
            assert_eq!(ledger.settle(counter, LOG), Faults::default());
        }
        let mut ledger = three();
        ledger.uncounted();
        ledger.counted(5);
        assert_eq!(ledger.faults, Faults::default());
        assert_eq!(ledger.settle(6, LOG), Faults { lost: 0, duplicated: 1 });
    }
}
