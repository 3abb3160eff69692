//! A client that INCRs one key all the while, on one plain connection, and keeps its account.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A writer at work. The first error or wrong value ends it with a panic in [`Writer::stop`].
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<i64>,
}

impl Writer {
    /// Writes to this key, which must not exist yet.
    pub fn start(mut connection: redis::Connection, key: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut acknowledged = 0;
            while !told.load(Ordering::Relaxed) {
                let value: i64 = redis::cmd("INCR").arg(key).query(&mut connection).unwrap();
                assert_eq!(value, acknowledged + 1, "a write was lost or done twice");
                acknowledged = value;
            }
            acknowledged
        });
        Self { stop, thread }
    }

    /// Stops after the present command; the last acknowledged value. Panics if any command failed.
    pub fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer saw an error")
    }
}
