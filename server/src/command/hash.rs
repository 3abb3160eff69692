//! Commands on hashes. Expiry times of fields are in [`expiry`].

mod expiry;

use super::support::{ScanOf, ScanOptions, choose, db, decimal, draw, int, signed_count, wrote};
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::extended::Extended;
use crate::resp::num::parse_i64;
use crate::resp::{Reply, errors};
use crate::store::{Hash, Random};

const WRITE: Flags = Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST);
const CHANGE: Flags = Flags::WRITE.with(Flags::FAST);
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.with(Flags::FAST);
const ROW: Command =
    Command { keys: Keys::ONE, group: Group::Hash, since: "2.0.0", ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "hset",
        arity: -4,
        flags: WRITE,
        summary: "Sets fields of a hash; returns how many are new.",
        handler: hset,
        ..ROW
    },
    Command {
        name: "hmset",
        arity: -4,
        flags: WRITE,
        summary: "Sets fields of a hash.",
        handler: hset,
        ..ROW
    },
    Command {
        name: "hsetnx",
        arity: 4,
        flags: WRITE,
        summary: "Sets a field of a hash if it is absent.",
        handler: hsetnx,
        ..ROW
    },
    Command {
        name: "hget",
        arity: 3,
        flags: READ_FAST,
        summary: "Returns the value of a field.",
        handler: hget,
        ..ROW
    },
    Command {
        name: "hmget",
        arity: -3,
        flags: READ_FAST,
        summary: "Returns the values of fields.",
        handler: hmget,
        ..ROW
    },
    Command {
        name: "hdel",
        arity: -3,
        flags: Flags::WRITE.with(Flags::FAST),
        summary: "Removes fields, and the hash with its last one.",
        handler: hdel,
        ..ROW
    },
    Command {
        name: "hlen",
        arity: 2,
        flags: READ_FAST,
        summary: "Returns the number of fields.",
        handler: hlen,
        ..ROW
    },
    Command {
        name: "hstrlen",
        arity: 3,
        flags: READ_FAST,
        since: "3.2.0",
        summary: "Returns the length of a field's value.",
        handler: hstrlen,
        ..ROW
    },
    Command {
        name: "hexists",
        arity: 3,
        flags: READ_FAST,
        summary: "Tells whether a field exists.",
        handler: hexists,
        ..ROW
    },
    Command {
        name: "hkeys",
        arity: 2,
        flags: READ,
        summary: "Returns all fields.",
        handler: |cx| all(cx, true, false),
        ..ROW
    },
    Command {
        name: "hvals",
        arity: 2,
        flags: READ,
        summary: "Returns all values.",
        handler: |cx| all(cx, false, true),
        ..ROW
    },
    Command {
        name: "hgetall",
        arity: 2,
        flags: READ,
        summary: "Returns all fields with their values.",
        handler: |cx| all(cx, true, true),
        ..ROW
    },
    Command {
        name: "hincrby",
        arity: 4,
        flags: WRITE,
        summary: "Adds an integer to a field's value.",
        handler: hincrby,
        ..ROW
    },
    Command {
        name: "hincrbyfloat",
        arity: 4,
        flags: WRITE,
        since: "2.6.0",
        summary: "Adds a floating-point number to a field's value.",
        handler: hincrbyfloat,
        ..ROW
    },
    Command {
        name: "hrandfield",
        arity: -2,
        flags: READ,
        since: "6.2.0",
        summary: "Returns random fields.",
        handler: hrandfield,
        ..ROW
    },
    Command {
        name: "hscan",
        arity: -3,
        flags: READ,
        since: "2.8.0",
        summary: "Iterates over fields and values.",
        handler: hscan,
        ..ROW
    },
    Command {
        name: "hexpire",
        arity: -6,
        flags: CHANGE,
        since: "9.0.0",
        summary: "Sets the expiry of fields in seconds.",
        handler: expiry::hexpire,
        ..ROW
    },
    Command {
        name: "hpexpire",
        arity: -6,
        flags: CHANGE,
        since: "9.0.0",
        summary: "Sets the expiry of fields in milliseconds.",
        handler: expiry::hexpire,
        ..ROW
    },
    Command {
        name: "hexpireat",
        arity: -6,
        flags: CHANGE,
        since: "9.0.0",
        summary: "Sets the expiry of fields to a Unix time in seconds.",
        handler: expiry::hexpire,
        ..ROW
    },
    Command {
        name: "hpexpireat",
        arity: -6,
        flags: CHANGE,
        since: "9.0.0",
        summary: "Sets the expiry of fields to a Unix time in milliseconds.",
        handler: expiry::hexpire,
        ..ROW
    },
    Command {
        name: "httl",
        arity: -5,
        flags: READ_FAST,
        since: "9.0.0",
        summary: "Returns the time that fields have left, in seconds.",
        handler: expiry::httl,
        ..ROW
    },
    Command {
        name: "hpttl",
        arity: -5,
        flags: READ_FAST,
        since: "9.0.0",
        summary: "Returns the time that fields have left, in milliseconds.",
        handler: expiry::httl,
        ..ROW
    },
    Command {
        name: "hexpiretime",
        arity: -5,
        flags: READ_FAST,
        since: "9.0.0",
        summary: "Returns when fields expire, as Unix times in seconds.",
        handler: expiry::httl,
        ..ROW
    },
    Command {
        name: "hpexpiretime",
        arity: -5,
        flags: READ_FAST,
        since: "9.0.0",
        summary: "Returns when fields expire, as Unix times in milliseconds.",
        handler: expiry::httl,
        ..ROW
    },
    Command {
        name: "hpersist",
        arity: -5,
        flags: CHANGE,
        since: "9.0.0",
        summary: "Takes the expiry of fields away.",
        handler: expiry::hpersist,
        ..ROW
    },
    Command {
        name: "hgetex",
        arity: -5,
        flags: CHANGE,
        since: "9.0.0",
        summary: "Returns the values of fields and sets their expiry.",
        handler: expiry::hgetex,
        ..ROW
    },
    Command {
        name: "hsetex",
        arity: -6,
        flags: WRITE,
        since: "9.0.0",
        summary: "Sets fields with their expiry.",
        handler: expiry::hsetex,
        ..ROW
    },
    Command {
        name: "hgetdel",
        arity: -5,
        flags: CHANGE,
        since: "9.1.0",
        summary: "Returns the values of fields and removes them.",
        handler: expiry::hgetdel,
        ..ROW
    },
];

fn hset(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    if !args.len().is_multiple_of(2) {
        return Err(errors::wrong_arity(cx.row.name));
    }
    let key = args.at(1);
    let limits = db(cx).limits();
    let hash: &mut Hash = db(cx).typed_or_new(key)?;
    let mut new = 0;
    let mut at = 2;
    while at < args.len() {
        new += i64::from(hash.set(args.at(at), args.at(at + 1), &limits));
        at += 2;
    }
    wrote(cx, key, (args.len() - 2) / 2);
    cx.notify(EventClasses::HASH, "hset", key);
    if cx.row.name == "hset" {
        cx.reply().int(new);
    } else {
        cx.reply().ok();
    }
    Ok(())
}

fn hsetnx(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (key, field) = (args.at(1), args.at(2));
    let limits = db(cx).limits();
    let known = db(cx).typed::<Hash>(key)?.is_some_and(|hash| hash.contains(field));
    if !known {
        db(cx).typed_or_new::<Hash>(key)?.set(field, args.at(3), &limits);
        wrote(cx, key, 1);
        cx.notify(EventClasses::HASH, "hset", key);
    }
    cx.reply().int(i64::from(!known));
    Ok(())
}

fn hget(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let hash: Option<&Hash> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    match hash.and_then(|hash| hash.get(args.at(2))) {
        Some(value) => client.reply().bulk(value),
        None => client.reply().null(),
    }
    Ok(())
}

fn hmget(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let hash: Option<&Hash> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    reply.array(args.len() - 2);
    for field in args.tail(2).iter() {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
    }
    Ok(())
}

fn hdel(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let mut removed = 0;
    if let Some(hash) = db(cx).typed_mut::<Hash>(key)? {
        removed = args.tail(2).iter().filter(|field| hash.remove(field)).count();
        if hash.is_empty() {
            db(cx).remove(key);
        }
    }
    if removed > 0 {
        wrote(cx, key, removed);
        cx.notify(EventClasses::HASH, "hdel", key);
        cx.notify_emptied(key);
    }
    cx.reply().int(removed as i64);
    Ok(())
}

fn hlen(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let len = db(cx).typed::<Hash>(key)?.map_or(0, Hash::len);
    cx.reply().int(len as i64);
    Ok(())
}

fn hstrlen(cx: &mut Context<'_>) -> Handled {
    let (key, field) = (cx.args.at(1), cx.args.at(2));
    let hash = db(cx).typed::<Hash>(key)?;
    let len = hash.and_then(|hash| hash.get(field)).map_or(0, <[u8]>::len);
    cx.reply().int(len as i64);
    Ok(())
}

fn hexists(cx: &mut Context<'_>) -> Handled {
    let (key, field) = (cx.args.at(1), cx.args.at(2));
    let known = db(cx).typed::<Hash>(key)?.is_some_and(|hash| hash.contains(field));
    cx.reply().int(i64::from(known));
    Ok(())
}

/// HKEYS, HVALS and HGETALL.
fn all(cx: &mut Context<'_>, fields: bool, values: bool) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let hash: Option<&Hash> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    let len = hash.map_or(0, Hash::len);
    if fields && values {
        reply.map(len);
    } else {
        reply.array(len);
    }
    for (field, value) in hash.into_iter().flat_map(Hash::iter) {
        if fields {
            reply.bulk(field);
        }
        if values {
            reply.bulk(value);
        }
    }
    Ok(())
}

fn hincrby(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (key, field) = (args.at(1), args.at(2));
    let by = int(args.at(3))?;
    let old = match db(cx).typed::<Hash>(key)?.and_then(|hash| hash.get(field)) {
        None => 0,
        Some(value) => parse_i64(value).ok_or("ERR hash value is not an integer")?,
    };
    let new = old.checked_add(by).ok_or(errors::OVERFLOW)?;
    let limits = db(cx).limits();
    let hash: &mut Hash = db(cx).typed_or_new(key)?;
    let volatile = hash.next_expiry().is_some();
    hash.set_keeping(field, &decimal(new), &limits);
    wrote(cx, key, 1);
    cx.notify(EventClasses::HASH, "hincrby", key);
    if volatile {
        expiry::propagate_value(cx, key, field, &decimal(new));
    }
    cx.reply().int(new);
    Ok(())
}

fn hincrbyfloat(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (key, field) = (args.at(1), args.at(2));
    let by = Extended::parse(args.at(3)).ok_or(errors::NOT_FLOAT)?;
    if by.is_infinite() {
        return Err("ERR value is NaN or Infinity".into());
    }
    let old = match db(cx).typed::<Hash>(key)?.and_then(|hash| hash.get(field)) {
        None => Extended::ZERO,
        Some(value) => Extended::parse(value).ok_or("ERR hash value is not a float")?,
    };
    let sum = old.plus(by).ok_or("ERR increment would produce NaN or Infinity")?;
    let text = sum.to_string().into_bytes();
    let limits = db(cx).limits();
    db(cx).typed_or_new::<Hash>(key)?.set_keeping(field, &text, &limits);
    wrote(cx, key, 1);
    cx.notify(EventClasses::HASH, "hincrbyfloat", key);
    expiry::propagate_value(cx, key, field, &text);
    cx.reply().bulk(&text);
    Ok(())
}

fn hrandfield(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let random = &mut engine.rooms.random;
    let db = engine.keyspace.db_mut(client.db);
    let Some(count) = args.get(2) else {
        let hash: Option<&Hash> = db.typed(args.at(1))?;
        match hash.and_then(|hash| hash.random(|| random.draw())) {
            Some((field, _)) => client.reply().bulk(field),
            None => client.reply().null(),
        }
        return Ok(());
    };
    let count = signed_count(count)?;
    let with_values = match args.len() {
        3 => false,
        4 if args.is(3, "withvalues") => true,
        _ => return Err(errors::SYNTAX.into()),
    };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(errors::OUT_OF_RANGE.into());
    }
    let Some(hash) = db.typed::<Hash>(args.at(1))? else {
        client.reply().array(0);
        return Ok(());
    };
    random_fields(hash, count, with_values, random, &mut client.reply());
    Ok(())
}

/// Writes `-count` fields that may repeat, or up to `count` different ones.
fn random_fields(
    hash: &Hash,
    count: i64,
    with_values: bool,
    random: &mut Random,
    reply: &mut Reply<'_>,
) {
    let wanted =
        if count < 0 { count.unsigned_abs() as usize } else { (count as usize).min(hash.len()) };
    let nested = with_values && reply.is_resp3();
    reply.array(if with_values && !nested { wanted * 2 } else { wanted });
    let mut write = |(field, value): (&[u8], &[u8])| {
        if nested {
            reply.array(2);
        }
        reply.bulk(field);
        if with_values {
            reply.bulk(value);
        }
        !reply.is_full()
    };
    if count < 0 {
        for _ in 0..wanted {
            if !hash.random(|| random.draw()).is_some_and(&mut write) {
                break;
            }
        }
        return;
    }
    let write = |pair| _ = write(pair);
    if wanted * 3 < hash.len() {
        draw(wanted, || hash.random(|| random.draw())).into_iter().for_each(write);
    } else {
        choose(hash.iter(), hash.len(), wanted, random).into_iter().for_each(write);
    }
}

fn hscan(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let cursor = ScanOptions::cursor(args.at(2))?;
    let hash: Option<&Hash> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut next = 0;
    let mut options = None;
    if let Some(hash) = hash {
        let read = ScanOptions::parse(*args, cursor, 3, ScanOf::Fields)?;
        next = hash.scan(cursor, read.count, |field, value| {
            if read.wants(field) {
                found.push((field.to_vec(), value.to_vec()));
            }
        });
        options = Some(read);
    }
    let keys_only = options.is_some_and(|options| options.keys_only);
    let mut reply = client.reply();
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(if keys_only { found.len() } else { found.len() * 2 });
    for (field, value) in &found {
        reply.bulk(field);
        if !keys_only {
            reply.bulk(value);
        }
    }
    Ok(())
}
