//! Answers wait for commit: each connection's output is written only as far as members hold what it
//! depends on.
//!
//! Nothing else waits: the executor goes on, and so do other connections and the pipeline of this
//! one. All bytes that a turn appended to a connection get one mark, the stream's offset behind the
//! last change of data at that time; so answers, pushes, keyspace events and what served a blocked
//! command are held alike, in order. Where no config asks for it, nothing here runs.

use std::collections::{BTreeSet, VecDeque};

use crate::client::{Client, ClientId, Closing, Duty};
use crate::handover::{Outcome, Role};

use super::Engine;

/// What of a connection's output must wait. Positions are those of `Client::out`.
#[derive(Debug, Default)]
pub struct Marks {
    /// The end of some bytes, and the offset they depend on; both ascend.
    queue: VecDeque<(usize, u64)>,
    /// Bytes before this depend on nothing, or on what is committed.
    free: usize,
}

impl Marks {
    fn end(&self) -> usize {
        self.queue.back().map_or(self.free, |mark| mark.0)
    }

    /// The output ends at `end` now.
    pub fn shorten(&mut self, end: usize) {
        self.free = self.free.min(end);
        while self.queue.back().is_some_and(|mark| mark.0 > end) {
            self.queue.pop_back();
        }
    }

    /// The output was written and is empty.
    #[inline]
    pub fn clear(&mut self) {
        self.queue.clear();
        self.free = 0;
    }

    /// So many bytes were cut off the output's start; they were free.
    pub fn cut(&mut self, bytes: usize) {
        self.free = self.free.saturating_sub(bytes);
        for mark in &mut self.queue {
            mark.0 -= bytes;
        }
    }

    /// The next bytes up to `end` depend on `offset`.
    fn add(&mut self, end: usize, offset: u64) {
        match self.queue.back_mut() {
            Some(last) if last.1 == offset => last.0 = end,
            _ => self.queue.push_back((end, offset)),
        }
    }

    fn release(&mut self, committed: u64) {
        while let Some((end, _)) = self.queue.front().filter(|mark| mark.1 <= committed) {
            self.free = *end;
            self.queue.pop_front();
        }
    }

    fn next(&self) -> Option<u64> {
        self.queue.front().map(|mark| mark.1)
    }
}

/// The engine's side of waiting for commit.
#[derive(Default)]
pub struct Room {
    /// The member is a primary whose answers wait.
    on: bool,
    /// `appendfsync always`: answers wait for this node's own disk.
    strict: bool,
    /// Behind the last change of data in the stream.
    pub(super) data_end: u64,
    /// Connections with marks, by the offset of their first.
    waiting: BTreeSet<(u64, ClientId)>,
    /// Acknowledgements were made that have not been counted as leases yet.
    pub(super) acked: bool,
}

impl Engine {
    /// Whether answers wait for commit.
    #[inline]
    pub fn gates_output(&self) -> bool {
        self.rooms.commit.on || self.rooms.commit.strict
    }

    /// The offset of the stream up to which answers may go, if any may.
    fn released(&mut self, now_us: u64) -> Option<u64> {
        let committed = if self.rooms.commit.on {
            self.rooms.member.member.released(now_us)?
        } else {
            u64::MAX
        };
        Some(committed.min(self.aof_fsynced()))
    }

    /// Answers wait for the disk from now on, or no more.
    pub(super) fn disk_gates(&mut self, strict: bool) {
        let was = std::mem::replace(&mut self.rooms.commit.strict, strict);
        if strict && !was {
            self.rooms.commit.data_end = self.stream_offset();
        } else if was && !self.gates_output() {
            self.free_outputs();
        }
    }

    /// How much of a connection's output may be written. `now_us` was read after it was made.
    pub fn gate_output(&mut self, id: ClientId, now_us: u64) -> usize {
        let Some(client) = self.clients.get_mut(id) else { return 0 };
        if !depends(client) {
            return usize::MAX;
        }
        let room = &mut self.rooms.commit;
        let end = client.out.len();
        if end > client.marks.end() {
            client.marks.add(end, room.data_end);
        }
        if let Some(next) = client.marks.next() {
            room.waiting.remove(&(next, id));
        }
        let released = self.released(now_us);
        let Some(client) = self.clients.get_mut(id) else { return 0 };
        if let Some(released) = released {
            client.marks.release(released);
        }
        if let Some(next) = client.marks.next() {
            self.rooms.commit.waiting.insert((next, id));
        }
        client.marks.free
    }

    /// A command that depends on no data has answered: bytes from `before` on.
    #[inline]
    pub(super) fn exempt_output(client: &mut Client, before: usize) {
        if client.marks.queue.is_empty() && client.marks.free >= before {
            client.marks.free = client.out.len();
        }
    }

    /// What the stream has grown by since this was called last came into being after `self.now`, the
    /// turn's first clock.
    pub(crate) fn note_stream(&mut self) {
        if self.rooms.commit.on {
            let offset = self.stream_offset();
            self.rooms.member.member.note_stream(offset, self.now.mono_us);
        }
    }

    /// Once per turn: connections whose answers may go now are written to.
    pub(crate) fn commit_turn(&mut self) {
        if !self.gates_output() {
            return;
        }
        self.note_stream();
        let Some(released) = self.released(self.now.mono_us) else { return };
        let later =
            self.rooms.commit.waiting.split_off(&(released.saturating_add(1), ClientId::FIRST));
        for (_, id) in std::mem::replace(&mut self.rooms.commit.waiting, later) {
            self.clients.queue_flush(id);
        }
    }

    /// Whether [`Engine::leases_given`] is due before the next bytes are written.
    #[inline]
    pub fn gives_leases(&self) -> bool {
        self.rooms.commit.acked
    }

    /// Acknowledgements are about to be written; `now_us` was read after what they acknowledge.
    pub fn leases_given(&mut self, now_us: u64) {
        self.rooms.commit.acked = false;
        self.rooms.member.member.granted(now_us);
    }

    /// The member may have entered or left office. `before` is the name of its role before.
    pub(super) fn office_changed(&mut self, before: &'static str) {
        let member = &self.rooms.member.member;
        let on = member.waits_for_commit();
        let was = std::mem::replace(&mut self.rooms.commit.on, on);
        // Level: what had been answered is committed. By a clock read after it was, also fresh.
        let fresh = self.read_clock.as_ref().is_some_and(|clock| member.leases_hold(clock()));
        // The target has taken the whole log, so what was read from it here was not stale.
        let accepted = member.last_outcome() == Outcome::Accepted && member.pair_is_enough();
        match (before, member.role()) {
            ("primary", Role::Limbo(_)) if fresh => self.free_outputs(),
            (_, Role::Primary { .. } | Role::Limbo(_)) => {}
            ("limbo", Role::Follower { .. }) if accepted => self.free_outputs(),
            ("primary" | "limbo", _) if was => self.close_uncommitted(),
            _ => {}
        }
        if was && !self.gates_output() {
            self.free_outputs();
        }
    }

    /// What has been answered so far depends on nothing any more.
    fn free_outputs(&mut self) {
        self.rooms.commit.waiting.clear();
        let mut ids = Vec::new();
        for client in self.clients.iter_mut().filter(|client| !client.out.is_empty()) {
            client.marks.queue.clear();
            client.marks.free = client.out.len();
            ids.push(client.id);
        }
        for id in ids {
            self.clients.queue_flush(id);
        }
    }

    /// What was executed and not committed may be lost or may come to pass: its answer is not
    /// given, and the end of the connection says that the outcome is unknown.
    fn close_uncommitted(&mut self) {
        self.rooms.commit.waiting.clear();
        let unsure = |client: &&mut Client| depends(client) && client.out.len() > client.marks.free;
        let ids: Vec<_> = self.clients.iter_mut().filter(unsure).map(|client| client.id).collect();
        for id in ids {
            self.clients.close(id, Closing::Now);
        }
    }
}

/// Whether a connection's output shows data to somebody: operators' and members' own connections
/// do not, but for those that carry another node's client.
fn depends(client: &Client) -> bool {
    client.duty == Duty::Commands && (!client.is_internal() || client.session.is_some())
}

#[cfg(test)]
mod tests {
    use super::Marks;

    /// What is written in the place of an answer that was taken back must not go as early as that
    /// answer might have gone.
    #[test]
    fn bytes_that_were_taken_back_leave_nothing_free() {
        let mut marks = Marks::default();
        marks.add(10, 100);
        marks.add(30, 200);
        marks.shorten(30);
        assert_eq!(marks.end(), 30, "nothing was taken back");
        // In the middle of what depends on 200: the rest of it is marked anew, as late as the next.
        marks.shorten(20);
        assert_eq!((marks.end(), marks.next()), (10, Some(100)));
        marks.add(25, 300);
        marks.release(200);
        assert_eq!((marks.free, marks.next()), (10, Some(300)));
        // In the middle of what is free.
        marks.shorten(4);
        assert_eq!((marks.free, marks.end(), marks.next()), (4, 4, None));
        marks.add(8, 400);
        marks.release(300);
        assert_eq!((marks.free, marks.next()), (4, Some(400)));
    }
}
