//! Strings that are numbers.

use super::string_at;
use crate::command::Handled;
use crate::command::support::{int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::errors;
use crate::resp::extended::Extended;
use crate::store::IntBuf;

fn add(cx: &mut Context<'_>, by: i64) -> Handled {
    let key = cx.args.at(1);
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let old = match string_at(db, key)? {
        None => 0,
        Some(text) => text.int().ok_or(errors::NOT_INTEGER)?,
    };
    let new = old.checked_add(by).ok_or(errors::OVERFLOW)?;
    db.set_int(key, new, true);
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "incrby", key);
    cx.client.reply().int(new);
    Ok(())
}

pub fn incr(cx: &mut Context<'_>) -> Handled {
    add(cx, 1)
}

pub fn decr(cx: &mut Context<'_>) -> Handled {
    add(cx, -1)
}

pub fn incrby(cx: &mut Context<'_>) -> Handled {
    add(cx, int(cx.args.at(2))?)
}

pub fn decrby(cx: &mut Context<'_>) -> Handled {
    let by = int(cx.args.at(2))?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(cx, by)
}

/// Propagated as SET, so that no replica has to agree on arithmetic.
pub fn incrbyfloat(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let old = match string_at(db, key)? {
        None => Some(Extended::ZERO),
        Some(text) => Extended::parse(text.bytes(&mut IntBuf::default())),
    };
    let old = old.ok_or(errors::NOT_FLOAT)?;
    let by = Extended::parse(cx.args.at(2)).ok_or(errors::NOT_FLOAT)?;
    let sum = old.plus(by).ok_or("ERR increment would produce NaN or Infinity")?;
    let text = sum.to_string();
    db.set_str(key, text.as_bytes(), true);
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "incrbyfloat", key);
    cx.propagate(&[b"SET", key, text.as_bytes(), b"KEEPTTL"]);
    cx.client.reply().bulk(text.as_bytes());
    Ok(())
}
