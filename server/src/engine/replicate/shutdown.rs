//! The end of a server that no operator manages: first its replicas get all that it has, within
//! `shutdown-timeout`, then what is to be saved is saved. Writes are held meanwhile, so that there is
//! an end to wait for. A managed member hands over instead, see `engine/member/drain.rs`.

use crate::client::ClientId;
use crate::replication::Stage;
use crate::resp::CommandError;

use super::super::pause::{Reason, Scope};
use super::super::{Engine, hooks};
use super::waits::GET_ACK;

/// Whether the data are saved before the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Saving {
    /// As the directive `save` says.
    #[default]
    AsConfigured,
    Always,
    Never,
}

impl Saving {
    /// By the words SAVE and NOSAVE.
    pub fn asked(save: bool, nosave: bool) -> Self {
        match (save, nosave) {
            (_, true) => Self::Never,
            (true, false) => Self::Always,
            (false, false) => Self::AsConfigured,
        }
    }
}

/// How the server is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    pub saving: Saving,
    /// No replica is waited for.
    pub now: bool,
    /// It ends though the data could not be saved.
    pub force: bool,
}

/// An end that waits for replicas.
#[derive(Debug)]
pub struct Shutdown {
    how: How,
    deadline_ms: u64,
    /// The offsets before and behind the question how far the replicas are: who acknowledges the
    /// first has all data.
    asked: (u64, u64),
    /// Who asked, and is answered by the connection's end, or by an error.
    clients: Vec<ClientId>,
}

impl Engine {
    pub fn is_shutting_down(&self) -> bool {
        self.rooms.replication.shutdown.is_some()
    }

    /// Ends the process, at once or when the replicas are level. What was asked before goes on; asked
    /// again with `now`, it ends. True if whoever asked is to be answered later: by
    /// [`Self::shut_down_for`].
    pub fn shut_down(&mut self, how: How) -> Result<bool, CommandError> {
        if self.is_shutting_down() && !how.now {
            return Ok(true);
        }
        let bound_ms = self.config.shutdown_timeout_s.saturating_mul(1000);
        let state = &self.rooms.replication.state;
        let waits = !how.now && bound_ms > 0 && state.replicas.iter().next().is_some();
        if !waits {
            self.cancel_shutdown();
            return hooks::leave(self, how).map(|()| false);
        }
        let before = self.stream_offset();
        if !self.stream_is_paused() && self.replication().records() {
            self.rooms.replication.state.append(GET_ACK);
            self.flush_replicas();
        }
        let asked = (before, self.stream_offset());
        let deadline_ms = self.now.mono_ms().saturating_add(bound_ms);
        let shutdown = Shutdown { how, deadline_ms, asked, clients: Vec::new() };
        self.rooms.replication.shutdown = Some(shutdown);
        self.pause.set(Reason::Shutdown, Scope::Writes, None);
        hooks::stream_changed(self);
        hooks::log(self, "Waiting for replicas before shutting down.");
        Ok(true)
    }

    /// This client waits for the end, too.
    pub fn shut_down_for(&mut self, client: ClientId) {
        if let Some(shutdown) = &mut self.rooms.replication.shutdown {
            shutdown.clients.push(client);
        }
    }

    /// A replica has acknowledged more, or time has passed.
    pub(super) fn shutdown_turn(&mut self) {
        let Some(shutdown) = &self.rooms.replication.shutdown else { return };
        let offset = self.stream_offset();
        let level = if offset == shutdown.asked.1 { shutdown.asked.0 } else { offset };
        let (how, late) = (shutdown.how, shutdown.deadline_ms <= self.now.mono_ms());
        let replicas = &self.replication().replicas;
        let all = replicas.iter().count();
        let is_level = |replica: &&crate::replication::Replica| {
            replica.stage == Stage::Online && replica.acked >= level
        };
        let in_sync = replicas.iter().filter(is_level).count();
        if in_sync < all && !late {
            return;
        }
        hooks::log(self, &format!("{in_sync} of {all} replicas are in sync when shutting down."));
        match hooks::leave(self, how) {
            // Writes stay held to the end.
            Ok(()) => self.rooms.replication.shutdown = None,
            Err(error) => {
                hooks::warn(self, &format!("the server goes on: {}", error.0));
                self.cancel_shutdown();
            }
        }
    }

    /// `SHUTDOWN ABORT`; false when there is nothing to abort.
    pub fn abort_shutdown(&mut self) -> bool {
        let under_way = self.is_shutting_down();
        if under_way {
            hooks::log(self, "the shutdown was aborted");
            self.cancel_shutdown();
        }
        under_way
    }

    fn cancel_shutdown(&mut self) {
        let Some(shutdown) = self.rooms.replication.shutdown.take() else { return };
        self.pause.end(Reason::Shutdown);
        hooks::stream_changed(self);
        self.resume_soon();
        for id in shutdown.clients {
            let failed = CommandError::from("ERR Errors trying to SHUTDOWN. Check logs.");
            self.answer(id, |client| client.reply().error(&failed));
        }
    }
}
