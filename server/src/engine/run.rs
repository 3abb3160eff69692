//! Executing one row, propagating what it did, and WATCH.

use std::collections::HashMap;

use crate::client::{Client, ClientId, Duty};
use crate::command::{Command, Flags, Group, lookup, subcommand};
use crate::config::EventClasses;
use crate::resp::{Args, CommandError, OwnedArgs, errors};

use super::access::log::{Reason, Where};
use super::clients::Clients;
use super::measure;
use super::propagate::Verbatim;
use super::pubsub::name_bytes;
use super::replicate::note_own;
use super::{Context, Engine, hooks, observe};

/// Which clients watch which key of which database.
#[derive(Default)]
pub struct Watched {
    pub(crate) keys: HashMap<(u32, Box<[u8]>), Vec<ClientId>>,
}

/// Runs one handler and collects what it propagates: for top-level commands, for each command of
/// an EXEC and for commands of the primary's stream. The caller flushes the outbox.
pub fn run_row(cx: &mut Context<'_>) {
    cx.engine.outbox.dirty = 0;
    cx.engine.outbox.verbatim = Verbatim::IfDirty;
    let db = cx.client.db;
    let before = cx.client.out.len();
    let rerun = cx.client.blocked.is_some();
    if cx.engine.observers.has_monitors() {
        observe::announce(cx);
    }
    if cx.engine.events.wants(EventClasses::KEY_MISS) {
        note_missing(cx);
    }
    let begun_us = cx.engine.lap();
    let outcome = (cx.row.handler)(cx);
    let us = measure::note_command(cx, begun_us, outcome.is_err());
    if let Err(error) = outcome {
        if cx.row.group == Group::Scripting {
            cx.engine.note_script_error(&error.0);
        } else {
            cx.engine.note_error(&error.0, None);
        }
        cx.client.out.truncate(before);
        cx.client.reply().error(&error);
    }
    observe::observe(cx, us, before, rerun);
    let dirty = cx.engine.outbox.dirty;
    cx.engine.outbox.changes += dirty;
    if dirty > 0
        && !cx.engine.config.replica_read_only
        && !cx.from_primary
        && hooks::takes_own_writes(cx.engine)
    {
        note_own(cx);
    }
    hooks::drain_expired(cx.engine, Some(&mut *cx.client));
    let verbatim = match cx.engine.outbox.verbatim {
        Verbatim::IfDirty => dirty > 0,
        Verbatim::Always => true,
        Verbatim::Replaced => false,
    };
    if verbatim && !cx.from_primary && hooks::stream_is_open(cx.engine) {
        cx.engine.outbox.push(db, cx.args.iter());
    }
    if !cx.engine.in_script {
        cx.engine.publish_events(Some(cx.client));
    }
    if cx.engine.tracking.is_on() {
        track_row(cx);
    }
}

/// Tells what the command changed, and remembers what it read.
#[cold]
fn track_row(cx: &mut Context<'_>) {
    let in_script = cx.engine.in_script;
    if !in_script {
        cx.engine.tell_changes(Some(cx.client));
    }
    if !cx.from_primary {
        cx.engine.remember_keys(cx.client, cx.row, cx.args);
        if !in_script {
            Engine::caching_used(cx.client, cx.row);
        }
    }
}

/// Asks for the keys of a command that only reads, before it runs. `OBJECT` looks without a trace.
#[cold]
fn note_missing(cx: &mut Context<'_>) {
    if cx.row.is(Flags::READONLY) && !cx.args.is(0, "object") {
        let mut keys = Vec::new();
        cx.row.keys.visit(cx.args, |at| keys.push(Box::from(cx.args.at(at))));
        cx.engine.note_missing_keys(cx.client.db, keys);
    }
}

/// The rights of a transaction's client may have changed since it was queued.
#[inline]
fn check_queued(
    cx: &mut Context<'_>,
    row: &'static Command,
    args: Args<'_>,
) -> Result<(), CommandError> {
    if cx.from_primary || !cx.engine.acl.users.is_restrictive() {
        return Ok(());
    }
    cx.engine.acl_check_in(cx.client, row, args, Where::Multi).map_err(|(reason, _)| {
        let why = match reason {
            Reason::Command => "no permission to execute the command or subcommand",
            Reason::Key => "no permission to touch the specified keys",
            Reason::Channel => "no permission to access one of the channels used as arguments",
            _ => "no permission",
        };
        format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the \
             EXEC call. This command is no longer allowed for the following reason: {why}"
        )
        .into()
    })
}

/// Runs the commands of a transaction, one after the other, as the body of EXEC. What they
/// propagate is one transaction in the stream, too; EXEC itself adds nothing to it.
pub fn run_queued(cx: &mut Context<'_>, queue: &[OwnedArgs]) {
    for queued in queue {
        let args = queued.args();
        let Some(row) = lookup(args.at(0)).and_then(|row| subcommand(row, args)) else {
            cx.client.reply().error(&"ERR the command is not known any more".into());
            continue;
        };
        if let Err(error) = check_queued(cx, row, args) {
            cx.client.reply().error(&error);
            continue;
        }
        // A REPLICAOF among them has made this node a replica.
        if hooks::refuses_writes(cx.engine) && !cx.from_primary && cx.engine.writes(row, args) {
            cx.client.reply().error(&errors::READ_ONLY.into());
            continue;
        }
        run_row(&mut Context {
            engine: cx.engine,
            client: cx.client,
            args,
            row,
            in_exec: true,
            timed_out: false,
            from_primary: cx.from_primary,
        });
    }
    cx.engine.outbox.dirty = 0;
    cx.engine.outbox.verbatim = Verbatim::Replaced;
}

/// The next EXEC of these clients, one of which may be running, answers null.
fn break_watches(clients: &mut Clients, mut running: Option<&mut Client>, watchers: &[ClientId]) {
    for id in watchers {
        if let Some(client) = running.as_deref_mut().filter(|client| client.id == *id) {
            client.watch_broken = true;
        } else if let Some(other) = clients.get_mut(*id) {
            other.watch_broken = true;
        }
    }
}

impl Engine {
    /// Runs `row` now for a client that is not the running one, for example a held command that
    /// another room released. Propagates and serves who waits.
    pub fn run_now(&mut self, client: &mut Client, row: &'static Command, args: Args<'_>) {
        self.run_top_level(client, row, args);
    }

    /// Hands the outbox to the replication stream.
    #[inline]
    pub fn flush_outbox(&mut self) {
        if !self.outbox.is_empty() {
            hooks::feed_stream(self);
            self.outbox.clear();
        }
    }

    /// Keys that expired during the command go into the stream as DEL, before what follows.
    #[inline]
    pub fn note_expired(&mut self) {
        hooks::drain_expired(self, None);
    }

    /// Breaks the WATCH of everybody who watches `key`. `client` is the running one.
    #[inline]
    pub fn touch(&mut self, client: &mut Client, db: usize, key: &[u8]) {
        if !self.watched.keys.is_empty() {
            self.touch_watched(Some(client), db, key);
        }
        if self.tracking.is_on() {
            self.tracking.changed(Some(key), Some(client.id));
        }
    }

    /// As [`Self::touch`], for a change that no command made (eviction).
    pub fn touch_by_server(&mut self, running: Option<&mut Client>, db: usize, key: &[u8]) {
        if !self.watched.keys.is_empty() {
            self.touch_watched(running, db, key);
        }
        if self.tracking.is_on() {
            self.tracking.changed(Some(key), None);
        }
    }

    fn touch_watched(&mut self, running: Option<&mut Client>, db: usize, key: &[u8]) {
        let Some(watchers) = self.watched.keys.get(&(db as u32, Box::from(key))) else { return };
        break_watches(&mut self.clients, running, watchers);
    }

    /// Breaks every WATCH of a key that a flush of one or all databases is about to delete.
    pub fn touch_existing(&mut self, client: &mut Client, db: Option<usize>) {
        if self.tracking.is_on() {
            self.tracking.changed(None, None);
        }
        for ((watched_db, key), watchers) in &self.watched.keys {
            let flushed = db.is_none_or(|db| db as u32 == *watched_db);
            if !flushed || !self.keyspace.db_mut(*watched_db as usize).contains(key) {
                continue;
            }
            break_watches(&mut self.clients, Some(&mut *client), watchers);
        }
    }

    /// Breaks every WATCH of a key that is in either of two databases, which are about to be
    /// swapped: what is in neither stays absent. A key whose time has come is removed from both, so
    /// that it counts as a change for who watched it while it lived, and for nobody else.
    pub fn touch_swapped(&mut self, client: &mut Client, a: usize, b: usize) {
        if self.tracking.is_on() {
            self.tracking.changed(None, None);
        }
        for ((watched_db, key), watchers) in &self.watched.keys {
            if ![a, b].contains(&(*watched_db as usize)) {
                continue;
            }
            let in_a = self.keyspace.db_mut(a).contains(key);
            let in_b = self.keyspace.db_mut(b).contains(key);
            if in_a || in_b {
                break_watches(&mut self.clients, Some(&mut *client), watchers);
            }
        }
        hooks::drain_expired(self, Some(client));
    }

    /// Breaks every WATCH: the data are replaced.
    pub fn touch_all(&mut self, client: &mut Client) {
        if self.tracking.is_on() {
            self.tracking.changed(None, None);
        }
        for watchers in self.watched.keys.values() {
            break_watches(&mut self.clients, Some(&mut *client), watchers);
        }
    }

    pub fn watch(&mut self, client: &mut Client, key: &[u8]) {
        let name = (client.db as u32, Box::from(key));
        if client.watching.insert(name.clone()) {
            client.watching_bytes += name_bytes(key);
            self.watched.keys.entry(name).or_default().push(client.id);
        }
    }

    pub fn unwatch(&mut self, client: &mut Client) {
        client.watching_bytes = 0;
        for name in std::mem::take(&mut client.watching) {
            if let Some(watchers) = self.watched.keys.get_mut(&name) {
                watchers.retain(|id| *id != client.id);
                if watchers.is_empty() {
                    self.watched.keys.remove(&name);
                }
            }
        }
        client.watch_broken = false;
    }

    /// Whether `client` is the link or a replica, to which the rules for clients do not apply.
    pub fn is_node(client: &Client) -> bool {
        client.duty != Duty::Commands
    }
}
