//! Lua scripts: EVAL and its kin, SCRIPT.

use std::cell::OnceCell;

use super::{Command, Flags, Group, Handled, Keys};
use crate::engine::{Context, Engine};
use crate::resp::CommandError;
use crate::script::cache::Sha;
use crate::script::interpreter::{Interpreter, Kept, Kind};
use crate::script::run::{Job, Name, key_count, run};
use crate::script::{flags, sha1};

const NO_SCRIPT: &str = "NOSCRIPT No matching script.";
const NOT_BUSY: &str = "NOTBUSY No scripts in execution right now.";
const UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the \
     dataset. You can either wait the script termination or kill the server in a hard way using the \
     SHUTDOWN NOSAVE command.";
const OBEYED: &str = "UNKILLABLE The busy script was sent by a master instance in the context of \
     replication and cannot be killed.";

const RUN: Flags = Flags(Flags::NOSCRIPT.0 | Flags::STALE.0 | Flags::MAY_REPLICATE.0);
/// It may bring a script, which goes into the stream: a pause holds it.
const RUN_RO: Flags =
    Flags(Flags::NOSCRIPT.0 | Flags::STALE.0 | Flags::READONLY.0 | Flags::FEEDS_STREAM.0);
const ABOUT: Flags = Flags(Flags::NOSCRIPT.0 | Flags::STALE.0);

const fn row(name: &'static str, arity: i32, flags: Flags, summary: &'static str) -> Command {
    Command { name, arity, flags, summary, group: Group::Scripting, since: "2.6.0", ..Command::ROW }
}

const fn evaluator(
    name: &'static str,
    flags: Flags,
    since: &'static str,
    handler: super::Handler,
    summary: &'static str,
) -> Command {
    Command { keys: Keys::Counted(2), since, handler, ..row(name, -3, flags, summary) }
}

#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    evaluator("eval", RUN, "2.6.0", eval, "Executes a server-side Lua script."),
    evaluator("evalsha", RUN, "2.6.0", evalsha, "Executes a server-side Lua script by SHA1 digest."),
    evaluator("eval_ro", RUN_RO, "7.0.0", eval, "Executes a read-only server-side Lua script."),
    evaluator("evalsha_ro", RUN_RO, "7.0.0", evalsha,
        "Executes a read-only server-side Lua script by SHA1 digest."),
    Command {
        subcommands: &[
            Command { handler: debug, since: "3.2.0",
                ..row("debug", -3, Flags::NOSCRIPT, "Sets the debug mode of server-side Lua scripts.") },
            Command { handler: exists,
                ..row("exists", -3, ABOUT, "Determines whether server-side Lua scripts exist in the script cache.") },
            Command { handler: flush,
                ..row("flush", -2, ABOUT.with(Flags::FEEDS_STREAM), "Removes all server-side Lua scripts from the script cache.") },
            Command { handler: help, since: "5.0.0",
                ..row("help", 2, Flags(Flags::LOADING.0 | Flags::STALE.0), "Returns helpful text about the different subcommands.") },
            Command { handler: kill,
                ..row("kill", 2, ABOUT.with(Flags::ALLOW_BUSY), "Terminates a server-side Lua script during execution.") },
            Command { handler: load,
                ..row("load", 3, ABOUT.with(Flags::FEEDS_STREAM), "Loads a server-side Lua script to the script cache.") },
            Command { handler: show, since: "8.0.0",
                ..row("show", 3, ABOUT, "Show server-side Lua script in the script cache.") },
        ],
        ..row("script", -2, Flags::NONE, "A container for Lua scripts management commands.")
    },
];

fn eval(cx: &mut Context<'_>) -> Handled {
    let keys = key_count(cx.args, crate::resp::errors::NOT_INTEGER)?;
    let sha = cx.engine.rooms.scripts.cache.sha(cx.args.at(1));
    if cx.engine.rooms.scripts.cache.get(&sha).is_none() {
        let body = cx.args.at(1);
        let db = cx.client.db;
        add(cx.engine, sha, body, false)?;
        cx.engine.tell_script(db, body);
    }
    run_cached(cx, &sha, keys)
}

fn evalsha(cx: &mut Context<'_>) -> Handled {
    let sha = sha1::parse(cx.args.at(1)).ok_or(NO_SCRIPT)?;
    let keys = key_count(cx.args, crate::resp::errors::NOT_INTEGER)?;
    if cx.engine.rooms.scripts.cache.get(&sha).is_none() {
        return Err(NO_SCRIPT.into());
    }
    run_cached(cx, &sha, keys)
}

/// Compiles and keeps a script; true if others should know.
fn add(engine: &mut Engine, sha: Sha, body: &[u8], loaded: bool) -> Result<bool, CommandError> {
    let head = flags::of_script(body).map_err(|text| format!("ERR {text}"))?;
    let setup = engine.setup(Kind::Scripts);
    let interpreter = engine.rooms.scripts.interpreter(setup)?;
    let function = OnceCell::from(compile(&interpreter, &body[head.1..])?);
    Ok(engine.rooms.scripts.cache.add(sha, body, head, function, loaded))
}

fn run_cached(cx: &mut Context<'_>, sha: &Sha, keys: usize) -> Handled {
    let setup = cx.engine.setup(Kind::Scripts);
    let scripts = &mut cx.engine.rooms.scripts;
    let interpreter = scripts.interpreter(setup)?;
    let script = scripts.cache.take_into_use(sha).ok_or(NO_SCRIPT)?;
    if script.function.get().is_none() {
        // It came from another node, where it was compiled before.
        let function = compile(&interpreter, &script.body[script.code_at..])?;
        let _ = script.function.set(function);
    }
    let function = script.function.get().expect("it was compiled");
    let ro = matches!(cx.row.name, "eval_ro" | "evalsha_ro");
    let name = Name::Script(sha);
    run(cx, &Job { interpreter, function, name, flags: script.flags, ro, keys })
}

fn compile(interpreter: &Interpreter, code: &[u8]) -> Result<Kept, CommandError> {
    let compiled = interpreter.compile(code);
    compiled.map_err(|text| format!("ERR Error compiling script (new function): {text}").into())
}

fn load(cx: &mut Context<'_>) -> Handled {
    let body = cx.args.at(2);
    let sha = sha1::digest(body);
    let known = cx.engine.rooms.scripts.cache.get(&sha).is_some();
    let told = if known {
        let cache = &mut cx.engine.rooms.scripts.cache;
        cache.add(sha, body, (flags::ScriptFlags::COMPATIBLE, 0), OnceCell::new(), true)
    } else {
        add(cx.engine, sha, body, true)?
    };
    if told {
        propagate(cx);
    }
    cx.reply().bulk(sha1::hex(&sha).as_bytes());
    Ok(())
}

/// What changes the cache goes to the replicas as it came, but never from a replica or in a pause.
fn propagate(cx: &mut Context<'_>) {
    use crate::engine::hooks;
    if !cx.from_primary && !hooks::is_replica(cx.engine) && hooks::stream_may_grow(cx.engine) {
        cx.propagate_always();
    }
}

fn exists(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    cx.reply().array(args.len() - 2);
    for text in args.iter().skip(2) {
        let cache = &cx.engine.rooms.scripts.cache;
        let found = sha1::parse(text).is_some_and(|sha| cache.get(&sha).is_some());
        cx.reply().int(i64::from(found));
    }
    Ok(())
}

fn flush(cx: &mut Context<'_>) -> Handled {
    let mode = cx.args.get(2).map(<[u8]>::to_ascii_lowercase);
    match (cx.args.len(), mode.as_deref()) {
        (2, _) | (3, Some(b"sync" | b"async")) => {}
        _ => return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".into()),
    }
    cx.engine.rooms.scripts.flush_scripts();
    propagate(cx);
    cx.reply().ok();
    Ok(())
}

fn show(cx: &mut Context<'_>) -> Handled {
    let sha = sha1::parse(cx.args.at(2)).ok_or(NO_SCRIPT)?;
    let script = cx.engine.rooms.scripts.cache.get(&sha).ok_or(NO_SCRIPT)?;
    let body = std::rc::Rc::clone(&script.body);
    cx.reply().bulk(&body);
    Ok(())
}

fn debug(cx: &mut Context<'_>) -> Handled {
    if cx.args.is(2, "no") {
        cx.reply().ok();
        return Ok(());
    }
    if cx.args.is(2, "yes") || cx.args.is(2, "sync") {
        return Err("ERR this server has no script debugger".into());
    }
    Err("ERR Use SCRIPT DEBUG YES/SYNC/NO".into())
}

fn kill(cx: &mut Context<'_>) -> Handled {
    end_running(cx, false)
}

/// SCRIPT KILL and FUNCTION KILL.
pub fn end_running(cx: &mut Context<'_>, functions: bool) -> Handled {
    let running = cx.engine.rooms.scripts.running.as_mut().ok_or(NOT_BUSY)?;
    if running.from_primary {
        return Err(OBEYED.into());
    }
    if running.wrote {
        return Err(UNKILLABLE.into());
    }
    if running.functions != functions {
        return Err(running.busy_text().into());
    }
    running.kill = true;
    cx.reply().ok();
    Ok(())
}

const HELP: &[&str] = &[
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEBUG (YES|SYNC|NO) [<engine_name>]",
    "    Set the debug mode for subsequent scripts executed of the specified engine.",
    "    Default engine name: 'lua'",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined",
    "     by the lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
    "SHOW <sha1>",
    "    Show a script from the scripts cache.",
    "HELP",
    "    Print this help.",
];

fn help(cx: &mut Context<'_>) -> Handled {
    lines(cx, HELP);
    Ok(())
}

/// Help texts are arrays of simple strings.
pub fn lines(cx: &mut Context<'_>, lines: &[&str]) {
    cx.reply().array(lines.len());
    for line in lines {
        cx.reply().simple(line);
    }
}
