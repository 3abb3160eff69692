//! COMMAND: the table told to clients, from its rows and the facts in [`crate::command::docs`].

mod documented;
mod keys;
mod row;

use super::HERE;
use crate::command::{Command, Group, Handled, all, lookup};
use crate::engine::Context;
use crate::glob;
use crate::resp::errors;

use documented::write_docs;
pub use keys::keys_with_flags;
pub use row::{CATEGORIES, categories};
use row::{full_name, write_row};

const ROW: Command = Command { group: Group::Server, flags: HERE, since: "2.8.13", ..Command::ROW };

pub const SUBCOMMANDS: &[Command] = &[
    Command { name: "count", arity: 2, summary: "Counts the commands.", handler: count, ..ROW },
    Command { name: "info", arity: -2, summary: "Describes commands.", handler: info, ..ROW },
    Command {
        name: "docs",
        arity: -2,
        since: "7.0.0",
        summary: "Documents commands.",
        handler: docs,
        ..ROW
    },
    Command {
        name: "list",
        arity: -2,
        since: "7.0.0",
        summary: "Lists the names of commands.",
        handler: list,
        ..ROW
    },
    Command {
        name: "getkeys",
        arity: -3,
        summary: "Extracts the keys of a command.",
        handler: keys::getkeys,
        ..ROW
    },
    Command {
        name: "getkeysandflags",
        arity: -3,
        since: "7.0.0",
        summary: "Extracts the keys of a command and how it uses each.",
        handler: keys::getkeysandflags,
        ..ROW
    },
    Command { handler: |cx| super::help_beside(cx, "COMMAND", ALONE, SUBCOMMANDS), ..super::HELP },
];

/// What HELP tells of COMMAND without a subcommand.
const ALONE: &[&str] = &["(no subcommand)", "    Tells of every command."];

/// COMMAND without a subcommand describes every command.
pub fn command(cx: &mut Context<'_>) -> Handled {
    let mut reply = cx.client.reply();
    reply.array(all().count());
    all().for_each(|row| write_row(&mut reply, row, None));
    Ok(())
}

fn count(cx: &mut Context<'_>) -> Handled {
    cx.client.reply().int(all().count() as i64);
    Ok(())
}

/// A row by its name, `config|get` for a subcommand, with its container.
fn named(name: &[u8]) -> Option<(&'static Command, Option<&'static Command>)> {
    let mut words = name.splitn(2, |byte| *byte == b'|');
    let row = lookup(words.next()?)?;
    match words.next() {
        None => Some((row, None)),
        Some(sub) => {
            let found = row
                .subcommands
                .iter()
                .find(|candidate| sub.eq_ignore_ascii_case(candidate.name.as_bytes()))?;
            Some((found, Some(row)))
        }
    }
}

fn info(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() == 2 {
        return command(cx);
    }
    let mut reply = cx.client.reply();
    reply.array(cx.args.len() - 2);
    for name in cx.args.iter().skip(2) {
        if reply.is_full() {
            break;
        }
        match named(name) {
            Some((row, parent)) => write_row(&mut reply, row, parent),
            None => reply.null(),
        }
    }
    Ok(())
}

fn docs(cx: &mut Context<'_>) -> Handled {
    let rows: Vec<_> = if cx.args.len() == 2 {
        all().map(|row| (row, None)).collect()
    } else {
        cx.args.iter().skip(2).filter_map(named).collect()
    };
    let mut reply = cx.client.reply();
    reply.map(rows.len());
    for (row, parent) in rows {
        // A name may be asked for any number of times.
        if reply.is_full() {
            break;
        }
        write_docs(&mut reply, row, parent);
    }
    Ok(())
}

/// Every row, each container's subcommands behind it.
fn each(mut visit: impl FnMut(&'static Command, Option<&'static Command>)) {
    for row in all() {
        visit(row, None);
        for sub in row.subcommands {
            visit(sub, Some(row));
        }
    }
}

fn list(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let mut names: Vec<String> = Vec::new();
    if args.len() == 2 {
        each(|row, parent| names.push(full_name(row, parent)));
    } else if args.len() != 5 || !args.is(2, "filterby") {
        return Err(errors::SYNTAX.into());
    } else if args.is(3, "pattern") {
        let pattern = args.at(4).to_ascii_lowercase();
        each(|row, parent| {
            let name = full_name(row, parent);
            if glob::matches(&pattern, name.as_bytes()) {
                names.push(name);
            }
        });
    } else if args.is(3, "aclcat") {
        let wanted = String::from_utf8_lossy(args.at(4)).to_ascii_lowercase();
        each(|row, parent| {
            // A container is no command; its subcommands are.
            let of = parent.map_or(row.name, |parent| parent.name);
            if row.subcommands.is_empty() && categories(row, of).contains(&wanted.as_str()) {
                names.push(full_name(row, parent));
            }
        });
    } else if !args.is(3, "module") {
        return Err(errors::SYNTAX.into());
    }
    let mut reply = cx.client.reply();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    Ok(())
}
