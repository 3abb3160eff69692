//! Commands on streams. Groups, claiming and the like are in the files beside this one.

mod add;
mod claim;
mod group;
mod ids;
mod info;
mod pending;
mod read;
mod write;

use super::support::{db, int, wrote};
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::{CommandError, errors};
use crate::store::{Id, Stream};
use ids::{Bound, interval, strict};

const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = Flags::WRITE.with(Flags::FAST);
const READ: Flags = Flags::READONLY;
const ROW: Command =
    Command { keys: Keys::ONE, group: Group::Stream, since: "5.0.0", ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xadd",
        arity: -5,
        flags: WRITE_FAST.with(Flags::DENYOOM),
        summary: "Appends an entry to a stream, which it makes if need be.",
        handler: add::xadd,
        ..ROW
    },
    Command {
        name: "xlen",
        arity: 2,
        flags: READ.with(Flags::FAST),
        summary: "Returns the number of entries.",
        handler: xlen,
        ..ROW
    },
    Command {
        name: "xrange",
        arity: -4,
        flags: READ,
        summary: "Returns the entries of a range of ids.",
        handler: |cx| range(cx, false),
        ..ROW
    },
    Command {
        name: "xrevrange",
        arity: -4,
        flags: READ,
        summary: "Returns the entries of a range of ids, the last one first.",
        handler: |cx| range(cx, true),
        ..ROW
    },
    Command {
        name: "xdel",
        arity: -3,
        flags: WRITE_FAST,
        summary: "Removes entries by their ids and returns how many there were.",
        handler: xdel,
        ..ROW
    },
    Command {
        name: "xtrim",
        arity: -4,
        flags: WRITE,
        summary: "Removes entries from the front of a stream.",
        handler: add::xtrim,
        ..ROW
    },
    Command {
        name: "xsetid",
        arity: -3,
        flags: WRITE_FAST.with(Flags::DENYOOM),
        summary: "Sets the last id of a stream; for replication.",
        handler: xsetid,
        ..ROW
    },
    Command {
        name: "xread",
        arity: -4,
        flags: READ.with(Flags::BLOCKING).with(Flags::MOVABLE_KEYS),
        keys: Keys::Streams(1),
        summary: "Returns the entries after given ids, or waits for them.",
        handler: read::xread,
        ..ROW
    },
    Command {
        name: "xreadgroup",
        arity: -7,
        flags: WRITE.with(Flags::BLOCKING).with(Flags::MOVABLE_KEYS),
        keys: Keys::Streams(4),
        summary: "Gives a consumer of a group entries that none has yet, or waits for them.",
        handler: read::xreadgroup,
        ..ROW
    },
    Command {
        name: "xack",
        arity: -4,
        flags: WRITE_FAST,
        summary: "Acknowledges entries that a group was given.",
        handler: pending::xack,
        ..ROW
    },
    Command {
        name: "xpending",
        arity: -3,
        flags: READ,
        summary: "Tells what a group was given and has not acknowledged.",
        handler: pending::xpending,
        ..ROW
    },
    Command {
        name: "xclaim",
        arity: -6,
        flags: WRITE_FAST,
        summary: "Gives entries of another consumer to this one.",
        handler: claim::xclaim,
        ..ROW
    },
    Command {
        name: "xautoclaim",
        arity: -6,
        flags: WRITE_FAST,
        since: "6.2.0",
        summary: "Gives entries that others left lying to this consumer.",
        handler: claim::xautoclaim,
        ..ROW
    },
    Command {
        name: "xgroup",
        arity: -2,
        flags: Flags::NONE,
        keys: Keys::None,
        summary: "Makes, changes and removes groups and their consumers.",
        subcommands: group::SUBCOMMANDS,
        ..ROW
    },
    Command {
        name: "xinfo",
        arity: -2,
        flags: Flags::NONE,
        keys: Keys::None,
        summary: "Tells about streams, groups and consumers.",
        subcommands: info::SUBCOMMANDS,
        ..ROW
    },
];

fn xlen(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let len = db(cx).typed::<Stream>(key)?.map_or(0, Stream::len);
    cx.reply().int(len as i64);
    Ok(())
}

/// A range's ends as XRANGE, XPENDING and their like take them; `(` leaves the id itself out.
fn range_ends(from: &[u8], to: &[u8]) -> Result<(Id, Id), CommandError> {
    Ok((interval(from, Bound::From)?, interval(to, Bound::To)?))
}

fn range(cx: &mut Context<'_>, back: bool) -> Handled {
    let args = cx.args;
    let (from, to) = if back { (args.at(3), args.at(2)) } else { (args.at(2), args.at(3)) };
    let (from, to) = range_ends(from, to)?;
    let mut count = None;
    let mut at = 4;
    while at < args.len() {
        let value = args.get(at + 1).filter(|_| args.is(at, "count")).ok_or(errors::SYNTAX)?;
        count = Some(int(value)?.max(0) as usize);
        at += 2;
    }
    let Context { engine, client, .. } = cx;
    let Some(stream) = engine.keyspace.db_mut(client.db).typed::<Stream>(args.at(1))? else {
        client.reply().array(0);
        return Ok(());
    };
    let mut reply = client.reply();
    match count {
        Some(0) => reply.null_array(),
        _ if back => write::entries(&mut reply, stream.range_back(from, to), count),
        _ => write::entries(&mut reply, stream.range(from, to), count),
    }
    Ok(())
}

fn xdel(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    if db(cx).typed::<Stream>(key)?.is_none() {
        cx.reply().int(0);
        return Ok(());
    }
    for id in args.tail(2).iter() {
        strict(id, 0)?;
    }
    let mut removed = 0;
    if let Some(stream) = db(cx).typed_mut::<Stream>(key)? {
        for id in args.tail(2).iter() {
            removed += usize::from(stream.delete(strict(id, 0)?));
        }
    }
    if removed > 0 {
        wrote(cx, key, removed);
        cx.notify(EventClasses::STREAM, "xdel", key);
    }
    cx.reply().int(removed as i64);
    Ok(())
}

fn xsetid(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let id = strict(args.at(2), 0)?;
    let (mut added, mut deleted) = (None, Id::MIN);
    let mut at = 3;
    while at < args.len() {
        let value = args.get(at + 1).ok_or(errors::SYNTAX)?;
        if args.is(at, "entriesadded") {
            let count = int(value)?;
            added = Some(u64::try_from(count).map_err(|_| "ERR entries_added must be positive")?);
        } else if args.is(at, "maxdeletedid") {
            deleted = strict(value, 0)?;
            if id < deleted {
                return Err("ERR The ID specified in XSETID is smaller than the provided \
                            max_deleted_entry_id"
                    .into());
            }
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 2;
    }
    let stream = db(cx).typed_mut::<Stream>(key)?.ok_or(errors::NO_SUCH_KEY)?;
    if id < stream.max_deleted {
        return Err(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id".into()
        );
    }
    if !stream.is_empty() {
        if id < stream.last_entry_id() {
            return Err(
                "ERR The ID specified in XSETID is smaller than the target stream top item".into(),
            );
        }
        if added.is_some_and(|added| stream.len() > added) {
            return Err("ERR The entries_added specified in XSETID is smaller than the target \
                        stream length"
                .into());
        }
    }
    stream.last_id = id;
    stream.added = added.unwrap_or(stream.added);
    if deleted != Id::MIN {
        stream.max_deleted = deleted;
    }
    wrote(cx, key, 1);
    cx.notify(EventClasses::STREAM, "xsetid", key);
    cx.reply().ok();
    Ok(())
}

#[cfg(test)]
mod tests;
