//! XINFO.

use super::group::of_stream;
use super::write;
use crate::command::support::{db, int};
use crate::command::{Command, Flags, Group as Family, Handled, Keys};
use crate::engine::Context;
use crate::resp::{CommandError, Reply, errors};
use crate::store::{Consumer, Group, Id, Stream, UNKNOWN_READ};

const ROW: Command = Command {
    flags: Flags::READONLY,
    keys: Keys::Range { first: 2, last: 2, step: 1 },
    group: Family::Stream,
    since: "5.0.0",
    ..Command::ROW
};

pub const SUBCOMMANDS: &[Command] = &[
    Command { name: "stream", arity: -3, summary: "Tells about a stream.", handler: stream, ..ROW },
    Command {
        name: "groups",
        arity: 3,
        summary: "Lists the groups of a stream.",
        handler: groups,
        ..ROW
    },
    Command {
        name: "consumers",
        arity: 4,
        summary: "Lists the consumers of a group.",
        handler: consumers,
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

/// Arguments of a subcommand that do not fit together.
pub fn bad_subcommand(cx: &Context<'_>, name: &str) -> CommandError {
    format!(
        "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try {name} HELP.",
        String::from_utf8_lossy(cx.args.at(1))
    )
    .into()
}

fn help(cx: &mut Context<'_>) -> Handled {
    crate::command::server::help(cx, "XINFO", SUBCOMMANDS)
}

/// The stream of the third argument.
fn existing<'c>(cx: &'c mut Context<'_>) -> Result<(&'c Stream, Reply<'c>), CommandError> {
    let key = cx.args.at(2);
    let Context { engine, client, .. } = cx;
    let stream = engine.keyspace.db_mut(client.db).typed::<Stream>(key)?;
    Ok((stream.ok_or(errors::NO_SUCH_KEY)?, client.reply()))
}

/// Writes the pairs of a map one by one.
struct Map<'r, 'o>(&'r mut Reply<'o>);

impl Map<'_, '_> {
    fn int(&mut self, name: &str, number: i64) {
        self.0.bulk(name.as_bytes());
        self.0.int(number);
    }

    fn known(&mut self, name: &str, number: Option<i64>) {
        self.0.bulk(name.as_bytes());
        match number {
            Some(number) => self.0.int(number),
            None => self.0.null(),
        }
    }

    fn id(&mut self, name: &str, id: Id) {
        self.0.bulk(name.as_bytes());
        write::id(self.0, id);
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.0.bulk(name.as_bytes());
        self.0.bulk(bytes);
    }
}

fn groups(cx: &mut Context<'_>) -> Handled {
    let (stream, mut reply) = existing(cx)?;
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(6);
        let mut map = Map(&mut reply);
        map.bytes("name", name);
        map.int("consumers", group.consumer_count() as i64);
        map.int("pending", group.pending().len() as i64);
        map.id("last-delivered-id", group.last_id);
        progress(&mut map, stream, group);
    }
    Ok(())
}

/// How far a group has read.
fn progress(map: &mut Map<'_, '_>, stream: &Stream, group: &Group) {
    map.known("entries-read", (group.read != UNKNOWN_READ).then_some(group.read));
    map.known("lag", stream.lag(group));
}

fn consumers(cx: &mut Context<'_>) -> Handled {
    let (key, name) = (cx.args.at(2), cx.args.at(3));
    let now_ms = cx.engine.now.unix_ms();
    existing(cx)?;
    if let Some(stream) = db(cx).typed_mut::<Stream>(key)? {
        of_stream(stream, key, name)?;
    }
    let (stream, mut reply) = existing(cx)?;
    let Some(group) = stream.groups.get(name) else { return Ok(()) };
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(4);
        let mut map = Map(&mut reply);
        map.bytes("name", &consumer.name);
        map.int("pending", consumer.pending.len() as i64);
        map.int("idle", now_ms.saturating_sub(consumer.seen_ms).max(0));
        map.int(
            "inactive",
            match consumer.active_ms {
                -1 => -1,
                active_ms => now_ms.saturating_sub(active_ms),
            },
        );
    }
    Ok(())
}

fn stream(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    existing(cx)?;
    let full = match args.len() {
        3 => None,
        4 | 6 if args.is(3, "full") => Some(10),
        _ => return Err(bad_subcommand(cx, "XINFO")),
    };
    let full = match full {
        Some(_) if args.len() == 6 => {
            if !args.is(4, "count") {
                return Err(bad_subcommand(cx, "XINFO"));
            }
            let count = int(args.at(5))?;
            Some(usize::try_from(count).unwrap_or(10))
        }
        full => full,
    };
    let (stream, mut reply) = existing(cx)?;
    reply.map(if full.is_some() { 9 } else { 10 });
    let mut map = Map(&mut reply);
    map.int("length", stream.len() as i64);
    map.int("radix-tree-keys", stream.blocks().len() as i64);
    map.int("radix-tree-nodes", stream.radix_nodes() as i64);
    map.id("last-generated-id", stream.last_id);
    map.id("max-deleted-entry-id", stream.max_deleted);
    map.int("entries-added", stream.added.cast_signed());
    map.id("recorded-first-entry-id", stream.first_id());
    match full {
        // A count of 0 is without a limit.
        Some(count) => full_rest(&mut reply, stream, (count > 0).then_some(count)),
        None => short_rest(&mut reply, stream),
    }
    Ok(())
}

fn short_rest(reply: &mut Reply<'_>, stream: &Stream) {
    Map(reply).int("groups", stream.groups.len() as i64);
    let first = stream.range(Id::MIN, Id::MAX).next();
    let last = stream.range_back(Id::MIN, Id::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        reply.bulk(name.as_bytes());
        match entry {
            Some(entry) => write::entry(reply, &entry),
            None => reply.null(),
        }
    }
}

fn full_rest(reply: &mut Reply<'_>, stream: &Stream, count: Option<usize>) {
    reply.bulk(b"entries");
    write::entries(reply, stream.range(Id::MIN, Id::MAX), count);
    reply.bulk(b"groups");
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(7);
        let mut map = Map(reply);
        map.bytes("name", name);
        map.id("last-delivered-id", group.last_id);
        progress(&mut map, stream, group);
        map.int("pel-count", group.pending().len() as i64);
        reply.bulk(b"pending");
        let shown = count.unwrap_or(usize::MAX).min(group.pending().len());
        reply.array(shown);
        for (id, nack) in group.pending().iter().take(shown) {
            reply.array(4);
            write::id(reply, *id);
            reply.bulk(&group.consumer(nack.consumer).name);
            reply.int(nack.time_ms);
            reply.int(nack.count.cast_signed());
        }
        reply.bulk(b"consumers");
        reply.array(group.consumer_count());
        for consumer in group.consumers() {
            full_consumer(reply, group, consumer, count);
        }
    }
}

fn full_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, count: Option<usize>) {
    reply.map(5);
    let mut map = Map(reply);
    map.bytes("name", &consumer.name);
    map.int("seen-time", consumer.seen_ms);
    map.int("active-time", consumer.active_ms);
    map.int("pel-count", consumer.pending.len() as i64);
    reply.bulk(b"pending");
    let shown = count.unwrap_or(usize::MAX).min(consumer.pending.len());
    reply.array(shown);
    for id in consumer.pending.iter().take(shown) {
        let nack = group.pending().get(id);
        reply.array(3);
        write::id(reply, *id);
        reply.int(nack.map_or(0, |nack| nack.time_ms));
        reply.int(nack.map_or(0, |nack| nack.count.cast_signed()));
    }
}
