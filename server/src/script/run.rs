//! Running scripts on the engine.

use std::cell::OnceCell;
use std::mem;
use std::rc::Rc;

use super::Running;
use super::admit::{Rights, Situation, may_begin, may_run};
use super::flags::ScriptFlags;
use super::interpreter::{Failure, Interpreter, Kept};
use super::state::{Request, Shared};
use crate::client::User;
use crate::command::{Command, Flags, Handled, lookup, subcommand};
use crate::engine::access::log::Where;
use crate::engine::busy::Served;
use crate::engine::run::run_row;
use crate::engine::{Context, hooks};
use crate::resp::{Args, CommandError, OwnedArgs, Proto};

/// What error texts and FUNCTION STATS call a script.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    Script(&'a super::cache::Sha),
    Function(&'a str),
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Script(sha) => f.write_str(&super::sha1::hex(sha)),
            Name::Function(name) => f.write_str(name),
        }
    }
}

/// A script or function that is to run.
pub struct Job<'a> {
    pub interpreter: Rc<Interpreter>,
    pub function: &'a Kept,
    pub name: Name<'a>,
    pub flags: ScriptFlags,
    /// The command was `EVAL_RO`, `EVALSHA_RO` or `FCALL_RO`.
    pub ro: bool,
    /// Arguments from the third on: that many are keys.
    pub keys: usize,
}

/// How many keys `args[2]` says there are.
pub fn key_count(args: Args<'_>, refusal: &'static str) -> Result<usize, CommandError> {
    let count = crate::resp::num::parse_i64(args.at(2)).ok_or(refusal)?;
    if count > args.len() as i64 - 3 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    usize::try_from(count).map_err(|_| "ERR Number of keys can't be negative".into())
}

fn situation(cx: &Context<'_>) -> Situation {
    let engine = &*cx.engine;
    let maxmemory = engine.config.maxmemory.0;
    let read_only_replica = hooks::refuses_writes(engine) && !cx.from_primary;
    Situation {
        read_only_replica,
        stale: hooks::is_stale(engine),
        out_of_memory: maxmemory > 0 && engine.memory.short && !cx.from_primary,
        writes_refused: None,
        obey: cx.from_primary,
    }
}

/// Why this write would be refused now.
fn writes_refused(cx: &Context<'_>, write: &'static Command) -> Option<CommandError> {
    if cx.from_primary { None } else { hooks::unavailable(cx.engine, cx.client, write) }
}

/// Runs a script and writes its reply.
pub fn run(cx: &mut Context<'_>, job: &Job<'_>) -> Handled {
    let mut situation = situation(cx);
    if !job.flags.has(ScriptFlags::COMPATIBLE) && !job.flags.has(ScriptFlags::NO_WRITES) {
        let write = lookup(b"set").expect("SET is a command");
        situation.writes_refused = writes_refused(cx, write);
    }
    let rights = may_begin(job.flags, job.ro, &situation)?;
    let shared = Rc::clone(&job.interpreter.shared);
    shared.begin(cx.engine.config.busy_reply_threshold_ms);
    shared.bound.set(cx.client.output_bound());
    let db = cx.client.db;
    let (args, proto) = (cx.args, cx.client.proto);
    let run = Run { rights, situation, name: job.name, command: OnceCell::new() };
    let mut host = || run.dispatch(cx, &shared);
    let outcome = job.interpreter.call(job.function, (args, job.keys), proto, &mut host);
    cx.client.db = db;
    cx.engine.rooms.scripts.running = None;
    cx.engine.between_is_over();
    cx.engine.outbox.nested_done();
    match outcome {
        Ok(()) => {
            let result = std::mem::take(&mut *shared.result.borrow_mut());
            if result.len() > shared.bound.get() {
                return Err("ERR not enough memory to read the script's result".into());
            }
            let error = result.strip_prefix(b"-").map(<[u8]>::trim_ascii_end);
            let error = error.map(|text| String::from_utf8_lossy(text).into_owned());
            if error.is_none() {
                cx.client.out.extend_from_slice(&result);
            }
            *shared.result.borrow_mut() = result;
            shared.trim();
            let Some(text) = error else { return Ok(()) };
            // An error that the script returns is the command's own.
            if shared.counted.get() {
                cx.engine.forget_error(&text);
            }
            Err(text.into())
        }
        Err(Failure { text, counted, .. }) => {
            if counted {
                cx.engine.forget_error(&text);
            }
            Err(text.into())
        }
    }
}

struct Run<'a> {
    rights: Rights,
    situation: Situation,
    name: Name<'a>,
    /// The command with its arguments, which may be long: copied once, when others are first served.
    command: OnceCell<Rc<OwnedArgs>>,
}

impl Run<'_> {
    fn dispatch(&self, cx: &mut Context<'_>, shared: &Shared) {
        match shared.request.get() {
            Request::Call => self.call(cx, shared),
            Request::AclCheck => acl_check(cx, shared),
            Request::Busy(served) => self.busy(cx, shared, served),
        }
    }

    /// Runs the command that the script composed; its reply is left in `shared.reply`.
    fn call(&self, cx: &mut Context<'_>, shared: &Shared) {
        let composed = shared.composed.borrow();
        let args = composed.args();
        let mut reply = shared.reply.borrow_mut();
        reply.clear();
        mem::swap(&mut cx.client.out, &mut reply);
        let proto = if shared.resp3.get() { Proto::Resp3 } else { Proto::Resp2 };
        let proto = mem::replace(&mut cx.client.proto, proto);
        match self.admit(cx, shared, args) {
            Err(error) => {
                let row = known(cx, args).and_then(|parent| subcommand(parent, args));
                cx.engine.note_error(&error.0, row);
                cx.client.reply().error(&error);
            }
            Ok(row) => {
                let mark = cx.engine.outbox.len();
                cx.engine.stats.commands += 1;
                cx.client.commands += 1;
                cx.engine.in_script = true;
                run_row(&mut Context {
                    engine: cx.engine,
                    client: cx.client,
                    args,
                    row,
                    in_exec: true,
                    timed_out: false,
                    from_primary: cx.from_primary,
                });
                cx.engine.in_script = false;
                if cx.client.overflows() {
                    cx.client.out.clear();
                    cx.client.reply().error(&"ERR The command's reply is too large".into());
                }
                if shared.replicate.get() & 2 == 0 {
                    cx.engine.outbox.truncate(mark);
                }
            }
        }
        cx.client.proto = proto;
        mem::swap(&mut cx.client.out, &mut reply);
    }

    fn admit(
        &self,
        cx: &mut Context<'_>,
        shared: &Shared,
        args: Args<'_>,
    ) -> Result<&'static Command, CommandError> {
        let row = find(cx, args)?;
        let denied = row.is(Flags::NOSCRIPT) && !cx.engine.debug.scripts_run_all;
        if denied || row.is(Flags::INTERNAL) {
            return Err("ERR This Valkey command is not allowed from script".into());
        }
        if cx.engine.acl.users.is_restrictive() && !cx.from_primary {
            let allowed = cx.engine.acl_check_in(cx.client, row, args, Where::Lua);
            allowed.map_err(|(_, text)| format!("ERR ACL failure in script: {text}"))?;
        }
        let wrote = shared.wrote.get();
        let first_write = row.is(Flags::WRITE) && !wrote;
        let refused = if first_write { writes_refused(cx, row) } else { None };
        if refused.is_some() {
            let situation = Situation { writes_refused: refused, ..self.situation.clone() };
            may_run(row, self.rights, wrote, &situation)?;
        } else {
            may_run(row, self.rights, wrote, &self.situation)?;
        }
        if first_write {
            shared.wrote.set(true);
        }
        Ok(row)
    }

    /// The script runs long: others are served for a moment, if it runs longer than
    /// `busy-reply-threshold` everybody.
    fn busy(&self, cx: &mut Context<'_>, shared: &Shared, served: Served) {
        if served == Served::Everybody && !shared.busy.replace(true) {
            let kill = if shared.functions.get() { "FUNCTION KILL" } else { "SCRIPT KILL" };
            hooks::warn(
                cx.engine,
                &format!(
                    "Slow script detected: still in execution after {} milliseconds. You can try \
                     killing the script using the {kill} command. Script name is: {}.",
                    shared.elapsed_ms(),
                    self.name
                ),
            );
        }
        cx.engine.rooms.scripts.running = Some(Running {
            name: self.name.to_string(),
            command: Rc::clone(self.command.get_or_init(|| Rc::new(cx.args.to_owned()))),
            functions: shared.functions.get(),
            wrote: shared.wrote.get(),
            from_primary: cx.from_primary,
            duration_ms: shared.elapsed_ms(),
            served,
            kill: false,
        });
        if let Some(turn) = cx.engine.busy_turn.clone() {
            cx.engine.busy_turn(cx.client.id, &*turn);
        }
        let running = cx.engine.rooms.scripts.running.take();
        if running.is_some_and(|running| running.kill) {
            shared.killed.set(true);
        }
    }
}

/// The command of this name, unless it was renamed.
fn known(cx: &Context<'_>, args: Args<'_>) -> Option<&'static Command> {
    lookup(args.at(0)).filter(|_| cx.from_primary || !cx.engine.is_renamed(args.at(0)))
}

/// The row that a script's command runs.
fn find(cx: &Context<'_>, args: Args<'_>) -> Result<&'static Command, CommandError> {
    let parent = known(cx, args).ok_or("ERR Unknown command called from script")?;
    let row = subcommand(parent, args).ok_or_else(|| {
        CommandError::from(format!(
            "ERR unknown subcommand '{:.128}'. Try {} HELP.",
            String::from_utf8_lossy(args.at(1)),
            parent.name.to_ascii_uppercase()
        ))
    })?;
    if row.arity_fits(args.len()) {
        Ok(row)
    } else {
        Err("ERR Wrong number of args calling command from script".into())
    }
}

/// `acl_check_cmd`: `1` allowed, `0` not, `?` no such command.
fn acl_check(cx: &mut Context<'_>, shared: &Shared) {
    let composed = shared.composed.borrow();
    let args = composed.args();
    let answer = match find(cx, args) {
        Err(_) => b'?',
        Ok(row) => match cx.client.user {
            User::Named(user) => {
                let allowed = cx.engine.acl_dry_run(user, cx.client.db, row, args).is_ok();
                if allowed && !row.is(Flags::INTERNAL) { b'1' } else { b'0' }
            }
            User::Internal => b'1',
        },
    };
    let mut reply = shared.reply.borrow_mut();
    reply.clear();
    reply.push(answer);
}
