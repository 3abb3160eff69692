//! XACK and XPENDING.

use super::group::no_group_text;
use super::ids::strict;
use super::{range_ends, write};
use crate::command::Handled;
use crate::command::support::{db, int};
use crate::engine::Context;
use crate::resp::{CommandError, Reply, errors};
use crate::store::{Group, Id, Nack, Stream};

pub fn xack(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (key, name) = (args.at(1), args.at(2));
    let stream = db(cx).typed::<Stream>(key)?;
    if !stream.is_some_and(|stream| stream.groups.contains_key(name)) {
        cx.reply().int(0);
        return Ok(());
    }
    // All or nothing: no id is acknowledged when one of them is none.
    for text in args.tail(3).iter() {
        strict(text, 0)?;
    }
    let mut done = 0;
    if let Some(stream) = db(cx).typed_mut::<Stream>(key)?
        && let Some(group) = stream.groups.get_mut(name)
    {
        for text in args.tail(3).iter() {
            done += usize::from(group.acknowledge(strict(text, 0)?).is_some());
        }
    }
    cx.dirty(done);
    cx.reply().int(done as i64);
    Ok(())
}

/// What XPENDING with a range asks for.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    from: Id,
    to: Id,
    count: usize,
    min_idle_ms: i64,
    consumer: Option<&'a [u8]>,
}

fn wanted<'a>(cx: &Context<'a>) -> Result<Option<Wanted<'a>>, CommandError> {
    let args = cx.args;
    match args.len() {
        3 => return Ok(None),
        6..=9 => {}
        _ => return Err(errors::SYNTAX.into()),
    }
    let (mut at, mut min_idle_ms) = (3, 0);
    if args.is(3, "idle") {
        min_idle_ms = int(args.at(4))?;
        if args.len() < 8 {
            return Err(errors::SYNTAX.into());
        }
        at = 5;
    }
    let count = int(args.at(at + 2))?.max(0) as usize;
    let (from, to) = range_ends(args.at(at), args.at(at + 1))?;
    Ok(Some(Wanted { from, to, count, min_idle_ms, consumer: args.get(at + 3) }))
}

pub fn xpending(cx: &mut Context<'_>) -> Handled {
    let wanted = wanted(cx)?;
    let (key, name) = (cx.args.at(1), cx.args.at(2));
    let now_ms = cx.engine.now.unix_ms();
    let Context { engine, client, .. } = cx;
    let stream = engine.keyspace.db_mut(client.db).typed::<Stream>(key)?;
    let Some(group) = stream.and_then(|stream| stream.groups.get(name)) else {
        return Err(no_group_text(key, name).into());
    };
    let mut reply = client.reply();
    match wanted {
        None => summary(&mut reply, group),
        Some(wanted) => list(&mut reply, group, &wanted, now_ms),
    }
    Ok(())
}

fn summary(reply: &mut Reply<'_>, group: &Group) {
    let pending = group.pending();
    reply.array(4);
    reply.int(pending.len() as i64);
    let (Some((first, _)), Some((last, _))) = (pending.first_key_value(), pending.last_key_value())
    else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    write::id(reply, *first);
    write::id(reply, *last);
    let busy = || group.consumers().filter(|consumer| !consumer.pending.is_empty());
    reply.array(busy().count());
    for consumer in busy() {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.bulk_int(consumer.pending.len() as i64);
    }
}

fn list(reply: &mut Reply<'_>, group: &Group, wanted: &Wanted<'_>, now_ms: i64) {
    let consumer = wanted.consumer.map(|name| group.find(name));
    // A range that ends before it begins is empty, not a mistake.
    if consumer == Some(None) || wanted.from > wanted.to {
        return reply.array(0);
    }
    let array = reply.open_array();
    let mut written = 0;
    let mut one = |id: Id, nack: &Nack| {
        let idle_ms = now_ms.saturating_sub(nack.time_ms);
        if written < wanted.count && (wanted.min_idle_ms == 0 || idle_ms >= wanted.min_idle_ms) {
            reply.array(4);
            write::id(reply, id);
            reply.bulk(&group.consumer(nack.consumer).name);
            reply.int(idle_ms.max(0));
            reply.int(nack.count.cast_signed());
            written += 1;
        }
        written < wanted.count
    };
    let range = wanted.from..=wanted.to;
    match consumer.flatten() {
        _ if wanted.count == 0 => {}
        Some(number) => {
            let ids = group.consumer(number).pending.range(range);
            let _ = ids
                .filter_map(|id| Some((*id, group.pending().get(id)?)))
                .all(|(id, nack)| one(id, nack));
        }
        None => {
            let _ = group.pending().range(range).all(|(id, nack)| one(*id, nack));
        }
    }
    reply.close_array(array, written);
}
