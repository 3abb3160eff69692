//! Keys of any kind.

mod copy;
mod expire;
mod migrate;
mod object;
mod scan;
mod serial;

pub use migrate::key_range as keys_of_migrate;

use super::support::wrote;
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;

const READ: Flags = Flags::READONLY.with(Flags::FAST);
const WRITE: Flags = Flags::WRITE.with(Flags::FAST);
const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };

const ROW: Command =
    Command { group: Group::Generic, keys: Keys::ONE, flags: WRITE, ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: Keys::ALL,
        summary: "Deletes keys.",
        handler: del,
        ..ROW
    },
    Command {
        name: "unlink",
        arity: -2,
        keys: Keys::ALL,
        since: "4.0.0",
        summary: "Deletes keys.",
        handler: unlink,
        ..ROW
    },
    Command {
        name: "exists",
        arity: -2,
        flags: READ,
        keys: Keys::ALL,
        summary: "Counts how many of the keys exist.",
        handler: exists,
        ..ROW
    },
    Command {
        name: "touch",
        arity: -2,
        flags: READ,
        keys: Keys::ALL,
        since: "3.2.1",
        summary: "Counts how many of the keys exist, which is a use of them.",
        handler: touch,
        ..ROW
    },
    Command {
        name: "type",
        arity: 2,
        flags: READ,
        summary: "Returns the kind of value at a key.",
        handler: type_of,
        ..ROW
    },
    Command {
        name: "expire",
        arity: -3,
        summary: "Sets the expiry of a key in seconds.",
        handler: expire::expire,
        ..ROW
    },
    Command {
        name: "pexpire",
        arity: -3,
        since: "2.6.0",
        summary: "Sets the expiry of a key in milliseconds.",
        handler: expire::pexpire,
        ..ROW
    },
    Command {
        name: "expireat",
        arity: -3,
        since: "1.2.0",
        summary: "Sets the expiry of a key to a Unix time in seconds.",
        handler: expire::expireat,
        ..ROW
    },
    Command {
        name: "pexpireat",
        arity: -3,
        since: "2.6.0",
        summary: "Sets the expiry of a key to a Unix time in milliseconds.",
        handler: expire::pexpireat,
        ..ROW
    },
    Command {
        name: "ttl",
        arity: 2,
        flags: READ,
        summary: "Returns the time that a key has left, in seconds.",
        handler: expire::ttl,
        ..ROW
    },
    Command {
        name: "pttl",
        arity: 2,
        flags: READ,
        since: "2.6.0",
        summary: "Returns the time that a key has left, in milliseconds.",
        handler: expire::ttl,
        ..ROW
    },
    Command {
        name: "expiretime",
        arity: 2,
        flags: READ,
        since: "7.0.0",
        summary: "Returns when a key expires, as a Unix time in seconds.",
        handler: expire::ttl,
        ..ROW
    },
    Command {
        name: "pexpiretime",
        arity: 2,
        flags: READ,
        since: "7.0.0",
        summary: "Returns when a key expires, as a Unix time in milliseconds.",
        handler: expire::ttl,
        ..ROW
    },
    Command {
        name: "persist",
        arity: 2,
        since: "2.2.0",
        summary: "Takes the expiry of a key away.",
        handler: expire::persist,
        ..ROW
    },
    Command {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        keys: TWO,
        summary: "Renames a key, replacing the one of that name.",
        handler: copy::rename,
        ..ROW
    },
    Command {
        name: "renamenx",
        arity: 3,
        keys: TWO,
        summary: "Renames a key if there is none of that name.",
        handler: copy::renamenx,
        ..ROW
    },
    Command {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: TWO,
        since: "6.2.0",
        summary: "Copies the value of a key to another.",
        handler: copy::copy,
        ..ROW
    },
    Command {
        name: "move",
        arity: 3,
        summary: "Moves a key to another database.",
        handler: copy::move_key,
        ..ROW
    },
    Command {
        name: "scan",
        arity: -2,
        flags: Flags::READONLY,
        keys: Keys::None,
        since: "2.8.0",
        summary: "Iterates over the keys of the database.",
        handler: scan::scan,
        ..ROW
    },
    Command {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY,
        keys: Keys::None,
        summary: "Returns the names of all keys that match a pattern.",
        handler: scan::keys,
        ..ROW
    },
    Command {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY,
        keys: Keys::None,
        summary: "Returns the name of a random key.",
        handler: scan::randomkey,
        ..ROW
    },
    Command {
        name: "object",
        arity: -2,
        flags: Flags::NONE,
        keys: Keys::None,
        since: "2.2.3",
        summary: "Tells how a value is held.",
        subcommands: object::SUBCOMMANDS,
        ..ROW
    },
    Command {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY,
        since: "2.6.0",
        summary: "Returns the value of a key in serialised form.",
        handler: serial::dump,
        ..ROW
    },
    Command {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        since: "2.6.0",
        summary: "Makes a key from the serialised form of a value.",
        handler: serial::restore,
        ..ROW
    },
    Command {
        name: "migrate",
        arity: -6,
        flags: Flags::WRITE,
        keys: Keys::Migrated,
        since: "2.6.0",
        summary: "Moves keys to another server.",
        handler: migrate::migrate,
        ..ROW
    },
    Command {
        group: Group::Server,
        name: "restore-asking",
        arity: -4,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        since: "3.0.0",
        summary: "As RESTORE, for tools that move keys between nodes.",
        handler: serial::restore,
        ..ROW
    },
];

fn del(cx: &mut Context<'_>) -> Handled {
    delete(cx, false)
}

/// Deletes as DEL does, but never frees a large value before it answers.
fn unlink(cx: &mut Context<'_>) -> Handled {
    delete(cx, true)
}

fn delete(cx: &mut Context<'_>, unlink: bool) -> Handled {
    let args = cx.args;
    let mut removed = 0;
    for key in args.iter().skip(1) {
        if cx.engine.keyspace.db_mut(cx.client.db).delete(key, unlink) {
            removed += 1;
            wrote(cx, key, 1);
            cx.notify(EventClasses::GENERIC, "del", key);
            // A client that waits for the key to change its kind looks again.
            cx.signal(key);
        }
    }
    cx.client.reply().int(removed);
    Ok(())
}

fn exists(cx: &mut Context<'_>) -> Handled {
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let count = cx.args.iter().skip(1).filter(|key| db.contains(key)).count();
    cx.client.reply().int(count as i64);
    Ok(())
}

fn touch(cx: &mut Context<'_>) -> Handled {
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let count = cx.args.iter().skip(1).filter(|key| db.touch(key)).count();
    cx.client.reply().int(count as i64);
    Ok(())
}

fn type_of(cx: &mut Context<'_>) -> Handled {
    let found = cx.engine.keyspace.db_mut(cx.client.db).view(cx.args.at(1));
    cx.client.reply().simple(found.map_or("none", |value| value.type_name()));
    Ok(())
}
