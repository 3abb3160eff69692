//! Commands on lists that wait for an element. They run again when one of their keys is signalled;
//! then a key that holds another type is passed over, where at first it is an error.

use super::{MultiPop, ends, multi_pop_options, take_one};
use crate::command::Handled;
use crate::command::support::{db, deadline, wrote};
use crate::engine::Context;
use crate::engine::blocking::OnTimeout;
use crate::resp::CommandError;
use crate::store::{End, Kind, List};

/// Whether the collection at a key has an element for a command that may be waiting for it.
pub fn is_ready<T: Kind>(cx: &mut Context<'_>, key: &[u8]) -> Result<bool, CommandError> {
    let waiting = cx.client.blocked.is_some();
    match db(cx).typed::<T>(key) {
        Ok(found) => Ok(found.is_some()),
        Err(_) if waiting => Ok(false),
        Err(wrong) => Err(wrong.into()),
    }
}

/// BLPOP and BRPOP.
pub fn pop(cx: &mut Context<'_>, end: End) -> Handled {
    let args = cx.args;
    let last = args.len() - 1;
    let deadline_ms = deadline(cx, args.at(last))?;
    for at in 1..last {
        let key = args.at(at);
        if is_ready::<List>(cx, key)? {
            take_one(cx, key, end, |cx, element| {
                let mut reply = cx.reply();
                reply.array(2);
                reply.bulk(key);
                reply.bulk(element);
            });
            wrote(cx, key, 1);
            super::tell_popped(cx, key, end);
            cx.propagate(&[if end == End::Left { b"LPOP" } else { b"RPOP" }, key]);
            return Ok(());
        }
    }
    cx.block((1..last).map(|at| args.at(at)), deadline_ms, OnTimeout::NullArray);
    Ok(())
}

/// BLMOVE and BRPOPLPUSH.
pub fn shift(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let (from, to) = ends(cx)?;
    let deadline_ms = deadline(cx, args.at(args.len() - 1))?;
    if is_ready::<List>(cx, args.at(1))? {
        super::shift(cx, from, to)?;
        if cx.row.name == "blmove" {
            cx.propagate(&[b"LMOVE", args.at(1), args.at(2), args.at(3), args.at(4)]);
        } else {
            cx.propagate(&[b"RPOPLPUSH", args.at(1), args.at(2)]);
        }
    } else if cx.in_exec {
        cx.reply().null();
    } else {
        cx.block([args.at(1)], deadline_ms, OnTimeout::NullArray);
    }
    Ok(())
}

/// BLMPOP.
pub fn multi_pop(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let wanted: MultiPop = multi_pop_options(args, 2)?;
    let deadline_ms = deadline(cx, args.at(1))?;
    for at in wanted.keys.clone() {
        if is_ready::<List>(cx, args.at(at))? {
            super::multi_pop(cx, args.at(at), &wanted);
            return Ok(());
        }
    }
    cx.block(wanted.keys.map(|at| args.at(at)), deadline_ms, OnTimeout::NullArray);
    Ok(())
}
