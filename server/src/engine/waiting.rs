//! Bytes in, held clients and blocked commands going on, and what is due by time.

use std::mem;

use crate::client::{Client, ClientId, Closing, Duty, Hold};
use crate::command::lookup;
use crate::resp::{Args, CommandError, Limits, OwnedArgs, Parsed};

use super::blocking::{Blocked, OnTimeout};
use super::effects::{LinkEvent, LinkOwner, Timer};
use super::run::run_row;
use super::{Context, Engine, Flow, hooks};

/// Input that a connection may send before it has authenticated, in bytes.
const UNAUTHENTICATED_INPUT_BYTES: usize = 1024 * 1024;
/// Output at which a client's next command waits until that was written, in bytes.
pub(super) const OUTPUT_FULL_BYTES: usize = 16 * 1024 * 1024;
/// The same before authentication: what is owed then are errors and greetings.
const UNAUTHENTICATED_OUTPUT_BYTES: usize = 16 * 1024;
/// Places of arguments that are kept from one command to the next.
const SPANS_KEPT: usize = 4096;
/// Unread input that a client which may not run keeps before it is read no further, in bytes.
pub const HELD_INPUT_BYTES: usize = 256 * 1024;

fn output_full_bytes(client: &Client) -> usize {
    if client.authenticated {
        // So that what one command answers has half of the bound for itself.
        OUTPUT_FULL_BYTES.min(client.output_bound() / 2)
    } else {
        UNAUTHENTICATED_OUTPUT_BYTES
    }
}

/// Appends what has come of a command whose end is missing. Its room doubles, but not beyond what the
/// command has declared: the room is what counts towards the bound of all clients.
fn keep_input(client: &mut Client, bytes: &[u8]) {
    let needed = client.input.len() + bytes.len();
    let declared = client.parser.declared_bytes();
    if needed > client.input.capacity() && needed <= declared {
        let room = (2 * client.input.capacity()).clamp(needed, declared);
        client.input.reserve_exact(room - client.input.len());
    }
    client.input.extend_from_slice(bytes);
}

impl Engine {
    /// A connection was accepted.
    pub fn accepted(&mut self, peer: Option<std::net::SocketAddr>) -> ClientId {
        let id = self.clients.add(Duty::Commands, self.now.mono_ms());
        self.stats.connections += 1;
        let authenticated = self.acl.is_open();
        let client = self.clients.get_mut(id).expect("it was just added");
        client.peer = peer;
        client.authenticated = authenticated;
        self.unknown_clients += usize::from(!authenticated);
        id
    }

    /// Makes a link to `host:port` for `owner`; it begins to connect after this turn.
    pub fn open_link(&mut self, owner: LinkOwner, host: &str, port: u16) -> ClientId {
        let link = self.clients.add(Duty::Link(owner), self.now.mono_ms());
        self.effects.push(super::effects::Effect::Connect { link, host: host.to_owned(), port });
        link
    }

    /// Bytes arrived on a connection.
    pub fn receive(&mut self, id: ClientId, bytes: &[u8]) {
        let Some(mut client) = self.clients.take(id) else { return };
        self.forget_lap();
        self.stats.reads += 1;
        client.quiet_ms = self.now.mono_ms() - client.active_ms;
        client.active_ms = self.now.mono_ms();
        client.bytes_in += bytes.len() as u64;
        let total = match client.duty {
            Duty::Link(LinkOwner::Replication) => &mut self.stats.stream_in,
            _ => &mut self.stats.bytes_in,
        };
        *total += bytes.len() as u64;
        if let Duty::Link(owner) = client.duty {
            hooks::link_event(self, &mut client, owner, LinkEvent::Data(bytes));
        } else if client.input.is_empty() {
            let used = self.process(&mut client, bytes);
            if client.closing == Closing::No && used < bytes.len() {
                client.input.extend_from_slice(&bytes[used..]);
            }
        } else {
            keep_input(&mut client, bytes);
            if self.is_too_large(&client) {
                // Before what it says becomes a command.
                self.stats.evicted_clients += 1;
                client.closing = Closing::Now;
            } else {
                self.process_input(&mut client);
                self.bound_input(&mut client);
            }
        }
        if client.session.is_some() && !client.may_run() {
            self.return_held_session(&mut client);
        }
        self.settle(client);
    }

    /// A client whose unfinished command is larger than the bound is ended.
    fn bound_input(&mut self, client: &mut Client) {
        let bound = if client.authenticated {
            self.config.client_query_buffer_limit.0 as usize
        } else {
            UNAUTHENTICATED_INPUT_BYTES
        };
        if client.input.len() > bound {
            self.stats.clients_over_query_limit += 1;
            client.closing = Closing::Now;
        }
    }

    /// A link was established, failed or ended.
    pub fn link_event(&mut self, id: ClientId, event: LinkEvent<'_>) {
        let Some(mut client) = self.clients.take(id) else { return };
        let Duty::Link(owner) = client.duty else { return self.settle(client) };
        let gone = matches!(event, LinkEvent::Closed | LinkEvent::Failed(_));
        hooks::link_event(self, &mut client, owner, event);
        self.settle(client);
        if gone {
            self.clients.remove(id);
        }
    }

    /// Puts the running client back and queues what it has to write.
    #[inline]
    pub(super) fn settle(&mut self, mut client: Box<Client>) {
        if client.overflows() && client.closing != Closing::Now {
            client.closing = Closing::Now;
            self.stats.clients_over_output_limit += 1;
        }
        let wants = !client.out.is_empty()
            || client.closing != Closing::No
            || (client.read_stopped && Self::wants_read(&client));
        if wants && !client.flush_queued {
            client.flush_queued = true;
            self.clients.flush.push(client.id);
        }
        self.clients.put_back(client);
    }

    /// Whether more of a client's bytes may be read.
    pub fn wants_read(client: &Client) -> bool {
        client.closing == Closing::No
            && (client.hold == Hold::None && !client.output_full
                || client.input.len() < HELD_INPUT_BYTES && !matches!(client.duty, Duty::Link(_)))
    }

    pub(super) fn process_input(&mut self, client: &mut Client) {
        let mut input = mem::take(&mut client.input);
        let used = self.process(client, &input);
        if client.closing != Closing::No || used == input.len() {
            input.clear();
            input.shrink_to(4096);
        } else {
            input.drain(..used);
        }
        if client.input.is_empty() {
            client.input = input;
        } else {
            // A session that was laid upon the client meanwhile has put its command in front.
            client.input.append(&mut input);
        }
    }

    /// Executes the whole commands at the start of `buf`; returns how many bytes they took.
    fn process(&mut self, client: &mut Client, buf: &[u8]) -> usize {
        let mut at = 0;
        while at < buf.len() && client.may_run() {
            let limits = if client.authenticated {
                Limits::authenticated(self.config.proto_max_bulk_len.0 as i64)
            } else {
                Limits::UNAUTHENTICATED
            };
            let len = match client.parser.parse(&buf[at..], &limits) {
                Ok(Parsed::Command { len }) => len,
                Ok(Parsed::Incomplete) => break,
                Err(error) => {
                    client.reply().error(&CommandError::from(error.to_string()));
                    client.closing = Closing::AfterOutput;
                    return buf.len();
                }
            };
            if client.parser.spans.is_empty() {
                at += len;
                continue;
            }
            let spans = mem::take(&mut client.parser.spans);
            let text = client.parser.inline_args();
            let source = text.as_deref().unwrap_or(&buf[at..at + len]);
            let flow = self.execute(client, Args::new(source, &spans));
            if spans.capacity() <= SPANS_KEPT {
                client.parser.spans = spans;
            }
            if flow == Flow::Held {
                client.parser.reset();
                break;
            }
            at += len;
            client.output_full = client.out.len() > output_full_bytes(client);
        }
        at
    }

    /// Lets a client go on whose hold another room has ended.
    pub fn resume(&mut self, id: ClientId) {
        self.runnable.push_back(id);
    }

    /// Writes the reply of a command that was deferred, and lets its client go on.
    pub fn answer(&mut self, id: ClientId, write: impl FnOnce(&mut Client)) {
        if let Some(client) = self.clients.get_mut(id)
            && client.hold == Hold::Deferred
        {
            write(client);
            client.hold = Hold::None;
            self.clients.queue_flush(id);
            self.runnable.push_back(id);
        }
    }

    /// Runs what held clients have to say, in order of arrival; called when a pause has ended.
    pub fn resume_held(&mut self) {
        for id in mem::take(&mut self.held) {
            let Some(mut client) = self.clients.take(id) else { continue };
            if client.hold == Hold::Paused {
                client.hold = Hold::None;
                self.process_input(&mut client);
            }
            self.settle(client);
        }
        hooks::resumed(self);
    }

    /// A client's output was too large to go on, and has been written.
    pub fn output_written(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id) {
            client.output_full = false;
        }
        self.relay_read_on(id);
        self.resume(id);
        self.run_resumed();
        // What sessions are answered must be in envelopes before it is written.
        self.seal_sessions();
    }

    /// Goes on with clients that were resumed, until there is none.
    pub fn run_resumed(&mut self) {
        while let Some(id) = self.runnable.pop_front() {
            let Some(mut client) = self.clients.take(id) else { continue };
            if client.may_run() && matches!(client.duty, Duty::Commands | Duty::Replica) {
                self.process_input(&mut client);
            }
            self.settle(client);
        }
    }

    /// Runs the commands again that wait for the keys which were signalled.
    pub(super) fn serve_blocked(&mut self) {
        while let Some(key) = self.blocking.next_ready() {
            if hooks::refuses_writes(self) {
                continue;
            }
            for id in self.blocking.waiters(&key) {
                self.rerun(id, false);
            }
        }
    }

    fn rerun(&mut self, id: ClientId, timed_out: bool) {
        let Some(mut client) = self.clients.take(id) else { return };
        // Who is being ended would take along what it is served.
        let waits = client.hold == Hold::Blocked && client.closing == Closing::No;
        if !waits || client.blocked.is_none() {
            return self.settle(client);
        }
        let args = mem::take(&mut client.blocked.as_mut().expect("checked above").args);
        client.hold = Hold::None;
        self.run_again(&mut client, &args, timed_out);
        if client.hold == Hold::Blocked && !timed_out {
            client.blocked.as_mut().expect("it blocked again").args = args;
        } else {
            client.hold = Hold::None;
            client.commands += 1;
            self.forget_blocked(&mut client);
            self.runnable.push_back(id);
        }
        self.settle(client);
    }

    fn run_again(&mut self, client: &mut Client, args: &OwnedArgs, timed_out: bool) {
        let args = args.args();
        let Some(row) = lookup(args.at(0)) else { return };
        if let Err(error) = self.acl_check(client, row, args) {
            self.note_error(&error.0, Some(row));
            client.reply().error(&error);
            return;
        }
        run_row(&mut Context {
            engine: self,
            client,
            args,
            row,
            in_exec: false,
            timed_out,
            from_primary: false,
        });
        self.append_own_pushes(client);
        self.flush_outbox();
    }

    pub(super) fn forget_blocked(&mut self, client: &mut Client) -> Option<Box<Blocked>> {
        let blocked = client.blocked.take()?;
        self.blocking.forget(client.id, &blocked);
        Some(blocked)
    }

    /// Takes a blocked command away from its client, which stays held as `hold`: for UNBLOCK, and
    /// for the relay, which carries it to another node.
    pub fn take_blocked(&mut self, id: ClientId, hold: Hold) -> Option<Box<Blocked>> {
        let mut client = self.clients.take(id)?;
        let blocked = self.forget_blocked(&mut client);
        if blocked.is_some() {
            client.hold = hold;
        }
        self.clients.put_back(client);
        blocked
    }

    /// Ends a blocked command, or a wait for copies, with its answer for an expired deadline, or with an
    /// error.
    pub fn unblock(&mut self, id: ClientId, error: Option<&CommandError>) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        let Some(blocked) = client.blocked.as_ref().filter(|_| client.hold == Hold::Blocked) else {
            return self.unblock_wait(id, error);
        };
        let row = lookup(blocked.args.args().at(0));
        match (error, blocked.on_timeout) {
            (Some(error), _) => client.reply().error(error),
            (None, OnTimeout::Null) => client.reply().null(),
            (None, OnTimeout::NullArray) => client.reply().null_array(),
            (None, OnTimeout::Rerun) => {
                self.rerun(id, true);
                return true;
            }
        }
        client.commands += 1;
        if let Some(row) = row {
            self.note_unblocked(row);
        }
        if let Some(error) = error {
            // It is counted as if it had been refused, as in Valkey.
            self.note_error(&error.0, row);
        }
        self.take_blocked(id, Hold::None);
        self.clients.queue_flush(id);
        self.runnable.push_back(id);
        true
    }

    /// Performs what is due; `net` calls it at each wake-up, before it reads.
    pub fn tick(&mut self) {
        self.note_fallen_memory();
        while let Some(timer) = self.timers.due(self.now.mono_ms()) {
            match timer {
                Timer::Blocked(id) => self.blocked_due(id),
                Timer::Pause => {
                    if self.pause.expire(self.now.mono_ms()) {
                        self.resume_held();
                    }
                }
                other => hooks::timer(self, other),
            }
        }
    }

    fn blocked_due(&mut self, id: ClientId) {
        let now_ms = self.now.mono_ms();
        let due =
            self.clients.get(id).and_then(|client| client.blocked.as_ref()).is_some_and(
                |blocked| blocked.deadline_ms.is_some_and(|deadline| deadline <= now_ms),
            );
        if due {
            self.unblock(id, None);
        }
    }

    /// Lets the replication room fill a replica's output; true when there is something to write.
    pub fn fill_replica(&mut self, id: ClientId, room: usize) -> bool {
        let Some(mut client) = self.clients.take(id) else { return false };
        hooks::fill_replica(self, &mut client, room);
        let filled = !client.out.is_empty();
        self.clients.put_back(client);
        filled
    }

    /// The end of a turn, after everything that had arrived was executed. True asks for another
    /// turn at once, without waiting for events.
    pub fn turn_end(&mut self) -> bool {
        self.run_resumed();
        let again = hooks::turn(self);
        self.run_resumed();
        self.tell_changes(None);
        self.tell_broadcasts();
        self.seal_sessions();
        again
    }

    /// After the answers of a turn were written: a bounded part of what nobody waits for. True asks
    /// for another turn at once.
    pub fn spare_turn(&mut self) -> bool {
        !self.is_loading() && self.timed("snapshot-cycle", Self::snapshot_turn)
    }

    /// A connection is gone: forgets all that the client was part of.
    pub fn disconnected(&mut self, id: ClientId) {
        if self.clients.get(id).is_some_and(|client| matches!(client.duty, Duty::Link(_))) {
            return self.link_event(id, LinkEvent::Closed);
        }
        self.retire(id);
        self.clients.release(id);
    }

    /// A connection has sent its last byte, and what the client still says is read by nobody: it is
    /// gone for everybody else, though its connection stays until its own end was read.
    pub fn retired(&mut self, id: ClientId) {
        let of_a_node = |client: &Client| client.duty != Duty::Commands || client.is_internal();
        // Links and sessions settle what is between two nodes when the connection itself ends.
        if self.clients.get(id).is_some_and(|client| !of_a_node(client)) {
            self.retire(id);
        }
    }

    fn retire(&mut self, id: ClientId) {
        let Some(mut client) = self.clients.take(id) else { return };
        self.forget_blocked(&mut client);
        self.unwatch(&mut client);
        crate::command::pubsub::forget(self, &mut client);
        self.untrack(&mut client);
        self.unmonitor(&mut client);
        if client.hold == Hold::Paused {
            self.held.retain(|held| *held != id);
        }
        self.clients.retire(id);
        hooks::disconnected(self, &mut client);
    }
}
