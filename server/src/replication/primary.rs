//! The node's own stream, and serving it to replicas. Pure.

use super::backlog::Backlog;
use super::history::{History, ReplId};
use super::replicas::{Replica, Replicas, Stage};
use super::{BACKLOG_HARD_LIMIT, Link};
use crate::client::ClientId;

/// How a replica's PSYNC is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// It goes on from what it has; the answer is `+CONTINUE` with this id.
    Continue(ReplId),
    /// It needs a snapshot.
    Full,
}

/// The replication state of a node, primary or replica.
#[derive(Debug)]
pub struct Replication {
    pub history: History,
    backlog: Backlog,
    /// Whether the stream is recorded. A lone unmanaged server with no replica saves the work.
    active: bool,
    /// The database that the last SELECT of the stream named.
    stream_db: Option<u32>,
    pub replicas: Replicas,
    /// What `repl-backlog-size` asks to be kept for replicas that come back.
    pub backlog_size: u64,
    /// What a slow replica can make this node keep, as `client-output-buffer-limit` says.
    pub hard_limit: u64,
    /// The connection to the primary, on a replica.
    pub link: Option<Box<Link>>,
    /// Neither primary nor replica: nothing may be written and nothing is followed (a fenced
    /// member).
    pub detached: bool,
    pub partial_ok: u64,
    pub partial_err: u64,
    pub full: u64,
}

impl Replication {
    pub fn new(id: ReplId) -> Self {
        Self {
            history: History::new(id),
            backlog: Backlog::new(0),
            active: false,
            stream_db: None,
            replicas: Replicas::default(),
            backlog_size: 10 * 1024 * 1024,
            hard_limit: BACKLOG_HARD_LIMIT,
            link: None,
            detached: false,
            partial_ok: 0,
            partial_err: 0,
            full: 0,
        }
    }

    /// Bytes of the stream so far: written on a primary, applied on a replica.
    pub fn offset(&self) -> u64 {
        self.backlog.end()
    }

    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Whether this node's data is another's to change.
    #[inline]
    pub fn is_replica(&self) -> bool {
        self.link.is_some() || self.detached
    }

    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Whether the commands of this node go into its stream: not on a replica, which copies its
    /// primary's.
    #[inline]
    pub fn records(&self) -> bool {
        self.active && !self.is_replica()
    }

    /// Begins to record. What was done before is in no backlog, so it gets an id of its own.
    pub fn activate(&mut self, id: ReplId) {
        if !self.active {
            self.active = true;
            self.history = History::new(id);
            self.stream_db = None;
        }
    }

    /// Records no more, and forgets the history: nobody can go on from here.
    pub fn deactivate(&mut self, id: ReplId) {
        self.active = false;
        self.history = History::new(id);
        self.backlog = Backlog::new(self.backlog.end());
        self.stream_db = None;
    }

    /// Takes up the point of a history that the data stands at: after a full resync, or from the
    /// RDB that was loaded at start.
    pub fn adopt(&mut self, id: ReplId, offset: u64, stream_db: u32) {
        self.active = true;
        self.history = History::new(id);
        self.backlog = Backlog::new(offset);
        self.stream_db = Some(stream_db);
    }

    /// As [`Self::adopt`], with all that files tell of the history and of the stream before.
    pub fn adopt_tail(&mut self, history: History, tail: Backlog, stream_db: u32) {
        self.active = true;
        self.history = history;
        self.backlog = tail;
        self.stream_db = Some(stream_db);
    }

    /// Becomes a primary that continues its history under a new id, so that all who followed the
    /// old primary no further than this node can go on by a partial resync. The caller disconnects
    /// its replicas, which learn the new id as they come back.
    pub fn promote(&mut self, id: ReplId) {
        self.link = None;
        self.detached = false;
        if self.active {
            self.history.shift(id, self.offset());
            self.stream_db = None;
        }
    }

    /// Follows a primary by this link, from the present point of the stream on if it can.
    pub fn follow(&mut self, link: Link) {
        self.link = Some(Box::new(link));
        self.detached = false;
    }

    /// Follows nobody and writes nothing.
    pub fn detach(&mut self) {
        self.link = None;
        self.detached = true;
    }

    /// What a PSYNC of this node asks to go on from.
    pub fn have(&self) -> Option<(ReplId, u64)> {
        self.active.then(|| (self.history.id, self.offset()))
    }

    /// The primary lets this node go on, under this id if it names one. True if the id is new, so
    /// that this node's replicas must hear of it.
    pub fn continued(&mut self, id: Option<ReplId>) -> bool {
        let Some(id) = id.filter(|id| *id != self.history.id) else { return false };
        self.history.shift(id, self.offset());
        true
    }

    /// The database that a reader of the stream is in at this point, for `repl-stream-db`.
    pub fn stream_db(&self) -> u32 {
        self.stream_db.unwrap_or(0)
    }

    /// Notes the database that the applied stream is in.
    pub fn set_stream_db(&mut self, db: u32) {
        self.stream_db = Some(db);
    }

    /// Appends one encoded command that changed database `db`.
    pub fn feed(&mut self, db: u32, command: &[u8]) {
        self.select(db);
        self.backlog.append(command);
    }

    /// Appends commands that replicas must apply together.
    pub fn feed_transaction<'a>(&mut self, commands: impl Iterator<Item = (u32, &'a [u8])>) {
        let mut begun = false;
        for (db, command) in commands {
            if !begun {
                self.backlog.append(b"*1\r\n$5\r\nMULTI\r\n");
                begun = true;
            }
            self.select(db);
            self.backlog.append(command);
        }
        if begun {
            self.backlog.append(b"*1\r\n$4\r\nEXEC\r\n");
        }
    }

    /// Appends bytes as they are: what a replica has applied, or a command that belongs to no
    /// database (PING, GETACK).
    pub fn append(&mut self, bytes: &[u8]) {
        self.backlog.append(bytes);
    }

    fn select(&mut self, db: u32) {
        if self.stream_db != Some(db) {
            self.stream_db = Some(db);
            let digits = db.to_string();
            let select = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{digits}\r\n", digits.len());
            self.backlog.append(select.as_bytes());
        }
    }

    /// Decides on `PSYNC id offset`, where `next` is the offset as the protocol counts it: one
    /// more than the bytes that the replica has.
    pub fn decide(&mut self, id: &[u8], next: i64) -> Sync {
        let have = u64::try_from(next).ok().and_then(|next| next.checked_sub(1));
        let (Some(id), Some(have)) = (ReplId::parse(id), have) else { return Sync::Full };
        if self.active && self.history.continues(id, have) && self.backlog.holds(have) {
            self.partial_ok += 1;
            Sync::Continue(self.history.id)
        } else {
            self.partial_err += 1;
            Sync::Full
        }
    }

    /// Puts a replica online that has `have` bytes of the stream.
    pub fn go_on(&mut self, client: ClientId, have: u64, now_ms: u64) {
        let replica = self.replicas.entry(client, now_ms);
        replica.stage = Stage::Online;
        replica.sent = have;
        replica.acked = have;
        replica.acked_at_ms = now_ms;
    }

    /// A snapshot of the data at this very moment is about to be taken for those who wait: they
    /// will go on from the offset that is answered. The stream names its database anew after it.
    pub fn snapshot_point(&mut self) -> u64 {
        if !self.is_replica() {
            self.stream_db = None;
        }
        self.full += 1;
        self.offset()
    }

    /// Appends up to `room` bytes of the stream to an online replica's output. False if what it
    /// needs is gone, so that its connection must be closed.
    pub fn fill(&mut self, client: ClientId, room: usize, out: &mut Vec<u8>) -> bool {
        let Some(replica) = self.replicas.get_mut(client) else { return false };
        if replica.stage != Stage::Online {
            return true;
        }
        match self.backlog.copy(replica.sent, room, out) {
            Some(sent) => {
                replica.sent = sent;
                true
            }
            None => false,
        }
    }

    /// Takes an acknowledgement; true if it brought news. One that comes while the replica loads
    /// says that it has loaded.
    pub fn acknowledge(&mut self, client: ClientId, offset: u64, now_ms: u64) -> bool {
        let Some(replica) = self.replicas.get_mut(client) else { return false };
        replica.acked_at_ms = now_ms;
        if replica.stage == Stage::Loading {
            replica.stage = Stage::Online;
        }
        self.heard(client, offset, |replica| &mut replica.acked)
    }

    /// Takes what a replica says its disk holds; true if it brought news.
    pub fn acknowledge_durable(&mut self, client: ClientId, offset: u64) -> bool {
        self.heard(client, offset, |replica| &mut replica.durable)
    }

    /// Takes up to where a member says that it would be itself again after a restart; true if it
    /// brought news.
    pub fn acknowledge_kept(&mut self, client: ClientId, offset: u64) -> bool {
        self.heard(client, offset, |replica| &mut replica.kept)
    }

    /// What a replica says of itself only grows, and it cannot have what this node has not written.
    fn heard(
        &mut self,
        client: ClientId,
        offset: u64,
        of: impl FnOnce(&mut Replica) -> &mut u64,
    ) -> bool {
        let Some(replica) = self.replicas.get_mut(client) else { return false };
        let last = of(replica);
        let news = offset > *last && offset <= self.backlog.end();
        if news {
            *last = offset;
        }
        news
    }

    /// The greatest part of the stream that is kept for a slow replica, in bytes. A limit below the
    /// backlog's size would end replicas that could go on from the backlog when they come back.
    pub fn keeps_at_most(&self) -> u64 {
        self.hard_limit.max(self.backlog_size)
    }

    /// Drops what neither the configured size nor a connected replica asks for. A replica that is
    /// too slow for the hard limit loses its place: [`Self::overtaken`] names it.
    pub fn trim(&mut self) {
        let end = self.backlog.end();
        let wanted = end.saturating_sub(self.backlog_size.max(1));
        let hard = end.saturating_sub(self.keeps_at_most());
        let needed = self.replicas.oldest_needed().unwrap_or(u64::MAX);
        self.backlog.trim(wanted.min(needed).max(hard));
    }

    /// The replicas whose place in the stream is kept no more, also those that are still being sent
    /// a snapshot: nothing that they are sent from here on is of use to them.
    pub fn overtaken(&self) -> impl Iterator<Item = ClientId> {
        let start = self.backlog.start();
        self.replicas.reading().filter(move |r| r.sent < start).map(|r| r.client)
    }
}

#[cfg(test)]
mod tests {
    use super::{BACKLOG_HARD_LIMIT, ReplId, Replication, Sync};
    use crate::client::ClientId;
    use crate::replication::Stage;

    const A: [u8; 20] = [0xaa; 20];
    const B: [u8; 20] = [0xbb; 20];

    fn client(slot: u32) -> ClientId {
        ClientId { serial: u64::from(slot), slot }
    }

    fn primary() -> Replication {
        let mut state = Replication::new(ReplId::from_random([0; 20]));
        state.activate(ReplId::from_random(A));
        state
    }

    fn text(state: &Replication) -> String {
        let mut out = Vec::new();
        state.backlog().copy(state.backlog().start(), usize::MAX, &mut out);
        String::from_utf8(out).expect("text").replace("\r\n", " ")
    }

    #[test]
    fn the_stream_names_databases_and_keeps_transactions_together() {
        let mut state = primary();
        state.feed(0, b"one ");
        state.feed(0, b"two ");
        state.feed_transaction([(0, b"three ".as_slice()), (1, b"four ")].into_iter());
        assert_eq!(
            text(&state),
            "*2 $6 SELECT $1 0 one two *1 $5 MULTI three *2 $6 SELECT $1 1 four *1 $4 EXEC "
        );
        state.feed_transaction([(0, b"five ".as_slice()), (0, b"six ")].into_iter());
        let whole = "*1 $5 MULTI *2 $6 SELECT $1 0 five six *1 $4 EXEC ";
        assert!(text(&state).ends_with(whole), "the database is named inside, as by Valkey");
        state.feed_transaction([].into_iter());
        let before = state.offset();
        state.snapshot_point();
        state.feed(1, b"x");
        assert!(state.offset() > before + 1, "a reader of the snapshot is told the database");
    }

    #[test]
    fn a_lone_server_records_nothing_and_a_replica_never_writes() {
        let mut state = Replication::new(ReplId::from_random(A));
        assert!(!state.records() && state.have().is_none());
        state.activate(ReplId::from_random(B));
        assert!(state.records());
        state.detach();
        assert!(!state.records() && state.is_replica());
        state.promote(ReplId::from_random(A));
        assert!(state.records() && !state.is_replica());
    }

    #[test]
    fn who_may_go_on() {
        let mut state = primary();
        state.append(&[1; 100]);
        let (a, b) = (ReplId::from_random(A), ReplId::from_random(B));
        let ask = |state: &mut Replication, id: ReplId, next: i64| {
            state.decide(id.as_str().as_bytes(), next) == Sync::Continue(state.history.id)
        };
        assert!(ask(&mut state, a, 101) && ask(&mut state, a, 1));
        assert!(!ask(&mut state, a, 102), "ahead of this node");
        assert!(!ask(&mut state, a, 0) && !ask(&mut state, a, -5) && !ask(&mut state, b, 50));
        assert_eq!(state.decide(b"?", -1), Sync::Full);
        state.promote(b);
        state.append(&[2; 50]);
        assert!(ask(&mut state, a, 101), "the old primary, level at the promotion");
        assert!(!ask(&mut state, a, 102), "the old primary, which went on by itself");
        assert!(ask(&mut state, b, 151));
        assert_eq!((state.partial_ok, state.partial_err), (4, 3));
    }

    #[test]
    fn the_backlog_keeps_what_replicas_need_up_to_a_limit() {
        let mut state = primary();
        state.backlog_size = 1 << 20;
        state.go_on(client(1), 0, 0);
        let part = vec![7; 1 << 20];
        (0..8).for_each(|_| state.append(&part));
        state.trim();
        assert_eq!(state.backlog().start(), 0, "the replica still needs it");
        let mut out = Vec::new();
        assert!(state.fill(client(1), 3 << 20, &mut out));
        assert_eq!(out.len(), 3 << 20);
        state.trim();
        assert_eq!(state.backlog().start(), 3 << 20);
        (0..BACKLOG_HARD_LIMIT >> 20).for_each(|_| state.append(&part));
        state.trim();
        assert!(!state.fill(client(1), 100, &mut out), "too slow: it must begin anew");
        assert_eq!(state.overtaken().collect::<Vec<_>>(), [client(1)]);
        state.replicas.entry(client(2), 0).stage = Stage::WaitSnapshot;
        state.replicas.entry(client(3), 0).stage = Stage::Loading;
        assert_eq!(state.overtaken().collect::<Vec<_>>(), [client(1), client(3)]);
        state.replicas.remove(client(2));
        state.replicas.remove(client(3));
        state.replicas.remove(client(1));
        state.trim();
        assert!(state.backlog().len() <= (1 << 20) + (1 << 16));
    }

    #[test]
    fn acknowledgements_count_once_and_never_beyond_the_stream() {
        let mut state = primary();
        state.append(&[1; 100]);
        state.replicas.entry(client(1), 0).stage = Stage::Loading;
        assert!(state.acknowledge(client(1), 60, 5));
        assert_eq!(state.replicas.get(client(1)).expect("there").stage, Stage::Online);
        assert!(!state.acknowledge(client(1), 60, 6), "no news");
        assert!(!state.acknowledge(client(1), 101, 7), "what was never written");
        assert_eq!((state.replicas.holding(60), state.replicas.holding(61)), (1, 0));
        assert_eq!((state.replicas.good(1007, 1000), state.replicas.good(1008, 1000)), (1, 0));
    }
}
