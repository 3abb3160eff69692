//! Expiry: relative times become absolute ones before they are propagated.

use crate::command::Handled;
use crate::command::support::{decimal, int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::engine::propagate::deletion;
use crate::resp::{CommandError, errors};

#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a word that the client may say
struct Conditions {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn read(cx: &Context<'_>) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        for at in 3..cx.args.len() {
            let condition = match () {
                () if cx.args.is(at, "nx") => &mut conditions.absent,
                () if cx.args.is(at, "xx") => &mut conditions.present,
                () if cx.args.is(at, "gt") => &mut conditions.greater,
                () if cx.args.is(at, "lt") => &mut conditions.less,
                () => {
                    let option = String::from_utf8_lossy(cx.args.at(at));
                    return Err(format!("ERR Unsupported option {option}").into());
                }
            };
            *condition = true;
        }
        let Self { absent, present, greater, less } = conditions;
        if absent && (present || greater || less) {
            return Err(
                "ERR NX and XX, GT or LT options at the same time are not compatible".into()
            );
        }
        if greater && less {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(conditions)
    }

    /// Whether a key that expires at `old_ms`, or never, may be given `new_ms`.
    fn allow(self, old_ms: Option<i64>, new_ms: i64) -> bool {
        match old_ms {
            // A key without an expiry counts as one that expires never.
            None => !self.present && !self.greater,
            Some(old_ms) => {
                !self.absent
                    && (!self.greater || new_ms > old_ms)
                    && (!self.less || new_ms < old_ms)
            }
        }
    }
}

fn set_expiry(cx: &mut Context<'_>, unit_ms: i64, base_ms: i64) -> Handled {
    let key = cx.args.at(1);
    let at_ms = int(cx.args.at(2))?
        .checked_mul(unit_ms)
        .and_then(|ms| ms.checked_add(base_ms))
        .ok_or_else(|| errors::invalid_expire(cx.row.name))?;
    let conditions = Conditions::read(cx)?;
    let past = cx.ends_at(at_ms);
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    if !db.contains(key) || !conditions.allow(db.expiry(key), at_ms) {
        cx.client.reply().int(0);
        return Ok(());
    }
    if past {
        db.remove(key);
        cx.engine.stats.expired_keys += 1;
        wrote(cx, key, 1);
        cx.signal(key);
        cx.notify(EventClasses::EXPIRED, "expired", key);
        cx.propagate(&[deletion(cx.engine.config.lazyfree_lazy_expire), key]);
    } else {
        db.expire_at(key, at_ms);
        wrote(cx, key, 1);
        cx.notify(EventClasses::GENERIC, "expire", key);
        cx.propagate(&[b"PEXPIREAT", key, &decimal(at_ms)]);
    }
    cx.client.reply().int(1);
    Ok(())
}

pub fn expire(cx: &mut Context<'_>) -> Handled {
    let now_ms = cx.engine.now.unix_ms();
    set_expiry(cx, 1000, now_ms)
}

pub fn pexpire(cx: &mut Context<'_>) -> Handled {
    let now_ms = cx.engine.now.unix_ms();
    set_expiry(cx, 1, now_ms)
}

pub fn expireat(cx: &mut Context<'_>) -> Handled {
    set_expiry(cx, 1000, 0)
}

pub fn pexpireat(cx: &mut Context<'_>) -> Handled {
    set_expiry(cx, 1, 0)
}

/// TTL, PTTL, EXPIRETIME and PEXPIRETIME: -2 without the key, -1 without an expiry.
pub fn ttl(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let now_ms = cx.engine.now.unix_ms();
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let answer = if db.contains(key) {
        match (db.expiry(key), cx.row.name) {
            (None, _) => -1,
            (Some(at_ms), "ttl") => at_ms.saturating_sub(now_ms).max(0).saturating_add(500) / 1000,
            (Some(at_ms), "pttl") => at_ms.saturating_sub(now_ms).max(0),
            (Some(at_ms), "expiretime") => at_ms.saturating_add(500) / 1000,
            (Some(at_ms), _) => at_ms,
        }
    } else {
        -2
    };
    cx.client.reply().int(answer);
    Ok(())
}

pub fn persist(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let changed = cx.engine.keyspace.db_mut(cx.client.db).persist(key);
    if changed {
        wrote(cx, key, 1);
        cx.notify(EventClasses::GENERIC, "persist", key);
    }
    cx.client.reply().int(i64::from(changed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_compare_with_the_old_expiry() {
        let check = |conditions: Conditions, old: Option<i64>, new: i64, expect: bool| {
            assert_eq!(conditions.allow(old, new), expect, "{conditions:?} {old:?} {new}");
        };
        let none = Conditions::default();
        check(none, None, 1, true);
        check(none, Some(5), 1, true);
        let absent = Conditions { absent: true, ..none };
        check(absent, None, 1, true);
        check(absent, Some(5), 9, false);
        let present = Conditions { present: true, ..none };
        check(present, None, 1, false);
        check(present, Some(5), 1, true);
        let greater = Conditions { greater: true, ..none };
        check(greater, None, 9, false);
        check(greater, Some(5), 9, true);
        check(greater, Some(5), 5, false);
        let less = Conditions { less: true, ..none };
        check(less, None, 9, true);
        check(less, Some(5), 4, true);
        check(less, Some(5), 5, false);
        check(Conditions { present: true, less: true, ..none }, None, 4, false);
    }
}
