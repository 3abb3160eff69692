//! Commands on lists. Those that wait are in [`wait`].

mod position;
mod wait;

pub use wait::is_ready;

use super::support::{
    at_least, counted_keys, db, decimal, int, pop_count, rank_range, signed_count, wrote,
};
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::{Args, CommandError, errors};
use crate::store::{End, List, WrongType};

const WRITE: Flags = Flags::WRITE.with(Flags::DENYOOM);
const WRITE_FAST: Flags = WRITE.with(Flags::FAST);
const REMOVE: Flags = Flags::WRITE;
const REMOVE_FAST: Flags = Flags::WRITE.with(Flags::FAST);
const READ: Flags = Flags::READONLY;
const WAIT: Flags = Flags::WRITE.with(Flags::BLOCKING);
const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const ROW: Command = Command { keys: Keys::ONE, group: Group::List, ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "lpush",
        arity: -3,
        flags: WRITE_FAST,
        summary: "Prepends elements to a list.",
        handler: |cx| push(cx, End::Left),
        ..ROW
    },
    Command {
        name: "rpush",
        arity: -3,
        flags: WRITE_FAST,
        summary: "Appends elements to a list.",
        handler: |cx| push(cx, End::Right),
        ..ROW
    },
    Command {
        name: "lpushx",
        arity: -3,
        flags: WRITE_FAST,
        since: "2.2.0",
        summary: "Prepends elements to a list that exists.",
        handler: |cx| push_existing(cx, End::Left),
        ..ROW
    },
    Command {
        name: "rpushx",
        arity: -3,
        flags: WRITE_FAST,
        since: "2.2.0",
        summary: "Appends elements to a list that exists.",
        handler: |cx| push_existing(cx, End::Right),
        ..ROW
    },
    Command {
        name: "lpop",
        arity: -2,
        flags: REMOVE_FAST,
        summary: "Removes and returns the first elements.",
        handler: |cx| pop(cx, End::Left),
        ..ROW
    },
    Command {
        name: "rpop",
        arity: -2,
        flags: REMOVE_FAST,
        summary: "Removes and returns the last elements.",
        handler: |cx| pop(cx, End::Right),
        ..ROW
    },
    Command {
        name: "llen",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        summary: "Returns the length of a list.",
        handler: llen,
        ..ROW
    },
    Command {
        name: "lindex",
        arity: 3,
        flags: READ,
        summary: "Returns an element by its index.",
        handler: lindex,
        ..ROW
    },
    Command {
        name: "lset",
        arity: 4,
        flags: WRITE,
        summary: "Replaces an element by its index.",
        handler: lset,
        ..ROW
    },
    Command {
        name: "linsert",
        arity: 5,
        flags: WRITE,
        since: "2.2.0",
        summary: "Inserts an element before or after another.",
        handler: linsert,
        ..ROW
    },
    Command {
        name: "lrange",
        arity: 4,
        flags: READ,
        summary: "Returns a range of elements.",
        handler: lrange,
        ..ROW
    },
    Command {
        name: "ltrim",
        arity: 4,
        flags: REMOVE,
        summary: "Removes the elements outside a range.",
        handler: ltrim,
        ..ROW
    },
    Command {
        name: "lrem",
        arity: 4,
        flags: REMOVE,
        summary: "Removes elements that equal a value.",
        handler: lrem,
        ..ROW
    },
    Command {
        name: "lpos",
        arity: -3,
        flags: READ,
        since: "6.0.6",
        summary: "Returns the indexes of matching elements.",
        handler: position::lpos,
        ..ROW
    },
    Command {
        name: "lmove",
        arity: 5,
        flags: WRITE,
        keys: TWO_KEYS,
        since: "6.2.0",
        summary: "Moves an element from one list to another.",
        handler: lmove,
        ..ROW
    },
    Command {
        name: "rpoplpush",
        arity: 3,
        flags: WRITE,
        keys: TWO_KEYS,
        since: "1.2.0",
        summary: "Moves the last element of a list to the front of another.",
        handler: lmove,
        ..ROW
    },
    Command {
        name: "lmpop",
        arity: -4,
        flags: REMOVE.with(Flags::MOVABLE_KEYS),
        keys: Keys::Counted(1),
        since: "7.0.0",
        summary: "Removes elements from the first list that has any.",
        handler: lmpop,
        ..ROW
    },
    Command {
        name: "blpop",
        arity: -3,
        flags: WAIT,
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        since: "2.0.0",
        summary: "Removes the first element of a list, or waits for one.",
        handler: |cx| wait::pop(cx, End::Left),
        ..ROW
    },
    Command {
        name: "brpop",
        arity: -3,
        flags: WAIT,
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        since: "2.0.0",
        summary: "Removes the last element of a list, or waits for one.",
        handler: |cx| wait::pop(cx, End::Right),
        ..ROW
    },
    Command {
        name: "blmove",
        arity: 6,
        flags: WAIT.with(Flags::DENYOOM),
        keys: TWO_KEYS,
        since: "6.2.0",
        summary: "Moves an element from one list to another, or waits for one.",
        handler: wait::shift,
        ..ROW
    },
    Command {
        name: "brpoplpush",
        arity: 4,
        flags: WAIT.with(Flags::DENYOOM),
        keys: TWO_KEYS,
        since: "2.2.0",
        summary: "Moves the last element of a list to the front of another, or waits for one.",
        handler: wait::shift,
        ..ROW
    },
    Command {
        name: "blmpop",
        arity: -5,
        flags: WAIT.with(Flags::MOVABLE_KEYS),
        keys: Keys::Counted(2),
        since: "7.0.0",
        summary: "Removes elements from the first list that has any, or waits for one.",
        handler: wait::multi_pop,
        ..ROW
    },
];

fn push(cx: &mut Context<'_>, end: End) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let limits = db(cx).limits();
    let list: &mut List = db(cx).typed_or_new(key)?;
    for element in args.tail(2).iter() {
        list.push(end, element, &limits);
    }
    let len = list.len();
    wrote(cx, key, args.len() - 2);
    cx.notify(EventClasses::LIST, pushed(end), key);
    cx.signal(key);
    cx.reply().int(len as i64);
    Ok(())
}

fn push_existing(cx: &mut Context<'_>, end: End) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let limits = db(cx).limits();
    let Some(list) = db(cx).typed_mut::<List>(key)? else {
        cx.reply().int(0);
        return Ok(());
    };
    for element in args.tail(2).iter() {
        list.push(end, element, &limits);
    }
    let len = list.len();
    wrote(cx, key, args.len() - 2);
    cx.notify(EventClasses::LIST, pushed(end), key);
    cx.reply().int(len as i64);
    Ok(())
}

fn pop(cx: &mut Context<'_>, end: End) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    if args.len() > 3 {
        return Err(errors::wrong_arity(cx.row.name));
    }
    let Some(count) = args.get(2) else {
        if db(cx).typed::<List>(key)?.is_none() {
            cx.reply().null();
        } else {
            take_one(cx, key, end, |cx, element| cx.reply().bulk(element));
            wrote(cx, key, 1);
            tell_popped(cx, key, end);
        }
        return Ok(());
    };
    let count = at_least(count, 0, "ERR value is out of range, must be positive")?;
    match db(cx).typed::<List>(key)? {
        None => cx.reply().null_array(),
        Some(_) if count == 0 => cx.reply().array(0),
        Some(_) => {
            let taken = take_many(cx, key, end, count as usize);
            wrote(cx, key, taken);
            tell_popped(cx, key, end);
        }
    }
    Ok(())
}

/// The event of an element that was added at this end.
fn pushed(end: End) -> &'static str {
    if end == End::Left { "lpush" } else { "rpush" }
}

/// Events of elements that were taken from this end.
fn tell_popped(cx: &mut Context<'_>, key: &[u8], end: End) {
    cx.notify(EventClasses::LIST, if end == End::Left { "lpop" } else { "rpop" }, key);
    cx.notify_emptied(key);
}

/// Removes the element at an end of a list that has one, after handing it to `each`; removes the
/// list with its last element.
fn take_one(
    cx: &mut Context<'_>,
    key: &[u8],
    end: End,
    each: impl FnOnce(&mut Context<'_>, &[u8]),
) {
    let limits = db(cx).limits();
    let Ok(Some(list)) = db(cx).typed_mut::<List>(key) else { return };
    let Some(element) = list.pop(end, &limits) else { return };
    if list.is_empty() {
        db(cx).remove(key);
    }
    each(cx, &element);
}

/// Removes up to `count` elements from an end and replies with them as an array.
fn take_many(cx: &mut Context<'_>, key: &[u8], end: End, count: usize) -> usize {
    let limits = db(cx).limits();
    let Context { engine, client, .. } = cx;
    let db = engine.keyspace.db_mut(client.db);
    let Ok(Some(list)) = db.typed_mut::<List>(key) else { return 0 };
    let count = count.min(list.len());
    let mut reply = client.reply();
    reply.array(count);
    for _ in 0..count {
        if let Some(element) = list.peek(end) {
            reply.bulk(element);
        }
        list.drop_end(end, &limits);
    }
    if list.is_empty() {
        db.remove(key);
    }
    count
}

fn llen(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let len = db(cx).typed::<List>(key)?.map_or(0, List::len);
    cx.reply().int(len as i64);
    Ok(())
}

/// The index that a client's number means, if it lies in the list.
fn index_of(number: i64, len: usize) -> Option<usize> {
    let index = if number < 0 { number + len as i64 } else { number };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn lindex(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let Some(list) = engine.keyspace.db_mut(client.db).typed::<List>(args.at(1))? else {
        client.reply().null();
        return Ok(());
    };
    let index = index_of(int(args.at(2))?, list.len());
    match index.and_then(|index| list.get(index)) {
        Some(element) => client.reply().bulk(element),
        None => client.reply().null(),
    }
    Ok(())
}

fn lset(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let limits = db(cx).limits();
    let len = db(cx).typed::<List>(key)?.ok_or(errors::NO_SUCH_KEY)?.len();
    let index = index_of(int(args.at(2))?, len).ok_or(errors::INDEX_OUT_OF_RANGE)?;
    if let Some(list) = db(cx).typed_mut::<List>(key)? {
        list.set(index, args.at(3), &limits);
    }
    wrote(cx, key, 1);
    cx.notify(EventClasses::LIST, "lset", key);
    cx.reply().ok();
    Ok(())
}

fn linsert(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let after = match () {
        () if args.is(2, "after") => 1,
        () if args.is(2, "before") => 0,
        () => return Err(errors::SYNTAX.into()),
    };
    let limits = db(cx).limits();
    let Some(list) = db(cx).typed::<List>(key)? else {
        cx.reply().int(0);
        return Ok(());
    };
    let Some(pivot) = list.iter().position(|element| element == args.at(3)) else {
        cx.reply().int(-1);
        return Ok(());
    };
    let mut len = 0;
    if let Some(list) = db(cx).typed_mut::<List>(key)? {
        list.insert(pivot + after, args.at(4), &limits);
        len = list.len();
    }
    wrote(cx, key, 1);
    cx.notify(EventClasses::LIST, "linsert", key);
    cx.reply().int(len as i64);
    Ok(())
}

fn lrange(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let (start, stop) = (int(args.at(2))?, int(args.at(3))?);
    let Some(list) = engine.keyspace.db_mut(client.db).typed::<List>(args.at(1))? else {
        client.reply().array(0);
        return Ok(());
    };
    let range = rank_range(start, stop, list.len());
    let mut reply = client.reply();
    reply.array(range.len());
    for element in list.iter_from(range.start).take(range.len()) {
        reply.bulk(element);
    }
    Ok(())
}

fn ltrim(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let (start, stop) = (int(args.at(2))?, int(args.at(3))?);
    let limits = db(cx).limits();
    if let Some(list) = db(cx).typed_mut::<List>(key)? {
        let len = list.len();
        let keep = rank_range(start, stop, len);
        list.remove_range(keep.end, len - keep.end, &limits);
        list.remove_range(0, keep.start.min(list.len()), &limits);
        if keep.is_empty() {
            db(cx).remove(key);
        }
        // One change even when nothing went, as it is counted elsewhere too.
        wrote(cx, key, (len - keep.len()).max(1));
        cx.notify(EventClasses::LIST, "ltrim", key);
        cx.notify_emptied(key);
    }
    cx.reply().ok();
    Ok(())
}

fn lrem(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let count = signed_count(args.at(2))?;
    let end = if count < 0 { End::Right } else { End::Left };
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let limits = db(cx).limits();
    let mut removed = 0;
    if let Some(list) = db(cx).typed_mut::<List>(key)? {
        removed = list.remove_equal(end, args.at(3), most, &limits);
        if list.is_empty() {
            db(cx).remove(key);
        }
    }
    if removed > 0 {
        wrote(cx, key, removed);
        cx.notify(EventClasses::LIST, "lrem", key);
        cx.notify_emptied(key);
    }
    cx.reply().int(removed as i64);
    Ok(())
}

/// The ends that LMOVE's arguments name; RPOPLPUSH has its own.
fn ends(cx: &Context<'_>) -> Result<(End, End), CommandError> {
    if cx.row.name.ends_with("rpoplpush") {
        return Ok((End::Right, End::Left));
    }
    Ok((end(cx.args, 3)?, end(cx.args, 4)?))
}

fn end(args: Args<'_>, at: usize) -> Result<End, CommandError> {
    match args.get(at) {
        Some(word) if word.eq_ignore_ascii_case(b"left") => Ok(End::Left),
        Some(word) if word.eq_ignore_ascii_case(b"right") => Ok(End::Right),
        _ => Err(errors::SYNTAX.into()),
    }
}

fn lmove(cx: &mut Context<'_>) -> Handled {
    let (from, to) = ends(cx)?;
    let source = cx.args.at(1);
    if db(cx).typed::<List>(source)?.is_none() {
        cx.reply().null();
        return Ok(());
    }
    shift(cx, from, to)?;
    Ok(())
}

/// Moves an element from the list at the first key, which has one, and replies with it.
fn shift(cx: &mut Context<'_>, from: End, to: End) -> Result<(), WrongType> {
    let (source, target) = (cx.args.at(1), cx.args.at(2));
    db(cx).typed::<List>(target)?;
    let limits = db(cx).limits();
    let Some(list) = db(cx).typed_mut::<List>(source)? else { return Ok(()) };
    let Some(element) = list.pop(from, &limits) else { return Ok(()) };
    // A list that turns around itself stays the same one, with its expiry.
    if list.is_empty() && source != target {
        db(cx).remove(source);
    }
    db(cx).typed_or_new::<List>(target)?.push(to, &element, &limits);
    cx.reply().bulk(&element);
    cx.touch(source);
    wrote(cx, target, 1);
    cx.notify(EventClasses::LIST, pushed(to), target);
    tell_popped(cx, source, from);
    cx.signal(target);
    Ok(())
}

/// What LMPOP and BLMPOP ask for.
struct MultiPop {
    keys: std::ops::Range<usize>,
    end: End,
    count: usize,
}

/// Reads `numkeys key… LEFT|RIGHT [COUNT n]` from `args[at]` on.
fn multi_pop_options(args: Args<'_>, at: usize) -> Result<MultiPop, CommandError> {
    let keys = counted_keys(args, at, "ERR numkeys should be greater than 0")?;
    let end = end(args, keys.end)?;
    let count = pop_count(args, keys.end + 1)?;
    Ok(MultiPop { keys, end, count })
}

fn lmpop(cx: &mut Context<'_>) -> Handled {
    let wanted = multi_pop_options(cx.args, 1)?;
    for at in wanted.keys.clone() {
        let key = cx.args.at(at);
        if db(cx).typed::<List>(key)?.is_some() {
            multi_pop(cx, key, &wanted);
            return Ok(());
        }
    }
    cx.reply().null_array();
    Ok(())
}

/// Pops from this list, which has elements, and replies with its key and them.
fn multi_pop(cx: &mut Context<'_>, key: &[u8], wanted: &MultiPop) {
    cx.reply().array(2);
    cx.reply().bulk(key);
    let taken = take_many(cx, key, wanted.end, wanted.count);
    wrote(cx, key, taken);
    tell_popped(cx, key, wanted.end);
    let name: &[u8] = if wanted.end == End::Left { b"LPOP" } else { b"RPOP" };
    cx.propagate(&[name, key, &decimal(taken as i64)]);
}
