//! Binds the relay to connections: who is led where, and one link to the new primary per client.
//!
//! Without I/O, as the whole engine: links are opened by an effect, and their bytes come back as
//! link events. The gate ([`gate`]) is asked about every command; while nobody is led anywhere it
//! costs one look at a flag. [`links`] follows what happens on the links, [`sessions`] is the other
//! end, where this node runs sessions for clients of another.

mod decide;
pub mod links;
mod origins;
pub mod sessions;

use std::collections::HashMap;

use crate::client::{Client, ClientId, Closing, Duty, Hold};
use crate::command::{Command, Flags, lookup, subcommand};
use crate::relay::Target;
use crate::relay::link::{Credentials, Link};
use crate::relay::session::{Session, encode};
use crate::resp::Args;

use super::Engine;
use super::effects::LinkOwner;
use super::hooks::Redirected;

use decide::Uses;
pub use decide::{Mode, Redirect, key_slot};

/// Bytes of unanswered commands after which a relayed client is not read any further.
const IN_FLIGHT_BYTES: usize = 1 << 20;

/// The relay room's state.
#[derive(Default)]
pub struct Relays {
    /// Where clients are led now.
    redirect: Option<Redirect>,
    origins: origins::Origins,
    /// Maintenance notifications sent.
    notices: u64,
    /// A redirect is set, or a client is still relayed: the gate must look.
    engaged: bool,
    relayed: HashMap<ClientId, Relayed>,
    /// From a link to the client that it serves.
    by_link: HashMap<ClientId, ClientId>,
    /// Clients that wait for another attempt to open their session: since when, by serial number.
    waiting: HashMap<u64, Waiting>,
    /// Sessions that this node runs for clients of another.
    sessions: usize,
    /// Sessions whose count of answered commands may have changed in this turn.
    touched: Vec<ClientId>,
}

/// A client whose commands go to another node.
struct Relayed {
    link: ClientId,
    account: Link,
    /// The first bytes on the link, until it is connected.
    hello: Vec<u8>,
    /// What was sent along, kept until the other side has taken it over.
    carried: Option<Session>,
    /// The node at the other end.
    target: Target,
    /// Commands answered, and pushes to be repeated once so many are.
    answered: u64,
    repeats: Vec<(u64, Vec<u8>)>,
    /// When the other side must have opened the session, or given it back, in milliseconds.
    until_ms: Option<u64>,
}

struct Waiting {
    client: ClientId,
    since_ms: u64,
}

impl Relays {
    /// Where clients are led now.
    pub fn redirect(&self) -> Option<&Redirect> {
        self.redirect.as_ref()
    }

    /// Connections that are answered from another node.
    pub fn relayed(&self) -> usize {
        self.relayed.len()
    }

    fn refresh(&mut self) {
        self.engaged =
            self.redirect.is_some() || !self.relayed.is_empty() || !self.waiting.is_empty();
    }
}

impl Engine {
    /// Leads clients elsewhere from now on, or no longer. Commands that a pause holds are decided
    /// when the pause ends; blocked ones, and sessions of other nodes' clients, move at once.
    fn set_redirect(&mut self, redirect: Option<Redirect>) {
        if self.rooms.relays.redirect == redirect {
            return;
        }
        let leads = redirect.is_some();
        self.rooms.relays.redirect = redirect;
        self.rooms.relays.refresh();
        self.ask_sessions_back();
        if leads {
            self.move_sessions_on();
            self.lead_blocked_away();
        }
    }

    /// Whether a client's connection could be closed behind what it was answered so far without an answer
    /// missing: nothing is being executed or waited for, no transaction is open, nothing unread has arrived.
    /// One that always has another command has no other moment than that of an answer.
    pub fn is_between_commands(&self, client: &Client) -> bool {
        let relayed = self.rooms.relays.relayed.get(&client.id);
        client.hold == Hold::None
            && client.input.is_empty()
            && client.multi.is_none()
            && client.watching.is_empty()
            && relayed.is_none_or(|relayed| relayed.account.is_between_commands())
    }

    /// Whether another node has still to answer a command of this client.
    pub(super) fn awaits_relay(&self, id: ClientId) -> bool {
        self.rooms.relays.relayed.get(&id).is_some_and(|relayed| relayed.account.in_flight() > 0)
    }

    /// Blocked commands, in the order in which they blocked: relayed, or told where to go.
    fn lead_blocked_away(&mut self) {
        let mut blocked: Vec<(u64, ClientId)> = self
            .clients
            .iter()
            .filter(|client| client.duty == Duty::Commands && client.hold == Hold::Blocked)
            .filter(|client| !client.is_internal())
            .filter_map(|client| Some((client.blocked.as_ref()?.since_ms, client.id)))
            .collect();
        blocked.sort_unstable();
        for (_, id) in blocked {
            let Some(taken) = self.take_blocked(id, Hold::Relayed) else { continue };
            let Some(mut client) = self.clients.take(id) else { continue };
            let redirect = self.rooms.relays.redirect.as_ref();
            if let Some(error) =
                redirect.and_then(|redirect| redirect.refusal_of_blocked(&client, &taken))
            {
                client.reply().error(&error);
                client.hold = Hold::None;
                self.resume(id);
            } else {
                let pending = self.pending_of(&taken);
                self.open_relay(&mut client, Some(pending));
            }
            self.clients.put_back(client);
            self.clients.queue_flush(id);
        }
    }

    /// Opens a session for `client` on the node where clients are led.
    fn open_relay(&mut self, client: &mut Client, pending: Option<crate::relay::session::Pending>) {
        let Some(redirect) = &self.rooms.relays.redirect else { return };
        let target = redirect.target.clone();
        self.tell_to_forget(client);
        let mut session = self.export(client);
        session.pending = pending;
        let credentials = self.relay_credentials();
        let (account, hello) = Link::open(credentials.as_ref(), &session);
        let link = self.open_link(LinkOwner::Relay, &target.host, target.port);
        let until_ms = Some(self.now.mono_ms() + links::ANSWER_MS);
        let carried = Some(session);
        let (answered, repeats) = (0, Vec::new());
        let relayed =
            Relayed { link, account, hello, carried, target, answered, repeats, until_ms };
        self.rooms.relays.by_link.insert(link, client.id);
        self.rooms.relays.relayed.insert(client.id, relayed);
        self.rooms.relays.refresh();
    }

    /// Sends one command of a relayed client.
    fn forward(&mut self, client: &mut Client, args: Args<'_>) {
        let relays = &mut self.rooms.relays;
        let Some(relayed) = relays.relayed.get_mut(&client.id) else { return };
        let Some(link) = self.clients.get_mut(relayed.link) else {
            // Its end is being handled; nobody can say any more what becomes of this command.
            client.closing = Closing::AfterOutput;
            return;
        };
        let argv: Vec<Vec<u8>> = args.iter().map(<[u8]>::to_vec).collect();
        relayed.account.send(encode(&argv), &mut link.out);
        if relayed.account.in_flight_bytes() > IN_FLIGHT_BYTES {
            client.hold = Hold::Relayed;
        }
        self.clients.queue_flush(relayed.link);
    }

    /// A push may have overtaken answers that another node still owes this client: it comes once
    /// more behind them.
    pub(super) fn relay_repeats(&mut self, id: ClientId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(relayed) = self.rooms.relays.relayed.get_mut(&id)
            && relayed.account.in_flight() > 0
        {
            let behind = relayed.answered + relayed.account.in_flight() as u64;
            let mut push = Vec::new();
            write(&mut push);
            relayed.repeats.push((behind, push));
        }
    }

    /// The member follows that primary now, or none: its clients belong there.
    pub(in crate::engine) fn lead_clients(&mut self, target: Option<&crate::handover::Target>) {
        self.lead_to_primary(target.map(target_of));
    }

    /// How this node proves to others that it may open sessions: as the internal user, or, on a
    /// server that no operator manages, as its replication does.
    fn relay_credentials(&self) -> Option<Credentials> {
        super::hooks::node_credentials(self).map(|(user, password)| Credentials { user, password })
    }

    /// A client's connection is gone; so is its session.
    pub(super) fn relay_disconnected(&mut self, client: &Client) {
        if client.session.is_some() {
            self.rooms.relays.sessions -= 1;
        }
        self.rooms.relays.waiting.remove(&client.id.serial);
        if let Some(relayed) = self.rooms.relays.relayed.remove(&client.id) {
            self.rooms.relays.by_link.remove(&relayed.link);
            self.clients.close(relayed.link, Closing::Now);
        }
        self.rooms.relays.refresh();
    }
}

/// The redirect gate: whether a command runs here, is refused with the way to go, or is relayed.
#[inline]
pub fn gate(
    engine: &mut Engine,
    client: &mut Client,
    row: &'static Command,
    args: Args<'_>,
) -> Redirected {
    if !engine.rooms.relays.engaged || client.duty != Duty::Commands || client.session.is_some() {
        return Redirected::No;
    }
    gate_engaged(engine, client, row, args)
}

#[cold]
fn gate_engaged(
    engine: &mut Engine,
    client: &mut Client,
    row: &'static Command,
    args: Args<'_>,
) -> Redirected {
    let relays = &engine.rooms.relays;
    let uses = || uses_of(engine, client, row, args);
    if let Some(relayed) = relays.relayed.get(&client.id) {
        let here = row.name == "quit"
            || row.name == "reset"
            || !relayed.account.in_multi()
                && decide::stays_here(relays.redirect.as_ref(), client, row, uses);
        return if here { run_here(engine, client, row) } else { relay(engine, client, args) };
    }
    let Some(redirect) = &relays.redirect else { return Redirected::No };
    if client.is_internal() || decide::stays_here(Some(redirect), client, row, uses) {
        return Redirected::No;
    }
    if let Some(error) = redirect.refusal(client, row, args) {
        if row.name == "exec" {
            client.multi = None;
            engine.unwatch(client);
        }
        return Redirected::Refused(error);
    }
    engine.open_relay(client, None);
    relay(engine, client, args)
}

/// What a command does to data, or for EXEC what is queued does.
fn uses_of(engine: &Engine, client: &Client, row: &Command, args: Args<'_>) -> Uses {
    let one = |row: &Command, args| Uses {
        reads: row.is(Flags::READONLY),
        writes: engine.writes(row, args),
    };
    let mut uses = one(row, args);
    if row.name == "exec"
        && let Some(multi) = &client.multi
    {
        for queued in &multi.queue {
            let args = queued.args();
            let Some(row) = lookup(args.at(0)).and_then(|row| subcommand(row, args)) else {
                continue;
            };
            let Uses { reads, writes } = one(row, args);
            uses = Uses { reads: uses.reads || reads, writes: uses.writes || writes };
        }
    }
    uses
}

/// A command of a relayed client that this node answers itself waits until everything before it
/// is answered.
fn run_here(engine: &mut Engine, client: &mut Client, row: &'static Command) -> Redirected {
    let Some(relayed) = engine.rooms.relays.relayed.get(&client.id) else { return Redirected::No };
    if relayed.account.in_flight() > 0 {
        client.hold = Hold::Relayed;
        return Redirected::Held;
    }
    // What such a command changes is told to the other side by opening the session anew.
    if matches!(row.name, "hello" | "auth" | "select" | "setname" | "reset" | "reply") {
        engine.drop_link(client.id);
    }
    Redirected::No
}

fn relay(engine: &mut Engine, client: &mut Client, args: Args<'_>) -> Redirected {
    if client.tracking.is_some()
        && let Some(row) = lookup(args.at(0)).and_then(|row| subcommand(row, args))
    {
        // Before it is read there: what changes then is told here.
        engine.remember_keys(client, row, args);
        Engine::caching_used(client, row);
    }
    engine.forward(client, args);
    Redirected::Relayed
}

/// An unknown or ill-formed command of a relayed client: inside its transaction the other side must
/// see it, otherwise its error waits for the answers before it.
pub fn gate_ill_formed(engine: &mut Engine, client: &mut Client, args: Args<'_>) -> Redirected {
    if !engine.rooms.relays.engaged {
        return Redirected::No;
    }
    let Some(relayed) = engine.rooms.relays.relayed.get(&client.id) else { return Redirected::No };
    if relayed.account.in_multi() {
        return relay(engine, client, args);
    }
    if relayed.account.in_flight() > 0 {
        client.hold = Hold::Relayed;
        return Redirected::Held;
    }
    Redirected::No
}

/// A member's address as clients are told it.
fn target_of(target: &crate::handover::Target) -> Target {
    let crate::handover::Target { member, host, port, hostname } = target.clone();
    let hostname = (!hostname.is_empty()).then_some(hostname);
    Target { host, port, hostname, member: Some(member) }
}
