//! The libraries that scripts expect beside Lua's own: cjson, cmsgpack, struct, bit.
//!
//! Every reader here is bounded by the bytes that it was given and every writer by a nesting depth;
//! the memory of what they build counts against the interpreter's own limit.

pub mod args;
pub mod bit;
pub mod cjson;
pub mod cmsgpack;
mod number;
pub mod packed;

use mlua::{Lua, Table};

/// The most results that one call may give, as in Lua's own C stack.
const RESULTS_MAX: i64 = 7999;

/// What an encoder may write where Lua's memory is unbounded.
const TEXT_MAX_BYTES: usize = 512 * 1024 * 1024;

/// Adds all of them to `globals`. The same table can stand in another any number of times, so what
/// is small in Lua may be without end when it is encoded: `memory_limit` bounds it, too.
pub fn install(lua: &Lua, globals: &Table, memory_limit: usize) -> mlua::Result<()> {
    let text_max = if memory_limit == 0 { TEXT_MAX_BYTES } else { memory_limit };
    globals.raw_set("bit", bit::table(lua)?)?;
    globals.raw_set("struct", packed::table(lua, text_max)?)?;
    globals.raw_set("cjson", cjson::table(lua, text_max)?)?;
    globals.raw_set("cmsgpack", cmsgpack::table(lua, text_max)?)
}

/// An encoder's text would be larger than it may be.
fn too_large() -> mlua::Error {
    mlua::Error::MemoryError("not enough memory".into())
}
