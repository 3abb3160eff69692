//! XGROUP, and what the commands of groups share.

use super::ids::{or_edge, strict};
use crate::command::support::{db, decimal, int};
use crate::command::{Command, Flags, Group as Family, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::engine::propagate::Outbox;
use crate::resp::CommandError;
use crate::store::{Group, Id, IdBuf, Nack, Stream, UNKNOWN_READ};

const KEY: Keys = Keys::Range { first: 2, last: 2, step: 1 };
const ROW: Command = Command {
    flags: Flags::WRITE,
    keys: KEY,
    group: Family::Stream,
    since: "5.0.0",
    ..Command::ROW
};

pub const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "create",
        arity: -5,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        summary: "Makes a group.",
        handler: create,
        ..ROW
    },
    Command {
        name: "setid",
        arity: -5,
        summary: "Sets the id up to which a group has read.",
        handler: set_id,
        ..ROW
    },
    Command { name: "destroy", arity: 4, summary: "Removes a group.", handler: destroy, ..ROW },
    Command {
        name: "createconsumer",
        arity: 5,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        since: "6.2.0",
        summary: "Makes a consumer of a group.",
        handler: create_consumer,
        ..ROW
    },
    Command {
        name: "delconsumer",
        arity: 5,
        summary: "Removes a consumer of a group.",
        handler: delete_consumer,
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

/// The consumer of this name, and whether it is new.
pub fn add_consumer(group: &mut Group, name: &[u8], now_ms: i64) -> (u32, bool) {
    if let Some(number) = group.find(name) {
        return (number, false);
    }
    let number = group.create(name, now_ms).expect("there is none of that name");
    (number, true)
}

/// The beginning of the error for a missing key or group.
pub fn no_group_text(key: &[u8], group: &[u8]) -> String {
    format!(
        "NOGROUP No such key '{}' or consumer group '{}'",
        String::from_utf8_lossy(key),
        String::from_utf8_lossy(group)
    )
}

fn no_group_of_key(key: &[u8], group: &[u8]) -> CommandError {
    format!(
        "NOGROUP No such consumer group '{}' for key name '{}'",
        String::from_utf8_lossy(group),
        String::from_utf8_lossy(key)
    )
    .into()
}

/// The group that XINFO or XGROUP names, of a stream that is there.
pub fn of_stream<'s>(
    stream: &'s mut Stream,
    key: &[u8],
    group: &[u8],
) -> Result<&'s mut Group, CommandError> {
    stream.groups.get_mut(group).ok_or_else(|| no_group_of_key(key, group))
}

/// The group that the second and third argument name.
pub fn of_args<'c>(cx: &'c mut Context<'_>) -> Result<&'c mut Group, CommandError> {
    let (key, name) = (cx.args.at(1), cx.args.at(2));
    let stream = db(cx).typed_mut::<Stream>(key)?;
    stream
        .and_then(|stream| stream.groups.get_mut(name))
        .ok_or_else(|| no_group_text(key, name).into())
}

/// Adds to the stream of changes that a consumer was given an entry.
pub fn push_claim(
    outbox: &mut Outbox,
    db: usize,
    key: &[u8],
    group_name: &[u8],
    group: &Group,
    id: Id,
    nack: Nack,
) {
    let (mut id_text, mut last_text) = ([0; size_of::<IdBuf>()], [0; size_of::<IdBuf>()]);
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let parts: [&[u8]; 14] = [
        b"XCLAIM",
        key,
        group_name,
        &group.consumer(nack.consumer).name,
        b"0",
        id.text(&mut id_text),
        b"TIME",
        time.format(nack.time_ms).as_bytes(),
        b"RETRYCOUNT",
        count.format(nack.count).as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        group.last_id.text(&mut last_text),
    ];
    outbox.push(db, parts);
}

/// Adds to the stream of changes how far a group has read.
pub fn push_set_id(outbox: &mut Outbox, db: usize, key: &[u8], group_name: &[u8], group: &Group) {
    let mut last = [0; size_of::<IdBuf>()];
    let read = decimal(group.read);
    let parts: [&[u8]; 7] = [
        b"XGROUP",
        b"SETID",
        key,
        group_name,
        group.last_id.text(&mut last),
        b"ENTRIESREAD",
        &read,
    ];
    outbox.push(db, parts);
}

fn bad_subcommand(cx: &Context<'_>) -> CommandError {
    super::info::bad_subcommand(cx, "XGROUP")
}

fn missing_key() -> CommandError {
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
     the MKSTREAM option to create an empty stream automatically."
        .into()
}

/// The options of CREATE and SETID: MKSTREAM and ENTRIESREAD.
fn options(cx: &Context<'_>, creates: bool) -> Result<(bool, i64), CommandError> {
    let args = cx.args;
    let (mut make, mut read) = (false, UNKNOWN_READ);
    let mut at = 5;
    while at < args.len() {
        if creates && args.is(at, "mkstream") {
            make = true;
            at += 1;
        } else if args.is(at, "entriesread") && at + 1 < args.len() {
            read = int(args.at(at + 1))?;
            if read < 0 && read != UNKNOWN_READ {
                return Err("ERR value for ENTRIESREAD must be positive or -1".into());
            }
            at += 2;
        } else {
            return Err(bad_subcommand(cx));
        }
    }
    Ok((make, read))
}

fn create(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (key, name) = (args.at(2), args.at(3));
    let (make, read) = options(cx, true)?;
    let found = db(cx).typed::<Stream>(key)?;
    if found.is_none() && !make {
        return Err(missing_key());
    }
    if args.len() > 8 {
        return Err(bad_subcommand(cx));
    }
    let is_new = found.is_none();
    let id = match args.at(4) {
        b"$" => found.map_or(Id::MIN, |stream| stream.last_id),
        text => strict(text, 0)?,
    };
    let stream: &mut Stream = db(cx).typed_or_new(key)?;
    if stream.groups.contains_key(name) {
        return Err("BUSYGROUP Consumer Group name already exists".into());
    }
    stream.groups.insert(name.into(), Group::new(id, read));
    if is_new {
        cx.touch(key);
    }
    cx.dirty(1);
    cx.notify(EventClasses::STREAM, "xgroup-create", key);
    cx.reply().ok();
    Ok(())
}

/// The group of a subcommand that needs the key and the group.
fn existing<'c>(cx: &'c mut Context<'_>) -> Result<&'c mut Group, CommandError> {
    let (key, name) = (cx.args.at(2), cx.args.at(3));
    let stream = db(cx).typed_mut::<Stream>(key)?.ok_or_else(missing_key)?;
    of_stream(stream, key, name)
}

fn set_id(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(2);
    let (_, read) = options(cx, false)?;
    existing(cx)?;
    if args.len() != 5 && args.len() != 7 {
        return Err(bad_subcommand(cx));
    }
    let id = match args.at(4) {
        b"$" => db(cx).typed::<Stream>(key)?.map_or(Id::MIN, |stream| stream.last_id),
        text => or_edge(text, 0)?,
    };
    let group = existing(cx)?;
    group.last_id = id;
    group.read = read;
    cx.dirty(1);
    cx.notify(EventClasses::STREAM, "xgroup-setid", key);
    cx.reply().ok();
    Ok(())
}

fn destroy(cx: &mut Context<'_>) -> Handled {
    let (key, name) = (cx.args.at(2), cx.args.at(3));
    let stream = db(cx).typed_mut::<Stream>(key)?.ok_or_else(missing_key)?;
    let removed = stream.groups.remove(name).is_some();
    if removed {
        cx.dirty(1);
        cx.notify(EventClasses::STREAM, "xgroup-destroy", key);
        // Who waits for entries of the group is told that it is gone.
        cx.signal(key);
    }
    cx.reply().int(i64::from(removed));
    Ok(())
}

fn create_consumer(cx: &mut Context<'_>) -> Handled {
    let now_ms = cx.engine.now.unix_ms();
    let (key, consumer) = (cx.args.at(2), cx.args.at(4));
    let created = existing(cx)?.create(consumer, now_ms).is_some();
    if created {
        cx.dirty(1);
        cx.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    }
    cx.reply().int(i64::from(created));
    Ok(())
}

fn delete_consumer(cx: &mut Context<'_>) -> Handled {
    let (key, consumer) = (cx.args.at(2), cx.args.at(4));
    let pending = existing(cx)?.delete(consumer);
    if pending.is_some() {
        cx.dirty(1);
        cx.notify(EventClasses::STREAM, "xgroup-delconsumer", key);
    }
    cx.reply().int(pending.unwrap_or(0) as i64);
    Ok(())
}

fn help(cx: &mut Context<'_>) -> Handled {
    crate::command::server::help(cx, "XGROUP", SUBCOMMANDS)
}
