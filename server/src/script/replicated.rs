//! The script cache and the libraries on other nodes and in files.
//!
//! A replica must find by EVALSHA, once it is the primary, what was loaded before. SCRIPT LOAD goes
//! into the stream as it came. What EVAL brought goes as `PING redisha:script:<text>`, which other
//! servers take without effect, as they would not know it from their own kind either; so it stays
//! evictable here. Where nobody of this kind listens, nothing is told, and the stream is what
//! Valkey's would be. A full resync and a save carry both in aux fields: `lua`, which every server
//! knows and those of today skip, and one of our own.

use std::cell::OnceCell;

use super::flags;
use super::interpreter::{Kind, Setup};
use super::sha1;
use crate::command::{Command, Flags};
use crate::engine::{Engine, hooks};
use crate::persistence::rdb::functions::Carried;
use crate::resp::Args;

/// The start of a record's argument; a script's text follows.
pub const RECORD: &[u8] = b"redisha:script:";

impl Engine {
    pub(crate) fn setup(&self, kind: Kind) -> Setup {
        Setup {
            kind,
            memory_limit: self.config.lua_memory_limit.0 as usize,
            insecure: self.config.lua_enable_insecure_api,
        }
    }

    /// A script came from the primary or from a file.
    pub fn take_script(&mut self, body: &[u8], loaded: bool) {
        if let Ok(head) = flags::of_script(body) {
            self.rooms.scripts.cache.add(sha1::digest(body), body, head, OnceCell::new(), loaded);
        }
    }

    /// Whether other nodes are told of what EVAL brings.
    fn tells_scripts(&self) -> bool {
        let heard = self.is_managed() || self.replication().replicas.any_keeps_scripts();
        heard && !hooks::is_replica(self)
    }

    /// Whether a command would change the cache where others are told of it: a pause, in which they
    /// cannot be, holds it.
    pub(crate) fn would_tell_script(&self, row: &Command, args: Args<'_>) -> bool {
        match row.name {
            "eval" | "eval_ro" => {
                let known = || self.rooms.scripts.cache.get(&sha1::digest(args.at(1))).is_some();
                self.tells_scripts() && !known()
            }
            "evalsha" | "evalsha_ro" => false,
            _ => {
                let heard =
                    || self.is_managed() || self.replication().replicas.iter().next().is_some();
                row.is(Flags::FEEDS_STREAM) && heard()
            }
        }
    }

    /// Tells other nodes of a script that EVAL brought.
    pub(crate) fn tell_script(&mut self, db: usize, body: &[u8]) {
        if !self.tells_scripts() || !hooks::stream_may_grow(self) {
            return;
        }
        let record = [RECORD, body].concat();
        self.outbox.push(db, [b"PING".as_slice(), &record]);
    }

    /// What a snapshot is to carry.
    pub fn carried_scripts(&self) -> Carried {
        let scripts = &self.rooms.scripts;
        let texts = |loaded: bool| {
            let scripts = scripts.cache.iter().filter(|script| script.is_loaded() == loaded);
            scripts.map(|script| script.body.to_vec()).collect()
        };
        Carried {
            loaded: texts(true),
            evaluated: texts(false),
            libraries: scripts.libraries.iter().map(|(_, library)| library.code.to_vec()).collect(),
        }
    }

    /// A snapshot has replaced the data: its libraries replace those here, its scripts are added.
    pub fn take_carried_scripts(&mut self, carried: &Carried) {
        self.rooms.scripts.flush_functions();
        carried.loaded.iter().for_each(|body| self.take_script(body, true));
        carried.evaluated.iter().for_each(|body| self.take_script(body, false));
        for text in &carried.libraries {
            if let Err(why) = self.load_library(text, false, 0) {
                hooks::warn(self, &format!("a library of the snapshot was left out: {why}"));
            }
        }
    }

    /// Loads a library; its name.
    pub(crate) fn load_library(
        &mut self,
        text: &[u8],
        replace: bool,
        timeout_ms: u64,
    ) -> Result<String, String> {
        let setup = self.setup(Kind::Functions);
        let interpreter = self.rooms.scripts.interpreter(setup)?;
        self.rooms.scripts.libraries.load(&interpreter, text, replace, timeout_ms)
    }
}
