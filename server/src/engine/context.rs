//! What a handler is given.

use crate::client::{Client, ClientId, Duty, Hold, User};
use crate::command::Command;
use crate::replication::ARGUMENT_MAX;
use crate::resp::{Args, OwnedArgs, Reply};

use super::Engine;
use super::blocking::{Blocked, OnTimeout};
use super::effects::{LinkOwner, Timer};
use super::propagate::Verbatim;
use super::pubsub::name_bytes;

/// The engine, the client and the arguments of the command that runs.
pub struct Context<'a> {
    pub engine: &'a mut Engine,
    pub client: &'a mut Client,
    pub args: Args<'a>,
    pub row: &'static Command,
    /// The command runs inside EXEC: it must not block.
    pub in_exec: bool,
    /// A blocked command runs again after its deadline, with [`OnTimeout::Rerun`].
    pub timed_out: bool,
    /// The command comes from the primary's stream: it is not refused and its reply is dropped.
    pub from_primary: bool,
}

impl Context<'_> {
    #[inline]
    pub fn reply(&mut self) -> Reply<'_> {
        self.client.reply()
    }

    /// Whether it comes from the stream of another server, which has executed it: limits that may be
    /// wider there are not asked here, since a command that is left out makes both unlike.
    pub fn obeys(&self) -> bool {
        self.from_primary || self.client.duty == Duty::Link(LinkOwner::Migration)
    }

    /// The longest string that this command may make, in bytes. A source outside is believed as much
    /// as one argument of its stream can hold, whatever offset it names.
    pub fn string_max(&self) -> u64 {
        let own = self.engine.config.proto_max_bulk_len.0;
        match (self.from_primary, self.obeys()) {
            (true, _) => u64::MAX,
            (false, true) => own.max(ARGUMENT_MAX.into()),
            (false, false) => own,
        }
    }

    /// Counts changes: the command is propagated as it came, unless the handler replaces it.
    #[inline]
    pub fn dirty(&mut self, changes: usize) {
        self.engine.outbox.dirty += changes as u64;
    }

    /// Whether the running command has counted changes.
    pub fn has_changed(&self) -> bool {
        self.engine.outbox.dirty > 0
    }

    /// Propagates this command instead of the one that came; may be called several times.
    pub fn propagate(&mut self, parts: &[&[u8]]) {
        self.engine.outbox.verbatim = Verbatim::Replaced;
        if self.from_primary || !super::hooks::stream_is_open(self.engine) {
            return;
        }
        super::hooks::drain_expired(self.engine, Some(&mut *self.client));
        let db = self.client.db;
        self.engine.outbox.push(db, parts.iter().copied());
    }

    /// As [`Self::propagate`], of parts that need not lie side by side.
    pub fn propagate_parts<'p>(&mut self, parts: impl ExactSizeIterator<Item = &'p [u8]>) {
        self.engine.outbox.verbatim = Verbatim::Replaced;
        if self.propagates() {
            super::hooks::drain_expired(self.engine, Some(&mut *self.client));
            let db = self.client.db;
            self.engine.outbox.push(db, parts);
        }
    }

    /// Whether what this command propagates goes anywhere.
    pub fn propagates(&self) -> bool {
        !self.from_primary && super::hooks::stream_is_open(self.engine)
    }

    /// The changes of this command do not go to the replicas.
    pub fn propagate_nothing(&mut self) {
        self.engine.outbox.verbatim = Verbatim::Replaced;
    }

    /// The command goes to the replicas though it changed no key (PUBLISH).
    pub fn propagate_always(&mut self) {
        self.engine.outbox.verbatim = Verbatim::Always;
    }

    /// Tells those who WATCH `key` in the client's database that it changed.
    #[inline]
    pub fn touch(&mut self, key: &[u8]) {
        self.engine.touch(self.client, self.client.db, key);
    }

    /// Tells commands that wait for `key` that it may serve them now. Also call [`Self::touch`].
    #[inline]
    pub fn signal(&mut self, key: &[u8]) {
        self.engine.blocking.signal(self.client.db, key);
    }

    /// Lets the client wait for `keys`; the handler returns without a reply. Inside EXEC a
    /// command never waits: the answer for an expired deadline is written at once.
    ///
    /// `deadline_ms` is on the monotonic clock, `None` waits without end. When the command was
    /// run again and blocks again, its first deadline stays.
    pub fn block<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k [u8]>,
        deadline_ms: Option<u64>,
        on_timeout: OnTimeout,
    ) {
        self.block_as(None, keys, deadline_ms, on_timeout);
    }

    /// As [`Self::block`], when the command that runs again is not to be the one that came (XREAD's
    /// `$` means the last id of now, not of later).
    pub fn block_as<'k>(
        &mut self,
        args: Option<OwnedArgs>,
        keys: impl IntoIterator<Item = &'k [u8]>,
        deadline_ms: Option<u64>,
        on_timeout: OnTimeout,
    ) {
        if self.in_exec || self.from_primary {
            match on_timeout {
                OnTimeout::Null => self.reply().null(),
                OnTimeout::NullArray | OnTimeout::Rerun => self.reply().null_array(),
            }
            return;
        }
        self.client.hold = Hold::Blocked;
        if self.client.blocked.is_some() {
            return;
        }
        let now_ms = self.engine.now.mono_ms();
        let (since_ms, deadline_ms) = match self.client.carried_wait.take() {
            Some(wait) => (
                now_ms.saturating_sub(wait.since_ms),
                wait.left_ms.map(|left_ms| now_ms.saturating_add(left_ms)),
            ),
            None => (now_ms, deadline_ms),
        };
        let args = args.unwrap_or_else(|| self.args.to_owned());
        let keys: Vec<Box<[u8]>> = keys.into_iter().map(Box::from).collect();
        let bytes = args.size_bytes() + keys.iter().map(|key| name_bytes(key)).sum::<usize>();
        let blocked = Box::new(Blocked {
            args,
            db: self.client.db as u32,
            keys,
            bytes,
            deadline_ms,
            on_timeout,
            since_ms,
        });
        self.engine.blocking.add(self.client.id, &blocked);
        if let Some(deadline_ms) = deadline_ms {
            self.engine.timers.at(deadline_ms, Timer::Blocked(self.client.id));
        }
        self.client.blocked = Some(blocked);
    }

    /// The reply of this command comes later, by [`Engine::answer`] with the id returned.
    pub fn defer(&mut self) -> ClientId {
        self.client.hold = Hold::Deferred;
        self.client.id
    }

    /// Whether a time that has passed ends a key at once. In a primary's stream, and while another
    /// server's data are copied in, somebody else says when a key ends.
    pub fn ends_at(&self, at_ms: i64) -> bool {
        at_ms <= self.engine.now.unix_ms() && !self.from_primary && !self.engine.config.import_mode
    }

    pub fn is_internal(&self) -> bool {
        self.client.user == User::Internal
    }
}
