//! What a node begins with: the data of its file and the primary of its configuration.

use crate::disk::{self, DiskError};
use crate::persistence::load::{Data, Template};
use crate::replication::ReplId;

use super::super::Engine;
use super::{hooks, new_id};

/// The folder of the data: the process works in it.
const FOLDER: &str = ".";

impl Engine {
    /// Loads the file, if there is one, and attaches the disk for saves.
    pub(in super::super) fn start_from_disk(&mut self) -> Result<(), DiskError> {
        disk::prepare(FOLDER)?;
        let template = Template {
            databases: self.config.databases,
            seed: self.keyspace.seed(),
            limits: self.keyspace.limits(),
        };
        let data = disk::load(FOLDER, &self.config.dbfilename, template)?;
        let saves = &mut self.rooms.replication.saves;
        saves.open = Some(disk::open);
        saves.last_unix_s = self.now.unix_us / 1_000_000;
        if let Some(data) = data {
            self.take_saved(data);
        }
        Ok(())
    }

    fn take_saved(&mut self, data: Data) {
        for what in &data.skipped {
            hooks::log(self, &format!("{}: left out {what}", self.config.dbfilename));
        }
        self.acl_loaded(data.acl.as_deref());
        self.replace_keyspace(data.keyspace);
        let id = data.repl_id.as_deref().and_then(|id| ReplId::parse(id.as_bytes()));
        let room = &mut self.rooms.replication;
        room.loaded_epoch = data.epoch;
        // The data are exactly this point of that history: a node that had them follows on, and
        // this one may follow on from there.
        if let (Some(id), Some(offset)) = (id, data.repl_offset) {
            room.state.adopt(id, offset, data.stream_db);
        }
        hooks::log(self, &format!("loaded {} keys", self.keyspace.len()));
    }

    /// Takes the side in replication that the directives say.
    pub(in super::super) fn start_following(&mut self) {
        self.replication_configured();
        if self.is_managed() {
            self.leave_stream();
        } else if let [host, port] = self.config.replicaof.0.as_slice()
            && let Ok(port) = port.parse()
        {
            let host = host.clone();
            self.follow_primary(&host, port, None);
        } else {
            // It goes on writing by itself, under an id of its own.
            self.rooms.replication.state.promote(new_id());
            self.replication_changed();
        }
    }
}
