//! What the engine asks of the rooms with I/O, what they report back, and its timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::client::ClientId;

/// A wish that `net` performs after the current wake-up's commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Open a TCP connection for a link made with `Engine::open_link`. Its owner gets
    /// `Connected`, or `Failed`. Names are resolved outside the executing thread.
    Connect { link: ClientId, host: String, port: u16 },
    /// Write what is in the output, then end our side (FIN) and read until the peer's end.
    ShutdownWrite(ClientId),
    /// Stop accepting on all listeners; established connections stay.
    CloseListeners,
    /// Let the monotonic clock jump forward by so many milliseconds, as a test asked.
    AdvanceClock(u64),
    /// Let the wall clock be so many milliseconds off the machine's, as a test asked.
    SetWallOffset(i64),
    /// Leave the event loop with this exit code, after the outputs were written once.
    Exit(i32),
}

/// The room that owns an outgoing connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOwner {
    /// The connection of a replica to its primary.
    Replication,
    /// The connection that carries relayed commands of one client to the new primary.
    Relay,
    /// The connection that carries TAKEOVER to the target.
    Handover,
    /// A connection by which keys are moved to another server.
    Transfer,
    /// The replication link to the server that the data are taken over from.
    Migration,
    /// The connection by which that server is asked and told.
    MigrationControl,
}

/// What happened on a link. The bytes are consumed by the owner, which keeps what is partial.
#[derive(Debug)]
pub enum LinkEvent<'a> {
    Connected,
    Data(&'a [u8]),
    /// The peer ended the connection, or it broke. The link is gone after this.
    Closed,
    /// It could not be opened, or TLS ended it. The link is gone after this.
    Failed(String),
}

/// What is due when a timer fires. A timer is never cancelled: the room that gets it looks
/// whether it still matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A blocked command's time is up.
    Blocked(ClientId),
    /// A pause may have ended.
    Pause,
    /// For the replication room; the number is its own.
    Replication(u64),
    /// Replicas are to hear from this node.
    Ping,
    /// For the handover room; the number is its own.
    Handover(u64),
    /// For the relay room; the number is its own.
    Relay(u64),
    /// A command that moves keys by this link may have taken too long.
    Transfer(ClientId),
}

/// Deadlines on the monotonic clock, in milliseconds.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, Timer)>>,
}

impl Timers {
    pub fn at(&mut self, deadline_ms: u64, timer: Timer) {
        self.heap.push(Reverse((deadline_ms, timer)));
    }

    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((deadline_ms, _))| *deadline_ms)
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Drops the timers for which `keep` says that nobody waits for them any more.
    pub fn retain(&mut self, mut keep: impl FnMut(u64, Timer) -> bool) {
        self.heap.retain(|Reverse((deadline_ms, timer))| keep(*deadline_ms, *timer));
    }

    /// The next timer that is due.
    pub fn due(&mut self, now_ms: u64) -> Option<Timer> {
        if self.next()? > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }
}
