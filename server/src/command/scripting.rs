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
/// It may bring a script, which goes into the stream.
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

pub const COMMANDS: &[Command] = &[
    evaluator("eval", RUN, "2.6.0", eval, "Runs a script, which it is given."),
    evaluator("evalsha", RUN, "2.6.0", evalsha, "Runs a script of the cache, by its SHA1."),
    evaluator("eval_ro", RUN_RO, "7.0.0", eval, "Runs a script that may only read."),
    evaluator(
        "evalsha_ro",
        RUN_RO,
        "7.0.0",
        evalsha,
        "Runs a script of the cache that may only read, by its SHA1.",
    ),
    Command { subcommands: SCRIPT, ..row("script", -2, Flags::NONE, "About scripts.") },
];

const SCRIPT: &[Command] = &[
    Command {
        handler: debug,
        since: "3.2.0",
        ..row("debug", -3, Flags::NOSCRIPT, "Takes NO alone: there is no debugger.")
    },
    Command {
        handler: exists,
        ..row("exists", -3, ABOUT, "Tells for each SHA1 whether its script is in the cache.")
    },
    Command {
        handler: flush,
        ..row("flush", -2, ABOUT.with(Flags::FEEDS_STREAM), "Empties the cache of scripts.")
    },
    Command {
        handler: |cx| super::server::help(cx, "SCRIPT", SCRIPT),
        since: "5.0.0",
        ..row("help", 2, HELP, "Lists the subcommands.")
    },
    Command {
        handler: kill,
        ..row(
            "kill",
            2,
            ABOUT.with(Flags::ALLOW_BUSY),
            "Ends the running script, unless it has written.",
        )
    },
    Command {
        handler: load,
        ..row(
            "load",
            3,
            ABOUT.with(Flags::FEEDS_STREAM),
            "Puts a script into the cache and answers its SHA1.",
        )
    },
    Command {
        handler: show,
        since: "8.0.0",
        ..row("show", 3, ABOUT, "Answers the text of a script of the cache.")
    },
];

/// HELP answers while data are loaded or stale, too.
pub(super) const HELP: Flags = Flags(Flags::LOADING.0 | Flags::STALE.0);

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
