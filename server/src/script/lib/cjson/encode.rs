//! From Lua to JSON.

use mlua::{Lua, LuaString, Table, Value};

use super::super::args::type_name;
use super::super::number::format_g;
use super::super::too_large;
use super::{DEPTH_MAX, Invalid, Options};
use crate::script::raised::fail;

pub(super) fn encode(lua: &Lua, options: &Options, value: &Value) -> mlua::Result<LuaString> {
    let mut writer = Writer { lua, options, out: Vec::new() };
    writer.value(value, 0)?;
    lua.create_string(writer.out)
}

/// So much of a string is written between two looks at the bound.
const CHECKED_BYTES: usize = 64 * 1024;

struct Writer<'a> {
    lua: &'a Lua,
    options: &'a Options,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn refused(&self, value: &Value, why: &str) -> mlua::Error {
        fail(self.lua, &format!("Cannot serialise {}: {why}", type_name(value)))
    }

    fn value(&mut self, value: &Value, depth: i32) -> mlua::Result<()> {
        match value {
            Value::String(text) => return self.string(&text.as_bytes()),
            Value::Integer(number) => return self.number(*number as f64, value),
            Value::Number(number) => return self.number(*number, value),
            Value::Boolean(value) => {
                self.out.extend_from_slice(if *value { b"true" } else { b"false" });
            }
            Value::Table(table) => return self.table(table, value, depth + 1),
            Value::Nil => self.out.extend_from_slice(b"null"),
            other if *other == Value::NULL => self.out.extend_from_slice(b"null"),
            other => return Err(self.refused(other, "type not supported")),
        }
        Ok(())
    }

    fn number(&mut self, number: f64, value: &Value) -> mlua::Result<()> {
        if !number.is_finite() {
            match self.options.encode_invalid {
                Invalid::Off => return Err(self.refused(value, "must not be NaN or Inf")),
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::On if number.is_nan() => {
                    self.out.extend_from_slice(b"nan");
                    return Ok(());
                }
                Invalid::On => {}
            }
        }
        if number.fract() == 0.0 && number.abs() < 1e14 && self.options.precision == 14 {
            let mut digits = itoa::Buffer::new();
            if number == 0.0 && number.is_sign_negative() {
                self.out.push(b'-');
            }
            self.out.extend_from_slice(digits.format(number as i64).as_bytes());
        } else {
            let text = format_g(number, self.options.precision as usize);
            self.out.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> mlua::Result<()> {
        self.out.push(b'"');
        for part in text.chunks(CHECKED_BYTES) {
            self.escaped(part);
            self.check()?;
        }
        self.out.push(b'"');
        Ok(())
    }

    fn check(&self) -> mlua::Result<()> {
        if self.out.len() > self.options.text_max { Err(too_large()) } else { Ok(()) }
    }

    fn escaped(&mut self, text: &[u8]) {
        for byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                8 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..=31 | 127 => {
                    self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                }
                _ => self.out.push(*byte),
            }
        }
    }

    fn table(&mut self, table: &Table, value: &Value, depth: i32) -> mlua::Result<()> {
        if depth > self.options.encode_depth.min(DEPTH_MAX) {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(fail(self.lua, &text));
        }
        self.check()?;
        match self.array_len(table, value)? {
            Some(len) if len > 0 => self.array(table, len, depth),
            _ => self.object(table, depth),
        }
    }

    fn array(&mut self, table: &Table, len: i64, depth: i32) -> mlua::Result<()> {
        self.out.push(b'[');
        for index in 1..=len {
            if index > 1 {
                self.out.push(b',');
            }
            let value: Value = table.raw_get(index)?;
            self.value(&value, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: i32) -> mlua::Result<()> {
        self.out.push(b'{');
        let mut first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !first {
                self.out.push(b',');
            }
            first = false;
            match &key {
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.value(&key, depth)?;
                    self.out.extend_from_slice(b"\":");
                }
                Value::String(text) => {
                    self.string(&text.as_bytes())?;
                    self.out.push(b':');
                }
                _ => return Err(self.refused(&key, "table key must be a number or string")),
            }
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The length of a table that is an array, by the rules for sparse ones.
    fn array_len(&self, table: &Table, value: &Value) -> mlua::Result<Option<i64>> {
        let (mut max, mut items, mut array) = (0_i64, 0_i64, true);
        table.for_each(|key: Value, _: Value| {
            match key {
                Value::Integer(index) if (1..=i64::from(i32::MAX)).contains(&index) => {
                    max = max.max(index);
                    items += 1;
                }
                _ => array = false,
            }
            Ok(())
        })?;
        if !array {
            return Ok(None);
        }
        let ratio = i64::from(self.options.sparse_ratio);
        if ratio > 0 && max > items * ratio && max > i64::from(self.options.sparse_safe) {
            if !self.options.sparse_convert {
                return Err(self.refused(value, "excessively sparse array"));
            }
            return Ok(None);
        }
        Ok(Some(max))
    }
}
