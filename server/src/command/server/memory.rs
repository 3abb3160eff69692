//! MEMORY.

use super::info::Overview;
use super::{HELP, HERE};
use crate::command::support::int;
use crate::command::{Command, Flags, Group, Handled, Keys};
use crate::engine::Context;
use crate::resp::{Reply, errors};

const ROW: Command =
    Command { group: Group::Server, arity: 2, flags: HERE, since: "4.0.0", ..Command::ROW };

pub const SUBCOMMANDS: &[Command] = &[
    Command { name: "doctor", summary: "Tells of memory problems.", handler: doctor, ..ROW },
    Command {
        name: "malloc-stats",
        summary: "Returns the statistics of the memory allocator.",
        handler: malloc_stats,
        ..ROW
    },
    Command {
        name: "purge",
        summary: "Asks the allocator to give unused memory back to the system.",
        handler: purge,
        ..ROW
    },
    Command { name: "stats", summary: "Tells what uses memory.", handler: stats, ..ROW },
    Command {
        name: "usage",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        summary: "Estimates the memory of a key and its value, in bytes.",
        handler: usage,
        ..ROW
    },
    Command { handler: |cx| super::help(cx, "MEMORY", SUBCOMMANDS), since: "4.0.0", ..HELP },
];

/// What a slot of the table takes for each key, with its share of free ones.
const SLOT_BYTES: usize = 20;

fn usage(cx: &mut Context<'_>) -> Handled {
    let mut at = 3;
    while at < cx.args.len() {
        if !cx.args.is(at, "samples") || at + 1 >= cx.args.len() {
            return Err(errors::SYNTAX.into());
        }
        if int(cx.args.at(at + 1))? < 0 {
            return Err(errors::SYNTAX.into());
        }
        at += 2;
    }
    let bytes = cx.engine.keyspace.db(cx.client.db).memory_of(cx.args.at(2));
    match bytes {
        Some(bytes) => cx.client.reply().int((bytes + SLOT_BYTES) as i64),
        None => cx.client.reply().null(),
    }
    Ok(())
}

/// Used memory under which nothing is worth a word, in bytes.
const SMALL_BYTES: u64 = 5 * 1024 * 1024;
const MEGABYTE: i64 = 1 << 20;

fn doctor(cx: &mut Context<'_>) -> Handled {
    let all = Overview::of(cx.engine);
    let mut found = Vec::new();
    if all.peak as f64 > all.used as f64 * 1.5 {
        found.push(
            "Peak: at some time this server used more than one and a half times of what it uses \
             now. MEMORY PURGE may give some of it back to the system.",
        );
    }
    if all.fragmentation() > 1.4 && all.fragmentation_bytes() > 10 * MEGABYTE {
        found.push(
            "Resident memory: the process holds over 1.4 times of what is in use. After a peak \
             this is harmless; otherwise many values of changing sizes may be the cause.",
        );
    }
    let ordinary = cx.engine.clients.len().max(1) as u64;
    if all.clients / ordinary > 200 * 1024 {
        found.push(
            "Clients: their buffers take more than 200 KB each on average. CLIENT LIST shows \
             which of them do not read what they are answered.",
        );
    }
    if all.replicas > 10 * MEGABYTE as u64 {
        found.push("Replicas: more than 10 MB of output waits for them; INFO shows their lag.");
    }
    let text = if all.used < SMALL_BYTES {
        "This server holds next to nothing: there is nothing to be said about its memory.".into()
    } else if found.is_empty() {
        "No memory problem was found.".into()
    } else {
        format!("Memory problems were found:\n\n * {}\n", found.join("\n\n * "))
    };
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn malloc_stats(cx: &mut Context<'_>) -> Handled {
    let all = Overview::of(cx.engine);
    let text = format!(
        "allocator: mimalloc\nin use: {} bytes\npeak: {} bytes\nresident: {} bytes\n",
        all.used, all.peak, all.rss
    );
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn purge(cx: &mut Context<'_>) -> Handled {
    crate::memory::give_back();
    cx.client.reply().ok();
    Ok(())
}

fn stats(cx: &mut Context<'_>) -> Handled {
    let all = Overview::of(cx.engine);
    let keys = all.keys();
    let own = all.used.saturating_sub(all.startup);
    let (scripts, libraries) = {
        let room = &cx.engine.rooms.scripts;
        (room.cache.bytes() as u64, room.libraries.bytes() as u64)
    };
    let numbers = |reply: &mut Reply<'_>, fields: &[(&str, u64)]| {
        for (name, value) in fields {
            reply.bulk(name.as_bytes());
            reply.int(*value as i64);
        }
    };
    let mut reply = cx.client.reply();
    reply.map(27 + all.databases.len());
    numbers(
        &mut reply,
        &[
            ("peak.allocated", all.peak),
            ("total.allocated", all.used),
            ("startup.allocated", all.startup),
            ("replication.backlog", all.backlog),
            ("replicas.repl.buffer", all.replicas),
            ("clients.slaves", all.replicas),
            ("clients.normal", all.clients),
            ("cluster.links", 0),
            ("aof.buffer", 0),
            ("lua.caches", scripts),
            ("functions.caches", libraries),
        ],
    );
    for (index, _, bytes) in &all.databases {
        reply.bulk(format!("db.{index}").as_bytes());
        reply.map(2);
        numbers(
            &mut reply,
            &[("overhead.hashtable.main", *bytes), ("overhead.hashtable.expires", 0)],
        );
    }
    numbers(
        &mut reply,
        &[
            ("overhead.db.hashtable.lut", 0),
            ("overhead.db.hashtable.rehashing", 0),
            ("overhead.total", all.overhead()),
            ("db.dict.rehashing.count", 0),
            ("keys.count", keys as u64),
            ("keys.bytes-per-key", own.checked_div(keys as u64).unwrap_or(0)),
            ("dataset.bytes", all.dataset()),
        ],
    );
    for (name, value) in
        [("dataset.percentage", all.dataset_percent()), ("peak.percentage", all.peak_percent())]
    {
        reply.bulk(name.as_bytes());
        reply.double(value);
    }
    numbers(
        &mut reply,
        &[
            ("allocator.allocated", all.used),
            ("allocator.active", all.rss),
            ("allocator.resident", all.rss),
            ("allocator.muzzy", 0),
        ],
    );
    reply.bulk(b"allocator-fragmentation.ratio");
    reply.double(all.fragmentation());
    reply.bulk(b"fragmentation");
    reply.double(all.fragmentation());
    reply.bulk(b"fragmentation.bytes");
    reply.int(all.fragmentation_bytes());
    Ok(())
}
