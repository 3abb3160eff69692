//! DUMP and RESTORE.

use crate::command::Handled;
use crate::command::support::{decimal, int, wrote};
use crate::config::{EventClasses, RdbVersionCheck};
use crate::engine::Context;
use crate::engine::propagate::deletion;
use crate::persistence::rdb;
use crate::resp::{Args, CommandError, errors};

pub fn dump(cx: &mut Context<'_>) -> Handled {
    match cx.engine.keyspace.db_mut(cx.client.db).lookup(cx.args.at(1)) {
        Some(value) => cx.client.reply().bulk(&rdb::dump::dump(value)),
        None => cx.client.reply().null(),
    }
    Ok(())
}

/// RESTORE's options.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<u32>,
    frequency: Option<u8>,
}

impl Options {
    fn read(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 4;
        while at < args.len() {
            let has_value = at + 1 < args.len();
            if args.is(at, "replace") {
                options.replace = true;
            } else if args.is(at, "absttl") {
                options.absolute = true;
            } else if has_value && args.is(at, "idletime") && options.frequency.is_none() {
                at += 1;
                let seconds = int(args.at(at))?;
                if seconds < 0 {
                    return Err("ERR Invalid IDLETIME value, must be >= 0".into());
                }
                options.idle_s = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
            } else if has_value && args.is(at, "freq") && options.idle_s.is_none() {
                at += 1;
                let frequency = u8::try_from(int(args.at(at))?);
                let range = "ERR Invalid FREQ value, must be >= 0 and <= 255";
                options.frequency = Some(frequency.map_err(|_| range)?);
            } else {
                return Err(errors::SYNTAX.into());
            }
            at += 1;
        }
        Ok(options)
    }
}

pub fn restore(cx: &mut Context<'_>) -> Handled {
    let (key, payload) = (cx.args.at(1), cx.args.at(3));
    let Options { replace, absolute, idle_s, frequency } = Options::read(cx.args)?;
    let now_ms = cx.engine.now.unix_ms();
    if !replace && cx.engine.keyspace.db_mut(cx.client.db).contains(key) {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl_ms = int(cx.args.at(2))?;
    if ttl_ms < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    let leniency = rdb::dump::Leniency {
        // What a primary has taken its replicas take.
        version: cx.engine.config.rdb_version_check == RdbVersionCheck::Relaxed || cx.obeys(),
        checksum: cx.engine.debug.trusts_checksums,
    };
    if !rdb::dump::verify(payload, leniency) {
        return Err("ERR DUMP payload version or checksum are wrong".into());
    }
    let string_max = usize::try_from(cx.string_max()).unwrap_or(usize::MAX);
    let value = rdb::dump::restore(payload, cx.engine.keyspace.limits(), string_max);
    let value = value.map_err(|_| "ERR Bad data format")?;
    let expiry_ms = match (ttl_ms, absolute) {
        (0, _) => None,
        (at_ms, true) => Some(at_ms),
        (ms, false) => {
            Some(ms.checked_add(now_ms).ok_or_else(|| errors::invalid_expire(cx.row.name))?)
        }
    };
    let past = expiry_ms.is_some_and(|at_ms| cx.ends_at(at_ms));
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let existed = db.remove(key);
    let Some(value) = value.filter(|_| !past) else {
        // Nothing to put there: an empty collection, or a time that has already passed.
        if existed {
            wrote(cx, key, 1);
            cx.notify(EventClasses::GENERIC, "del", key);
            cx.propagate(&[deletion(cx.engine.config.lazyfree_lazy_server_del), key]);
        }
        cx.client.reply().ok();
        return Ok(());
    };
    db.restore(key, value, expiry_ms);
    db.set_access(key, idle_s, frequency);
    wrote(cx, key, 1);
    cx.signal(key);
    cx.notify(EventClasses::GENERIC, "restore", key);
    let at_ms = decimal(expiry_ms.unwrap_or(0));
    cx.propagate(&[b"RESTORE", key, &at_ms, payload, b"REPLACE", b"ABSTTL"]);
    cx.client.reply().ok();
    Ok(())
}
