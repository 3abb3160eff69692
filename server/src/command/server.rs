//! Server commands: what this node is, its configuration, whole databases, the command table.

mod acl;
mod config;
mod databases;
mod info;
mod introspect;
mod latency;
mod lolwut;
mod memory;

use super::{Command, Flags, Group, Handled, Keys, docs};
use crate::engine::replicate::{How, Saving};
use crate::engine::{Context, hooks};
use crate::resp::{CommandError, errors};

pub use config::rewrite_config;
pub use introspect::{CATEGORIES, categories, keys_with_flags};

pub use info::{Lines, REDIS_VERSION, SERVER_NAME, own_version};

/// Always answered by this node itself, also while loading or without its primary.
const HERE: Flags = Flags::LOADING.with(Flags::STALE).with(Flags::LOCAL);
const ADMIN: Flags = HERE.with(Flags::ADMIN).with(Flags::NOSCRIPT);
const ROW: Command = Command { group: Group::Server, flags: HERE, ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "info",
        arity: -1,
        summary: "Returns what this server is and does.",
        handler: info::info,
        ..ROW
    },
    Command {
        name: "lolwut",
        arity: -1,
        flags: Flags::READONLY.with(Flags::FAST).with(Flags::LOCAL),
        since: "5.0.0",
        summary: "Draws something and tells the version.",
        handler: lolwut::lolwut,
        ..ROW
    },
    Command {
        name: "time",
        arity: 1,
        flags: HERE.with(Flags::FAST),
        since: "2.6.0",
        summary: "Returns the server's time.",
        handler: time,
        ..ROW
    },
    Command {
        name: "config",
        arity: -2,
        flags: Flags::NONE,
        since: "2.0.0",
        summary: "Reads and changes the configuration.",
        subcommands: config::SUBCOMMANDS,
        ..ROW
    },
    Command {
        name: "command",
        arity: -1,
        since: "2.8.13",
        summary: "Describes the commands.",
        handler: introspect::command,
        subcommands: introspect::SUBCOMMANDS,
        ..ROW
    },
    Command {
        name: "dbsize",
        arity: 1,
        flags: Flags::READONLY.with(Flags::FAST),
        summary: "Returns the number of keys of the database.",
        handler: databases::dbsize,
        ..ROW
    },
    Command {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE,
        summary: "Deletes the keys of all databases.",
        handler: databases::flushall,
        ..ROW
    },
    Command {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE,
        summary: "Deletes the keys of the database.",
        handler: databases::flushdb,
        ..ROW
    },
    Command {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.with(Flags::FAST),
        since: "4.0.0",
        summary: "Swaps two databases.",
        handler: databases::swapdb,
        ..ROW
    },
    Command {
        name: "shutdown",
        arity: -1,
        flags: ADMIN.with(Flags::NO_MULTI).with(Flags::ALLOW_BUSY),
        summary: "Saves, as configured, and ends the server.",
        handler: shutdown,
        ..ROW
    },
    Command {
        name: "memory",
        arity: -2,
        flags: Flags::NONE,
        since: "4.0.0",
        summary: "Tells how memory is used.",
        subcommands: memory::SUBCOMMANDS,
        ..ROW
    },
    Command {
        name: "latency",
        arity: -2,
        flags: Flags::NONE,
        since: "2.8.13",
        summary: "Tells of what was slow.",
        subcommands: latency::SUBCOMMANDS,
        ..ROW
    },
    Command {
        name: "acl",
        arity: -2,
        flags: Flags::NONE,
        since: "6.0.0",
        summary: "Tells about users and categories of commands.",
        subcommands: acl::SUBCOMMANDS,
        ..ROW
    },
];

fn time(cx: &mut Context<'_>) -> Handled {
    let us = cx.engine.now.unix_us;
    let mut reply = cx.client.reply();
    reply.array(2);
    reply.bulk_int(us / 1_000_000);
    reply.bulk_int(us % 1_000_000);
    Ok(())
}

/// Answers with the connection's end, or with an error.
fn shutdown(cx: &mut Context<'_>) -> Handled {
    let has = |word| (1..cx.args.len()).any(|at| cx.args.is(at, word));
    let known = ["save", "nosave", "now", "force", "abort"];
    let all_known = (1..cx.args.len()).all(|at| known.iter().any(|word| cx.args.is(at, word)));
    let (save, nosave, abort) = (has("save"), has("nosave"), has("abort"));
    let how = How { saving: Saving::asked(save, nosave), now: has("now"), force: has("force") };
    if !all_known || save && nosave || abort && how != How::default() {
        return Err(errors::SYNTAX.into());
    }
    if abort {
        if !cx.engine.abort_shutdown() {
            return Err("ERR No shutdown in progress.".into());
        }
        cx.client.reply().ok();
        return Ok(());
    }
    if let Some(running) = cx.engine.rooms.scripts.running.as_ref().filter(|_| !nosave) {
        return Err(running.busy_text().into());
    }
    if cx.args.len() == 1 && cx.engine.is_managed() {
        hooks::terminate(cx.engine);
        return Ok(());
    }
    let failed = |error: CommandError| {
        let why = &error.0;
        CommandError::from(format!("ERR Errors trying to SHUTDOWN. Check logs. ({why})"))
    };
    if cx.engine.is_managed() {
        return hooks::leave(cx.engine, how).map_err(failed);
    }
    if cx.engine.shut_down(how).map_err(failed)? {
        let client = cx.defer();
        cx.engine.shut_down_for(client);
    }
    Ok(())
}

/// Whether a connection comes from this machine, for directives that say `local`.
pub fn is_local(client: &crate::client::Client) -> bool {
    client.peer.is_none_or(|peer| peer.ip().is_loopback())
}

/// The answer of `… HELP`: for each subcommand its syntax, and below what it does.
pub fn help(cx: &mut Context<'_>, name: &str, rows: &[Command]) -> Handled {
    help_beside(cx, name, &[], rows)
}

/// As [`help`], of a container that says more: these lines come before its subcommands.
pub fn help_beside(cx: &mut Context<'_>, name: &str, more: &[&str], rows: &[Command]) -> Handled {
    let mut reply = cx.client.reply();
    reply.array(1 + more.len() + rows.len() * 2);
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in more {
        reply.simple(line);
    }
    for row in rows {
        let full = format!("{}|{}", name.to_ascii_lowercase(), row.name);
        let usage = docs::usage(&docs::of(&full).arguments);
        reply.simple(format!("{} {usage}", row.name.to_ascii_uppercase()).trim_end());
        reply.simple(&format!("    {}", row.summary));
    }
    Ok(())
}

/// The row of `… HELP` of a container; its handler calls [`help`].
const HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: HERE,
    keys: Keys::None,
    group: Group::Server,
    summary: "Lists the subcommands.",
    since: "5.0.0",
    ..Command::ROW
};

#[cfg(test)]
mod tests {
    use crate::command::all;
    use crate::engine::testing::Bench;

    /// HELP named subcommands without what each takes.
    #[test]
    fn help_tells_the_syntax_of_every_subcommand() {
        let mut bench = Bench::new(&[("enable-debug-command", "yes")]);
        let client = bench.client();
        // There is no cluster mode to tell of.
        let containers = all().filter(|row| !row.subcommands.is_empty() && row.name != "cluster");
        for row in containers {
            let name = row.name.to_ascii_uppercase();
            let reply = bench.ask(client, &format!("{name} HELP"));
            let first = format!("+{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
            assert!(reply.contains(&first), "{reply}");
            let lines: Vec<&str> = reply.split(" +").collect();
            for sub in row.subcommands {
                let sub_name = sub.name.to_ascii_uppercase();
                let at = lines.iter().position(|line| line.split(' ').next() == Some(&sub_name));
                let at = at.unwrap_or_else(|| panic!("{name} {sub_name} is not told: {reply}"));
                assert_eq!(lines[at + 1].trim_start(), sub.summary, "{name} {sub_name}");
                // What it needs beyond the two names is told.
                let needs_more = sub.arity.abs() > 2 && row.name != "redisha";
                assert!(!needs_more || lines[at] != sub_name, "{name} {sub_name}: {reply}");
            }
        }
        let mut holds = |command: &str, line: &str| {
            let reply = bench.ask(client, command);
            assert!(reply.contains(&format!("+{line} +    ")), "{command}: {reply}");
        };
        holds("MEMORY HELP", "USAGE <key> [SAMPLES <count>]");
        holds("CONFIG HELP", "GET <parameter> [<parameter> ...]");
        holds("DEBUG HELP", "DIGEST-VALUE <key> [<key> ...]");
        holds("COMMAND HELP", "(no subcommand)");
    }
}
