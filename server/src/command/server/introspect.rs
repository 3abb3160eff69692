//! COMMAND: the table told to clients. Everything here is derived from the rows.

use super::HERE;
use crate::command::{Command, Flags, Group, Handled, Keys, all, lookup, subcommand};
use crate::engine::Context;
use crate::glob;
use crate::resp::{Args, Reply, errors};

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
        handler: getkeys,
        ..ROW
    },
    Command { handler: |cx| super::help(cx, "COMMAND", SUBCOMMANDS), ..super::HELP },
];

/// The ACL categories, without their `@`.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
];

/// Commands that are dangerous though they are not administration.
const DANGEROUS: &[&str] =
    &["flushall", "flushdb", "swapdb", "keys", "info", "role", "restore", "restore-asking"];

/// The categories of a row; `parent` is the name of its container, or its own.
pub fn categories(row: &Command, parent: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut add = |applies: bool, name: &'static str| {
        if applies {
            found.push(name);
        }
    };
    add(row.group == Group::Generic, "keyspace");
    add(row.is(Flags::READONLY), "read");
    add(row.is(Flags::WRITE), "write");
    add(row.group == Group::Set, "set");
    add(row.group == Group::SortedSet, "sortedset");
    add(row.group == Group::List, "list");
    add(row.group == Group::Hash, "hash");
    add(row.group == Group::String, "string");
    add(row.group == Group::Bitmap, "bitmap");
    add(row.group == Group::HyperLogLog, "hyperloglog");
    add(row.group == Group::Geo, "geo");
    add(row.group == Group::PubSub || row.is(Flags::PUBSUB), "pubsub");
    add(row.is(Flags::ADMIN), "admin");
    add(row.is(Flags::FAST), "fast");
    add(!row.is(Flags::FAST), "slow");
    add(row.is(Flags::BLOCKING), "blocking");
    add(row.is(Flags::ADMIN) || DANGEROUS.contains(&parent), "dangerous");
    add(row.group == Group::Connection, "connection");
    add(row.group == Group::Transactions, "transaction");
    found
}

fn flag_names(row: &Command) -> Vec<&'static str> {
    let names = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::MAY_REPLICATE, "may_replicate"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLE_KEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];
    let mut found: Vec<_> =
        names.iter().filter(|(flag, _)| row.is(*flag)).map(|(_, name)| *name).collect();
    if matches!(row.keys, Keys::Counted(_) | Keys::CountedWith { .. })
        && !found.contains(&"movablekeys")
    {
        found.push("movablekeys");
    }
    found
}

fn group_name(group: Group) -> &'static str {
    match group {
        Group::Generic => "generic",
        Group::String => "string",
        Group::Bitmap => "bitmap",
        Group::HyperLogLog => "hyperloglog",
        Group::Geo => "geo",
        Group::List => "list",
        Group::Set => "set",
        Group::SortedSet => "sorted-set",
        Group::Hash => "hash",
        Group::PubSub => "pubsub",
        Group::Transactions => "transactions",
        Group::Connection => "connection",
        Group::Server => "server",
    }
}

/// First key, last key and step, as COMMAND INFO gives them; zeroes where they are not fixed.
fn key_range(keys: Keys) -> (i64, i64, i64) {
    match keys {
        Keys::Range { first, last, step } => (first as i64, i64::from(last), step as i64),
        Keys::CountedWith { fixed, .. } => (fixed as i64, fixed as i64, 1),
        Keys::None | Keys::Counted(_) => (0, 0, 0),
    }
}

/// The commands, or null for one that does not exist.
fn write_row(reply: &mut Reply<'_>, row: &Command, parent: Option<&Command>) {
    let name = match parent {
        Some(parent) => format!("{}|{}", parent.name, row.name),
        None => row.name.to_owned(),
    };
    reply.array(10);
    reply.bulk(name.as_bytes());
    reply.int(row.arity.into());
    let flags = flag_names(row);
    reply.set(flags.len());
    for flag in flags {
        reply.simple(flag);
    }
    let (first, last, step) = key_range(row.keys);
    for number in [first, last, step] {
        reply.int(number);
    }
    let categories = categories(row, parent.map_or(row.name, |parent| parent.name));
    reply.set(categories.len());
    for name in categories {
        reply.simple(&format!("@{name}"));
    }
    reply.array(0);
    write_key_specs(reply, row);
    reply.array(row.subcommands.len());
    for sub in row.subcommands {
        write_row(reply, sub, Some(row));
    }
}

fn write_key_specs(reply: &mut Reply<'_>, row: &Command) {
    let specs: Vec<(usize, Option<(i64, usize)>)> = match row.keys {
        Keys::None => Vec::new(),
        Keys::Range { first, last, step } => {
            // The range's end is told relative to its beginning.
            let last = if last < 0 { i64::from(last) } else { i64::from(last) - first as i64 };
            vec![(first, Some((last, step)))]
        }
        Keys::Counted(at) => vec![(at, None)],
        Keys::CountedWith { fixed, count } => vec![(fixed, Some((0, 1))), (count, None)],
    };
    reply.array(specs.len());
    for (index, range) in specs {
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(1);
        reply.simple(if row.is(Flags::WRITE) { "RW" } else { "RO" });
        reply.bulk(b"begin_search");
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(b"index");
        reply.bulk(b"spec");
        reply.map(1);
        reply.bulk(b"index");
        reply.int(index as i64);
        reply.bulk(b"find_keys");
        reply.map(2);
        reply.bulk(b"type");
        let fields: [(&str, i64); 3] = if let Some((last, step)) = range {
            reply.bulk(b"range");
            [("lastkey", last), ("keystep", step as i64), ("limit", 0)]
        } else {
            reply.bulk(b"keynum");
            [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]
        };
        reply.bulk(b"spec");
        reply.map(3);
        for (name, value) in fields {
            reply.bulk(name.as_bytes());
            reply.int(value);
        }
    }
}

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
        match named(name) {
            Some((row, parent)) => write_row(&mut reply, row, parent),
            None => reply.null(),
        }
    }
    Ok(())
}

fn write_docs(reply: &mut Reply<'_>, row: &Command, name: &str) {
    reply.bulk(name.as_bytes());
    reply.map(if row.subcommands.is_empty() { 3 } else { 4 });
    for (field, value) in
        [("summary", row.summary), ("since", row.since), ("group", group_name(row.group))]
    {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !row.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(row.subcommands.len());
        for sub in row.subcommands {
            write_docs(reply, sub, &format!("{}|{}", row.name, sub.name));
        }
    }
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
        match parent {
            Some(parent) => write_docs(&mut reply, row, &format!("{}|{}", parent.name, row.name)),
            None => write_docs(&mut reply, row, row.name),
        }
    }
    Ok(())
}

fn list(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let names: Vec<&str> = match args.len() {
        2 => all().map(|row| row.name).collect(),
        5 if args.is(2, "filterby") && args.is(3, "pattern") => all()
            .map(|row| row.name)
            .filter(|name| glob::matches(&args.at(4).to_ascii_lowercase(), name.as_bytes()))
            .collect(),
        5 if args.is(2, "filterby") && args.is(3, "aclcat") => {
            let wanted = String::from_utf8_lossy(args.at(4)).to_ascii_lowercase();
            all()
                .filter(|row| categories(row, row.name).contains(&wanted.as_str()))
                .map(|row| row.name)
                .collect()
        }
        5 if args.is(2, "filterby") && args.is(3, "module") => Vec::new(),
        _ => return Err(errors::SYNTAX.into()),
    };
    let mut reply = cx.client.reply();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    Ok(())
}

fn getkeys(cx: &mut Context<'_>) -> Handled {
    let inner: Args<'_> = cx.args.tail(2);
    let row = lookup(inner.at(0))
        .and_then(|row| subcommand(row, inner))
        .ok_or("ERR Invalid command specified")?;
    if matches!(row.keys, Keys::None) {
        return Err("ERR The command has no key arguments".into());
    }
    if !row.arity_fits(inner.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    let mut keys = Vec::new();
    row.keys.visit(inner, |at| keys.push(at));
    if keys.is_empty() {
        return Err("ERR Invalid arguments specified for command".into());
    }
    let mut reply = cx.client.reply();
    reply.array(keys.len());
    for at in keys {
        reply.bulk(inner.at(at));
    }
    Ok(())
}
