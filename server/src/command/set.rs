//! Commands on sets. Those over several sets are in [`algebra`].

mod algebra;

pub use algebra::limit;

use super::support::{ScanOf, ScanOptions, at_least, choose, db, draw, signed_count, wrote};
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::engine::propagate::deletion;
use crate::resp::errors;
use crate::store::{Pack, Random, Set};

const WRITE: Flags = Flags::WRITE.with(Flags::DENYOOM);
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.with(Flags::FAST);
const REMOVE_FAST: Flags = Flags::WRITE.with(Flags::FAST);
const ROW: Command = Command { keys: Keys::ONE, group: Group::Set, ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        arity: -3,
        flags: WRITE.with(Flags::FAST),
        summary: "Adds members to a set.",
        handler: sadd,
        ..ROW
    },
    Command {
        name: "srem",
        arity: -3,
        flags: REMOVE_FAST,
        summary: "Removes members from a set.",
        handler: srem,
        ..ROW
    },
    Command {
        name: "smove",
        arity: 4,
        flags: REMOVE_FAST,
        keys: Keys::Range { first: 1, last: 2, step: 1 },
        summary: "Moves a member from one set to another.",
        handler: smove,
        ..ROW
    },
    Command {
        name: "sismember",
        arity: 3,
        flags: READ_FAST,
        summary: "Tells whether a member belongs to a set.",
        handler: sismember,
        ..ROW
    },
    Command {
        name: "smismember",
        arity: -3,
        flags: READ_FAST,
        since: "6.2.0",
        summary: "Tells for each member whether it belongs to a set.",
        handler: smismember,
        ..ROW
    },
    Command {
        name: "scard",
        arity: 2,
        flags: READ_FAST,
        summary: "Returns the number of members.",
        handler: scard,
        ..ROW
    },
    Command {
        name: "smembers",
        arity: 2,
        flags: READ,
        summary: "Returns all members.",
        handler: smembers,
        ..ROW
    },
    Command {
        name: "spop",
        arity: -2,
        flags: REMOVE_FAST,
        summary: "Removes and returns random members.",
        handler: spop,
        ..ROW
    },
    Command {
        name: "srandmember",
        arity: -2,
        flags: READ,
        summary: "Returns random members.",
        handler: srandmember,
        ..ROW
    },
    Command {
        name: "sinter",
        arity: -2,
        flags: READ,
        keys: Keys::ALL,
        summary: "Returns the intersection of sets.",
        handler: |cx| algebra::reply(cx, algebra::Operation::Inter),
        ..ROW
    },
    Command {
        name: "sunion",
        arity: -2,
        flags: READ,
        keys: Keys::ALL,
        summary: "Returns the union of sets.",
        handler: |cx| algebra::reply(cx, algebra::Operation::Union),
        ..ROW
    },
    Command {
        name: "sdiff",
        arity: -2,
        flags: READ,
        keys: Keys::ALL,
        summary: "Returns the members of the first set that no other has.",
        handler: |cx| algebra::reply(cx, algebra::Operation::Diff),
        ..ROW
    },
    Command {
        name: "sinterstore",
        arity: -3,
        flags: WRITE,
        keys: Keys::ALL,
        summary: "Stores the intersection of sets.",
        handler: |cx| algebra::store(cx, algebra::Operation::Inter),
        ..ROW
    },
    Command {
        name: "sunionstore",
        arity: -3,
        flags: WRITE,
        keys: Keys::ALL,
        summary: "Stores the union of sets.",
        handler: |cx| algebra::store(cx, algebra::Operation::Union),
        ..ROW
    },
    Command {
        name: "sdiffstore",
        arity: -3,
        flags: WRITE,
        keys: Keys::ALL,
        summary: "Stores the members of the first set that no other has.",
        handler: |cx| algebra::store(cx, algebra::Operation::Diff),
        ..ROW
    },
    Command {
        name: "sintercard",
        arity: -3,
        flags: READ.with(Flags::MOVABLE_KEYS),
        keys: Keys::Counted(1),
        since: "7.0.0",
        summary: "Returns the number of members that all sets have.",
        handler: algebra::sintercard,
        ..ROW
    },
    Command {
        name: "sscan",
        arity: -3,
        flags: READ,
        since: "2.8.0",
        summary: "Iterates over members.",
        handler: sscan,
        ..ROW
    },
];

fn sadd(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let limits = db(cx).limits();
    let set: &mut Set = db(cx).typed_or_new(key)?;
    let mut added = 0;
    for member in args.tail(2).iter() {
        added += usize::from(set.add(member, &limits));
    }
    if added > 0 {
        wrote(cx, key, added);
        cx.notify(EventClasses::SET, "sadd", key);
    }
    cx.reply().int(added as i64);
    Ok(())
}

fn srem(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let mut removed = 0;
    if let Some(set) = db(cx).typed_mut::<Set>(key)? {
        removed = args.tail(2).iter().filter(|member| set.remove(member)).count();
        if set.is_empty() {
            db(cx).remove(key);
        }
    }
    if removed > 0 {
        wrote(cx, key, removed);
        cx.notify(EventClasses::SET, "srem", key);
        cx.notify_emptied(key);
    }
    cx.reply().int(removed as i64);
    Ok(())
}

fn smove(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (source, target, member) = (args.at(1), args.at(2), args.at(3));
    let Some(set) = db(cx).typed::<Set>(source)? else {
        cx.reply().int(0);
        return Ok(());
    };
    let known = set.contains(member);
    db(cx).typed::<Set>(target)?;
    if known && source != target {
        let limits = db(cx).limits();
        remove_member(cx, source, member);
        let added = db(cx).typed_or_new::<Set>(target)?.add(member, &limits);
        wrote(cx, source, 1);
        cx.notify(EventClasses::SET, "srem", source);
        cx.notify_emptied(source);
        if added {
            wrote(cx, target, 1);
            cx.notify(EventClasses::SET, "sadd", target);
        }
    }
    cx.reply().int(i64::from(known));
    Ok(())
}

/// Removes a member, and the set with its last one.
fn remove_member(cx: &mut Context<'_>, key: &[u8], member: &[u8]) {
    if let Ok(Some(set)) = db(cx).typed_mut::<Set>(key) {
        set.remove(member);
        if set.is_empty() {
            db(cx).remove(key);
        }
    }
}

fn sismember(cx: &mut Context<'_>) -> Handled {
    let (key, member) = (cx.args.at(1), cx.args.at(2));
    let known = db(cx).typed::<Set>(key)?.is_some_and(|set| set.contains(member));
    cx.reply().int(i64::from(known));
    Ok(())
}

fn smismember(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let set: Option<&Set> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    reply.array(args.len() - 2);
    for member in args.tail(2).iter() {
        reply.int(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

fn scard(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let len = db(cx).typed::<Set>(key)?.map_or(0, Set::len);
    cx.reply().int(len as i64);
    Ok(())
}

fn smembers(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let set: Option<&Set> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    reply.set(set.map_or(0, Set::len));
    if let Some(set) = set {
        set.each(|member| reply.bulk(member));
    }
    Ok(())
}

fn spop(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    match args.len() {
        2 => spop_one(cx, key),
        3 => spop_many(cx, key),
        _ => Err(errors::SYNTAX.into()),
    }
}

fn spop_one(cx: &mut Context<'_>, key: &[u8]) -> Handled {
    let Context { engine, client, .. } = cx;
    let random = &mut engine.rooms.random;
    let set: Option<&Set> = engine.keyspace.db_mut(client.db).typed(key)?;
    let Some(member) = set.and_then(|set| set.random(|| random.draw())) else {
        cx.reply().null();
        return Ok(());
    };
    remove_member(cx, key, &member);
    wrote(cx, key, 1);
    cx.notify(EventClasses::SET, "spop", key);
    cx.notify_emptied(key);
    cx.propagate(&[b"SREM", key, &member]);
    cx.reply().bulk(&member);
    Ok(())
}

fn spop_many(cx: &mut Context<'_>, key: &[u8]) -> Handled {
    let refusal = "ERR value is out of range, must be positive";
    let count = at_least(cx.args.at(2), 0, refusal)? as usize;
    let Context { engine, client, .. } = cx;
    let random = &mut engine.rooms.random;
    let set: Option<&Set> = engine.keyspace.db_mut(client.db).typed(key)?;
    let Some(set) = set.filter(|_| count > 0) else {
        cx.reply().set(0);
        return Ok(());
    };
    let whole = count >= set.len();
    let members = pick(set, count.min(set.len()), random);
    if whole {
        db(cx).remove(key);
        wrote(cx, key, members.len());
        cx.notify(EventClasses::SET, "spop", key);
        cx.notify_emptied(key);
        cx.propagate(&[deletion(cx.engine.config.lazyfree_lazy_server_del), key]);
    } else {
        if let Some(set) = db(cx).typed_mut::<Set>(key)? {
            for member in &members {
                set.remove(member);
            }
        }
        wrote(cx, key, members.len());
        cx.notify(EventClasses::SET, "spop", key);
        cx.notify_emptied(key);
        // Bounded, so that no command in the stream is longer than a client's may be.
        for part in members.chunks(1024) {
            let mut words: Vec<&[u8]> = vec![b"SREM", key];
            words.extend(part.iter().map(Vec::as_slice));
            cx.propagate(&words);
        }
    }
    let mut reply = cx.reply();
    reply.set(members.len());
    for member in &members {
        reply.bulk(member);
    }
    Ok(())
}

/// Different members, evenly picked.
fn pick(set: &Set, wanted: usize, random: &mut Random) -> Vec<Vec<u8>> {
    if wanted * 3 < set.len() {
        let next = || set.random(|| random.draw()).map(|member| (member, ()));
        return draw(wanted, next).into_iter().map(|(member, ())| member).collect();
    }
    let mut all = Pack::new();
    set.each(|member| all.push_back(member));
    let chosen = choose(all.iter(), all.len(), wanted, random);
    chosen.into_iter().map(<[u8]>::to_vec).collect()
}

fn srandmember(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let random = &mut engine.rooms.random;
    if args.len() > 3 {
        return Err(errors::SYNTAX.into());
    }
    let count = args.get(2).map(signed_count).transpose()?;
    let set: Option<&Set> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    let (Some(set), Some(count)) = (set, count) else {
        match set.and_then(|set| set.random(|| random.draw())) {
            Some(member) => reply.bulk(&member),
            None if count.is_some() => reply.array(0),
            None => reply.null(),
        }
        return Ok(());
    };
    if count < 0 {
        let wanted = count.unsigned_abs() as usize;
        reply.array(wanted);
        for _ in 0..wanted {
            match set.random(|| random.draw()) {
                Some(member) if !reply.is_full() => reply.bulk(&member),
                _ => break,
            }
        }
        return Ok(());
    }
    let members = pick(set, (count as usize).min(set.len()), random);
    reply.array(members.len());
    for member in &members {
        reply.bulk(member);
    }
    Ok(())
}

fn sscan(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let cursor = ScanOptions::cursor(args.at(2))?;
    let set: Option<&Set> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut found = Pack::new();
    let mut next = 0;
    if let Some(set) = set {
        let options = ScanOptions::parse(*args, cursor, 3, ScanOf::Members)?;
        next = set.scan(cursor, options.count, |member| {
            if options.wants(member) {
                found.push_back(member);
            }
        });
    }
    let mut reply = client.reply();
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(found.len());
    for member in found.iter() {
        reply.bulk(member);
    }
    Ok(())
}
