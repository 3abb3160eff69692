//! Whole databases.

use crate::command::Handled;
use crate::command::support::int;
use crate::engine::Context;
use crate::resp::{CommandError, errors};

pub fn dbsize(cx: &mut Context<'_>) -> Handled {
    let len = cx.engine.keyspace.db(cx.client.db).len();
    cx.client.reply().int(len as i64);
    Ok(())
}

/// Whether another thread is to free what is deleted: ASYNC, SYNC, or what the directive says.
fn is_async(cx: &Context<'_>) -> Result<bool, CommandError> {
    match cx.args.len() {
        1 => Ok(cx.engine.config.lazyfree_lazy_user_flush),
        2 if cx.args.is(1, "async") => Ok(true),
        2 if cx.args.is(1, "sync") => Ok(false),
        _ => Err(errors::SYNTAX.into()),
    }
}

/// Propagated even when there was nothing to delete: a replica may still hold expired keys.
pub fn flushall(cx: &mut Context<'_>) -> Handled {
    let lazy = is_async(cx)?;
    cx.engine.save_soon_without_data();
    cx.engine.touch_existing(cx.client, None);
    let removed = cx.engine.keyspace.flush_all(lazy);
    cx.engine.blocking.signal_all();
    cx.dirty(removed + 1);
    cx.client.reply().ok();
    Ok(())
}

pub fn flushdb(cx: &mut Context<'_>) -> Handled {
    let lazy = is_async(cx)?;
    cx.engine.touch_existing(cx.client, Some(cx.client.db));
    let removed = cx.engine.keyspace.flush_db(cx.client.db, lazy);
    cx.engine.blocking.signal_all();
    cx.dirty(removed + 1);
    cx.client.reply().ok();
    Ok(())
}

pub fn swapdb(cx: &mut Context<'_>) -> Handled {
    let databases = cx.engine.keyspace.databases();
    let number = |at: usize, which: &str| -> Result<i64, CommandError> {
        int(cx.args.at(at)).map_err(|_| format!("ERR invalid {which} DB index").into())
    };
    let index = |number: i64| {
        let index = usize::try_from(number).ok().filter(|index| *index < databases);
        index.ok_or(errors::DB_INDEX)
    };
    let (a, b) = (number(1, "first")?, number(2, "second")?);
    let (a, b) = (index(a)?, index(b)?);
    if a != b {
        cx.engine.touch_swapped(cx.client, a, b);
        cx.engine.keyspace.swap(a, b);
        cx.engine.blocking.signal_all();
    }
    cx.dirty(1);
    cx.client.reply().ok();
    Ok(())
}
