//! Parts of strings.

use super::string_at;
use crate::command::Handled;
use crate::command::support::{int, rank_range, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::errors;
use crate::store::{IntBuf, Str, StrRef, Value};

pub fn strlen(cx: &mut Context<'_>) -> Handled {
    let found = string_at(cx.engine.keyspace.db_mut(cx.client.db), cx.args.at(1))?;
    cx.client.reply().int(found.map_or(0, |text| text.len() as i64));
    Ok(())
}

/// Refuses a string that would grow beyond what one bulk string may hold.
fn check_len(cx: &Context<'_>, len: usize) -> Handled {
    if len as u64 > cx.string_max() {
        return Err(errors::STRING_TOO_LONG.into());
    }
    Ok(())
}

pub fn append(cx: &mut Context<'_>) -> Handled {
    let (key, tail) = (cx.args.at(1), cx.args.at(2));
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let old = string_at(db, key)?.map(StrRef::len);
    let len = old.unwrap_or(0) + tail.len();
    check_len(cx, len)?;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    match old.and_then(|_| db.get_mut(key)) {
        Some(Value::Str(text)) => text.bytes_mut().extend_from_slice(tail),
        _ => {
            db.set_str(key, tail, false);
        }
    }
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "append", key);
    cx.client.reply().int(len as i64);
    Ok(())
}

pub fn setrange(cx: &mut Context<'_>) -> Handled {
    let (key, part) = (cx.args.at(1), cx.args.at(3));
    let offset = int(cx.args.at(2))?;
    let offset = usize::try_from(offset).map_err(|_| "ERR offset is out of range")?;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let old = string_at(db, key)?.map(StrRef::len);
    if part.is_empty() {
        cx.client.reply().int(old.unwrap_or(0) as i64);
        return Ok(());
    }
    let end = offset.checked_add(part.len()).ok_or(errors::STRING_TOO_LONG)?;
    check_len(cx, end)?;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let value = db.get_or_insert_with(key, || Value::Str(Str::Bytes(Vec::new())));
    let Value::Str(text) = value else { return Err(errors::WRONG_TYPE.into()) };
    let bytes = text.bytes_mut();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(part);
    let len = bytes.len();
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "setrange", key);
    cx.client.reply().int(len as i64);
    Ok(())
}

pub fn getrange(cx: &mut Context<'_>) -> Handled {
    let (start, end) = (int(cx.args.at(2))?, int(cx.args.at(3))?);
    let found = string_at(cx.engine.keyspace.db_mut(cx.client.db), cx.args.at(1))?;
    let mut digits = IntBuf::default();
    let text = found.map_or(&[][..], |text| text.bytes(&mut digits));
    // Unlike the ranks of lists, an end before the first byte is the first byte.
    let from_end = end < 0 && end.saturating_add(text.len() as i64) < 0;
    let empty = start < 0 && end < 0 && start > end;
    let range = match (empty, from_end) {
        (true, _) => 0..0,
        (false, true) => rank_range(start, 0, text.len()),
        (false, false) => rank_range(start, end, text.len()),
    };
    cx.client.reply().bulk(&text[range]);
    Ok(())
}
