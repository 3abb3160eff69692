//! The floor under the clock that keys expire by.
//!
//! A key whose time had come on the old primary was answered as absent, often without being removed:
//! in a switch's pause nothing enters the stream. The clock of the machine that takes over may be
//! behind, and by it the key would be there again, with time left. So the handover's record tells
//! what the giver's clock showed as it fell silent, and whoever takes that record into its log, by
//! the stream, by `TAKEOVER` or from its files, never goes by an earlier time.

use crate::handover::Record;

use super::{Engine, Now};

/// While the machine's clock is behind the floor, a second lasts so much less of one on it: times
/// to live stay nearly true, and the machine's clock catches up.
const SLOWER_BY: u64 = 10;

/// The greatest clock that any handover in the log told, and when it was learnt here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor(Now);

impl Floor {
    /// The time to go by when the machine's clocks show `now`.
    pub fn under(self, now: Now) -> Now {
        let passed_us = now.mono_us.saturating_sub(self.0.mono_us);
        let slow_us = passed_us - passed_us.div_ceil(SLOWER_BY);
        let least_us = self.0.unix_us.saturating_add_unsigned(slow_us);
        Now { unix_us: now.unix_us.max(least_us), ..now }
    }
}

impl Engine {
    /// A record is part of the own log now. The keyspace's clock follows with the next turn, or when
    /// the stream that brought it has been applied.
    pub(super) fn raise_clock(&mut self, record: &Record) {
        let Record::Handover(handover) = record else { return };
        let unix_us = handover.clock_ms.saturating_mul(1000);
        if unix_us > self.now.unix_us {
            self.now.unix_us = unix_us;
            self.floor = Floor(self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Floor, Now};

    #[test]
    fn time_goes_on_from_the_floor_and_the_machines_clock_catches_up() {
        let floor = Floor(Now { mono_us: 1_000, unix_us: 50_000 });
        let at = |mono_us, unix_us| floor.under(Now { mono_us, unix_us }).unix_us;
        assert_eq!(at(1_000, 10_000), 50_000);
        assert_eq!(at(11_000, 20_000), 59_000, "nine tenths of what has passed");
        assert_eq!(at(401_000, 410_000), 410_000, "the machine's clock is level again");
        assert_eq!(at(401_001, 420_000), 420_000);
        let mut last = 0;
        for step in 0..1_000 {
            let next = at(1_000 + step * 3, 10_000 + step as i64);
            assert!(next >= last, "never back");
            last = next;
        }
    }
}
