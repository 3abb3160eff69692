//! The clocks, read once per wake-up.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::Now;

/// How far a test has let the monotonic clock jump, in microseconds: one for all copies of it.
static AHEAD_US: AtomicU64 = AtomicU64::new(0);

/// How far a test has moved the wall clock of this process, in milliseconds.
static WALL_MS: AtomicI64 = AtomicI64::new(0);

/// Moves the wall clock so far from the machine's.
pub fn set_wall_offset(ms: i64) {
    WALL_MS.store(ms, Ordering::Relaxed);
}

/// Lets the monotonic clock jump forward.
pub fn advance(by: Duration) {
    AHEAD_US.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
}

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Microseconds on the monotonic clock since the process started.
    pub fn mono_us(self) -> u64 {
        self.start.elapsed().as_micros() as u64 + AHEAD_US.load(Ordering::Relaxed)
    }

    pub fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let moved_us = WALL_MS.load(Ordering::Relaxed).saturating_mul(1000);
        let unix_us = (unix.as_micros() as i64).saturating_add(moved_us);
        Now { mono_us: self.mono_us(), unix_us }
    }
}
