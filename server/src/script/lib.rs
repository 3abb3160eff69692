//! The libraries that scripts expect beside Lua's own: cjson, cmsgpack, struct, bit, and those
//! functions of Lua 5.1 whose C form trusts its arguments too far (`unpack`).
//!
//! Every reader here is bounded by the bytes that it was given and every writer by a nesting depth;
//! the memory of what they build counts against the interpreter's own limit.

pub mod args;
pub mod bit;
pub mod cjson;
pub mod cmsgpack;
mod number;
pub mod packed;

use mlua::{Lua, MultiValue, Table, Value};

use super::raised::fail;
use args::Arguments;

/// The most results that one call may give, as in Lua's own C stack.
const RESULTS_MAX: i64 = 7999;

/// Adds all of them to `globals`.
pub fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    globals.raw_set("bit", bit::table(lua)?)?;
    globals.raw_set("struct", packed::table(lua)?)?;
    globals.raw_set("cjson", cjson::table(lua)?)?;
    globals.raw_set("cmsgpack", cmsgpack::table(lua)?)?;
    globals.raw_set("unpack", lua.create_function(unpack)?)
}

/// `unpack (list [, i [, j]])`. Lua's own computes the count in an `int`, which a compiler may
/// assume not to wrap (CVE-2025-46817).
fn unpack(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Arguments::new(lua, "unpack", &values);
    let list = args.table(1)?;
    let first = args.optional_integer(2, 1)?;
    let last = args.optional_integer(3, list.raw_len() as i64)?;
    let (first, last) = (i64::from(first as i32), i64::from(last as i32));
    if first > last {
        return Ok(MultiValue::new());
    }
    if last - first >= RESULTS_MAX {
        return Err(fail(lua, "too many results to unpack"));
    }
    (first..=last).map(|index| list.raw_get::<Value>(index)).collect()
}
