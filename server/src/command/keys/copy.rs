//! Renaming, copying and moving.

use crate::command::Handled;
use crate::command::support::{int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::errors;

/// Moves the value at the first key to the second. The caller checked what may be replaced.
fn rename_to(cx: &mut Context<'_>) -> Handled {
    let (from, to) = (cx.args.at(1), cx.args.at(2));
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    if from == to {
        return if db.contains(from) { Ok(()) } else { Err(errors::NO_SUCH_KEY.into()) };
    }
    let (value, expiry_ms) = db.take(from).ok_or(errors::NO_SUCH_KEY)?;
    db.restore(to, value, expiry_ms);
    wrote(cx, from, 1);
    cx.signal(from);
    wrote(cx, to, 1);
    cx.signal(to);
    cx.notify(EventClasses::GENERIC, "rename_from", from);
    cx.notify(EventClasses::GENERIC, "rename_to", to);
    Ok(())
}

pub fn rename(cx: &mut Context<'_>) -> Handled {
    rename_to(cx)?;
    cx.client.reply().ok();
    Ok(())
}

pub fn renamenx(cx: &mut Context<'_>) -> Handled {
    let (from, to) = (cx.args.at(1), cx.args.at(2));
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    if !db.contains(from) {
        return Err(errors::NO_SUCH_KEY.into());
    }
    let free = !db.contains(to);
    if free {
        rename_to(cx)?;
    }
    cx.client.reply().int(i64::from(free));
    Ok(())
}

/// A database's index among the arguments.
fn database(cx: &Context<'_>, at: usize) -> Result<usize, crate::resp::CommandError> {
    let index = int(cx.args.at(at))?;
    if i32::try_from(index).is_err() {
        return Err(errors::NOT_I32.into());
    }
    usize::try_from(index)
        .ok()
        .filter(|index| *index < cx.engine.keyspace.databases())
        .ok_or_else(|| errors::DB_INDEX.into())
}

pub fn copy(cx: &mut Context<'_>) -> Handled {
    let (from, to) = (cx.args.at(1), cx.args.at(2));
    let mut target = cx.client.db;
    let mut replace = false;
    let mut at = 3;
    while at < cx.args.len() {
        if cx.args.is(at, "replace") {
            replace = true;
        } else if cx.args.is(at, "db") && at + 1 < cx.args.len() {
            at += 1;
            target = database(cx, at)?;
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 1;
    }
    let source = cx.client.db;
    if source == target && from == to {
        return Err("ERR source and destination objects are the same".into());
    }
    let db = cx.engine.keyspace.db_mut(source);
    let copied = db.lookup(from).map(crate::store::ValueRef::to_owned);
    let expiry_ms = db.expiry(from);
    let db = cx.engine.keyspace.db_mut(target);
    let done = match copied {
        Some(value) if replace || !db.contains(to) => {
            db.restore(to, value, expiry_ms);
            cx.engine.touch(cx.client, target, to);
            cx.engine.blocking.signal(target, to);
            cx.notify_in(target, EventClasses::GENERIC, "copy_to", to);
            cx.dirty(1);
            true
        }
        _ => false,
    };
    cx.client.reply().int(i64::from(done));
    Ok(())
}

pub fn move_key(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let (source, target) = (cx.client.db, database(cx, 2)?);
    let (from, to) = cx
        .engine
        .keyspace
        .two(source, target)
        .ok_or("ERR source and destination objects are the same")?;
    let free = !to.contains(key);
    let moved = if free { from.take(key) } else { None };
    let done = moved.is_some();
    if let Some((value, expiry_ms)) = moved {
        to.restore(key, value, expiry_ms);
        wrote(cx, key, 1);
        cx.engine.touch(cx.client, target, key);
        cx.engine.blocking.signal(target, key);
        cx.notify(EventClasses::GENERIC, "move_from", key);
        cx.notify_in(target, EventClasses::GENERIC, "move_to", key);
    }
    cx.client.reply().int(i64::from(done));
    Ok(())
}
