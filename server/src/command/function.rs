//! Libraries of functions: FUNCTION, FCALL, `FCALL_RO`.

use std::rc::Rc;
use std::time::Instant;

use super::scripting::{HELP, end_running};
use super::{Command, Flags, Group, Handled, Keys};
use crate::engine::Context;
use crate::glob;
use crate::persistence::rdb::functions as payload;
use crate::script::interpreter::Kind;
use crate::script::library::{Callable, Libraries, Policy};
use crate::script::run::{Job, Name, key_count, run};

/// What loading a library may take, in milliseconds.
const LOAD_MS: u64 = 500;

const WRITE: Flags = Flags(Flags::NOSCRIPT.0 | Flags::WRITE.0);
const CALL: Flags = Flags(Flags::NOSCRIPT.0 | Flags::STALE.0 | Flags::MAY_REPLICATE.0);

const fn row(name: &'static str, arity: i32, flags: Flags, summary: &'static str) -> Command {
    Command { name, arity, flags, summary, group: Group::Scripting, since: "7.0.0", ..Command::ROW }
}

const CALL_RO: Flags = Flags(Flags::NOSCRIPT.0 | Flags::STALE.0 | Flags::READONLY.0);
const WHILE_BUSY: Flags = Flags(Flags::NOSCRIPT.0 | Flags::ALLOW_BUSY.0);

pub const COMMANDS: &[Command] = &[
    Command {
        handler: fcall,
        keys: Keys::Counted(2),
        ..row("fcall", -3, CALL, "Calls a function.")
    },
    Command {
        handler: fcall,
        keys: Keys::Counted(2),
        ..row("fcall_ro", -3, CALL_RO, "Calls a function that may only read.")
    },
    Command { subcommands: FUNCTION, ..row("function", -2, Flags::NONE, "About functions.") },
];

#[rustfmt::skip]
const FUNCTION: &[Command] = &[
    Command { handler: delete, ..row("delete", 3, WRITE, "Removes a library with its functions.") },
    Command { handler: dump, ..row("dump", 2, Flags::NOSCRIPT, "Answers a payload of all libraries, for RESTORE.") },
    Command { handler: flush, ..row("flush", -2, WRITE, "Removes all libraries.") },
    Command { handler: |cx| super::server::help(cx, "FUNCTION", FUNCTION), ..row("help", 2, HELP, "Lists the subcommands.") },
    Command { handler: kill, ..row("kill", 2, WHILE_BUSY, "Ends the running function, unless it has written.") },
    Command { handler: list, ..row("list", -2, Flags::NOSCRIPT, "Lists the libraries and their functions.") },
    Command { handler: load, ..row("load", -3, WRITE.with(Flags::DENYOOM), "Takes a library and answers its name.") },
    Command { handler: restore, ..row("restore", -3, WRITE.with(Flags::DENYOOM), "Takes the libraries of a payload.") },
    Command { handler: stats, ..row("stats", 2, WHILE_BUSY, "Tells what runs now, and which engines there are.") },
];

fn fcall(cx: &mut Context<'_>) -> Handled {
    let scripts = &mut cx.engine.rooms.scripts;
    let found = scripts.libraries.find(cx.args.at(1)).ok_or("ERR Function not found")?;
    let callable = Rc::clone(found);
    let keys = key_count(cx.args, "ERR Bad number of keys provided")?;
    let setup = cx.engine.setup(Kind::Functions);
    let interpreter = cx.engine.rooms.scripts.interpreter(setup)?;
    let ro = cx.row.name == "fcall_ro";
    let Callable { name, function, flags, .. } = &*callable;
    run(cx, &Job { interpreter, function, name: Name::Function(name), flags: *flags, ro, keys })
}

fn load(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let last = args.len() - 1;
    let mut replace = false;
    for at in 2..last {
        if !args.is(at, "replace") {
            let option = String::from_utf8_lossy(args.at(at));
            return Err(format!("ERR Unknown option given: {option}").into());
        }
        replace = true;
    }
    let timeout_ms = if cx.from_primary { 0 } else { LOAD_MS };
    let name = cx.engine.load_library(args.at(last), replace, timeout_ms)?;
    cx.dirty(1);
    cx.reply().bulk(name.as_bytes());
    Ok(())
}

fn delete(cx: &mut Context<'_>) -> Handled {
    if !cx.engine.rooms.scripts.libraries.remove(cx.args.at(2)) {
        return Err("ERR Library not found".into());
    }
    cx.dirty(1);
    cx.reply().ok();
    Ok(())
}

fn flush(cx: &mut Context<'_>) -> Handled {
    let mode = cx.args.get(2).map(<[u8]>::to_ascii_lowercase);
    match (cx.args.len(), mode.as_deref()) {
        (2, _) | (3, Some(b"sync" | b"async")) => {}
        (3, _) => return Err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".into()),
        _ => return Err(wrong_use("flush")),
    }
    cx.engine.rooms.scripts.flush_functions();
    cx.dirty(1);
    cx.reply().ok();
    Ok(())
}

fn wrong_use(name: &str) -> crate::resp::CommandError {
    format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try FUNCTION HELP.")
        .into()
}

fn dump(cx: &mut Context<'_>) -> Handled {
    let libraries = cx.engine.rooms.scripts.libraries.iter();
    let payload = payload::dump(libraries.map(|(_, library)| &library.code[..]));
    cx.reply().bulk(&payload);
    Ok(())
}

fn restore(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    if args.len() > 4 {
        return Err(wrong_use("restore"));
    }
    let policy = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"append") => Policy::Append,
        Some(b"replace") => Policy::Replace,
        Some(b"flush") => Policy::Flush,
        Some(_) => {
            return Err("ERR Wrong restore policy given, value should be either FLUSH, APPEND or \
                        REPLACE."
                .into());
        }
    };
    let texts = payload::restore(args.at(2))?;
    let setup = cx.engine.setup(Kind::Functions);
    let interpreter = cx.engine.rooms.scripts.interpreter(setup)?;
    let mut libraries = Libraries::default();
    let begun = Instant::now();
    for text in &texts {
        // All of them together may take as long as one that is loaded by itself.
        let left_ms = LOAD_MS.saturating_sub(begun.elapsed().as_millis() as u64).max(1);
        let timeout_ms = if cx.from_primary { 0 } else { left_ms };
        libraries.load(&interpreter, text, false, timeout_ms)?;
    }
    cx.engine.rooms.scripts.libraries.join(libraries, policy)?;
    cx.dirty(1);
    cx.reply().ok();
    Ok(())
}

fn list(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (mut with_code, mut pattern) = (false, None);
    let mut at = 2;
    while at < args.len() {
        if !with_code && args.is(at, "withcode") {
            with_code = true;
        } else if pattern.is_none() && args.is(at, "libraryname") {
            at += 1;
            pattern = Some(args.get(at).ok_or("ERR library name argument was not given")?);
        } else {
            let text = String::from_utf8_lossy(args.at(at));
            return Err(format!("ERR Unknown argument {text}").into());
        }
        at += 1;
    }
    let pattern = pattern.map(<[u8]>::to_ascii_lowercase);
    let Context { engine, client, .. } = cx;
    let mut reply = client.reply();
    let chosen: Vec<_> = engine
        .rooms
        .scripts
        .libraries
        .iter()
        .filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, name.as_bytes()))
        })
        .collect();
    reply.array(chosen.len());
    for (name, library) in chosen {
        reply.map(if with_code { 4 } else { 3 });
        reply.bulk(b"library_name");
        reply.bulk(name.as_bytes());
        reply.bulk(b"engine");
        reply.bulk(b"LUA");
        reply.bulk(b"functions");
        reply.array(library.functions.len());
        for function in &library.functions {
            describe(&mut reply, function);
        }
        if with_code {
            reply.bulk(b"library_code");
            reply.bulk(&library.code);
        }
    }
    Ok(())
}

fn describe(reply: &mut crate::resp::Reply<'_>, function: &Callable) {
    reply.map(3);
    reply.bulk(b"name");
    reply.bulk(function.name.as_bytes());
    reply.bulk(b"description");
    match &function.description {
        Some(text) => reply.bulk(text),
        None => reply.null(),
    }
    reply.bulk(b"flags");
    reply.set(function.flags.names().count());
    function.flags.names().for_each(|name| reply.simple(name));
}

fn stats(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, .. } = cx;
    let running = engine.rooms.scripts.running.as_ref();
    if running.is_some_and(|running| !running.functions) {
        return Err(crate::resp::errors::BUSY_SCRIPT.into());
    }
    let mut reply = client.reply();
    reply.map(2);
    reply.bulk(b"running_script");
    match running {
        None => reply.null(),
        Some(running) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(running.name.as_bytes());
            reply.bulk(b"command");
            let args = running.command.args();
            reply.array(args.len());
            args.iter().for_each(|arg| reply.bulk(arg));
            reply.bulk(b"duration_ms");
            reply.int(running.duration_ms as i64);
        }
    }
    let (libraries, functions) = engine.rooms.scripts.libraries.counts();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(libraries as i64);
    reply.bulk(b"functions_count");
    reply.int(functions as i64);
    Ok(())
}

fn kill(cx: &mut Context<'_>) -> Handled {
    end_running(cx, true)
}
