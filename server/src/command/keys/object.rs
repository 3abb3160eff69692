//! OBJECT.

use crate::command::{Command, Flags, Group, Handled, Keys};
use crate::engine::Context;

const KEY: Keys = Keys::Range { first: 2, last: 2, step: 1 };
const ROW: Command = Command {
    arity: 3,
    flags: Flags::READONLY,
    keys: KEY,
    group: Group::Generic,
    since: "2.2.3",
    ..Command::ROW
};

pub const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "encoding",
        summary: "Returns the internal form of the value of a key.",
        handler: encoding,
        ..ROW
    },
    Command {
        name: "freq",
        since: "4.0.0",
        summary: "Returns how often a key is used, on a logarithmic scale, under an LFU policy.",
        handler: freq,
        ..ROW
    },
    Command {
        name: "idletime",
        summary: "Returns the seconds since a key was last used.",
        handler: idletime,
        ..ROW
    },
    Command {
        name: "refcount",
        summary: "Returns the number of references to the value of a key, which is always 1.",
        handler: refcount,
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.with(Flags::STALE).with(Flags::LOCAL),
        since: "6.2.0",
        keys: Keys::None,
        summary: "Lists the subcommands.",
        handler: help,
        ..ROW
    },
];

fn encoding(cx: &mut Context<'_>) -> Handled {
    match cx.engine.keyspace.db_mut(cx.client.db).encoding(cx.args.at(2)) {
        Some(name) => cx.client.reply().bulk(name.as_bytes()),
        None => cx.client.reply().null(),
    }
    Ok(())
}

fn freq(cx: &mut Context<'_>) -> Handled {
    let db = cx.engine.keyspace.db(cx.client.db);
    let Some(frequency) = db.frequency(cx.args.at(2)) else {
        cx.client.reply().null();
        return Ok(());
    };
    if !cx.engine.config.maxmemory_policy.is_lfu() {
        return Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                    Please note that when switching between policies at runtime LRU and LFU data \
                    will take some time to adjust."
            .into());
    }
    cx.client.reply().int(frequency.into());
    Ok(())
}

fn idletime(cx: &mut Context<'_>) -> Handled {
    let db = cx.engine.keyspace.db(cx.client.db);
    let Some(idle_s) = db.idle_s(cx.args.at(2)) else {
        cx.client.reply().null();
        return Ok(());
    };
    if cx.engine.config.maxmemory_policy.is_lfu() {
        return Err("ERR An LFU maxmemory policy is selected, idle time not tracked. Please note \
                    that when switching between policies at runtime LRU and LFU data will take \
                    some time to adjust."
            .into());
    }
    cx.client.reply().int(idle_s.into());
    Ok(())
}

fn refcount(cx: &mut Context<'_>) -> Handled {
    if cx.engine.keyspace.db_mut(cx.client.db).contains(cx.args.at(2)) {
        cx.client.reply().int(1);
    } else {
        cx.client.reply().null();
    }
    Ok(())
}

fn help(cx: &mut Context<'_>) -> Handled {
    crate::command::server::help(cx, "OBJECT", SUBCOMMANDS)
}
