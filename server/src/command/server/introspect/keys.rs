//! COMMAND GETKEYS and GETKEYSANDFLAGS: the keys of a command, by its specifications.

use super::row::full_name;
use crate::command::docs::{self, Begin, Doc};
use crate::command::keys::keys_of_migrate;
use crate::command::{Command, Handled, lookup, subcommand};
use crate::engine::Context;
use crate::resp::{Args, CommandError};

const READS: &[&str] = &["RO", "access"];
const WRITES: &[&str] = &["OW", "update"];
const READS_AND_WRITES: &[&str] = &["RW", "access", "update"];

/// A key's index among the arguments and what the command does with it.
pub type Key<'a> = (usize, &'a [&'static str]);

pub fn getkeys(cx: &mut Context<'_>) -> Handled {
    let inner: Args<'_> = cx.args.tail(2);
    let keys = keys_of(inner)?;
    let mut reply = cx.client.reply();
    reply.array(keys.len());
    for (at, _) in keys {
        reply.bulk(inner.at(at));
    }
    Ok(())
}

pub fn getkeysandflags(cx: &mut Context<'_>) -> Handled {
    let inner: Args<'_> = cx.args.tail(2);
    let keys = keys_of(inner)?;
    let mut reply = cx.client.reply();
    reply.array(keys.len());
    for (at, flags) in keys {
        reply.array(2);
        reply.bulk(inner.at(at));
        reply.set(flags.len());
        for flag in flags {
            reply.simple(flag);
        }
    }
    Ok(())
}

/// The keys of a whole command line, in order; or why there are none to tell.
fn keys_of(args: Args<'_>) -> Result<Vec<Key<'static>>, CommandError> {
    let parent = lookup(args.at(0)).ok_or("ERR Invalid command specified")?;
    let row = subcommand(parent, args).ok_or("ERR Invalid command specified")?;
    let container = (!std::ptr::eq(row, parent)).then_some(parent);
    let name = full_name(row, container);
    let doc = docs::of(&name);
    if doc.keys.iter().all(|spec| spec.has("not_key")) {
        return Err("ERR The command has no key arguments".into());
    }
    if !row.arity_fits(args.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    let keys = keys_with_flags(row, doc, args);
    if keys.is_empty() && !doc.flags.contains(&"no_mandatory_keys") {
        return Err("ERR Invalid arguments specified for command".into());
    }
    Ok(keys)
}

/// The positions of a command's keys with what happens to each; none when the arguments do not fit.
pub fn keys_with_flags(row: &Command, doc: &'static Doc, args: Args<'_>) -> Vec<Key<'static>> {
    if let Some(keys) = keys_among_options(row, args) {
        return keys;
    }
    let mut keys: Vec<Key<'static>> = Vec::new();
    if row.name == "migrate" {
        // Which of its specifications holds is for its options to say.
        let flags = doc.keys.first().map_or(&[][..], |spec| spec.flags.as_slice());
        keys.extend(keys_of_migrate(args).map(|at| (at, flags)));
        return keys;
    }
    let mut fits = true;
    for spec in doc.keys.iter().filter(|spec| !spec.has("not_key")) {
        let flags = if spec.has("variable_flags") {
            flags_by_arguments(row, args)
        } else {
            spec.flags.as_slice()
        };
        fits &= spec.visit(args, |at| keys.push((at, flags)));
        if spec.begin == Begin::Unknown
            && row.name == "sort"
            && let Some(at) = store_of_sort(args)
            && !keys.contains(&(at, WRITES))
        {
            keys.push((at, WRITES));
        }
    }
    if !fits {
        keys.clear();
    }
    keys
}

/// The keys of commands that take names before the word which their specification looks for, or
/// that take the word more than once: a name could be that word, and the keys would be others than
/// those that rights were asked for. Read as the commands read themselves.
fn keys_among_options(row: &Command, args: Args<'_>) -> Option<Vec<Key<'static>>> {
    let options = match row.name {
        "xreadgroup" => return Some(keys_of_streams(args)),
        "georadius" => 6,
        "georadiusbymember" => 5,
        _ => return None,
    };
    if args.len() < options {
        return Some(Vec::new());
    }
    let mut keys: Vec<Key<'static>> = vec![(1, READS)];
    let (mut at, mut stored) = (options, None);
    while at < args.len() {
        if args.is(at, "store") || args.is(at, "storedist") {
            // The last one counts.
            stored = Some(at + 1).filter(|at| *at < args.len()).or(stored);
            at += 1;
        } else if args.is(at, "count") {
            at += 1;
        }
        at += 1;
    }
    keys.extend(stored.map(|at| (at, WRITES)));
    Some(keys)
}

fn keys_of_streams(args: Args<'_>) -> Vec<Key<'static>> {
    let mut at = 1;
    while at < args.len() && !args.is(at, "streams") {
        at += match () {
            () if args.is(at, "group") => 3,
            () if args.is(at, "count") || args.is(at, "block") => 2,
            () => 1,
        };
    }
    let count = args.len().saturating_sub(at + 1);
    if !count.is_multiple_of(2) {
        return Vec::new();
    }
    (at + 1..at + 1 + count / 2).map(|at| (at, READS)).collect()
}

/// What happens to the key of a command whose options decide it.
fn flags_by_arguments(row: &Command, args: Args<'_>) -> &'static [&'static str] {
    let says = |word: &str| (3..args.len()).any(|at| args.is(at, word));
    match row.name {
        "set" if says("get") => READS_AND_WRITES,
        "bitfield" => {
            let writes = (2..args.len()).any(|at| args.is(at, "set") || args.is(at, "incrby"));
            if writes { READS_AND_WRITES } else { READS }
        }
        _ => WRITES,
    }
}

/// SORT's destination: its keyword may stand anywhere, the last one counts.
fn store_of_sort(args: Args<'_>) -> Option<usize> {
    let mut found = None;
    let mut at = 2;
    while at < args.len() {
        if args.is(at, "limit") {
            at += 2;
        } else if args.is(at, "get") || args.is(at, "by") {
            at += 1;
        } else if args.is(at, "store") && at + 1 < args.len() {
            found = Some(at + 1);
            at += 1;
        }
        at += 1;
    }
    found
}
