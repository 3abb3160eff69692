//! A row as COMMAND INFO shows it, and the categories that follow from it.

use crate::command::docs::{self, Begin, Doc, Find, KeySpec};
use crate::command::{Command, Flags, Group, Keys};
use crate::resp::Reply;

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
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The flags that COMMAND INFO tells of a row; others are this server's own.
const FLAG_NAMES: &[(Flags, &str)] = &[
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
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

/// The full name of a row: a subcommand's begins with its container's.
pub fn full_name(row: &Command, parent: Option<&Command>) -> String {
    match parent {
        Some(parent) => format!("{}|{}", parent.name, row.name),
        None => row.name.to_owned(),
    }
}

/// The categories of a row; `parent` is the name of its container, or its own.
pub fn categories(row: &Command, parent: &str) -> Vec<&'static str> {
    let is_container = !row.subcommands.is_empty() || row.name == parent;
    let doc =
        if is_container { docs::of(row.name) } else { docs::of(&format!("{parent}|{}", row.name)) };
    let follows = |name: &str| match name {
        "keyspace" => row.group == Group::Generic,
        "set" => row.group == Group::Set,
        "sortedset" => row.group == Group::SortedSet,
        "list" => row.group == Group::List,
        "hash" => row.group == Group::Hash,
        "string" => row.group == Group::String,
        "bitmap" => row.group == Group::Bitmap,
        "hyperloglog" => row.group == Group::HyperLogLog,
        "geo" => row.group == Group::Geo,
        "stream" => row.group == Group::Stream,
        "connection" => row.group == Group::Connection,
        "transaction" => row.group == Group::Transactions,
        "scripting" => row.group == Group::Scripting,
        "pubsub" => row.group == Group::PubSub || row.is(Flags::PUBSUB),
        // A script that only reads is no reading of data by itself.
        "read" => row.is(Flags::READONLY) && row.group != Group::Scripting,
        "write" => row.is(Flags::WRITE),
        "admin" | "dangerous" => row.is(Flags::ADMIN),
        "fast" => row.is(Flags::FAST),
        "slow" => !row.is(Flags::FAST),
        "blocking" => row.is(Flags::BLOCKING),
        _ => false,
    };
    let differs = |name: &str| doc.categories.iter().find(|(_, other)| *other == name);
    let has = |name: &str| differs(name).map_or_else(|| follows(name), |(has, _)| *has);
    CATEGORIES.iter().copied().filter(|name| has(name)).collect()
}

pub fn group_name(group: Group) -> &'static str {
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
        Group::Stream => "stream",
        Group::PubSub => "pubsub",
        Group::Transactions => "transactions",
        Group::Connection => "connection",
        Group::Server => "server",
        Group::Scripting => "scripting",
        Group::Cluster => "cluster",
    }
}

/// Writes a row of COMMAND INFO, with its subcommands.
pub fn write_row(reply: &mut Reply<'_>, row: &Command, parent: Option<&Command>) {
    let name = full_name(row, parent);
    let doc = docs::of(&name);
    reply.array(10);
    reply.bulk(name.as_bytes());
    reply.int(row.arity.into());
    write_flags(reply, row, doc);
    let (first, last, step) = key_range(doc, row.keys);
    for number in [first, last, step] {
        reply.int(number);
    }
    let categories = categories(row, parent.map_or(row.name, |parent| parent.name));
    reply.set(categories.len());
    for name in categories {
        reply.simple(&format!("@{name}"));
    }
    reply.set(doc.tips.len());
    for tip in &doc.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(doc.keys.len());
    for spec in &doc.keys {
        write_key_spec(reply, spec);
    }
    reply.array(row.subcommands.len());
    for sub in row.subcommands {
        write_row(reply, sub, Some(row));
    }
}

fn write_flags(reply: &mut Reply<'_>, row: &Command, doc: &Doc) {
    let own = FLAG_NAMES.iter().filter(|(flag, _)| row.is(*flag)).map(|(_, name)| *name);
    let mut names: Vec<&str> = own.chain(doc.flags.iter().copied()).collect();
    if doc.keys.iter().any(|spec| !is_plain(spec)) {
        names.push("movablekeys");
    }
    reply.set(names.len());
    for name in names {
        reply.simple(name);
    }
}

/// Whether a first key, a last key and a step describe where its keys are.
fn is_plain(spec: &KeySpec) -> bool {
    matches!((&spec.begin, &spec.find), (Begin::At(_), Find::Range { .. }))
}

/// First key, last key and step, as COMMAND INFO gives them; zeroes where they are not fixed.
fn key_range(doc: &Doc, keys: Keys) -> (i64, i64, i64) {
    let mut found: Option<(i64, i64, i64)> = None;
    for spec in &doc.keys {
        let (Begin::At(at), Find::Range { last, step, .. }) = (&spec.begin, &spec.find) else {
            continue;
        };
        let (at, step) = (*at, *step as i64);
        let last = if *last < 0 { *last } else { at + *last };
        found = match found {
            None => Some((at, last, step)),
            // Ranges side by side are one.
            Some((first, end, 1)) if step == 1 && end == at - 1 => Some((first, last, 1)),
            other => other,
        };
    }
    let fixed = match keys {
        Keys::Range { first, last, step } if doc.keys.is_empty() => {
            (first as i64, i64::from(last), step as i64)
        }
        _ => (0, 0, 0),
    };
    found.unwrap_or(fixed)
}

fn write_key_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(spec.flags.len());
    for flag in &spec.flags {
        reply.simple(flag);
    }
    reply.bulk(b"begin_search");
    let typed = |reply: &mut Reply<'_>, name: &str, fields: usize| {
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(name.as_bytes());
        reply.bulk(b"spec");
        reply.map(fields);
    };
    let number = |reply: &mut Reply<'_>, name: &str, value: i64| {
        reply.bulk(name.as_bytes());
        reply.int(value);
    };
    match spec.begin {
        Begin::Unknown => typed(reply, "unknown", 0),
        Begin::At(index) => {
            typed(reply, "index", 1);
            number(reply, "index", index);
        }
        Begin::After(word, from) => {
            typed(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            number(reply, "startfrom", from);
        }
    }
    reply.bulk(b"find_keys");
    match spec.find {
        Find::Unknown => typed(reply, "unknown", 0),
        Find::Range { last, step, limit } => {
            typed(reply, "range", 3);
            number(reply, "lastkey", last);
            number(reply, "keystep", step as i64);
            number(reply, "limit", limit as i64);
        }
        Find::Counted { step } => {
            typed(reply, "keynum", 3);
            number(reply, "keynumidx", 0);
            number(reply, "firstkey", 1);
            number(reply, "keystep", step as i64);
        }
    }
}
