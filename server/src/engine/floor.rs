//! The floor under the clock that keys expire by.
//!
//! A key whose time had come on the old primary was answered as absent, often without being removed:
//! in a switch's pause nothing enters the stream. The clock of the machine that takes over may be
//! behind, and by it the key would be there again, with time left. So the handover's record tells
//! what the giver's clock showed as it fell silent, and whoever takes that record into its log, by
//! the stream, by `TAKEOVER` or from its files, never goes by an earlier time. Full resyncs, snapshots
//! and rewritten files stand in the place of the log, so they carry what the log told.
//!
//! **It is believed for a day.** Beyond the own machine's clock a floor counts for so much and no more.
//! Clocks of a cluster that differ by more are not kept at all, and nobody here can tell which of them
//! is wrong. Believed whole, one machine whose clock was a year ahead would leave its time to all
//! that ever follow, whatever is done about its clock: absolute times would be past for years. So
//! what exceeds a day is dropped, with a line in the log: what had expired by it may be there again,
//! and times to live that were given by such a clock are as much too long.

use crate::handover::Record;

use super::{Engine, Now, hooks};

/// While the machine's clock is behind the floor, a second lasts so much less of one on it: times
/// to live stay nearly true, and the machine's clock catches up.
const SLOWER_BY: u64 = 10;
/// How far beyond the own machine's clock a floor is believed. It covers a clock that is set to local
/// time.
const AHEAD_MAX_US: i64 = 86_400_000_000;

/// Begins the record of a base of commands that tells the floor, in milliseconds.
pub const RECORD: &[u8] = b"redisha:clock:";

/// The greatest clock that anything in the log told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Floor {
    /// What it was, and when it was learnt here.
    told: Option<Now>,
    /// What the machine's own clock showed last.
    machine_us: i64,
}

impl Floor {
    /// The time to go by when the machine's clocks show `now`.
    pub fn under(&mut self, now: Now) -> Now {
        self.machine_us = now.unix_us;
        let Some(least_us) = self.least_us(now.mono_us) else { return now };
        let most_us = now.unix_us.saturating_add(AHEAD_MAX_US);
        if least_us > most_us {
            // The own clock was as wrong, and was mended.
            self.told = Some(Now { unix_us: most_us, ..now });
        }
        Now { unix_us: now.unix_us.max(least_us.min(most_us)), ..now }
    }

    /// No time that is gone by is earlier, in microseconds; none if nobody told of any.
    fn least_us(self, mono_us: u64) -> Option<i64> {
        let told = self.told?;
        let passed_us = mono_us.saturating_sub(told.mono_us);
        let slow_us = passed_us - passed_us.div_ceil(SLOWER_BY);
        Some(told.unix_us.saturating_add_unsigned(slow_us))
    }

    /// Learns at `now` of a clock that showed this; what of it is believed.
    pub fn learn(&mut self, unix_us: i64, now: Now) -> i64 {
        let believed_us = unix_us.min(self.machine_us.saturating_add(AHEAD_MAX_US));
        if self.least_us(now.mono_us).is_none_or(|least_us| least_us < believed_us) {
            self.told = Some(Now { unix_us: believed_us, ..now });
        }
        believed_us
    }
}

impl Engine {
    /// A record is part of the own log now. The keyspace's clock follows with the next turn, or when
    /// the stream that brought it has been applied.
    pub(super) fn raise_clock(&mut self, record: &Record) {
        if let Record::Handover(handover) = record {
            self.raise_floor(handover.clock_ms);
        }
    }

    /// A record of a base of commands; false when it tells of no clock.
    pub(super) fn floor_applied(&mut self, argument: &[u8]) -> bool {
        let Some(text) = argument.strip_prefix(RECORD) else { return false };
        self.floor_loaded(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()));
        true
    }

    /// What a snapshot says of the floor. Data of a cluster bind its members alone.
    pub(super) fn floor_loaded(&mut self, clock_ms: Option<i64>) {
        if let Some(clock_ms) = clock_ms.filter(|_| !self.config.cluster_uid.is_empty()) {
            self.raise_floor(clock_ms);
        }
    }

    /// What a snapshot carries of it, in milliseconds.
    pub(super) fn floor_aux(&self) -> Option<i64> {
        Some(self.floor.least_us(self.now.mono_us)? / 1000)
    }

    fn raise_floor(&mut self, clock_ms: i64) {
        // A record of a version that did not tell.
        if clock_ms <= 0 {
            return;
        }
        let told_us = clock_ms.saturating_mul(1000);
        let believed_us = self.floor.learn(told_us, self.now);
        self.now.unix_us = self.now.unix_us.max(believed_us);
        if believed_us < told_us {
            let days = told_us.saturating_sub(self.floor.machine_us) / AHEAD_MAX_US;
            let text = format!(
                "a former primary's clock was more than {days} days ahead of this machine's; one day of \
                 that is believed: look at the clocks of both"
            );
            hooks::warn(self, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AHEAD_MAX_US, Floor, Now};

    #[test]
    fn time_goes_on_from_the_floor_and_the_machines_clock_catches_up() {
        let mut floor = Floor::default();
        assert_eq!(floor.under(Now { mono_us: 900, unix_us: 9_000 }).unix_us, 9_000);
        assert_eq!(floor.learn(50_000, Now { mono_us: 1_000, unix_us: 9_000 }), 50_000);
        let mut at = |mono_us, unix_us| floor.under(Now { mono_us, unix_us }).unix_us;
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

    /// What was told is kept though the own clock is past it: others' may not be.
    #[test]
    fn the_greatest_clock_that_was_told_is_what_snapshots_carry() {
        let mut floor = Floor::default();
        let now = floor.under(Now { mono_us: 1_000, unix_us: 90_000 });
        assert_eq!(floor.least_us(1_000), None, "nobody told of any");
        floor.learn(50_000, now);
        assert_eq!(floor.under(now).unix_us, 90_000);
        assert_eq!(floor.least_us(1_000), Some(50_000));
        floor.learn(40_000, now);
        assert_eq!(floor.least_us(11_000), Some(59_000));
    }

    /// One machine whose clock was a year ahead left its time to all that followed, for ten years; and
    /// carried with their data it would have outlived every one of them.
    #[test]
    fn of_a_clock_that_is_far_ahead_a_day_is_believed() {
        let year_us = 365 * AHEAD_MAX_US;
        let mut floor = Floor::default();
        let now = floor.under(Now { mono_us: 0, unix_us: year_us });
        for (told_us, believed_us) in [
            (2 * year_us, year_us + AHEAD_MAX_US),
            (i64::MAX, year_us + AHEAD_MAX_US),
            (year_us + 5, year_us + 5),
        ] {
            assert_eq!(floor.learn(told_us, now), believed_us);
        }
        // Whoever learns it from this one's data, and so on, stays within a day of the own clock.
        let carried_us = floor.least_us(0).expect("it was told");
        assert_eq!(carried_us, year_us + AHEAD_MAX_US);
        let later = Now { mono_us: 10 * AHEAD_MAX_US as u64, unix_us: year_us + 10 * AHEAD_MAX_US };
        assert_eq!(floor.under(later), later, "ten days later it is over");
        // The giver's own clock is mended while it follows.
        floor.under(Now { unix_us: 2 * year_us, ..later });
        floor.learn(2 * year_us, later);
        assert_eq!(floor.under(later).unix_us, later.unix_us + AHEAD_MAX_US);
        let after =
            |us: i64| Now { mono_us: later.mono_us + us as u64, unix_us: later.unix_us + us };
        assert_eq!(floor.under(after(10 * AHEAD_MAX_US)), after(10 * AHEAD_MAX_US));
    }
}
