//! Lua's stack, as its C library offers it.
//!
//! Values that pass through `mlua` are registered one by one and every step is a protected call of
//! its own, which costs several times what a small script does. What each run needs goes this way
//! instead: the entry to a script, `redis.call`, and both directions of `convert`.
//!
//! **Rules.** Everything here may raise (a jump out of all frames up to the next protected call)
//! except where a method says that it does not. So whoever holds a [`Stack`] runs in a protected
//! call and, while it calls what may raise, owns nothing in its frames that must be dropped.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::marker::PhantomData;

use mlua::ffi;

/// The stack of one call; texts that are read from it live as long as their place on it.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'s> {
    state: *mut ffi::lua_State,
    call: PhantomData<&'s ()>,
}

/// A value, as far as a reply needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found<'s> {
    Nil,
    Flag(bool),
    Number(f64),
    Text(&'s [u8]),
    Table,
    Other,
}

impl<'s> Stack<'s> {
    /// # Safety
    /// `state` runs a call that lasts longer than `'s`, and the module's rules are kept.
    pub unsafe fn new(state: *mut ffi::lua_State) -> Self {
        Self { state, call: PhantomData }
    }

    /// How many values there are. Does not raise.
    pub fn len(self) -> c_int {
        // SAFETY: the state is one.
        unsafe { ffi::lua_gettop(self.state) }
    }

    /// Drops all but the first `len` values. Does not raise.
    pub fn truncate(self, len: c_int) {
        // SAFETY: no room is needed to drop.
        unsafe { ffi::lua_settop(self.state, len) }
    }

    /// Makes room for `more` values.
    pub fn reserve(self, more: c_int) {
        // SAFETY: it raises when there is none.
        unsafe { ffi::luaL_checkstack(self.state, more, c"results".as_ptr()) }
    }

    /// The value at `index`, counted from the call's first, or from the top when negative. Does not
    /// raise: a number is not made a text.
    pub fn at(self, index: c_int) -> Found<'s> {
        // SAFETY: any index may be asked; a string's bytes stay where they are while it is held.
        unsafe {
            match ffi::lua_type(self.state, index) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => Found::Nil,
                ffi::LUA_TBOOLEAN => Found::Flag(ffi::lua_toboolean(self.state, index) != 0),
                ffi::LUA_TNUMBER => Found::Number(ffi::lua_tonumber(self.state, index)),
                ffi::LUA_TSTRING => {
                    let mut len = 0;
                    let text = ffi::lua_tolstring(self.state, index, &raw mut len);
                    Found::Text(std::slice::from_raw_parts(text.cast(), len))
                }
                ffi::LUA_TTABLE => Found::Table,
                _ => Found::Other,
            }
        }
    }

    pub fn push(self, value: Found<'_>) {
        // SAFETY: there is room, as `reserve` or Lua made it.
        unsafe {
            match value {
                Found::Flag(value) => ffi::lua_pushboolean(self.state, value.into()),
                Found::Number(value) => ffi::lua_pushnumber(self.state, value),
                Found::Text(text) => {
                    ffi::lua_pushlstring(self.state, text.as_ptr().cast(), text.len());
                }
                Found::Nil | Found::Table | Found::Other => ffi::lua_pushnil(self.state),
            }
        }
    }

    /// Pushes the value at `index` once more. Does not raise.
    pub fn copy(self, index: c_int) {
        // SAFETY: there is room, as `reserve` or Lua made it, and a value.
        unsafe { ffi::lua_pushvalue(self.state, index) }
    }

    /// A new table with room for so many elements and fields.
    pub fn push_table(self, elements: usize, fields: usize) {
        let room = |count| c_int::try_from(count).unwrap_or(c_int::MAX);
        // SAFETY: sizes are not negative; it raises when there is no memory.
        unsafe { ffi::lua_createtable(self.state, room(elements), room(fields)) }
    }

    /// Takes the value on top and makes it the element `index` of the table at `table`.
    pub fn set_element(self, table: c_int, index: usize) {
        // SAFETY: the caller put a table there.
        unsafe { ffi::lua_rawseti(self.state, table, index as ffi::lua_Integer) }
    }

    /// Takes key and value from the top into the table at `table`.
    pub fn set(self, table: c_int) {
        // SAFETY: the caller put a table there.
        unsafe { ffi::lua_rawset(self.state, table) }
    }

    /// Pushes the element `index` of the table at `table`. Does not raise.
    pub fn element(self, table: c_int, index: usize) -> Found<'s> {
        // SAFETY: the caller found a table there.
        unsafe { ffi::lua_rawgeti(self.state, table, index as ffi::lua_Integer) };
        self.at(-1)
    }

    /// Pushes the field `name` of the table at `table`, which is not counted from the top.
    pub fn field(self, table: c_int, name: &str) -> Found<'s> {
        self.push(Found::Text(name.as_bytes()));
        // SAFETY: the caller found a table there.
        unsafe { ffi::lua_rawget(self.state, table) };
        self.at(-1)
    }

    /// A border of the table at `table`. Does not raise.
    pub fn length(self, table: c_int) -> usize {
        // SAFETY: the caller found a table there.
        unsafe { ffi::lua_objlen(self.state, table) }
    }

    /// Takes a key (nil at first) from the top and pushes the next one with its value; false, and
    /// nothing is pushed, at the end.
    pub fn next(self, table: c_int) -> bool {
        // SAFETY: the caller found a table there; it raises at a key that is gone.
        unsafe { ffi::lua_next(self.state, table) != 0 }
    }
}
