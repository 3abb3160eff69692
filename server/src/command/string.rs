//! Strings.

mod conditional;
mod expiry;
mod lcs;
mod numbers;
mod ranges;

use super::support::{decimal, wrote};
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::engine::propagate::deletion;
use crate::resp::{CommandError, errors};
use crate::store::{Db, IntBuf, StrRef, ValueRef};

use expiry::Expiry;

const READ: Flags = Flags::READONLY.with(Flags::FAST);
const WRITE: Flags = Flags::WRITE.with(Flags::DENYOOM);
const WRITE_FAST: Flags = WRITE.with(Flags::FAST);

const ROW: Command =
    Command { group: Group::String, keys: Keys::ONE, flags: WRITE_FAST, ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: 2,
        flags: READ,
        summary: "Returns the string value of a key.",
        handler: get,
        ..ROW
    },
    Command {
        name: "set",
        arity: -3,
        flags: WRITE,
        summary: "Sets the string value of a key, with options for conditions and expiry.",
        handler: set,
        ..ROW
    },
    Command {
        name: "setnx",
        arity: 3,
        summary: "Sets the string value of a key if it does not exist.",
        handler: setnx,
        ..ROW
    },
    Command {
        name: "setex",
        arity: 4,
        flags: WRITE,
        since: "2.0.0",
        summary: "Sets the string value and the expiry of a key in seconds.",
        handler: setex,
        ..ROW
    },
    Command {
        name: "psetex",
        arity: 4,
        flags: WRITE,
        since: "2.6.0",
        summary: "Sets the string value and the expiry of a key in milliseconds.",
        handler: setex,
        ..ROW
    },
    Command {
        name: "getset",
        arity: 3,
        summary: "Sets the string value of a key and returns the one before.",
        handler: getset,
        ..ROW
    },
    Command {
        name: "getdel",
        arity: 2,
        flags: Flags::WRITE.with(Flags::FAST),
        since: "6.2.0",
        summary: "Returns the string value of a key and deletes the key.",
        handler: getdel,
        ..ROW
    },
    Command {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.with(Flags::FAST),
        since: "6.2.0",
        summary: "Returns the string value of a key and sets its expiry.",
        handler: getex,
        ..ROW
    },
    Command {
        name: "mget",
        arity: -2,
        flags: READ,
        keys: Keys::ALL,
        summary: "Returns the string values of several keys.",
        handler: mget,
        ..ROW
    },
    Command {
        name: "mset",
        arity: -3,
        flags: WRITE,
        keys: Keys::Range { first: 1, last: -1, step: 2 },
        since: "1.0.1",
        summary: "Sets the string values of several keys.",
        handler: mset,
        ..ROW
    },
    Command {
        name: "msetnx",
        arity: -3,
        flags: WRITE,
        keys: Keys::Range { first: 1, last: -1, step: 2 },
        since: "1.0.1",
        summary: "Sets the string values of several keys if none of them exists.",
        handler: msetnx,
        ..ROW
    },
    Command {
        name: "msetex",
        arity: -4,
        flags: WRITE.with(Flags::MOVABLE_KEYS),
        keys: Keys::None,
        since: "9.1.0",
        summary: "Sets the string values of several keys, with options for conditions and expiry.",
        handler: conditional::msetex,
        ..ROW
    },
    Command {
        name: "delifeq",
        arity: 3,
        flags: Flags::WRITE.with(Flags::FAST),
        since: "9.0.0",
        summary: "Deletes a key that holds exactly this string.",
        handler: conditional::delifeq,
        ..ROW
    },
    Command {
        name: "incr",
        arity: 2,
        summary: "Adds one to the integer value of a key.",
        handler: numbers::incr,
        ..ROW
    },
    Command {
        name: "decr",
        arity: 2,
        summary: "Subtracts one from the integer value of a key.",
        handler: numbers::decr,
        ..ROW
    },
    Command {
        name: "incrby",
        arity: 3,
        summary: "Adds a number to the integer value of a key.",
        handler: numbers::incrby,
        ..ROW
    },
    Command {
        name: "decrby",
        arity: 3,
        summary: "Subtracts a number from the integer value of a key.",
        handler: numbers::decrby,
        ..ROW
    },
    Command {
        name: "incrbyfloat",
        arity: 3,
        since: "2.6.0",
        summary: "Adds a floating point number to the value of a key.",
        handler: numbers::incrbyfloat,
        ..ROW
    },
    Command {
        name: "append",
        arity: 3,
        since: "2.0.0",
        summary: "Appends to the string value of a key.",
        handler: ranges::append,
        ..ROW
    },
    Command {
        name: "strlen",
        arity: 2,
        flags: READ,
        since: "2.2.0",
        summary: "Returns the length of the string value of a key.",
        handler: ranges::strlen,
        ..ROW
    },
    Command {
        name: "setrange",
        arity: 4,
        flags: WRITE,
        since: "2.2.0",
        summary: "Overwrites part of the string value of a key from an offset on.",
        handler: ranges::setrange,
        ..ROW
    },
    Command {
        name: "getrange",
        arity: 4,
        flags: Flags::READONLY,
        since: "2.4.0",
        summary: "Returns part of the string value of a key.",
        handler: ranges::getrange,
        ..ROW
    },
    Command {
        name: "substr",
        arity: 4,
        flags: Flags::READONLY,
        summary: "Returns part of the string value of a key.",
        handler: ranges::getrange,
        ..ROW
    },
    Command {
        name: "lcs",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys::Range { first: 1, last: 2, step: 1 },
        since: "7.0.0",
        summary: "Finds the longest common subsequence of two strings.",
        handler: lcs::lcs,
        ..ROW
    },
];

/// The string at a key; an error for a value of another kind.
#[inline]
fn string_at<'d>(db: &'d mut Db, key: &[u8]) -> Result<Option<StrRef<'d>>, CommandError> {
    match db.lookup(key) {
        None => Ok(None),
        Some(ValueRef::Str(text)) => Ok(Some(text)),
        Some(_) => Err(errors::WRONG_TYPE.into()),
    }
}

fn get(cx: &mut Context<'_>) -> Handled {
    let found = string_at(cx.engine.keyspace.db_mut(cx.client.db), cx.args.at(1))?;
    let mut reply = cx.client.reply();
    match found {
        Some(StrRef::Bytes(bytes)) => reply.bulk(bytes),
        Some(StrRef::Int(number)) => reply.bulk_int(number),
        None => reply.null(),
    }
    Ok(())
}

/// Writes the string at a key, or null, as the reply.
fn reply_with(cx: &mut Context<'_>, key: &[u8]) -> Result<bool, CommandError> {
    let found = string_at(cx.engine.keyspace.db_mut(cx.client.db), key)?;
    let mut reply = cx.client.reply();
    match found {
        Some(text) => reply.bulk(text.bytes(&mut IntBuf::default())),
        None => reply.null(),
    }
    Ok(found.is_some())
}

fn set(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (key, value) = (args.at(1), args.at(2));
    if args.len() == 3 {
        cx.engine.keyspace.db_mut(cx.client.db).set_str(key, value, false);
        cx.client.reply().ok();
        wrote(cx, key, 1);
        cx.notify(EventClasses::STRING, "set", key);
        return Ok(());
    }
    conditional::set(cx)
}

fn setnx(cx: &mut Context<'_>) -> Handled {
    let (key, value) = (cx.args.at(1), cx.args.at(2));
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let absent = !db.contains(key);
    if absent {
        db.set_str(key, value, false);
        wrote(cx, key, 1);
        cx.notify(EventClasses::STRING, "set", key);
        cx.propagate(&[b"SET", key, value]);
    }
    cx.client.reply().int(i64::from(absent));
    Ok(())
}

fn setex(cx: &mut Context<'_>) -> Handled {
    let (key, value) = (cx.args.at(1), cx.args.at(3));
    let unit_ms = if cx.row.name == "setex" { 1000 } else { 1 };
    let now_ms = cx.engine.now.unix_ms();
    let at_ms = expiry::relative(cx.args.at(2), unit_ms, now_ms, cx.row.name)?;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    db.set_str(key, value, false);
    db.expire_at(key, at_ms);
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "set", key);
    cx.notify(EventClasses::GENERIC, "expire", key);
    cx.propagate(&[b"SET", key, value, b"PXAT", &decimal(at_ms)]);
    cx.client.reply().ok();
    Ok(())
}

fn getset(cx: &mut Context<'_>) -> Handled {
    let (key, value) = (cx.args.at(1), cx.args.at(2));
    reply_with(cx, key)?;
    cx.engine.keyspace.db_mut(cx.client.db).set_str(key, value, false);
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "set", key);
    cx.propagate(&[b"SET", key, value]);
    Ok(())
}

fn getdel(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    if reply_with(cx, key)? {
        cx.engine.keyspace.db_mut(cx.client.db).remove(key);
        wrote(cx, key, 1);
        cx.notify(EventClasses::GENERIC, "del", key);
        cx.propagate(&[b"DEL", key]);
    }
    Ok(())
}

fn getex(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let mut expiry = Expiry::None;
    let mut at = 2;
    while at < cx.args.len() {
        if cx.args.is(at, "persist") && expiry == Expiry::None {
            expiry = Expiry::Persist;
        } else {
            at = expiry.read(cx.args, at, cx.engine.now.unix_ms(), "getex")?;
        }
        at += 1;
    }
    if !reply_with(cx, key)? {
        return Ok(());
    }
    let past = matches!(expiry, Expiry::At(at_ms) if cx.ends_at(at_ms));
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    match expiry {
        Expiry::None | Expiry::Keep => {}
        Expiry::Persist => {
            if db.persist(key) {
                wrote(cx, key, 1);
                cx.notify(EventClasses::GENERIC, "persist", key);
                cx.propagate(&[b"PERSIST", key]);
            }
        }
        Expiry::At(_) if past => {
            db.remove(key);
            wrote(cx, key, 1);
            cx.notify(EventClasses::EXPIRED, "expired", key);
            cx.propagate(&[deletion(cx.engine.config.lazyfree_lazy_expire), key]);
        }
        Expiry::At(at_ms) => {
            db.expire_at(key, at_ms);
            wrote(cx, key, 1);
            cx.notify(EventClasses::GENERIC, "expire", key);
            cx.propagate(&[b"PEXPIREAT", key, &decimal(at_ms)]);
        }
    }
    Ok(())
}

fn mget(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let mut reply = client.reply();
    reply.array(args.len() - 1);
    for key in args.iter().skip(1) {
        if let Some(ValueRef::Str(text)) = engine.keyspace.db_mut(client.db).lookup(key) {
            client.reply().bulk(text.bytes(&mut IntBuf::default()));
        } else {
            client.reply().null();
        }
    }
    Ok(())
}

/// The keys and values of MSET and MSETNX; an error for a key without its value.
fn check_pairs(cx: &Context<'_>) -> Handled {
    if cx.args.len().is_multiple_of(2) {
        return Err(errors::wrong_arity(cx.row.name));
    }
    Ok(())
}

fn set_pairs(cx: &mut Context<'_>) {
    let args = cx.args;
    for at in (1..args.len()).step_by(2) {
        cx.engine.keyspace.db_mut(cx.client.db).set_str(args.at(at), args.at(at + 1), false);
        wrote(cx, args.at(at), 1);
        cx.notify(EventClasses::STRING, "set", args.at(at));
    }
}

fn mset(cx: &mut Context<'_>) -> Handled {
    check_pairs(cx)?;
    set_pairs(cx);
    cx.client.reply().ok();
    Ok(())
}

fn msetnx(cx: &mut Context<'_>) -> Handled {
    check_pairs(cx)?;
    let args = cx.args;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let taken = (1..args.len()).step_by(2).any(|at| db.contains(args.at(at)));
    if !taken {
        set_pairs(cx);
    }
    cx.client.reply().int(i64::from(!taken));
    Ok(())
}
