//! DUMP and RESTORE.

use crate::command::Handled;
use crate::command::support::{decimal, int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::persistence::rdb;
use crate::resp::errors;

pub fn dump(cx: &mut Context<'_>) -> Handled {
    match cx.engine.keyspace.db_mut(cx.client.db).lookup(cx.args.at(1)) {
        Some(value) => cx.client.reply().bulk(&rdb::dump::dump(value)),
        None => cx.client.reply().null(),
    }
    Ok(())
}

pub fn restore(cx: &mut Context<'_>) -> Handled {
    let (key, payload) = (cx.args.at(1), cx.args.at(3));
    let (mut replace, mut absolute) = (false, false);
    let mut at = 4;
    while at < cx.args.len() {
        if cx.args.is(at, "replace") {
            replace = true;
        } else if cx.args.is(at, "absttl") {
            absolute = true;
        } else if (cx.args.is(at, "idletime") || cx.args.is(at, "freq")) && at + 1 < cx.args.len() {
            // Recency and frequency serve eviction, which is not offered; their form is checked.
            at += 1;
            if int(cx.args.at(at))? < 0 {
                return Err("ERR Invalid IDLETIME value, must be >= 0".into());
            }
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 1;
    }
    let ttl_ms = int(cx.args.at(2))?;
    if ttl_ms < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    let now_ms = cx.engine.now.unix_ms();
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    if !replace && db.contains(key) {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    if !rdb::dump::verify(payload) {
        return Err("ERR DUMP payload version or checksum are wrong".into());
    }
    let value = rdb::dump::restore(payload, db.limits()).map_err(|_| "ERR Bad data format")?;
    let expiry_ms = match (ttl_ms, absolute) {
        (0, _) => None,
        (at_ms, true) => Some(at_ms),
        (ms, false) => {
            Some(ms.checked_add(now_ms).ok_or_else(|| errors::invalid_expire(cx.row.name))?)
        }
    };
    let existed = db.remove(key);
    let past = expiry_ms.is_some_and(|at_ms| at_ms <= now_ms) && !cx.from_primary;
    let Some(value) = value.filter(|_| !past) else {
        // Nothing to put there: an empty collection, or a time that has already passed.
        if existed {
            wrote(cx, key, 1);
            cx.notify(EventClasses::GENERIC, "del", key);
            cx.propagate(&[b"DEL", key]);
        }
        cx.client.reply().ok();
        return Ok(());
    };
    db.restore(key, value, expiry_ms);
    wrote(cx, key, 1);
    cx.signal(key);
    cx.notify(EventClasses::GENERIC, "restore", key);
    let at_ms = decimal(expiry_ms.unwrap_or(0));
    cx.propagate(&[b"RESTORE", key, &at_ms, payload, b"REPLACE", b"ABSTTL"]);
    cx.client.reply().ok();
    Ok(())
}
