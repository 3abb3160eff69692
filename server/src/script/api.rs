//! The functions of `redis` and `server` that scripts call.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use crate::log::{self, Level};

use super::lib::args::{Arguments, number};
use super::raised::{self, fail, reply, with_code};
use super::state::{REPLICATE_ALL, Shared};
use super::{bridge, sha1};

/// A function with the shared state.
fn function<A, R>(
    lua: &Lua,
    shared: &Rc<Shared>,
    run: fn(&Lua, &Rc<Shared>, A) -> mlua::Result<R>,
) -> mlua::Result<mlua::Function>
where
    A: mlua::FromLuaMulti + 'static,
    R: mlua::IntoLuaMulti + 'static,
{
    let shared = Rc::clone(shared);
    lua.create_function(move |lua, args: A| run(lua, &shared, args))
}

/// The table that scripts see as `redis` and `server`.
pub fn server_table(lua: &Lua, shared: &Rc<Shared>, functions: bool) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    common(lua, shared, &table)?;
    let [call, pcall, acl_check] = bridge::functions(lua, shared)?;
    table.raw_set("call", call)?;
    table.raw_set("pcall", pcall)?;
    table.raw_set("acl_check_cmd", acl_check)?;
    table.raw_set("setresp", function(lua, shared, setresp)?)?;
    table.raw_set("set_repl", function(lua, shared, set_repl)?)?;
    table.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    table.raw_set("error_reply", lua.create_function(error_reply)?)?;
    table.raw_set("status_reply", lua.create_function(status_reply)?)?;
    for (name, value) in
        [("NONE", 0), ("AOF", 1), ("SLAVE", 2), ("REPLICA", 2), ("ALL", REPLICATE_ALL)]
    {
        table.raw_set(format!("REPL_{name}"), value)?;
    }
    if !functions {
        table.raw_set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
        table.raw_set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
        table.raw_set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    }
    Ok(table)
}

/// What code sees while a library is loaded.
pub fn library_table(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    common(lua, shared, &table)?;
    let register = function(lua, shared, super::register::register_function)?;
    table.raw_set("register_function", register)?;
    Ok(table)
}

fn common(lua: &Lua, shared: &Rc<Shared>, table: &Table) -> mlua::Result<()> {
    table.raw_set("log", function(lua, shared, log)?)?;
    for (level, name) in ["DEBUG", "VERBOSE", "NOTICE", "WARNING"].into_iter().enumerate() {
        table.raw_set(format!("LOG_{name}"), level)?;
    }
    table.raw_set("REDIS_VERSION", "7.2.4")?;
    table.raw_set("REDIS_VERSION_NUM", 0x0007_0204)?;
    table.raw_set("VALKEY_VERSION", "9.1.0")?;
    table.raw_set("VALKEY_VERSION_NUM", 0x0009_0100)?;
    table.raw_set("SERVER_NAME", "redisha")
}

fn setresp(lua: &Lua, shared: &Rc<Shared>, values: MultiValue) -> mlua::Result<()> {
    if values.len() != 1 {
        return Err(reply("server.setresp() requires one argument."));
    }
    match number(lua, &values[0]).map(|version| version as i64) {
        Some(2) => shared.resp3.set(false),
        Some(3) => shared.resp3.set(true),
        _ => return Err(reply("RESP version must be 2 or 3.")),
    }
    Ok(())
}

fn set_repl(lua: &Lua, shared: &Rc<Shared>, values: MultiValue) -> mlua::Result<()> {
    if values.len() != 1 {
        return Err(reply("server.set_repl() requires one argument."));
    }
    let flags = number(lua, &values[0]).unwrap_or(0.0) as i64;
    let known = u8::try_from(flags).ok().filter(|flags| *flags <= REPLICATE_ALL);
    shared.replicate.set(known.ok_or_else(|| {
        reply("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
    })?);
    Ok(())
}

fn sha1hex(lua: &Lua, values: MultiValue) -> mlua::Result<String> {
    if values.len() != 1 {
        return Err(reply("wrong number of arguments"));
    }
    let text = lua.coerce_string(values[0].clone())?;
    let digest = text.map_or_else(|| sha1::digest(b""), |text| sha1::digest(&text.as_bytes()));
    Ok(sha1::hex(&digest))
}

/// The one argument of `error_reply` and `status_reply`; otherwise what those return instead.
fn one_string(lua: &Lua, values: &MultiValue) -> mlua::Result<Result<LuaString, Value>> {
    if let [Value::String(text)] = values.iter().collect::<Vec<_>>()[..] {
        return Ok(Ok(text.clone()));
    }
    let wrong = reply("wrong number or type of arguments");
    Ok(Err(raised::visible(lua, &wrong)?))
}

fn error_reply(lua: &Lua, values: MultiValue) -> mlua::Result<Value> {
    let text = match one_string(lua, &values)? {
        Ok(text) => text.to_string_lossy(),
        Err(wrong) => return Ok(wrong),
    };
    let text = if text.starts_with('-') { text } else { format!("-{text}") };
    let table = lua.create_table()?;
    table.raw_set("err", with_code(&text))?;
    Ok(Value::Table(table))
}

fn status_reply(lua: &Lua, values: MultiValue) -> mlua::Result<Value> {
    match one_string(lua, &values)? {
        Ok(text) => {
            let table = lua.create_table()?;
            table.raw_set("ok", text)?;
            Ok(Value::Table(table))
        }
        Err(wrong) => Ok(wrong),
    }
}

fn log(lua: &Lua, _: &Rc<Shared>, values: MultiValue) -> mlua::Result<()> {
    let args = Arguments::new(lua, "log", &values);
    if args.len() < 2 {
        return Err(reply("server.log() requires two arguments or more."));
    }
    let Some(level) = args.get(1).and_then(|value| number(lua, value)) else {
        return Err(reply("First argument must be a number (log level)."));
    };
    let level = match level as i64 {
        0 => Level::Debug,
        1 => Level::Verbose,
        2 => Level::Notice,
        3 => Level::Warning,
        _ => return Err(reply("Invalid log level.")),
    };
    let words = values.iter().skip(1).filter_map(|value| {
        let text = lua.coerce_string(value.clone()).ok().flatten()?;
        Some(text.to_string_lossy())
    });
    log::write(level, &format!("script: {}", words.collect::<Vec<_>>().join(" ")));
    Ok(())
}

/// `math.random`, with Lua's own rules.
pub fn random(lua: &Lua, shared: &Rc<Shared>, values: MultiValue) -> mlua::Result<f64> {
    let args = Arguments::new(lua, "random", &values);
    let unit = shared.random.unit();
    let bound = |position: usize| Ok::<f64, mlua::Error>(f64::from(args.integer(position)? as i32));
    match args.len() {
        0 => Ok(unit),
        1 => {
            let upper = bound(1)?;
            if upper < 1.0 {
                return Err(args.bad(1, "interval is empty"));
            }
            Ok((unit * upper).floor() + 1.0)
        }
        2 => {
            let (lower, upper) = (bound(1)?, bound(2)?);
            if lower > upper {
                return Err(args.bad(2, "interval is empty"));
            }
            Ok((unit * (upper - lower + 1.0)).floor() + lower)
        }
        _ => Err(fail(lua, "wrong number of arguments")),
    }
}

pub fn randomseed(lua: &Lua, shared: &Rc<Shared>, values: MultiValue) -> mlua::Result<()> {
    let args = Arguments::new(lua, "randomseed", &values);
    shared.random.seed(args.integer(1)? as i32);
    Ok(())
}

/// Replaces the sources of randomness.
pub fn replace_random(lua: &Lua, shared: &Rc<Shared>, math: &Table) -> mlua::Result<()> {
    math.raw_set("random", function(lua, shared, random)?)?;
    math.raw_set("randomseed", function(lua, shared, randomseed)?)
}
