//! A client that INCRs one key all the while, on one plain connection, and keeps its account.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a writer was told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Account {
    /// The last acknowledged value.
    pub value: i64,
    /// The longest wait for an answer.
    pub longest: Duration,
}

/// A writer at work. The first error or wrong value ends it with a panic in [`Writer::stop`].
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Account>,
}

impl Writer {
    /// Writes to this key, which must not exist yet.
    pub fn start(mut connection: redis::Connection, key: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut account = Account::default();
            while !told.load(Ordering::Relaxed) {
                let sent = Instant::now();
                let value: i64 = redis::cmd("INCR").arg(key).query(&mut connection).unwrap();
                account.longest = account.longest.max(sent.elapsed());
                assert_eq!(value, account.value + 1, "a write was lost or done twice");
                account.value = value;
            }
            account
        });
        Self { stop, thread }
    }

    /// Stops after the present command; panics if any command failed.
    pub fn stop(self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer saw an error")
    }
}
