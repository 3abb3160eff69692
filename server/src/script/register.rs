//! `register_function`: what a library says about its functions while it is loaded.

use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::flags::ScriptFlags;
use super::raised::reply;
use super::state::{Registered, Shared};

pub fn register_function(lua: &Lua, shared: &Rc<Shared>, values: MultiValue) -> mlua::Result<()> {
    let mut loading = shared.loading.borrow_mut();
    let Some(functions) = loading.as_mut() else {
        return Err(reply("server.register_function can only be called on FUNCTION LOAD command"));
    };
    let registered = match values.len() {
        1 => named(lua, &values[0]),
        2 => positional(lua, &values[0], &values[1]),
        _ => Err("wrong number of arguments to server.register_function"),
    };
    functions.push(registered.map_err(reply)?);
    Ok(())
}

/// A string, or a number in its printed form.
fn text(lua: &Lua, value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(_) | Value::Integer(_) | Value::Number(_) => {
            let text = lua.coerce_string(value.clone()).ok().flatten()?;
            Some(text.as_bytes().to_vec())
        }
        _ => None,
    }
}

fn positional(lua: &Lua, name: &Value, callback: &Value) -> Result<Registered, &'static str> {
    let name =
        text(lua, name).ok_or("first argument to server.register_function must be a string")?;
    let Value::Function(function) = callback else {
        return Err("second argument to server.register_function must be a function");
    };
    let flags = ScriptFlags::default();
    Ok(Registered { name, description: None, function: function.clone(), flags })
}

fn named(lua: &Lua, value: &Value) -> Result<Registered, &'static str> {
    let Value::Table(table) = value else {
        return Err(
            "calling server.register_function with a single argument is only applicable to \
                    Lua table (representing named arguments).",
        );
    };
    let mut name = None;
    let mut description = None;
    let mut callback: Option<Function> = None;
    let mut flags = ScriptFlags::default();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|_| "not enough memory")?;
        let key = text(lua, &key)
            .ok_or("named argument key given to server.register_function is not a string")?;
        match key.to_ascii_lowercase().as_slice() {
            b"function_name" => {
                name = Some(text(lua, &value).ok_or(
                    "function_name argument given to server.register_function must be a string",
                )?);
            }
            b"description" => {
                description = Some(text(lua, &value).ok_or(
                    "description argument given to server.register_function must be a string",
                )?);
            }
            b"callback" => {
                let Value::Function(function) = value else {
                    return Err("callback argument given to server.register_function must be a \
                                function");
                };
                callback = Some(function);
            }
            b"flags" => {
                let Value::Table(list) = value else {
                    return Err("flags argument to server.register_function must be a table \
                                representing function flags");
                };
                flags = read_flags(lua, &list).ok_or("unknown flag given")?;
            }
            _ => return Err("unknown argument given to server.register_function"),
        }
    }
    let name = name.ok_or("server.register_function must get a function name argument")?;
    let function = callback.ok_or("server.register_function must get a callback argument")?;
    Ok(Registered { name, description, function, flags })
}

fn read_flags(lua: &Lua, list: &Table) -> Option<ScriptFlags> {
    let mut flags = ScriptFlags::default();
    for index in 1.. {
        let value: Value = list.raw_get(index).ok()?;
        if value.is_nil() {
            break;
        }
        let word = text(lua, &value)?;
        let known = ScriptFlags::NAMES.into_iter();
        let mut known = known.filter(|(name, _)| name.as_bytes().eq_ignore_ascii_case(&word));
        flags.add(known.next()?.1);
    }
    Some(flags)
}
