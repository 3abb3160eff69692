//! What a snapshot has written and not handed over yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::persistence::aof::CommandWriter;
use crate::persistence::rdb::{Draft, Writer};
use crate::store::{SnapshotSink, ValueRef};

/// Bytes after which a part is full. The writers have room for as many, and a usual entry more.
const PART_BYTES: usize = 48 * 1024;

/// The form of a snapshot.
pub enum Encoder {
    Rdb(Writer),
    Commands(CommandWriter),
}

impl Encoder {
    fn finish(&mut self) {
        if let Self::Rdb(writer) = self {
            writer.finish();
        }
    }

    fn pending(&self) -> usize {
        match self {
            Self::Rdb(writer) => writer.pending(),
            Self::Commands(writer) => writer.pending(),
        }
    }

    fn take(&mut self) -> Draft {
        match self {
            Self::Rdb(writer) => writer.take(),
            Self::Commands(writer) => writer.take().into(),
        }
    }
}

/// What was written and not handed over yet. In parts: while a target has no room it grows by every
/// old value, and one buffer would be copied whole, between two commands, each time it is full.
pub struct Parts {
    encoder: Encoder,
    full: Vec<Draft>,
    full_bytes: usize,
    /// How many entries there will be, and how many there were.
    total: usize,
    written: usize,
}

impl Parts {
    fn entry(&mut self, db: u32, key: &[u8], value: ValueRef<'_>, expiry_ms: Option<i64>) -> usize {
        let before = self.encoder.pending();
        self.written += 1;
        match &mut self.encoder {
            Encoder::Rdb(writer) => writer.entry(db, key, value, expiry_ms),
            Encoder::Commands(writer) => writer.entry(db, key, value, expiry_ms),
        }
        self.close_part() - before
    }

    /// A part of the stream that ended before the point of the snapshot. Commands have no place for it.
    pub fn tail(&mut self, at: u64, bytes: &[u8]) {
        if let Encoder::Rdb(writer) = &mut self.encoder
            && !bytes.is_empty()
        {
            writer.tail(at, bytes);
            self.close_part();
        }
    }

    /// Ends a part that is full; answers its size.
    fn close_part(&mut self) -> usize {
        let bytes = self.encoder.pending();
        if bytes >= PART_BYTES {
            self.full.push(self.encoder.take());
            self.full_bytes += bytes;
        }
        bytes
    }

    pub fn finish(&mut self) {
        self.encoder.finish();
    }

    /// How many entries the snapshot has, and how many of them are written.
    pub fn keys(&self) -> (usize, usize) {
        (self.total, self.written)
    }

    /// Bytes that wait.
    pub fn pending(&self) -> usize {
        self.full_bytes + self.encoder.pending()
    }

    pub fn take(&mut self) -> Vec<Draft> {
        let mut parts = std::mem::take(&mut self.full);
        self.full_bytes = 0;
        if self.encoder.pending() > 0 {
            parts.push(self.encoder.take());
        }
        parts
    }
}

/// The writer as the keyspace's walk and the engine share it.
#[derive(Clone)]
pub struct SharedWriter(Arc<Mutex<Parts>>);

impl SharedWriter {
    /// For a snapshot of so many entries.
    pub fn new(encoder: Encoder, total: usize) -> Self {
        let (full, full_bytes, written) = (Vec::new(), 0, 0);
        Self(Arc::new(Mutex::new(Parts { encoder, full, full_bytes, total, written })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotSink for SharedWriter {
    fn entry(&mut self, db: u32, key: &[u8], value: ValueRef<'_>, expiry_ms: Option<i64>) -> usize {
        self.lock().entry(db, key, value, expiry_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::{Draft, Encoder, PART_BYTES, SharedWriter, Writer};
    use crate::persistence::rdb::Aux;
    use crate::store::{SnapshotSink, StrRef, ValueRef};

    /// All that waited lay in one buffer: each time that it was full, a command waited until tens of
    /// megabytes had been copied to a larger one.
    #[test]
    fn what_waits_for_a_target_waits_in_parts() {
        let value = [b'x'; 1000];
        let mut writer = SharedWriter::new(Encoder::Rdb(Writer::new(&Aux::default())), 1000);
        let head = writer.lock().pending();
        let entries = (0..1000).map(|n: u32| {
            let value = ValueRef::Str(StrRef::Bytes(&value));
            writer.entry(0, &n.to_le_bytes(), value, None)
        });
        let written = head + entries.sum::<usize>();
        assert_eq!(writer.lock().pending(), written);
        let parts = writer.lock().take();
        let lens: Vec<usize> = parts.iter().map(Draft::len).collect();
        assert_eq!(lens.iter().sum::<usize>(), written);
        assert!(lens.len() > 15 && lens.iter().all(|len| *len < PART_BYTES + 2000), "{lens:?}");
        assert_eq!(writer.lock().pending(), 0);
        assert_eq!(writer.lock().keys(), (1000, 1000));
    }
}
