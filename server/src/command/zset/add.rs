//! ZADD, ZINCRBY and ZREM.

use crate::command::Handled;
use crate::command::support::{db, float, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::{Args, CommandError, errors};
use crate::store::{Change, ZSet};

/// ZADD's options, each a word of its own.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Default)]
struct Options {
    only_new: bool,
    only_known: bool,
    only_greater: bool,
    only_less: bool,
    count_changed: bool,
    increment: bool,
}

/// Reads the options; returns where the pairs of score and member begin.
fn options(args: Args<'_>) -> Result<(Options, usize), CommandError> {
    let mut options = Options::default();
    let mut at = 2;
    while at < args.len() {
        let flag = match args.at(at) {
            word if word.eq_ignore_ascii_case(b"nx") => &mut options.only_new,
            word if word.eq_ignore_ascii_case(b"xx") => &mut options.only_known,
            word if word.eq_ignore_ascii_case(b"gt") => &mut options.only_greater,
            word if word.eq_ignore_ascii_case(b"lt") => &mut options.only_less,
            word if word.eq_ignore_ascii_case(b"ch") => &mut options.count_changed,
            word if word.eq_ignore_ascii_case(b"incr") => &mut options.increment,
            _ => break,
        };
        *flag = true;
        at += 1;
    }
    let words = args.len() - at;
    if words == 0 || !words.is_multiple_of(2) {
        return Err(errors::SYNTAX.into());
    }
    if options.only_new && options.only_known {
        return Err("ERR XX and NX options at the same time are not compatible".into());
    }
    if u8::from(options.only_new) + u8::from(options.only_greater) + u8::from(options.only_less) > 1
    {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
    }
    if options.increment && words > 2 {
        return Err("ERR INCR option supports a single increment-element pair".into());
    }
    Ok((options, at))
}

/// What became of one pair: the change, and the member's score now unless an option refused.
fn apply(
    zset: &mut ZSet,
    member: &[u8],
    given: f64,
    options: Options,
    limits: &crate::store::Limits,
) -> Result<(Change, Option<f64>), CommandError> {
    // The plain form needs no look at the old score.
    let plain = !(options.only_new
        || options.only_known
        || options.only_greater
        || options.only_less
        || options.increment);
    if plain {
        return Ok((zset.set(member, given, limits), Some(given)));
    }
    let old = zset.score(member);
    let mut score = given;
    match old {
        None if options.only_known => return Ok((Change::Same, None)),
        Some(_) if options.only_new => return Ok((Change::Same, None)),
        Some(old) => {
            if options.increment {
                score = old + given;
                if score.is_nan() {
                    return Err("ERR resulting score is not a number (NaN)".into());
                }
            }
            if (options.only_greater && score <= old) || (options.only_less && score >= old) {
                return Ok((Change::Same, None));
            }
        }
        None => {}
    }
    Ok((zset.set(member, score, limits), Some(score)))
}

pub fn zadd(cx: &mut Context<'_>) -> Handled {
    let (options, first) = options(cx.args)?;
    add(cx, options, first)
}

pub fn zincrby(cx: &mut Context<'_>) -> Handled {
    add(cx, Options { increment: true, ..Options::default() }, 2)
}

fn add(cx: &mut Context<'_>, options: Options, first: usize) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    // All scores are read before anything changes; the usual single pair needs no list of them.
    let single = float(args.at(first))?;
    for at in (first + 2..args.len()).step_by(2) {
        float(args.at(at))?;
    }
    let limits = db(cx).limits();
    if options.only_known && db(cx).typed::<ZSet>(key)?.is_none() {
        if options.increment {
            cx.reply().null();
        } else {
            cx.reply().int(0);
        }
        return Ok(());
    }
    let zset: &mut ZSet = db(cx).typed_or_new(key)?;
    let (mut added, mut updated, mut last) = (0, 0, None);
    for at in (first..args.len()).step_by(2) {
        let score = if at == first { single } else { float(args.at(at))? };
        let (change, now) = apply(zset, args.at(at + 1), score, options, &limits)?;
        match change {
            Change::Added => added += 1,
            Change::Updated => updated += 1,
            Change::Same => {}
        }
        last = now;
    }
    if zset.is_empty() {
        db(cx).remove(key);
    }
    if added + updated > 0 {
        wrote(cx, key, added + updated);
        let event = if options.increment { "zincr" } else { "zadd" };
        cx.notify(EventClasses::ZSET, event, key);
        cx.signal(key);
    }
    match last {
        Some(score) if options.increment => cx.reply().double(score),
        None if options.increment => cx.reply().null(),
        _ if options.count_changed => cx.reply().int((added + updated) as i64),
        _ => cx.reply().int(added as i64),
    }
    Ok(())
}

pub fn zrem(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let mut removed = 0;
    if let Some(zset) = db(cx).typed_mut::<ZSet>(key)? {
        removed = args.tail(2).iter().filter(|member| zset.remove(member)).count();
        if zset.is_empty() {
            db(cx).remove(key);
        }
    }
    if removed > 0 {
        wrote(cx, key, removed);
        cx.notify(EventClasses::ZSET, "zrem", key);
        cx.notify_emptied(key);
    }
    cx.reply().int(removed as i64);
    Ok(())
}
