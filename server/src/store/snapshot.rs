//! A consistent picture of the whole keyspace, taken while commands go on writing.
//!
//! A walker goes through the databases in hash order, a segment at a time. What it has passed may
//! change freely. A write to an entry that it has not reached hands the old state to the sink first
//! and marks the entry, so that the walker skips it; an entry that is new since the start is marked
//! at once. No process is forked, and no memory is copied but what is written meanwhile.

use super::value::ValueRef;
use std::sync::{Arc, Mutex, PoisonError};

/// Takes the entries of a snapshot, each exactly once, as they were when it began. They come in
/// hash order within a database, but an entry that is written to meanwhile comes before its turn,
/// so the databases may alternate.
pub trait SnapshotSink: Send {
    /// `expiry_ms` is the Unix time of the key's expiry in milliseconds. Answers how many bytes
    /// were written, as a measure of the time that it took.
    fn entry(&mut self, db: u32, key: &[u8], value: ValueRef<'_>, expiry_ms: Option<i64>) -> usize;
}

/// The sink as each database holds it while a snapshot runs.
#[derive(Clone)]
pub(super) struct SharedSink(Arc<Mutex<Option<Box<dyn SnapshotSink>>>>);

impl std::fmt::Debug for SharedSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSink")
    }
}

impl SharedSink {
    pub fn new(sink: Box<dyn SnapshotSink>) -> Self {
        Self(Arc::new(Mutex::new(Some(sink))))
    }

    pub fn entry(&self, db: u32, key: &[u8], value: ValueRef<'_>, expiry_ms: Option<i64>) {
        if let Some(sink) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            sink.entry(db, key, value, expiry_ms);
        }
    }

    /// Runs `f` on the sink, which is there until it was taken.
    pub fn with<R>(&self, f: impl FnOnce(Option<&mut Box<dyn SnapshotSink>>) -> R) -> R {
        f(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }

    pub fn take(&self) -> Option<Box<dyn SnapshotSink>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// One database's part in a running snapshot: positions below `cursor` are done.
#[derive(Debug)]
pub(super) struct Walk {
    pub cursor: u64,
    pub sink: SharedSink,
}
