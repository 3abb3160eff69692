//! What a node begins with: the data of its files and the primary of its configuration.

use crate::disk::{self, DiskError};

use super::super::Engine;
use super::new_id;

/// The folder of the data: the process works in it.
const FOLDER: &str = ".";

impl Engine {
    /// Attaches the disk and begins to load what it holds; true if that is done already.
    ///
    /// With `appendonly` the append-only files are loaded. If there are none yet, the RDB file is:
    /// stock servers begin empty then, and lose what was saved when the directive was changed
    /// between two runs. Append-only files that a member's record speaks for are loaded in any case:
    /// a configuration that is mounted may be minutes older than what the last process was told.
    pub(in super::super) fn start_from_disk(&mut self) -> Result<bool, DiskError> {
        disk::prepare(FOLDER)?;
        let saves = &mut self.rooms.replication.saves;
        saves.open = Some(disk::open);
        saves.last_unix_s = self.now.unix_us / 1_000_000;
        self.rooms.aof.open = Some(disk::aof::open);
        self.rooms.aof.find = Some(disk::find_manifest);
        let found = disk::identity::read(&self.config.appenddirname);
        let spoken_for = found.is_of(&self.config.cluster_uid);
        self.keeper_attached(disk::identity::keep, found);
        if self.config.appendonly || spoken_for {
            let (dir, prefix) = (&self.config.appenddirname, &self.config.appendfilename);
            if let Some((manifest, sources)) = disk::find_aof(FOLDER, dir, prefix)? {
                let goes_on = self.config.appendonly;
                return self.load_begin(sources, goes_on.then_some(manifest));
            }
        }
        match disk::find(FOLDER, &self.config.dbfilename)? {
            Some(source) => self.load_begin(vec![source], None),
            None => Ok(true),
        }
    }

    /// DEBUG RELOAD: saves unless told not to, and loads what was saved.
    pub fn debug_reload(&mut self, save: bool) -> Result<(), String> {
        if save {
            self.abort_snapshot();
            self.save_now().map_err(|error| error.to_string())?;
        }
        let found = disk::find(FOLDER, &self.config.dbfilename).map_err(|e| e.to_string())?;
        let sources = found.into_iter().collect();
        self.load_again(sources).map_err(|error| error.to_string())
    }

    /// DEBUG LOADAOF: loads the append-only files as they are.
    pub fn debug_load_aof(&mut self) -> Result<(), String> {
        self.aof_settle()?;
        let (dir, prefix) = (&self.config.appenddirname, &self.config.appendfilename);
        let found = disk::find_aof(FOLDER, dir, prefix).map_err(|error| error.to_string())?;
        let sources = found.map(|(_, sources)| sources).unwrap_or_default();
        self.load_again(sources).map_err(|error| error.to_string())
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
