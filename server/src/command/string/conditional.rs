//! SET with its options, MSETEX and DELIFEQ: writes that happen only if.

use super::expiry::Expiry;
use super::{reply_with, string_at};
use crate::command::Handled;
use crate::command::support::{decimal, int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::engine::propagate::deletion;
use crate::resp::{CommandError, errors};
use crate::store::IntBuf;

/// When a key is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition<'a> {
    Always,
    Absent,
    Present,
    /// The key holds exactly this string.
    Equal(&'a [u8]),
}

/// The options of SET and MSETEX.
struct Options<'a> {
    condition: Condition<'a>,
    /// SET's GET: the reply is the value before.
    wants_old: bool,
    expiry: Expiry,
}

impl<'a> Options<'a> {
    /// Reads the words from `args[from]` on; `single` for those that only SET has.
    fn read(cx: &Context<'a>, from: usize, single: bool) -> Result<Self, CommandError> {
        let args = cx.args;
        let now_ms = cx.engine.now.unix_ms();
        let mut options =
            Self { condition: Condition::Always, wants_old: false, expiry: Expiry::None };
        let mut at = from;
        while at < args.len() {
            let condition = options.condition;
            if args.is(at, "nx") && matches!(condition, Condition::Always | Condition::Absent) {
                options.condition = Condition::Absent;
            } else if args.is(at, "xx")
                && matches!(condition, Condition::Always | Condition::Present)
            {
                options.condition = Condition::Present;
            } else if single
                && args.is(at, "ifeq")
                && condition == Condition::Always
                && at + 1 < args.len()
            {
                at += 1;
                options.condition = Condition::Equal(args.at(at));
            } else if single && args.is(at, "get") {
                options.wants_old = true;
            } else if args.is(at, "keepttl")
                && matches!(options.expiry, Expiry::None | Expiry::Keep)
            {
                options.expiry = Expiry::Keep;
            } else {
                at = options.expiry.read(args, at, now_ms, cx.row.name)?;
            }
            at += 1;
        }
        Ok(options)
    }
}

/// Whether a key is as the condition wants it; with a comparison only strings are looked at.
fn holds(cx: &mut Context<'_>, key: &[u8], condition: Condition<'_>) -> Result<bool, CommandError> {
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    Ok(match condition {
        Condition::Always => true,
        Condition::Absent => !db.contains(key),
        Condition::Present => db.contains(key),
        Condition::Equal(wanted) => {
            string_at(db, key)?.is_some_and(|text| text.bytes(&mut IntBuf::default()) == wanted)
        }
    })
}

/// SET with options.
pub fn set(cx: &mut Context<'_>) -> Handled {
    let Options { condition, wants_old, expiry } = Options::read(cx, 3, true)?;
    let (key, value) = (cx.args.at(1), cx.args.at(2));
    if wants_old {
        reply_with(cx, key)?;
    }
    if !holds(cx, key, condition)? {
        if !wants_old {
            cx.client.reply().null();
        }
        return Ok(());
    }
    if !wants_old {
        cx.client.reply().ok();
    }
    if let Expiry::At(at_ms) = expiry
        && cx.ends_at(at_ms)
    {
        // The time has passed: all that is left to do is what the key's expiry would.
        if cx.engine.keyspace.db_mut(cx.client.db).remove(key) {
            wrote(cx, key, 1);
            cx.signal(key);
            cx.notify(EventClasses::EXPIRED, "expired", key);
            cx.propagate(&[deletion(cx.engine.config.lazyfree_lazy_expire), key]);
        }
        return Ok(());
    }
    cx.engine.keyspace.db_mut(cx.client.db).set_str(key, value, expiry == Expiry::Keep);
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "set", key);
    match expiry {
        Expiry::None => cx.propagate(&[b"SET", key, value]),
        Expiry::Keep => cx.propagate(&[b"SET", key, value, b"KEEPTTL"]),
        Expiry::At(at_ms) => {
            cx.engine.keyspace.db_mut(cx.client.db).expire_at(key, at_ms);
            cx.notify(EventClasses::GENERIC, "expire", key);
            cx.propagate(&[b"SET", key, value, b"PXAT", &decimal(at_ms)]);
        }
        Expiry::Persist => {}
    }
    Ok(())
}

/// MSETEX: answers 1 when it set all its keys, 0 when one was not as the condition wants it.
pub fn msetex(cx: &mut Context<'_>) -> Handled {
    let refusal = "ERR invalid numkeys value or out of range";
    let args = cx.args;
    let count = int(args.at(1)).ok().filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let end = 2 + 2 * count.ok_or(refusal)? as usize;
    if end > args.len() {
        return Err(errors::SYNTAX.into());
    }
    let Options { condition, expiry, .. } = Options::read(cx, end, false)?;
    for at in (2..end).step_by(2) {
        if !holds(cx, args.at(at), condition)? {
            cx.client.reply().int(0);
            return Ok(());
        }
    }
    for at in (2..end).step_by(2) {
        let (key, value) = (args.at(at), args.at(at + 1));
        let db = cx.engine.keyspace.db_mut(cx.client.db);
        db.set_str(key, value, expiry == Expiry::Keep);
        if let Expiry::At(at_ms) = expiry {
            db.expire_at(key, at_ms);
        }
        wrote(cx, key, 1);
        cx.notify(EventClasses::STRING, "set", key);
        let mut words: Vec<&[u8]> = vec![b"SET", key, value];
        // Single writes, which every replica knows; together they are one transaction.
        let time = match expiry {
            Expiry::At(at_ms) => decimal(at_ms),
            _ => Vec::new(),
        };
        match expiry {
            Expiry::At(_) => {
                cx.notify(EventClasses::GENERIC, "expire", key);
                words.extend_from_slice(&[b"PXAT", &time]);
            }
            Expiry::Keep => words.push(b"KEEPTTL"),
            Expiry::None | Expiry::Persist => {}
        }
        cx.propagate(&words);
    }
    cx.client.reply().int(1);
    Ok(())
}

/// DELIFEQ: deletes a key that holds exactly this string.
pub fn delifeq(cx: &mut Context<'_>) -> Handled {
    let (key, wanted) = (cx.args.at(1), cx.args.at(2));
    let equal = holds(cx, key, Condition::Equal(wanted))?;
    if equal {
        cx.engine.keyspace.db_mut(cx.client.db).remove(key);
        wrote(cx, key, 1);
        cx.signal(key);
        cx.notify(EventClasses::GENERIC, "del", key);
        cx.propagate(&[b"DEL", key]);
    }
    cx.client.reply().int(i64::from(equal));
    Ok(())
}
