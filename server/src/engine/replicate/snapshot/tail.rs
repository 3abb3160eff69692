//! The last part of the stream before a snapshot's point, which a saved file holds behind its data: a
//! restarted node goes on with replicas that were behind when the file was made.

use crate::replication::Replication;

use super::parts::SharedWriter;

/// What is still to be written of it.
#[derive(Debug, Default)]
pub struct Tail {
    next: u64,
    end: u64,
}

impl Tail {
    /// All that there is before the present point.
    pub fn of(state: &Replication) -> Self {
        Self { next: 0, end: if state.is_active() { state.offset() } else { 0 } }
    }

    /// Writes about so many bytes more; false if there are no more. What the backlog has lost its
    /// interest in since the point is not written: either it stands in the files that follow this
    /// one, or this one is older than what any replica would go on from.
    pub fn step(&mut self, state: &Replication, bytes: usize, writer: &SharedWriter) -> bool {
        let log = state.backlog();
        self.next = self.next.max(log.start()).max(log.end().saturating_sub(state.backlog_size));
        let left = usize::try_from(self.end.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let part = log.slice(self.next).unwrap_or_default();
        let part = &part[..part.len().min(left).min(bytes)];
        writer.lock().tail(self.next, part);
        self.next += part.len() as u64;
        !part.is_empty()
    }
}
