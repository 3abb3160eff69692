//! `MONITOR`, `SLOWLOG` and `COMMANDLOG`; what they show is gathered in [`crate::engine::observe`].

use super::{Command, Flags, Group, Handled, support};
use crate::engine::Context;
use crate::engine::observe::Kind;
use crate::resp::CommandError;

const ADMIN: Flags = Flags(Flags::ADMIN.0 | Flags::LOADING.0 | Flags::STALE.0 | Flags::LOCAL.0);

const fn row(name: &'static str, arity: i32, flags: Flags, summary: &'static str) -> Command {
    Command { name, arity, flags, summary, group: Group::Server, since: "8.1.0", ..Command::ROW }
}

pub const COMMANDS: &[Command] = &[
    Command {
        handler: monitor,
        since: "1.0.0",
        ..row("monitor", 1, ADMIN.with(Flags::NOSCRIPT), "Shows every command that runs.")
    },
    Command {
        since: "2.2.12",
        subcommands: SLOWLOG,
        ..row("slowlog", -2, Flags::NONE, "A container for commands of the slow log.")
    },
    Command {
        subcommands: COMMANDLOG,
        ..row("commandlog", -2, Flags::NONE, "A container for commands of the command log.")
    },
];

const SLOWLOG: &[Command] = &[
    Command { handler: get, since: "2.2.12", ..row("get", -2, ADMIN, "Slow commands.") },
    Command {
        handler: |cx| super::server::help(cx, "SLOWLOG", SLOWLOG),
        since: "6.2.0",
        ..row("help", 2, HELP, "Lists the subcommands.")
    },
    Command { handler: len, since: "2.2.12", ..row("len", 2, ADMIN, "The log's length.") },
    Command { handler: reset, since: "2.2.12", ..row("reset", 2, ADMIN, "Empties the log.") },
];

const COMMANDLOG: &[Command] = &[
    Command { handler: get, ..row("get", 4, ADMIN, "Slow or large commands.") },
    Command {
        handler: |cx| super::server::help(cx, "COMMANDLOG", COMMANDLOG),
        ..row("help", 2, HELP, "Lists the subcommands.")
    },
    Command { handler: len, ..row("len", 3, ADMIN, "A log's length.") },
    Command { handler: reset, ..row("reset", 3, ADMIN, "Empties a log.") },
];

const HELP: Flags = Flags(Flags::LOADING.0 | Flags::STALE.0 | Flags::LOCAL.0);

fn monitor(cx: &mut Context<'_>) -> Handled {
    if cx.in_exec {
        return Err("ERR MONITOR isn't allowed for DENY BLOCKING client".into());
    }
    cx.engine.monitor(cx.client);
    cx.reply().ok();
    Ok(())
}

/// The log that the argument at `at` names; SLOWLOG has one.
fn kind(cx: &Context<'_>, at: usize) -> Result<Kind, CommandError> {
    if cx.args.is(0, "slowlog") || cx.args.is(at, "slow") {
        return Ok(Kind::Slow);
    }
    match () {
        () if cx.args.is(at, "large-request") => Ok(Kind::LargeRequest),
        () if cx.args.is(at, "large-reply") => Ok(Kind::LargeReply),
        () => {
            Err("ERR type should be one of the following: slow, large-request, large-reply".into())
        }
    }
}

fn get(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() > 3 && cx.args.is(0, "slowlog") {
        return Err(
            "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."
                .into(),
        );
    }
    let refusal = "ERR count should be greater than or equal to -1";
    let count = cx.args.get(2).map_or(Ok(10), |text| support::at_least(text, -1, refusal))?;
    let kind = kind(cx, 3)?;
    let Context { engine, client, .. } = cx;
    let entries = &engine.observers.log(kind).entries;
    let count = usize::try_from(count).map_or(entries.len(), |count| count.min(entries.len()));
    let mut reply = client.reply();
    reply.array(count);
    for entry in entries.iter().take(count) {
        reply.array(6);
        for number in [entry.id as i64, entry.at_s, entry.value as i64] {
            reply.int(number);
        }
        reply.array(entry.args.len());
        for arg in &entry.args {
            reply.bulk(arg);
        }
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(())
}

fn len(cx: &mut Context<'_>) -> Handled {
    let kind = kind(cx, 2)?;
    let len = cx.engine.observers.log(kind).entries.len();
    cx.reply().int(len as i64);
    Ok(())
}

fn reset(cx: &mut Context<'_>) -> Handled {
    let kind = kind(cx, 2)?;
    cx.engine.observers.log(kind).entries.clear();
    cx.reply().ok();
    Ok(())
}
