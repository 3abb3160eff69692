//! When and how often entries are used, in the 24 bits that each slot keeps for it.
//!
//! Under an LRU policy (and without one) they are the second of the last use, modulo 2^24. Under
//! an LFU policy the upper 16 are the minute at which the count last decayed and the lower 8 a
//! count that grows with the logarithm of the number of uses.

use super::random::Random;

const MASK: u32 = (1 << 24) - 1;
/// The count of a new entry, so that it is not evicted before it could be used.
const FREQUENCY_NEW: u8 = 5;

/// How uses are counted, as the directives say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// An LFU policy is selected.
    pub lfu: bool,
    /// `lfu-log-factor`.
    pub log_factor: u32,
    /// `lfu-decay-time`, minutes.
    pub decay_minutes: u32,
}

impl Default for AccessRules {
    fn default() -> Self {
        Self { lfu: false, log_factor: 10, decay_minutes: 1 }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Access {
    pub rules: AccessRules,
    /// Uses leave no trace: a client said CLIENT NO-TOUCH.
    pub quiet: bool,
    seconds: u32,
    minutes: u16,
    random: Random,
}

impl Access {
    pub fn set_now(&mut self, seconds: u32, minutes: u16) {
        self.seconds = seconds & MASK;
        self.minutes = minutes;
    }

    /// The bits of a new entry.
    pub fn fresh(&self) -> u32 {
        if self.rules.lfu { self.with_frequency(FREQUENCY_NEW) } else { self.seconds }
    }

    /// The bits after a use.
    #[inline]
    pub fn touched(&mut self, bits: u32) -> u32 {
        if self.quiet {
            bits
        } else if self.rules.lfu {
            self.counted(bits)
        } else {
            self.seconds
        }
    }

    fn counted(&mut self, bits: u32) -> u32 {
        let frequency = self.frequency(bits);
        let above = f64::from(frequency.saturating_sub(FREQUENCY_NEW));
        let chance = 1.0 / (above * f64::from(self.rules.log_factor) + 1.0);
        let drawn = (self.random.draw() >> 11) as f64 / (1u64 << 53) as f64;
        self.with_frequency(frequency.saturating_add(u8::from(drawn < chance)))
    }

    /// The bits of an entry that was used this often.
    pub fn with_frequency(&self, frequency: u8) -> u32 {
        u32::from(self.minutes) << 8 | u32::from(frequency)
    }

    /// The bits of an entry that was not used for this many seconds.
    pub fn with_idle(&self, seconds: u32) -> u32 {
        self.seconds.wrapping_sub(seconds) & MASK
    }

    /// The count as it has decayed until now.
    pub fn frequency(&self, bits: u32) -> u8 {
        let passed = u32::from(self.minutes.wrapping_sub((bits >> 8) as u16));
        let periods = passed.checked_div(self.rules.decay_minutes).unwrap_or(0);
        (bits as u8).saturating_sub(periods.min(255) as u8)
    }

    pub fn idle_s(&self, bits: u32) -> u32 {
        self.seconds.wrapping_sub(bits) & MASK
    }

    /// How ready an entry is to be evicted; more is more.
    pub fn idleness(&self, bits: u32) -> u32 {
        if self.rules.lfu { u32::from(255 - self.frequency(bits)) } else { self.idle_s(bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_counts_from_the_last_use_and_around_the_end_of_its_bits() {
        let mut access = Access::default();
        access.set_now(MASK - 1, 0);
        let bits = access.touched(0);
        access.set_now(MASK + 3, 0);
        assert_eq!(access.idle_s(bits), 4);
        access.quiet = true;
        assert_eq!(access.touched(bits), bits);
        assert_eq!(access.idle_s(access.with_idle(99)), 99);
    }

    #[test]
    fn counts_grow_slower_the_larger_they_are_and_decay_by_the_minute() {
        let mut access = Access { rules: AccessRules::default(), ..Access::default() };
        access.rules.lfu = true;
        access.random = Random::new(7);
        let mut bits = access.fresh();
        assert_eq!(access.frequency(bits), FREQUENCY_NEW);
        for _ in 0..100_000 {
            bits = access.touched(bits);
        }
        let count = access.frequency(bits);
        assert!((120..=190).contains(&count), "a hundred thousand uses counted {count}");
        access.set_now(0, 10);
        assert_eq!(access.frequency(bits), count - 10);
        access.set_now(0, 400);
        assert_eq!(access.frequency(bits), 0);
        access.rules.decay_minutes = 0;
        assert_eq!(access.frequency(bits), count, "0 never decays");
    }
}
