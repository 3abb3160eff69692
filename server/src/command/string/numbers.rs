//! Strings that are numbers.

use super::string_at;
use crate::command::Handled;
use crate::command::support::{float, int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::{decimal, errors};
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
    let mut buf = IntBuf::default();
    let old: &[u8] = match string_at(db, key)? {
        None => b"0",
        Some(text) => text.bytes(&mut buf),
    };
    float(old)?;
    float(cx.args.at(2))?;
    // Never in exponent form: the next INCRBYFLOAT, or INCR, reads it again.
    let sum = decimal::add(old, cx.args.at(2));
    let text = sum.ok_or("ERR increment would produce NaN or Infinity")?;
    db.set_str(key, text.as_bytes(), true);
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "incrbyfloat", key);
    cx.propagate(&[b"SET", key, text.as_bytes(), b"KEEPTTL"]);
    cx.client.reply().bulk(text.as_bytes());
    Ok(())
}
