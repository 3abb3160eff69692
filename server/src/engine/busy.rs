//! A bounded turn of the event loop in the middle of a command that takes long.
//!
//! A script is interrupted by Lua every so many instructions. Every tenth of a second it lets `net`
//! serve members and the operator, who would take this node for lost otherwise: they are told its
//! status, replicas hear from it and their acknowledgements are counted. Once it has run longer than
//! `busy-reply-threshold`, everybody is served. The gates refuse all but a few commands then (BUSY),
//! so nothing that is executed touches what the script is in the middle of; what the script has
//! added to the stream so far is put aside meanwhile.

use std::mem;

use crate::client::{Client, ClientId, Duty, Hold};
use crate::command::{Command, Flags};
use crate::resp::{Args, CommandError};

use super::gates::Flow;
use super::{Engine, Now};

/// What `net` does in such a turn, with the client whose command is running.
pub type BusyTurn = dyn Fn(&mut Engine, ClientId);

/// Who is served in the middle of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Members and the operator.
    Members,
    Everybody,
}

/// What becomes of a command that is read in the middle of a script.
#[derive(Debug)]
pub(super) enum Between {
    Runs,
    /// Until the script's end.
    Waits,
    Refused(CommandError),
}

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

    /// Such a turn begins. The data's clock stands still for the running command.
    pub(crate) fn between_begins(&mut self, now: Now) {
        self.note_stream();
        self.now = self.floor.under(now);
        self.ping_replicas();
        if self.serves_everybody() {
            self.go_on_between();
        }
    }

    /// In the middle of a command; true when nothing is.
    fn serves_everybody(&self) -> bool {
        let running = self.rooms.scripts.running.as_ref();
        running.is_none_or(|running| running.served == Served::Everybody)
    }

    /// Who came before everybody was served is told now that the script is busy, and may end it.
    fn go_on_between(&mut self) {
        for id in mem::take(&mut self.held_by_script) {
            let Some(mut client) = self.clients.take(id) else { continue };
            if client.duty == Duty::Commands && !client.is_internal() && client.hold == Hold::Script
            {
                client.hold = Hold::None;
                self.process_input(&mut client);
                self.settle(client);
            } else {
                self.held_by_script.push(id);
                self.clients.put_back(client);
            }
        }
    }

    /// Whether a connection is read in such a turn. The stream of a primary and relayed clients wait
    /// for the command's end, since what they say changes what it is in the middle of.
    pub(crate) fn reads_between(&self, client: &Client) -> bool {
        match client.duty {
            Duty::Link(_) => false,
            Duty::Replica => true,
            Duty::Commands if client.is_internal() => client.session.is_none(),
            // Who has just come may be the operator, and has not said so yet.
            Duty::Commands => client.last_command.is_none() || self.serves_everybody(),
        }
    }

    /// Whether a connection is written to in such a turn.
    pub(crate) fn writes_between(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some_and(|client| {
            let serves = client.is_internal() && client.session.is_none();
            serves || client.duty == Duty::Replica || self.serves_everybody()
        })
    }

    #[inline]
    pub(super) fn between(&self, client: &Client, row: &Command, args: Args<'_>) -> Between {
        match &self.rooms.scripts.running {
            None => Between::Runs,
            Some(running) => between(client, row, args, running.served, running.busy_text()),
        }
    }

    pub(super) fn wait_for_script(&mut self, client: &mut Client) -> Flow {
        client.hold = Hold::Script;
        self.held_by_script.push(client.id);
        Flow::Held
    }

    /// The script has ended: who waited for that goes on after the running command.
    pub(crate) fn between_is_over(&mut self) {
        for id in mem::take(&mut self.held_by_script) {
            if let Some(client) = self.clients.get_mut(id)
                && client.hold == Hold::Script
            {
                client.hold = Hold::None;
                self.resume(id);
            }
        }
    }
}

#[cold]
fn between(
    client: &Client,
    row: &Command,
    args: Args<'_>,
    served: Served,
    busy: &'static str,
) -> Between {
    let runs = match client.duty {
        // Anything else that a replica says may change this node's role.
        Duty::Replica => row.name == "replconf" && args.len() > 1 && args.is(1, "ack"),
        _ if client.is_internal() || served == Served::Everybody => row.is(Flags::ALLOW_BUSY),
        _ => row.is(Flags::NO_AUTH),
    };
    if runs {
        Between::Runs
    } else if client.is_internal() || client.duty == Duty::Replica || served == Served::Members {
        Between::Waits
    } else {
        Between::Refused(busy.into())
    }
}
