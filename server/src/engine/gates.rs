//! The order of all gates, in one place.
//!
//! lookup → arity → authentication → redirect → loading and fencing → memory → read-only replica
//! → pause → MULTI's queue → execute → propagate → serve blocked commands.

use std::fmt::Write as _;

use crate::client::{Client, Closing, Duty, Hold, ReplyMode, User};
use crate::command::{Command, Flags, lookup, subcommand};
use crate::resp::{Args, CommandError, Proto, errors};
use crate::script::flags::ScriptFlags;

use super::busy::Between;
use super::hooks::{self, Redirected};
use super::pause::Scope;
use super::relay;
use super::run::run_row;
use super::{Context, Engine};

/// What became of a command that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It is consumed.
    Done,
    /// It was not taken: it stays in the input and the client is held.
    Held,
}

impl Engine {
    /// Passes one command of a client through all gates and executes it.
    pub(super) fn execute(&mut self, client: &mut Client, args: Args<'_>) -> Flow {
        if self.config.renames.is_empty() {
            self.execute_named(client, args)
        } else {
            self.execute_renamed(client, args)
        }
    }

    pub(super) fn execute_named(&mut self, client: &mut Client, args: Args<'_>) -> Flow {
        let flow = if client.reply_mode == ReplyMode::On {
            self.execute_gated(client, args)
        } else {
            self.execute_silently(client, args)
        };
        if client.session.is_some() && flow == Flow::Done {
            self.session_consumed(client);
        }
        flow
    }

    /// As `execute`, for a client that asked for no replies.
    fn execute_silently(&mut self, client: &mut Client, args: Args<'_>) -> Flow {
        if client.reply_mode == ReplyMode::SkipNext {
            client.reply_mode = ReplyMode::Skipping;
        }
        let before = client.out.len();
        let flow = self.execute_gated(client, args);
        match client.reply_mode {
            ReplyMode::On => {}
            ReplyMode::SkipNext | ReplyMode::Off => client.cut_output(before),
            ReplyMode::Skipping => {
                client.cut_output(before);
                if flow == Flow::Done {
                    client.reply_mode = ReplyMode::On;
                } else {
                    client.reply_mode = ReplyMode::SkipNext;
                }
            }
        }
        client.out.append(&mut self.events.own);
        flow
    }

    fn execute_gated(&mut self, client: &mut Client, args: Args<'_>) -> Flow {
        let (found, redirected) = match self.find(client, args) {
            Ok(row) => (Ok(row), relay::gate(self, client, row, args)),
            Err(error) => (Err(error), relay::gate_ill_formed(self, client, args)),
        };
        match redirected {
            Redirected::No => {}
            Redirected::Refused(error) => return self.refuse(client, &error, found.ok()),
            Redirected::Relayed => return Flow::Done,
            Redirected::Held => return Flow::Held,
        }
        let row = match found {
            Ok(row) => row,
            Err(error) => {
                let row = lookup(args.at(0)).and_then(|row| subcommand(row, args));
                return self.reject(client, &error, row);
            }
        };
        if client.duty == Duty::Replica && !row.is(Flags::LOCAL) {
            // It receives the stream; a command of its own would pass the pause and every gate of
            // the role, and its answer would stand in the middle of the stream.
            client.closing = Closing::Now;
            return Flow::Done;
        }
        // In the middle of a script nothing is evicted.
        if self.config.maxmemory.0 > 0 && self.rooms.scripts.running.is_none() {
            self.make_room(client);
            self.tell_evicted(client);
            if client.closing == Closing::Now {
                return Flow::Done;
            }
        }
        if let Err(error) = self.admit(client, row, args) {
            return self.reject(client, &error, Some(row));
        }
        match self.between(client, row, args) {
            Between::Runs => {}
            Between::Waits => return self.wait_for_script(client),
            Between::Refused(error) => return self.reject(client, &error, Some(row)),
        }
        if self.pause.scope().is_some() && self.pause_holds(client, row, args) {
            client.hold = Hold::Paused;
            self.held.push_back(client.id);
            self.note_held();
            return Flow::Held;
        }
        if client.multi.is_some() && !row.is(Flags::IN_MULTI) {
            return self.queue(client, row, args);
        }
        self.run_top_level(client, row, args);
        Flow::Done
    }

    /// Lookup, arity, authentication and rights.
    #[inline]
    fn find(
        &mut self,
        client: &mut Client,
        args: Args<'_>,
    ) -> Result<&'static Command, CommandError> {
        let name = args.at(0);
        let hidden = self.names_are_given && self.is_renamed(name);
        let Some(row) = lookup(name).filter(|_| !hidden) else {
            return Err(if client.authenticated { unknown(args) } else { errors::NO_AUTH.into() });
        };
        let Some(row) = subcommand(row, args) else {
            return Err(unknown_subcommand(row, args));
        };
        client.last_command = Some(row);
        if !client.authenticated && !row.is(Flags::NO_AUTH) {
            return Err(errors::NO_AUTH.into());
        }
        if !row.arity_fits(args.len()) {
            return Err(errors::wrong_arity(&full_name(args, row)));
        }
        if row.is(Flags::INTERNAL) && client.user != User::Internal {
            return Err(format!(
                "NOPERM User {} has no permissions to run the '{}' command",
                String::from_utf8_lossy(self.acl.name_of(client.user)),
                full_name(args, row)
            )
            .into());
        }
        self.acl_check(client, row, args)?;
        Ok(row)
    }

    /// Loading, fencing, memory, read-only replica and the bounds of a subscribed connection.
    #[inline]
    fn admit(
        &self,
        client: &Client,
        row: &'static Command,
        args: Args<'_>,
    ) -> Result<(), CommandError> {
        if client.subscriptions.is_some()
            && client.proto == Proto::Resp2
            && client.subscription_count() > 0
            && !row.is(Flags::IN_SUBSCRIBE)
        {
            return Err(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context",
                row.name
            )
            .into());
        }
        if client.traits.monitor && row.is(Flags::WRITE | Flags::READONLY | Flags::MAY_REPLICATE) {
            return Err("ERR Replica can't interact with the keyspace".into());
        }
        if let Some(error) = hooks::unavailable(self, client, row) {
            return Err(error);
        }
        if row.is(Flags::IN_MULTI) && row.name == "exec" {
            self.admit_queued(client)?;
        }
        if self.memory.short {
            super::evict::refused_for_memory(client, row)?;
        }
        if client.duty == Duty::Commands
            && hooks::refuses_writes(self)
            && self.writes(row, args)
            // Then the pause holds it until it is known who is the primary.
            && !self.is_failing_over()
        {
            return Err(errors::READ_ONLY.into());
        }
        Ok(())
    }

    /// Whether a command is a write, or a script that does not say that it is none.
    pub fn writes(&self, row: &Command, args: Args<'_>) -> bool {
        let declared = || self.rooms.scripts.declared(row, args);
        row.is(Flags::WRITE) || declared().is_some_and(|flags| !flags.has(ScriptFlags::NO_WRITES))
    }

    /// What was queued when it could run may be refused by now, and then the whole transaction is.
    fn admit_queued(&self, client: &Client) -> Result<(), CommandError> {
        let Some(multi) = &client.multi else { return Ok(()) };
        // Whatever refuses any command refuses a write.
        let write = lookup(b"set").expect("SET is a command");
        if hooks::unavailable(self, client, write).is_none() {
            return Ok(());
        }
        let rows = multi.queue.iter().filter_map(|queued| {
            let args = queued.args();
            lookup(args.at(0)).and_then(|row| subcommand(row, args))
        });
        let mut refused = rows.filter_map(|row| hooks::unavailable(self, client, row));
        refused.next().map_or(Ok(()), Err)
    }

    fn pause_holds(&self, client: &Client, row: &Command, args: Args<'_>) -> bool {
        if client.duty != Duty::Commands || row.is(Flags::LOCAL) || row.is(Flags::INTERNAL) {
            return false;
        }
        match (self.pause.scope(), &client.multi) {
            (None, _) => false,
            (Some(Scope::All), _) => true,
            (Some(Scope::Writes), Some(multi)) if row.name == "exec" => {
                multi.queue.iter().any(|queued| {
                    let args = queued.args();
                    let row = lookup(args.at(0)).and_then(|row| subcommand(row, args));
                    row.is_some_and(|row| self.may_feed_stream(row, args))
                })
            }
            (Some(Scope::Writes), _) => self.may_feed_stream(row, args),
        }
    }

    /// Whether a command may add to the stream, as far as it is known before it runs.
    fn may_feed_stream(&self, row: &Command, args: Args<'_>) -> bool {
        let declared = || self.rooms.scripts.declared(row, args);
        row.is(Flags::WRITE | Flags::MAY_REPLICATE | Flags::SHARED)
            && !declared().is_some_and(|flags| flags.has(ScriptFlags::NO_WRITES))
            || self.would_tell_script(row, args)
    }

    /// A command does not come to run. With an EXEC its transaction ends, so that a client which
    /// does not look at the error is not left inside of it.
    fn reject(&mut self, client: &mut Client, error: &CommandError, row: Option<&Command>) -> Flow {
        if row.is_none_or(|row| row.name != "exec") || client.multi.take().is_none() {
            return self.refuse(client, error, row);
        }
        self.unwatch(client);
        let why = error.0.strip_prefix("ERR ").unwrap_or(&error.0);
        let text = format!("EXECABORT Transaction discarded because of: {why}");
        self.refuse(client, &text.into(), row)
    }

    fn refuse(&mut self, client: &mut Client, error: &CommandError, row: Option<&Command>) -> Flow {
        self.note_error(&error.0, row);
        if let Some(multi) = &mut client.multi {
            multi.broken = true;
        }
        let before = client.out.len();
        client.reply().error(error);
        if self.gates_output() {
            // A refusal depends on no data.
            Self::exempt_output(client, before);
        }
        Flow::Done
    }

    fn queue(&mut self, client: &mut Client, row: &'static Command, args: Args<'_>) -> Flow {
        if row.is(Flags::NO_MULTI) {
            let name = full_name(args, row);
            let error = format!("ERR Command '{name}' not allowed inside a transaction");
            return self.refuse(client, &error.into(), Some(row));
        }
        let multi = client.multi.as_mut().expect("the caller saw it");
        let declared = self.rooms.scripts.declared(row, args);
        multi.needs_memory |=
            row.is(Flags::DENYOOM) || declared.is_some_and(ScriptFlags::needs_memory);
        if row.name == "select" {
            let index = args.get(1).and_then(crate::resp::num::parse_i64);
            let index = index.and_then(|index| usize::try_from(index).ok());
            multi.db = index.filter(|index| *index < self.config.databases).or(multi.db);
        }
        let queued = args.to_owned();
        multi.bytes += queued.size_bytes();
        multi.queue.push(queued);
        if multi.bytes as u64 > self.config.client_query_buffer_limit.0 {
            client.closing = Closing::Now;
        }
        client.reply().simple("QUEUED");
        Flow::Done
    }

    /// Executes a command that passed every gate, then propagates and serves who waits.
    pub(super) fn run_top_level(
        &mut self,
        client: &mut Client,
        row: &'static Command,
        args: Args<'_>,
    ) {
        client.commands += 1;
        self.stats.commands += 1;
        let before = client.out.len();
        let marked = client.traits.no_touch || client.traits.import_source;
        if marked {
            self.mark_use(client);
        }
        // An own write finds a key gone whose time has come, as it would on a primary.
        let own = !self.config.replica_read_only
            && (row.is(Flags::WRITE | Flags::MAY_REPLICATE) || row.name == "exec")
            && hooks::takes_own_writes(self);
        if own {
            self.keyspace.set_may_expire(true);
        }
        run_row(&mut Context {
            engine: self,
            client,
            args,
            row,
            in_exec: false,
            timed_out: false,
            from_primary: false,
        });
        if marked {
            // Whatever the client said in this very command.
            self.keyspace.set_quiet(false);
            self.keyspace.ignore_expiry(false);
        }
        if own {
            hooks::stream_changed(self);
        }
        if row.is(Flags::LOCAL) && self.gates_output() {
            Self::exempt_output(client, before);
        }
        if client.hold == Hold::Blocked {
            // It counts when it is answered.
            client.commands -= 1;
        }
        client.carried_wait = None;
        self.append_own_pushes(client);
        self.flush_outbox();
        // What a script in the middle of its run has pushed is its own until its end.
        if self.blocking.has_ready() && self.rooms.scripts.running.is_none() {
            self.timed("command-unblocking", Self::serve_blocked);
        }
    }
}

impl Engine {
    /// What a client said of how its commands use keys, for the one that is about to run.
    #[cold]
    fn mark_use(&mut self, client: &Client) {
        self.keyspace.set_quiet(client.traits.no_touch);
        self.keyspace.ignore_expiry(client.traits.import_source && self.config.import_mode);
    }
}

/// The name of a command as errors and COMMAND print it: `client|setname` for a subcommand.
pub fn full_name(args: Args<'_>, row: &Command) -> String {
    match lookup(args.at(0)) {
        Some(parent) if !std::ptr::eq(parent, row) => format!("{}|{}", parent.name, row.name),
        _ => row.name.to_owned(),
    }
}

fn unknown(args: Args<'_>) -> CommandError {
    let mut text = format!(
        "ERR unknown command '{:.128}', with args beginning with: ",
        String::from_utf8_lossy(args.at(0))
    );
    let start = text.len();
    for arg in args.iter().skip(1) {
        let room = 128usize.saturating_sub(text.len() - start);
        if room == 0 {
            break;
        }
        write!(text, "'{:.room$}' ", String::from_utf8_lossy(arg))
            .expect("a string takes everything");
    }
    text.into()
}

fn unknown_subcommand(row: &Command, args: Args<'_>) -> CommandError {
    format!(
        "ERR unknown subcommand '{:.128}'. Try {} HELP.",
        String::from_utf8_lossy(args.at(1)),
        row.name.to_ascii_uppercase()
    )
    .into()
}
