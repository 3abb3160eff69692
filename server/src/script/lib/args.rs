//! Reading the arguments of a function as Lua's own C library does, with its error texts.

use mlua::{Error, Lua, LuaString, MultiValue, Value};

use crate::script::raised::fail;

/// The arguments of one call; positions count from 1.
pub struct Arguments<'a> {
    lua: &'a Lua,
    function: &'static str,
    values: &'a MultiValue,
}

impl<'a> Arguments<'a> {
    pub fn new(lua: &'a Lua, function: &'static str, values: &'a MultiValue) -> Self {
        Self { lua, function, values }
    }

    pub fn lua(&self) -> &'a Lua {
        self.lua
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn get(&self, position: usize) -> Option<&'a Value> {
        self.values.get(position - 1)
    }

    /// The error for a wrong argument.
    pub fn bad(&self, position: usize, why: &str) -> Error {
        fail(self.lua, &format!("bad argument #{position} to '{}' ({why})", self.function))
    }

    fn expected(&self, position: usize, what: &str) -> Error {
        let got = self.get(position).map_or("no value", type_name);
        self.bad(position, &format!("{what} expected, got {got}"))
    }

    /// A string, or a number in its printed form.
    pub fn string(&self, position: usize) -> mlua::Result<LuaString> {
        match self.get(position) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => {
                Ok(self.lua.coerce_string(value.clone())?.expect("numbers print"))
            }
            _ => Err(self.expected(position, "string")),
        }
    }

    /// A number, or a string that reads as one.
    pub fn number(&self, position: usize) -> mlua::Result<f64> {
        let value = self.get(position).and_then(|value| number(self.lua, value));
        value.ok_or_else(|| self.expected(position, "number"))
    }

    /// A number cut to an integer, as C casts it; what does not fit saturates.
    pub fn integer(&self, position: usize) -> mlua::Result<i64> {
        Ok(self.number(position)? as i64)
    }

    pub fn optional_integer(&self, position: usize, default: i64) -> mlua::Result<i64> {
        match self.get(position) {
            None | Some(Value::Nil) => Ok(default),
            Some(_) => self.integer(position),
        }
    }
}

/// A number, or what a string reads as.
pub fn number(lua: &Lua, value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(_) => lua.coerce_number(value.clone()).ok().flatten(),
        _ => None,
    }
}

/// The type's name as Lua 5.1 says it.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Number(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}
