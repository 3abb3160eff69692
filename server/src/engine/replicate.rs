//! Binds the pure [`Replication`] to the engine: gives it bytes, time and data, and performs what it
//! says on clients and keyspace. Without I/O.
//!
//! `upstream` follows a primary, `downstream` serves replicas, `snapshot` makes what full resyncs and
//! saves need, `failover` hands over to a replica by hand, `own` is what a replica writes for
//! itself, `report` tells about it.

mod apply;
mod downstream;
mod failover;
mod own;
mod report;
mod shutdown;
mod snapshot;
mod start;
mod upstream;
mod waits;

use std::collections::BTreeSet;

use crate::client::{ClientId, Closing};
use crate::command::{Command, Flags};
use crate::replication::{ReplId, Replication, Stream};
use crate::resp::{CommandError, encode_command, errors};

use super::hooks;
use super::{Engine, pause::Reason};

pub use apply::Origin;
pub use downstream::Introduced;
pub use failover::Wish;
pub use own::note_own;
pub use shutdown::{How, Saving};
pub use snapshot::{Job, SaveError, SaveTarget, Wake};
pub use waits::{Need, write_reached};

/// The replication and saving state of the engine.
pub struct Room {
    pub state: Replication,
    /// The connection to the primary, from its opening on.
    link: Option<ClientId>,
    /// What is to be sent to the primary beside the stream.
    up: Vec<u8>,
    /// What the primary sent and is not applied yet.
    stream: Stream,
    pub(super) job: Option<Job>,
    pub saves: snapshot::Saves,
    waits: Vec<waits::Wait>,
    failover: Option<failover::Failover>,
    shutdown: Option<shutdown::Shutdown>,
    last_ping_ms: u64,
    /// When the timer for the next ping fires; not set if that is past.
    ping_timer_ms: u64,
    /// When a replica was last seen, for `repl-backlog-ttl`.
    replica_seen_ms: u64,
    /// The data epoch that the loaded file named, for the member that boots with it.
    pub loaded_epoch: Option<String>,
    /// Commands of the primary's stream that this node could not apply.
    pub failed_commands: u64,
    /// Keys with a time that this node wrote while it followed another, with their databases.
    own_expiring: BTreeSet<own::Place>,
    /// The one of them that was looked at last; the next step goes on behind it.
    own_looked_at: Option<own::Place>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            state: Replication::new(new_id()),
            link: None,
            up: Vec::new(),
            stream: Stream::default(),
            job: None,
            saves: snapshot::Saves::default(),
            waits: Vec::new(),
            failover: None,
            shutdown: None,
            last_ping_ms: 0,
            ping_timer_ms: 0,
            replica_seen_ms: 0,
            loaded_epoch: None,
            failed_commands: 0,
            own_expiring: BTreeSet::new(),
            own_looked_at: None,
        }
    }
}

pub(super) fn new_id() -> ReplId {
    ReplId::from_random(hooks::random_bytes(20).try_into().expect("as many as asked for"))
}

impl Engine {
    pub fn replication(&self) -> &Replication {
        &self.rooms.replication.state
    }

    /// The command's changes, in `outbox`, go into the stream.
    #[inline]
    pub(super) fn feed_replicas(&mut self) {
        let room = &mut self.rooms.replication;
        if !room.state.records() {
            return;
        }
        if self.outbox.is_apart() {
            self.outbox.iter().for_each(|(db, command)| room.state.feed(db, command));
        } else {
            room.state.feed_transaction(self.outbox.iter());
        }
        self.rooms.commit.data_end = room.state.offset();
    }

    /// Appends `PING <argument>` to the own stream: a record of the members' protocol, which every
    /// stock replica takes for a sign of life. Also on a follower that was told the record by another
    /// route: it appends the very bytes that its primary did.
    pub fn append_to_stream(&mut self, argument: &str) {
        self.append_bytes_to_stream(argument.as_bytes());
    }

    /// As [`Self::append_to_stream`], for an argument that is no text.
    pub fn append_bytes_to_stream(&mut self, argument: &[u8]) {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, [b"PING".as_slice(), argument]);
        self.rooms.replication.state.append(&bytes);
        self.flush_replicas();
    }

    /// Becomes a primary that continues the present history under a new id. A managed node records
    /// its stream from here on even without replicas.
    pub fn lead_stream(&mut self, record: bool) {
        let room = &mut self.rooms.replication;
        room.state.promote(new_id());
        if record {
            room.state.activate(new_id());
        }
        self.drop_primary();
        self.close_replicas();
        self.replication_changed();
    }

    /// Follows nobody and writes nothing, until told otherwise.
    pub fn leave_stream(&mut self) {
        // What was to be acknowledged is not: whoever sealed this member was told what it holds and
        // which leases it gave.
        self.rooms.replication.up.clear();
        self.rooms.replication.state.detach();
        self.drop_primary();
        self.close_replicas();
        self.replication_changed();
    }

    /// Directives have changed.
    pub(super) fn replication_configured(&mut self) {
        let credentials = self.primary_credentials();
        let room = &mut self.rooms.replication;
        room.state.backlog_size = self.config.repl_backlog_size.0;
        room.state.hard_limit = match self.config.client_output_buffer_limit.replica.hard_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        if let Some(link) = &mut room.state.link {
            link.config.timeout_ms = self.config.repl_timeout_s.max(1) * 1000;
            // For the next attempt.
            link.config.listening_port = self.config.announced_port();
            link.config.announce_ip.clone_from(&self.config.replica_announce_ip);
            if link.config.member.is_none() {
                link.config.auth = credentials;
            }
        }
    }

    /// Why writes are refused: too few replicas, or data that cannot be saved.
    pub(super) fn write_refusal(&self, row: &Command) -> Option<CommandError> {
        let room = &self.rooms.replication;
        if room.state.is_replica() {
            return None;
        }
        let disk = self.disk_refusal();
        if disk.is_some() && (row.is(Flags::WRITE) || row.name == "ping") {
            return disk;
        }
        if !row.is(Flags::WRITE) {
            return None;
        }
        let min = self.config.min_replicas_to_write as usize;
        let max_lag_ms = self.config.min_replicas_max_lag_s * 1000;
        if min > 0 && room.state.replicas.good(self.now.mono_ms(), max_lag_ms) < min {
            return Some(errors::NO_REPLICAS.into());
        }
        None
    }

    /// Why nothing may be changed: the changes could not be kept.
    fn disk_refusal(&self) -> Option<CommandError> {
        let saves = &self.rooms.replication.saves;
        let broken = saves.last_error.is_some() && self.config.stop_writes_on_bgsave_error;
        if broken && self.save_rules().next().is_some() {
            return Some(errors::MISCONF.into());
        }
        self.aof_refusal()
    }

    /// What this node may do by itself depends on its role.
    pub(super) fn replication_changed(&mut self) {
        hooks::stream_changed(self);
        self.redirect_changed();
    }

    /// Whether the stream is closed for the moment: a pause of any kind is on, and then nothing
    /// whatever may enter it.
    pub(super) fn stream_is_paused(&self) -> bool {
        self.pause.is_set(Reason::Switch)
            || self.pause.is_set(Reason::User)
            || self.pause.is_set(Reason::Failover)
            || self.pause.is_set(Reason::Shutdown)
            || !hooks::stream_may_grow(self)
    }

    /// Ends the connection to the primary. What was received and not applied is forgotten.
    fn drop_primary(&mut self) {
        let room = &mut self.rooms.replication;
        room.stream.clear();
        let Some(link) = room.link.take() else { return };
        // An answer to the primary may wait to be sent. If the link is the running connection, it
        // ends itself when its bytes have been applied.
        if let Some(client) = self.clients.get_mut(link) {
            client.out.append(&mut room.up);
            self.clients.close(link, Closing::AfterOutput);
        }
    }

    /// Replicas come back and ask again, since the history's name has changed.
    fn close_replicas(&mut self) {
        // They never acknowledge here again.
        self.end_waits();
        let ids: Vec<_> = self.rooms.replication.state.replicas.iter().map(|r| r.client).collect();
        for id in ids {
            self.clients.close(id, Closing::Now);
        }
    }

    /// Has the replicas' connections written to at the end of this turn.
    fn flush_replicas(&mut self) {
        let offset = self.rooms.replication.state.offset();
        for replica in self.rooms.replication.state.replicas.online() {
            if replica.sent < offset {
                self.clients.queue_flush(replica.client);
            }
        }
    }

    /// Once per turn.
    pub(super) fn replication_turn(&mut self) {
        // What has become durable is acknowledged in this turn.
        self.aof_turn();
        self.flush_up();
        self.begin_resync();
        self.flush_replicas();
        self.rooms.replication.state.trim();
        self.drop_overtaken();
    }

    /// Ten times a second.
    pub(super) fn replication_cron(&mut self) {
        self.link_tick();
        self.failover_turn();
        self.shutdown_turn();
        self.ping_replicas();
        self.close_silent_replicas();
        self.close_slow_replicas();
        self.forget_unread_stream();
        self.expire_waits();
        self.expire_own();
        self.save_points();
        self.aof_cron();
    }
}
