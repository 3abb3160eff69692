//! `cjson`: JSON, with lua-cjson's options and texts.
//!
//! What is written grows a vector of Rust's own, so no length is computed by hand
//! (CVE-2022-24834); nesting is bounded both ways, whatever a script sets.

mod decode;
mod encode;

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

use super::args::Arguments;

/// A script may set the options beyond it, but no document nests deeper.
const DEPTH_MAX: i32 = 1024;

/// What becomes of infinities and not-a-numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalid {
    Off,
    On,
    Null,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    sparse_convert: bool,
    sparse_ratio: i32,
    sparse_safe: i32,
    encode_depth: i32,
    decode_depth: i32,
    precision: i32,
    keep_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: bool,
    /// Bytes that may be written; no script's to set.
    text_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Off,
            decode_invalid: true,
            text_max: usize::MAX,
        }
    }
}

type Shared = Rc<RefCell<Options>>;

/// A table of the functions, with options of its own.
pub fn table(lua: &Lua, text_max: usize) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let options = Shared::new(Options { text_max, ..Options::default() }.into());
    let shared = Rc::clone(&options);
    let encode = move |lua: &Lua, values: MultiValue| encode_one(lua, &shared, &values);
    table.raw_set("encode", lua.create_function(encode)?)?;
    let shared = Rc::clone(&options);
    let decode = move |lua: &Lua, values: MultiValue| decode_one(lua, &shared, &values);
    table.raw_set("decode", lua.create_function(decode)?)?;
    option(lua, &table, &options, "encode_sparse_array", 3, |options, args| {
        (
            flag(args, 1, &mut options.sparse_convert)?,
            integer(args, 2, &mut options.sparse_ratio, 0, i32::MAX)?,
            integer(args, 3, &mut options.sparse_safe, 0, i32::MAX)?,
        )
            .into_lua_multi(args.lua())
    })?;
    option(lua, &table, &options, "encode_max_depth", 1, |options, args| {
        integer(args, 1, &mut options.encode_depth, 1, i32::MAX)?.into_lua_multi(args.lua())
    })?;
    option(lua, &table, &options, "decode_max_depth", 1, |options, args| {
        integer(args, 1, &mut options.decode_depth, 1, i32::MAX)?.into_lua_multi(args.lua())
    })?;
    option(lua, &table, &options, "encode_number_precision", 1, |options, args| {
        integer(args, 1, &mut options.precision, 1, 14)?.into_lua_multi(args.lua())
    })?;
    option(lua, &table, &options, "encode_keep_buffer", 1, |options, args| {
        flag(args, 1, &mut options.keep_buffer)?.into_lua_multi(args.lua())
    })?;
    option(lua, &table, &options, "encode_invalid_numbers", 1, |options, args| {
        invalid(args, &mut options.encode_invalid)
    })?;
    option(lua, &table, &options, "decode_invalid_numbers", 1, |options, args| {
        flag(args, 1, &mut options.decode_invalid)?.into_lua_multi(args.lua())
    })?;
    table.raw_set("new", lua.create_function(move |lua, ()| self::table(lua, text_max))?)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn encode_one(lua: &Lua, options: &Shared, values: &MultiValue) -> mlua::Result<LuaString> {
    let args = Arguments::new(lua, "encode", values);
    if args.len() != 1 {
        return Err(args.bad(1, "expected 1 argument"));
    }
    encode::encode(lua, &options.borrow(), &values[0])
}

fn decode_one(lua: &Lua, options: &Shared, values: &MultiValue) -> mlua::Result<Value> {
    let args = Arguments::new(lua, "decode", values);
    if args.len() != 1 {
        return Err(args.bad(1, "expected 1 argument"));
    }
    let text = args.string(1)?;
    let bytes = text.as_bytes();
    decode::decode(lua, &options.borrow(), &bytes)
}

/// Adds a function that reads and sets options, with at most `max` arguments.
fn option(
    lua: &Lua,
    table: &Table,
    options: &Shared,
    name: &'static str,
    max: usize,
    run: fn(&mut Options, &Arguments<'_>) -> mlua::Result<MultiValue>,
) -> mlua::Result<()> {
    let options = Rc::clone(options);
    let call = move |lua: &Lua, values: MultiValue| {
        let args = Arguments::new(lua, name, &values);
        if args.len() > max {
            return Err(args.bad(max + 1, "found too many arguments"));
        }
        run(&mut options.borrow_mut(), &args)
    };
    table.raw_set(name, lua.create_function(call)?)
}

fn given<'a>(args: &Arguments<'a>, position: usize) -> Option<&'a Value> {
    args.get(position).filter(|value| !value.is_nil())
}

fn integer(
    args: &Arguments<'_>,
    position: usize,
    setting: &mut i32,
    min: i32,
    max: i32,
) -> mlua::Result<i32> {
    if given(args, position).is_some() {
        let value = args.integer(position)?;
        if value < i64::from(min) || value > i64::from(max) {
            return Err(args.bad(1, &format!("expected integer between {min} and {max}")));
        }
        *setting = value as i32;
    }
    Ok(*setting)
}

/// A choice by its word.
fn choice<T: Copy>(args: &Arguments<'_>, position: usize, words: &[(&str, T)]) -> mlua::Result<T> {
    let text = args.string(position)?.to_string_lossy();
    let found = words.iter().find(|(word, _)| *word == text);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| args.bad(position, &format!("invalid option '{text}'")))
}

fn flag(args: &Arguments<'_>, position: usize, setting: &mut bool) -> mlua::Result<bool> {
    match given(args, position) {
        None => {}
        Some(Value::Boolean(value)) => *setting = *value,
        Some(_) => *setting = choice(args, position, &[("off", false), ("on", true)])?,
    }
    Ok(*setting)
}

fn invalid(args: &Arguments<'_>, setting: &mut Invalid) -> mlua::Result<MultiValue> {
    match given(args, 1) {
        None => {}
        Some(Value::Boolean(on)) => *setting = if *on { Invalid::On } else { Invalid::Off },
        Some(_) => {
            let words = [("off", Invalid::Off), ("on", Invalid::On), ("null", Invalid::Null)];
            *setting = choice(args, 1, &words)?;
        }
    }
    match setting {
        Invalid::Null => "null".into_lua_multi(args.lua()),
        on => (*on == Invalid::On).into_lua_multi(args.lua()),
    }
}
