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

    pub fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_us: self.start.elapsed().as_micros() as u64, unix_us: unix.as_micros() as i64 }
    }
}
