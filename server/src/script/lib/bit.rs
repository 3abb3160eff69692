//! `bit`: operations on 32 bits, as in `LuaJIT`'s `BitOp`.

use mlua::{IntoLua, Lua, LuaString, MultiValue, Table};

use super::args::Arguments;

/// Adding it moves the low 32 bits of a number's integer part into those of its mantissa.
const MAGIC: f64 = 6_755_399_441_055_744.0;

fn bits(number: f64) -> u32 {
    (number + MAGIC).to_bits() as u32
}

fn arg(args: &Arguments<'_>, position: usize) -> mlua::Result<u32> {
    args.number(position).map(bits)
}

/// A result, signed as the library gives it.
fn signed(bits: u32) -> f64 {
    f64::from(bits as i32)
}

type Unary = fn(u32) -> u32;
type Binary = fn(u32, u32) -> u32;

const UNARY: [(&str, Unary); 3] = [("tobit", |b| b), ("bnot", |b| !b), ("bswap", u32::swap_bytes)];
const FOLDS: [(&str, Binary); 3] =
    [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
const SHIFTS: [(&str, Binary); 5] = [
    ("lshift", |b, n| b << n),
    ("rshift", |b, n| b >> n),
    ("arshift", |b, n| ((b as i32) >> n) as u32),
    ("rol", u32::rotate_left),
    ("ror", u32::rotate_right),
];

pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, run) in UNARY {
        let call = move |lua: &Lua, values: MultiValue| {
            arg(&Arguments::new(lua, name, &values), 1).map(|b| signed(run(b)))
        };
        table.raw_set(name, lua.create_function(call)?)?;
    }
    for (name, run) in FOLDS {
        let call = move |lua: &Lua, values: MultiValue| {
            let args = Arguments::new(lua, name, &values);
            let first = arg(&args, 1)?;
            let rest = (2..=args.len()).rev();
            let folded = rest.map(|at| arg(&args, at)).try_fold(first, |b, n| Ok(run(b, n?)));
            folded.map(signed)
        };
        table.raw_set(name, lua.create_function(call)?)?;
    }
    for (name, run) in SHIFTS {
        let call = move |lua: &Lua, values: MultiValue| {
            let args = Arguments::new(lua, name, &values);
            let (b, n) = (arg(&args, 1)?, arg(&args, 2)? & 31);
            Ok(signed(run(b, n)))
        };
        table.raw_set(name, lua.create_function(call)?)?;
    }
    table.raw_set("tohex", lua.create_function(tohex)?)?;
    Ok(table)
}

/// `bit.tohex(x [,n])`: `n` digits, capitals when negative. The smallest `n` has no opposite in 32
/// bits, which once overran a buffer (CVE-2024-31449).
fn tohex(lua: &Lua, values: MultiValue) -> mlua::Result<LuaString> {
    let args = Arguments::new(lua, "tohex", &values);
    let number = arg(&args, 1)?;
    let wanted = if args.len() < 2 { 8 } else { arg(&args, 2)? as i32 };
    let digits = wanted.unsigned_abs().min(8) as usize;
    let text = if wanted < 0 { format!("{number:08X}") } else { format!("{number:08x}") };
    match text[8 - digits..].into_lua(lua)? {
        mlua::Value::String(text) => Ok(text),
        _ => unreachable!("text is a string"),
    }
}
