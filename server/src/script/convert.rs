//! Replies to Lua values, and what a script returns to a reply.

use mlua::{Lua, LuaString, Table, Value};

use super::raised::Raised;
use crate::resp::Reply;
use crate::resp::num::{parse_f64, parse_i64};

/// Tables nested deeper than this in a result are answered by an error in their place.
const DEPTH_MAX: usize = 1000;

/// Reads one reply, as the engine writes them, from the front of `bytes`.
pub fn to_lua(lua: &Lua, bytes: &mut &[u8]) -> mlua::Result<Value> {
    let (line, rest) = split_line(bytes);
    *bytes = rest;
    let (kind, line) = line.split_first().map_or((b'_', line), |(kind, line)| (*kind, line));
    let number = || parse_i64(line).unwrap_or(0);
    Ok(match kind {
        b'+' => single(lua, "ok", Value::String(lua.create_string(line)?))?,
        b'-' => {
            let text = String::from_utf8_lossy(line).into_owned();
            let error = mlua::Error::external(Raised::Reply { text, counted: true });
            super::raised::visible(lua, &error)?
        }
        b':' => Value::Number(number() as f64),
        b'$' | b'*' if number() < 0 => Value::Boolean(false),
        b'$' => Value::String(lua.create_string(take(bytes, number()))?),
        b'*' | b'>' => Value::Table(array(lua, bytes, number())?),
        b'#' => Value::Boolean(line == b"t"),
        b',' => single(lua, "double", Value::Number(double(line)))?,
        b'(' => single(lua, "big_number", Value::String(lua.create_string(line)?))?,
        b'=' => verbatim(lua, take(bytes, number()))?,
        b'%' => map(lua, bytes, number())?,
        b'~' => set(lua, bytes, number())?,
        b'|' => {
            map(lua, bytes, number())?;
            to_lua(lua, bytes)?
        }
        _ => Value::Nil,
    })
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\r', bytes) {
        Some(end) => (&bytes[..end], bytes.get(end + 2..).unwrap_or(&[])),
        None => (bytes, &[]),
    }
}

/// The bytes of a bulk string, whose end is taken too.
fn take<'a>(bytes: &mut &'a [u8], len: i64) -> &'a [u8] {
    let len = (len.max(0) as usize).min(bytes.len());
    let (taken, rest) = bytes.split_at(len);
    *bytes = rest.get(2..).unwrap_or(&[]);
    taken
}

fn double(text: &[u8]) -> f64 {
    if text == b"nan" { f64::NAN } else { parse_f64(text).unwrap_or(0.0) }
}

fn single(lua: &Lua, name: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn array(lua: &Lua, bytes: &mut &[u8], len: i64) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(len.max(0) as usize, 0)?;
    for index in 1..=len {
        let value = to_lua(lua, bytes)?;
        if !value.is_nil() {
            table.raw_set(index, value)?;
        }
    }
    Ok(table)
}

fn map(lua: &Lua, bytes: &mut &[u8], pairs: i64) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, pairs.max(0) as usize)?;
    for _ in 0..pairs {
        let key = to_lua(lua, bytes)?;
        let value = to_lua(lua, bytes)?;
        if !key.is_nil() {
            table.raw_set(key, value)?;
        }
    }
    single(lua, "map", Value::Table(table))
}

fn set(lua: &Lua, bytes: &mut &[u8], len: i64) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, len.max(0) as usize)?;
    for _ in 0..len {
        let member = to_lua(lua, bytes)?;
        if !member.is_nil() {
            table.raw_set(member, true)?;
        }
    }
    single(lua, "set", Value::Table(table))
}

fn verbatim(lua: &Lua, text: &[u8]) -> mlua::Result<Value> {
    let (format, text) = text.split_at(text.len().min(3));
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("string", lua.create_string(text.get(1..).unwrap_or(&[]))?)?;
    table.raw_set("format", lua.create_string(format)?)?;
    single(lua, "verbatim_string", Value::Table(table))
}

/// Writes what a script returned. `resp3` is what the script chose with `setresp`, which only
/// decides what booleans are.
pub fn to_reply(reply: &mut Reply<'_>, value: &Value, resp3: bool) -> mlua::Result<()> {
    write(reply, value, resp3, 0)
}

fn write(reply: &mut Reply<'_>, value: &Value, resp3: bool, depth: usize) -> mlua::Result<()> {
    match value {
        Value::String(text) => reply.bulk(&text.as_bytes()),
        Value::Boolean(value) if resp3 => reply.bool(*value),
        Value::Boolean(true) => reply.int(1),
        Value::Integer(number) => reply.int(*number),
        Value::Number(number) => reply.int(cut(*number)),
        Value::Table(table) => return write_table(reply, table, resp3, depth),
        _ => reply.null(),
    }
    Ok(())
}

/// A number as C casts it on the machines that we know: what does not fit is the smallest.
fn cut(number: f64) -> i64 {
    if number.is_nan() || number.abs() >= i64::MAX as f64 {
        return i64::MIN;
    }
    number as i64
}

fn text(table: &Table, name: &str) -> mlua::Result<Option<LuaString>> {
    match table.raw_get(name)? {
        Value::String(text) => Ok(Some(text)),
        _ => Ok(None),
    }
}

fn table(table: &Table, name: &str) -> mlua::Result<Option<Table>> {
    match table.raw_get(name)? {
        Value::Table(table) => Ok(Some(table)),
        _ => Ok(None),
    }
}

fn write_table(
    reply: &mut Reply<'_>,
    value: &Table,
    resp3: bool,
    depth: usize,
) -> mlua::Result<()> {
    if depth >= DEPTH_MAX {
        reply.error(&"ERR reached lua stack limit".into());
        return Ok(());
    }
    if let Some(error) = text(value, "err")? {
        reply.error(&error.to_string_lossy().into());
    } else if let Some(status) = text(value, "ok")? {
        reply.simple_bytes(&status.as_bytes());
    } else if let Some(number) = value.raw_get::<Option<f64>>("double").ok().flatten() {
        reply.double(number);
    } else if let Some(number) = text(value, "big_number")? {
        reply.big_number(&number.as_bytes());
    } else if let Some(verbatim) = table(value, "verbatim_string")?
        && let (Some(format), Some(string)) =
            (text(&verbatim, "format")?, text(&verbatim, "string")?)
    {
        // Three bytes of the script's, which need not be characters.
        let format: String = format.to_string_lossy().chars().take(3).collect();
        reply.verbatim(&format, &string.as_bytes());
    } else if let Some(map) = table(value, "map")? {
        let pairs = map.pairs::<Value, Value>().collect::<mlua::Result<Vec<_>>>()?;
        reply.map(pairs.len());
        for (key, value) in &pairs {
            write(reply, key, resp3, depth + 1)?;
            write(reply, value, resp3, depth + 1)?;
        }
    } else if let Some(set) = table(value, "set")? {
        let members = set.pairs::<Value, Value>().collect::<mlua::Result<Vec<_>>>()?;
        reply.set(members.len());
        members.iter().try_for_each(|(member, _)| write(reply, member, resp3, depth + 1))?;
    } else {
        write_array(reply, value, resp3, depth)?;
    }
    Ok(())
}

/// The elements up to the first nil.
fn write_array(
    reply: &mut Reply<'_>,
    value: &Table,
    resp3: bool,
    depth: usize,
) -> mlua::Result<()> {
    let mut len = value.raw_len();
    // With holes the border that Lua finds may lie behind the first of them.
    for index in 1..=len {
        if value.raw_get::<Value>(index)?.is_nil() {
            len = index - 1;
            break;
        }
    }
    reply.array(len);
    (1..=len).try_for_each(|index| write(reply, &value.raw_get(index)?, resp3, depth + 1))
}
