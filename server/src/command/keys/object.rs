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
        name: "refcount",
        summary: "Returns the number of references to the value of a key, which is always 1.",
        handler: refcount,
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.with(Flags::STALE).with(Flags::LOCAL),
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
