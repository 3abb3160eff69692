//! Taking the members with the lowest or highest scores, also those who wait for them.

use crate::command::Handled;
use crate::command::list::is_ready;
use crate::command::support::{at_least, counted_keys, db, deadline, decimal, pop_count, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::engine::blocking::OnTimeout;
use crate::resp::{Args, CommandError, errors};
use crate::store::ZSet;
use std::ops::Range;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Min,
    Max,
}

impl Side {
    fn command(self) -> &'static [u8] {
        match self {
            Self::Min => b"ZPOPMIN",
            Self::Max => b"ZPOPMAX",
        }
    }
}

/// Removes up to `count` elements from a side, in order of removal; the key goes with the last.
fn take(cx: &mut Context<'_>, key: &[u8], side: Side, count: usize) -> Vec<(Vec<u8>, f64)> {
    let Ok(Some(zset)) = db(cx).typed_mut::<ZSet>(key) else { return Vec::new() };
    let len = zset.len();
    let count = count.min(len);
    let ranks = if side == Side::Min { 0..count } else { len - count..len };
    let taken: Vec<_> = zset
        .range(ranks.start, ranks.end, side == Side::Max)
        .map(|(member, score)| (member.to_vec(), score))
        .collect();
    zset.remove_range(ranks.start, ranks.end);
    if zset.is_empty() {
        db(cx).remove(key);
    }
    wrote(cx, key, taken.len());
    let event = if side == Side::Min { "zpopmin" } else { "zpopmax" };
    cx.notify(EventClasses::ZSET, event, key);
    cx.notify_emptied(key);
    taken
}

/// ZPOPMIN and ZPOPMAX.
pub fn pop(cx: &mut Context<'_>, side: Side) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    if args.len() > 3 {
        return Err(errors::SYNTAX.into());
    }
    let refusal = "ERR value is out of range, must be positive";
    let count = args.get(2).map(|text| at_least(text, 0, refusal)).transpose()?;
    let wanted = count.unwrap_or(1) as usize;
    if db(cx).typed::<ZSet>(key)?.is_none() || wanted == 0 {
        cx.reply().array(0);
        return Ok(());
    }
    let taken = take(cx, key, side, wanted);
    let mut reply = cx.reply();
    let nested = count.is_some() && reply.is_resp3();
    reply.array(if nested { taken.len() } else { taken.len() * 2 });
    for (member, score) in &taken {
        if nested {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(*score);
    }
    Ok(())
}

/// BZPOPMIN and BZPOPMAX.
pub fn wait(cx: &mut Context<'_>, side: Side) -> Handled {
    let args = cx.args;
    let last = args.len() - 1;
    let deadline_ms = deadline(cx, args.at(last))?;
    for at in 1..last {
        let key = args.at(at);
        if is_ready::<ZSet>(cx, key)? {
            let taken = take(cx, key, side, 1);
            cx.propagate(&[side.command(), key]);
            let mut reply = cx.reply();
            reply.array(3);
            reply.bulk(key);
            for (member, score) in &taken {
                reply.bulk(member);
                reply.double(*score);
            }
            return Ok(());
        }
    }
    cx.block((1..last).map(|at| args.at(at)), deadline_ms, OnTimeout::NullArray);
    Ok(())
}

/// What ZMPOP and BZMPOP ask for.
struct MultiPop {
    keys: Range<usize>,
    side: Side,
    count: usize,
}

/// Reads `numkeys key… MIN|MAX [COUNT n]` from `args[at]` on.
fn options(args: Args<'_>, at: usize) -> Result<MultiPop, CommandError> {
    let keys = counted_keys(args, at, "ERR numkeys should be greater than 0")?;
    let side = match args.get(keys.end) {
        Some(word) if word.eq_ignore_ascii_case(b"min") => Side::Min,
        Some(word) if word.eq_ignore_ascii_case(b"max") => Side::Max,
        _ => return Err(errors::SYNTAX.into()),
    };
    let count = pop_count(args, keys.end + 1)?;
    Ok(MultiPop { keys, side, count })
}

/// Pops from this sorted set, which has members, and replies with its key and them.
fn multi_pop(cx: &mut Context<'_>, key: &[u8], wanted: &MultiPop) {
    let taken = take(cx, key, wanted.side, wanted.count);
    cx.propagate(&[wanted.side.command(), key, &decimal(taken.len() as i64)]);
    let mut reply = cx.reply();
    reply.array(2);
    reply.bulk(key);
    reply.array(taken.len());
    for (member, score) in &taken {
        reply.array(2);
        reply.bulk(member);
        reply.double(*score);
    }
}

pub fn zmpop(cx: &mut Context<'_>) -> Handled {
    let wanted = options(cx.args, 1)?;
    for at in wanted.keys.clone() {
        let key = cx.args.at(at);
        if db(cx).typed::<ZSet>(key)?.is_some() {
            multi_pop(cx, key, &wanted);
            return Ok(());
        }
    }
    cx.reply().null_array();
    Ok(())
}

pub fn bzmpop(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let wanted = options(args, 2)?;
    let deadline_ms = deadline(cx, args.at(1))?;
    for at in wanted.keys.clone() {
        if is_ready::<ZSet>(cx, args.at(at))? {
            multi_pop(cx, args.at(at), &wanted);
            return Ok(());
        }
    }
    cx.block(wanted.keys.map(|at| args.at(at)), deadline_ms, OnTimeout::NullArray);
    Ok(())
}
