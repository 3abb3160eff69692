//! `cmsgpack`: `MessagePack`. Reading never trusts a length beyond the bytes that are there and
//! nests at most [`DEPTH_MAX`] deep; writing turns deeper tables into nil, as the original does.

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::args::Arguments;
use super::{RESULTS_MAX, too_large};
use crate::script::raised::fail;

/// Tables nested deeper are written as nil, which also ends cycles.
const PACK_DEPTH: usize = 16;
/// The original is bounded by the stack of Lua (CVE-2022-24834, CVE-2018-11218).
const DEPTH_MAX: usize = 256;

pub fn table(lua: &Lua, text_max: usize) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let pack = move |lua: &Lua, values: MultiValue| pack(lua, &values, text_max);
    table.raw_set("pack", lua.create_function(pack)?)?;
    table.raw_set("unpack", lua.create_function(unpack)?)?;
    table.raw_set("unpack_one", lua.create_function(unpack_one)?)?;
    table.raw_set("unpack_limit", lua.create_function(unpack_limit)?)?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn pack(lua: &Lua, values: &MultiValue, text_max: usize) -> mlua::Result<LuaString> {
    if values.is_empty() {
        return Err(Arguments::new(lua, "pack", values).bad(0, "MessagePack pack needs input."));
    }
    let mut out = Text { bytes: Vec::new(), max: text_max };
    for value in values {
        write(&mut out, value, 0)?;
    }
    lua.create_string(out.bytes)
}

/// What is written, and how long it may become.
struct Text {
    bytes: Vec<u8>,
    max: usize,
}

fn write(text: &mut Text, value: &Value, level: usize) -> mlua::Result<()> {
    if text.bytes.len() > text.max {
        return Err(too_large());
    }
    let out = &mut text.bytes;
    match value {
        Value::String(string) => write_bytes(out, &string.as_bytes()),
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => write_int(out, *number),
        Value::Number(number) => write_number(out, *number),
        Value::Table(table) if level < PACK_DEPTH => return write_table(text, table, level),
        _ => out.push(0xc0),
    }
    Ok(())
}

#[allow(clippy::float_cmp)] // equal bits is what is asked
fn write_number(out: &mut Vec<u8>, number: f64) {
    if number as i64 as f64 == number && number != i64::MAX as f64 {
        write_int(out, number as i64);
    } else if f64::from(number as f32) == number {
        out.push(0xca);
        out.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_int(out: &mut Vec<u8>, number: i64) {
    let bytes = number.to_be_bytes();
    let (tag, len) = match number {
        -32..=127 => return out.push(number as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -32768..=-129 => (0xd1, 2),
        -2_147_483_648..=-32769 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(tag);
    out.extend_from_slice(&bytes[8 - len..]);
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = bytes.len();
    match len {
        0..32 => out.push(0xa0 | len as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        _ => write_head(out, len, [0xda, 0xdb]),
    }
    out.extend_from_slice(bytes);
}

/// A length of 16 or 32 bits after its tag.
fn write_head(out: &mut Vec<u8>, len: usize, [short, long]: [u8; 2]) {
    if let Ok(len) = u16::try_from(len) {
        out.push(short);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(long);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
}

fn write_table(text: &mut Text, table: &Table, level: usize) -> mlua::Result<()> {
    let out = &mut text.bytes;
    if let Some(len) = array_len(table)? {
        match len {
            0..=15 => out.push(0x90 | len as u8),
            _ => write_head(out, len, [0xdc, 0xdd]),
        }
        return (1..=len).try_for_each(|at| write(text, &table.raw_get(at)?, level + 1));
    }
    let mut len = 0;
    table.for_each(|_: Value, _: Value| {
        len += 1;
        Ok(())
    })?;
    match len {
        0..=15 => out.push(0x80 | len as u8),
        _ => write_head(out, len, [0xde, 0xdf]),
    }
    table.for_each(|key: Value, value: Value| {
        write(text, &key, level + 1)?;
        write(text, &value, level + 1)
    })
}

/// The length of a table whose keys are 1 to that length.
fn array_len(table: &Table) -> mlua::Result<Option<usize>> {
    let (mut count, mut max, mut array) = (0_i64, 0, true);
    table.for_each(|key: Value, _: Value| {
        match key {
            Value::Integer(index) if index > 0 && index <= i64::from(i32::MAX) => {
                max = index.max(max);
            }
            _ => array = false,
        }
        count += 1;
        Ok(())
    })?;
    Ok((array && max == count).then_some(count as usize))
}

/// Why bytes cannot be read.
#[derive(Debug)]
enum Stop {
    End,
    Format,
    Lua(mlua::Error),
}

impl From<mlua::Error> for Stop {
    fn from(error: mlua::Error) -> Self {
        Stop::Lua(error)
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        if self.left() < len {
            return Err(Stop::End);
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    /// An unsigned number of `len` bytes, at most 8.
    fn number(&mut self, len: usize) -> Result<u64, Stop> {
        Ok(self.take(len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, len: usize) -> Result<Value, Stop> {
        let shift = 64 - 8 * len as u32;
        let number = ((self.number(len)? << shift) as i64) >> shift;
        Ok(Value::Number(number as f64))
    }

    fn unsigned(&mut self, len: usize) -> Result<Value, Stop> {
        Ok(Value::Number(self.number(len)? as f64))
    }

    fn raw(&mut self, len: usize) -> Result<Value, Stop> {
        Ok(Value::String(self.lua.create_string(self.take(len)?)?))
    }

    fn raw_of(&mut self, head: usize) -> Result<Value, Stop> {
        let len = self.number(head)? as usize;
        self.raw(len)
    }

    /// The next value. Kept small, since it is on the stack once for each level of nesting.
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        let tag = self.take(1)?[0];
        match tag {
            0x80..=0x8f => self.map(u64::from(tag & 15), depth),
            0x90..=0x9f => self.array(u64::from(tag & 15), depth),
            0xdc..=0xdf => {
                let len = self.number(if tag & 1 == 0 { 2 } else { 4 })?;
                if tag < 0xde { self.array(len, depth) } else { self.map(len, depth) }
            }
            _ => self.scalar(tag),
        }
    }

    fn scalar(&mut self, tag: u8) -> Result<Value, Stop> {
        Ok(match tag {
            0x00..=0x7f => Value::Number(f64::from(tag)),
            0xe0.. => Value::Number(f64::from(tag as i8)),
            0xa0..=0xbf => self.raw(usize::from(tag & 31))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => Value::Number(f64::from_bits(self.number(8)?)),
            0xcc => self.unsigned(1)?,
            0xcd => self.unsigned(2)?,
            0xce => self.unsigned(4)?,
            0xcf => self.unsigned(8)?,
            0xd0 => self.signed(1)?,
            0xd1 => self.signed(2)?,
            0xd2 => self.signed(4)?,
            0xd3 => self.signed(8)?,
            0xd9 => self.raw_of(1)?,
            0xda => self.raw_of(2)?,
            0xdb => self.raw_of(4)?,
            _ => return Err(Stop::Format),
        })
    }

    fn descend(&self, depth: usize) -> Result<(), Stop> {
        if depth < DEPTH_MAX {
            return Ok(());
        }
        let text = "too many return values at once; use unpack_one or unpack_limit instead.";
        Err(Stop::Lua(fail(self.lua, &format!("stack overflow ({text})"))))
    }

    fn array(&mut self, len: u64, depth: usize) -> Result<Value, Stop> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        for index in 1..=len {
            let value = self.value(depth + 1)?;
            table.raw_set(index, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: u64, depth: usize) -> Result<Value, Stop> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Value::Nil => return Err(Stop::Lua(fail(self.lua, "table index is nil"))),
                Value::Number(number) if number.is_nan() => {
                    return Err(Stop::Lua(fail(self.lua, "table index is NaN")));
                }
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}

fn unpack(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Arguments::new(lua, "unpack", &values);
    unpack_full(lua, &args, 0, 0)
}

fn unpack_one(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Arguments::new(lua, "unpack_one", &values);
    let offset = args.optional_integer(2, 0)?;
    unpack_full(lua, &args, 1, offset)
}

fn unpack_limit(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Arguments::new(lua, "unpack_limit", &values);
    let limit = args.integer(2)?;
    let offset = args.optional_integer(3, 0)?;
    unpack_full(lua, &args, limit, offset)
}

fn unpack_full(
    lua: &Lua,
    args: &Arguments<'_>,
    limit: i64,
    offset: i64,
) -> mlua::Result<MultiValue> {
    let text = args.string(1)?;
    let bytes = text.as_bytes();
    let len = bytes.len();
    if offset < 0 || limit < 0 {
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {len}.");
        return Err(fail(lua, &text));
    }
    if offset > len as i64 {
        let text = format!("Start offset {offset} greater than input length {len}.");
        return Err(fail(lua, &text));
    }
    let all = limit == 0 && offset == 0;
    let limit = if all { i64::MAX } else { limit };
    let mut reader = Reader { lua, bytes: &bytes, at: offset as usize };
    let mut results = Vec::new();
    while reader.left() > 0 && (results.len() as i64) < limit {
        if results.len() as i64 >= RESULTS_MAX {
            let text = "too many return values at once; use unpack_one or unpack_limit instead.";
            return Err(fail(lua, &format!("stack overflow ({text})")));
        }
        results.push(reader.value(0).map_err(|stop| match stop {
            Stop::End => fail(lua, "Missing bytes in input."),
            Stop::Format => fail(lua, "Bad data format in input."),
            Stop::Lua(error) => error,
        })?);
    }
    if !all {
        let next = if reader.left() == 0 { -1.0 } else { reader.at as f64 };
        results.insert(0, Value::Number(next));
    }
    Ok(results.into_iter().collect())
}
