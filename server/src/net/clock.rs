//! The clocks, read once per wake-up.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::Now;

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
        self.start.elapsed().as_micros() as u64
    }

    pub fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_us: self.mono_us(), unix_us: unix.as_micros() as i64 }
    }
}
