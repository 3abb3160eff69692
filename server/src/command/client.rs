//! `CLIENT`: what is known of connections, and what one may do to them. Killing and listing stand
//! in `client/list.rs`, leading them elsewhere in `redirect.rs`.

mod filter;
mod list;
mod tracking;

pub use list::line;

use super::connection::OPEN;
use super::{Command, Flags, Group, Handled, pause, redirect};
use crate::client::{Client, ClientId, ReplyMode};
use crate::engine::Context;
use crate::resp::{CommandError, errors, num};

const ADMIN: Flags = Flags(OPEN.0 | Flags::ADMIN.0);

/// Answered while a script keeps the server busy, too.
const BUSY: Flags = Flags(OPEN.0 | Flags::ALLOW_BUSY.0);
const BUSY_ADMIN: Flags = Flags(ADMIN.0 | Flags::ALLOW_BUSY.0);
const REPLY: Flags = Flags(BUSY.0 | Flags::NO_MULTI.0);
const HELP: Flags = Flags(OPEN.0 & !Flags::NOSCRIPT.0);

const fn row(
    name: &'static str,
    since: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
) -> Command {
    Command { name, arity, flags, since, summary, group: Group::Connection, ..Command::ROW }
}

pub const COMMANDS: &[Command] = &[Command {
    subcommands: SUBCOMMANDS,
    ..row("client", "2.4.0", -2, Flags::LOCAL, "A container for client connection commands.")
}];

const SUBCOMMANDS: &[Command] = &[
    Command { handler: id, ..row("id", "5.0.0", 2, BUSY, "This connection's number.") },
    Command { handler: list::info, ..row("info", "6.2.0", 2, OPEN, "This connection.") },
    Command { handler: list::list, ..row("list", "2.4.0", -2, ADMIN, "All connections.") },
    Command { handler: list::kill, ..row("kill", "2.4.0", -3, ADMIN, "Ends connections.") },
    Command { handler: setname, ..row("setname", "2.6.9", 3, BUSY, "Names this connection.") },
    Command { handler: getname, ..row("getname", "2.6.9", 2, BUSY, "This connection's name.") },
    Command { handler: setinfo, ..row("setinfo", "7.2.0", 4, BUSY, "Names the client's library.") },
    Command { handler: reply, ..row("reply", "3.2.0", 3, REPLY, "Turns replies on and off.") },
    Command {
        handler: no_evict,
        ..row("no-evict", "7.0.0", 3, BUSY_ADMIN, "Keeps it from eviction.")
    },
    Command {
        handler: no_touch,
        ..row("no-touch", "7.2.0", 3, BUSY, "Leaves access times alone.")
    },
    Command {
        handler: import_source,
        ..row("import-source", "8.1.0", 3, OPEN, "Sees expired keys under import-mode.")
    },
    Command { handler: capa, ..row("capa", "8.0.0", -3, BUSY, "What the client can handle.") },
    Command {
        handler: pause::pause,
        ..row("pause", "3.0.0", -3, ADMIN, "Holds commands for a time.")
    },
    Command { handler: pause::unpause, ..row("unpause", "6.2.0", 2, ADMIN, "Ends CLIENT PAUSE.") },
    Command { handler: unblock, ..row("unblock", "5.0.0", -3, ADMIN, "Ends a blocked command.") },
    Command {
        handler: tracking::tracking,
        ..row("tracking", "6.0.0", -3, OPEN, "Client-side caching.")
    },
    Command { handler: tracking::info, ..row("trackinginfo", "6.2.0", 2, OPEN, "Caching, if on.") },
    Command {
        handler: tracking::redirection,
        ..row("getredir", "6.0.0", 2, BUSY, "Caching's other client.")
    },
    Command {
        handler: tracking::caching,
        ..row("caching", "6.0.0", 3, BUSY, "Caching of what is read.")
    },
    redirect::FORCE,
    redirect::MAINT_NOTIFICATIONS,
    Command { handler: help, ..row("help", "5.0.0", 2, HELP, "Lists the subcommands.") },
];

fn id(cx: &mut Context<'_>) -> Handled {
    let serial = cx.client.id.serial as i64;
    cx.client.reply().int(serial);
    Ok(())
}

fn setname(cx: &mut Context<'_>) -> Handled {
    set_name(cx.client, cx.args.at(2))?;
    cx.client.reply().ok();
    Ok(())
}

/// Names a connection; the name stands in lines of words, so it has no spaces.
pub fn set_name(client: &mut Client, name: &[u8]) -> Result<(), CommandError> {
    if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Err(
            "ERR Client names cannot contain spaces, newlines or special characters.".into()
        );
    }
    client.name = name.to_vec();
    Ok(())
}

fn getname(cx: &mut Context<'_>) -> Handled {
    let name = cx.client.name.clone();
    let mut reply = cx.client.reply();
    if name.is_empty() {
        reply.null();
    } else {
        reply.bulk(&name);
    }
    Ok(())
}

fn setinfo(cx: &mut Context<'_>) -> Handled {
    let value = cx.args.at(3);
    if !value.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        let what = String::from_utf8_lossy(cx.args.at(2)).into_owned();
        return Err(
            format!("ERR {what} cannot contain spaces, newlines or special characters.").into()
        );
    }
    if cx.args.is(2, "lib-name") {
        cx.client.lib_name = value.to_vec();
    } else if cx.args.is(2, "lib-ver") {
        cx.client.lib_version = value.to_vec();
    } else {
        let what = String::from_utf8_lossy(cx.args.at(2)).into_owned();
        return Err(format!("ERR Unrecognized option '{what}'").into());
    }
    cx.client.reply().ok();
    Ok(())
}

fn reply(cx: &mut Context<'_>) -> Handled {
    let mode = match () {
        () if cx.args.is(2, "on") => ReplyMode::On,
        () if cx.args.is(2, "off") => ReplyMode::Off,
        () if cx.args.is(2, "skip") => ReplyMode::SkipNext,
        () => return Err(errors::SYNTAX.into()),
    };
    let was_off = cx.client.reply_mode == ReplyMode::Off;
    match mode {
        ReplyMode::On => {
            cx.client.reply_mode = mode;
            cx.client.reply().ok();
        }
        ReplyMode::SkipNext if was_off => {}
        _ => cx.client.reply_mode = mode,
    }
    Ok(())
}

fn switch(cx: &Context<'_>) -> Result<bool, CommandError> {
    match () {
        () if cx.args.is(2, "on") => Ok(true),
        () if cx.args.is(2, "off") => Ok(false),
        () => Err(errors::SYNTAX.into()),
    }
}

fn no_evict(cx: &mut Context<'_>) -> Handled {
    cx.client.traits.no_evict = switch(cx)?;
    cx.client.reply().ok();
    Ok(())
}

fn no_touch(cx: &mut Context<'_>) -> Handled {
    cx.client.traits.no_touch = switch(cx)?;
    cx.client.reply().ok();
    Ok(())
}

fn import_source(cx: &mut Context<'_>) -> Handled {
    let on = switch(cx)?;
    if on && !cx.engine.config.import_mode {
        return Err("ERR Server is not in import mode".into());
    }
    cx.client.traits.import_source = on;
    cx.client.reply().ok();
    Ok(())
}

fn capa(cx: &mut Context<'_>) -> Handled {
    // Unknown capabilities are those of later versions, and are passed over.
    if (2..cx.args.len()).any(|at| cx.args.is(at, "redirect")) {
        cx.client.traits.capa_redirect = true;
    }
    cx.client.reply().ok();
    Ok(())
}

fn unblock(cx: &mut Context<'_>) -> Handled {
    let error = match cx.args.len() {
        3 => None,
        4 if cx.args.is(3, "timeout") => None,
        4 if cx.args.is(3, "error") => {
            Some(CommandError::from("UNBLOCKED client unblocked via CLIENT UNBLOCK"))
        }
        _ => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
    };
    let serial = num::parse_i64(cx.args.at(2)).ok_or(errors::NOT_INTEGER)?;
    let found: Option<ClientId> = cx
        .engine
        .clients
        .iter()
        .find(|client| client.id.serial as i64 == serial)
        .map(|client| client.id);
    let unblocked = found.is_some_and(|id| cx.engine.unblock(id, error.as_ref()));
    cx.client.reply().int(i64::from(unblocked));
    Ok(())
}

fn help(cx: &mut Context<'_>) -> Handled {
    super::server::help(cx, "CLIENT", SUBCOMMANDS)
}

#[cfg(test)]
mod tests;
