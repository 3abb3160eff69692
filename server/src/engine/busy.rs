//! A bounded turn of the event loop in the middle of a command that takes long.
//!
//! A script that has run longer than `busy-reply-threshold` is interrupted by Lua every so many
//! instructions, and then lets `net` read and answer what came meanwhile. The gates refuse all but
//! a few commands then (BUSY), so nothing that is executed touches what the script is in the middle
//! of; what the script has added to the stream so far is put aside meanwhile.

use std::mem;

use crate::client::ClientId;

use super::Engine;

/// What `net` does in such a turn, with the client whose command is running.
pub type BusyTurn = dyn Fn(&mut Engine, ClientId);

impl Engine {
    /// The process is to end: a script that is in the middle of its run ends with an error.
    pub(crate) fn end_running_script(&mut self) {
        if let Some(running) = &mut self.rooms.scripts.running {
            running.kill = true;
        }
    }

    pub(crate) fn busy_turn(&mut self, running: ClientId, turn: &BusyTurn) {
        let outbox = mem::take(&mut self.outbox);
        turn(self, running);
        let between = mem::replace(&mut self.outbox, outbox);
        self.outbox.changes += between.changes;
    }
}
