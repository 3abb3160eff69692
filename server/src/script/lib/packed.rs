//! `struct`: values to and from packed bytes, by a format as in C. Sizes in a format are bounded and
//! every offset is checked before it is used (CVE-2018-11219).

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::args::{Arguments, number};
use super::{RESULTS_MAX, too_large};
use crate::script::raised::fail;

const INT_SIZE_MAX: usize = 32;
const ALIGN_MAX: usize = 8;

pub fn table(lua: &Lua, text_max: usize) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let pack = move |lua: &Lua, values: MultiValue| pack(lua, &values, text_max);
    table.raw_set("pack", lua.create_function(pack)?)?;
    table.raw_set("unpack", lua.create_function(unpack)?)?;
    table.raw_set("size", lua.create_function(size)?)?;
    Ok(table)
}

/// A format that is being read, with the options that hold from here on.
struct Format<'a> {
    args: &'a Arguments<'a>,
    lua: &'a Lua,
    text: &'a [u8],
    little: bool,
    align: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, args: &'a Arguments<'a>, text: &'a [u8]) -> Self {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Self { args, lua, text: &text[..end], little: true, align: 1 }
    }

    /// The next option with its size.
    fn next(&mut self) -> mlua::Result<Option<(u8, usize)>> {
        let Some((option, rest)) = self.text.split_first() else { return Ok(None) };
        self.text = rest;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INT_SIZE_MAX {
                    let text =
                        format!("integral size {size} is larger than limit of {INT_SIZE_MAX}");
                    return Err(fail(self.lua, &text));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((*option, size)))
    }

    fn number(&mut self, default: usize) -> mlua::Result<usize> {
        let digits = self.text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (text, rest) = self.text.split_at(digits);
        self.text = rest;
        let value = text.iter().try_fold(0_i32, |value, digit| {
            value.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
        });
        let value = value.ok_or_else(|| fail(self.lua, "integral size overflow"))?;
        Ok(value as usize)
    }

    /// Bytes that bring `position` to the alignment of an element of `size` bytes.
    fn padding(&self, position: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.align);
        size.wrapping_sub(position & size.wrapping_sub(1)) & size.wrapping_sub(1)
    }

    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'>' => self.little = false,
            b'<' => self.little = true,
            b'!' => {
                let align = self.number(ALIGN_MAX)?;
                if !align.is_power_of_two() {
                    let text = format!("alignment {align} is not a power of 2");
                    return Err(fail(self.lua, &text));
                }
                self.align = align;
            }
            other => {
                let text = format!("invalid format option '{}'", char::from(other));
                return Err(self.args.bad(1, &text));
            }
        }
        Ok(())
    }

    fn order(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if !self.little {
            bytes.reverse();
        }
        bytes
    }
}

/// A number's bits in `size` bytes, the lowest first; bytes beyond the eighth are zero.
fn integer_bytes(number: f64, size: usize) -> Vec<u8> {
    let value = if number < 0.0 { number as i64 as u64 } else { number as u64 };
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.resize(size.max(8), 0);
    bytes.truncate(size);
    bytes
}

fn integer_value(bytes: &[u8], signed: bool) -> f64 {
    let mut value = 0_u64;
    for byte in bytes.iter().rev() {
        value = value << 8 | u64::from(*byte);
    }
    if !signed {
        return value as f64;
    }
    // As in C, the sign of sizes beyond eight bytes is that of the low 64 bits.
    let shift = 64_usize.saturating_sub(8 * bytes.len()) as u32;
    if bytes.is_empty() { 0.0 } else { (((value << shift) as i64) >> shift) as f64 }
}

fn pack(lua: &Lua, values: &MultiValue, text_max: usize) -> mlua::Result<LuaString> {
    let args = Arguments::new(lua, "pack", values);
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(lua, &args, &text);
    let mut out: Vec<u8> = Vec::new();
    let mut at = 2;
    while let Some((option, size)) = format.next()? {
        let padding = format.padding(out.len(), option, size);
        out.resize(out.len() + padding, 0);
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                out.extend(format.order(integer_bytes(args.number(at)?, size)));
                at += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                out.extend(format.order((args.number(at)? as f32).to_le_bytes().to_vec()));
                at += 1;
            }
            b'd' => {
                out.extend(format.order(args.number(at)?.to_le_bytes().to_vec()));
                at += 1;
            }
            b'c' | b's' => {
                let text = args.string(at)?;
                let text = text.as_bytes();
                at += 1;
                let size = if size == 0 { text.len() } else { size };
                let part = text.get(..size).ok_or_else(|| args.bad(at, "string too short"))?;
                if part.len() > text_max.saturating_sub(out.len()) {
                    return Err(too_large());
                }
                out.extend_from_slice(part);
                if option == b's' {
                    out.push(0);
                }
            }
            other => format.control(other)?,
        }
    }
    lua.create_string(out)
}

fn unpack(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Arguments::new(lua, "unpack", &values);
    let text = args.string(1)?;
    let text = text.as_bytes();
    let data = args.string(2)?;
    let data = data.as_bytes();
    let start = args.optional_integer(3, 1)?;
    if start <= 0 {
        return Err(args.bad(3, "offset must be 1 or greater"));
    }
    let mut format = Format::new(lua, &args, &text);
    let mut at = start as usize - 1;
    let mut results: Vec<Value> = Vec::new();
    let short = || args.bad(2, "data string too short");
    while let Some((option, mut size)) = format.next()? {
        at = at.checked_add(format.padding(at, option, size)).ok_or_else(short)?;
        let end = at.checked_add(size).filter(|end| *end <= data.len()).ok_or_else(short)?;
        if results.len() as i64 >= RESULTS_MAX {
            return Err(fail(lua, "stack overflow (too many results)"));
        }
        let bytes = &data[at..end];
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let bytes = format.order(bytes.to_vec());
                let signed = option.is_ascii_lowercase();
                results.push(Value::Number(integer_value(&bytes, signed)));
            }
            b'x' => {}
            b'f' => {
                let bytes = format.order(bytes.to_vec());
                let float = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
                results.push(Value::Number(f64::from(float)));
            }
            b'd' => {
                let bytes = format.order(bytes.to_vec());
                let float = f64::from_le_bytes(bytes.try_into().expect("eight bytes"));
                results.push(Value::Number(float));
            }
            b'c' => {
                if size == 0 {
                    size = previous_size(lua, &mut results)?;
                }
                let end = at.checked_add(size).filter(|end| *end <= data.len());
                let end = end.ok_or_else(short)?;
                results.push(Value::String(lua.create_string(&data[at..end])?));
            }
            b's' => {
                let len = data[at..].iter().position(|byte| *byte == 0);
                let len = len.ok_or_else(|| fail(lua, "unfinished string in data"))?;
                size = len + 1;
                results.push(Value::String(lua.create_string(&data[at..at + len])?));
            }
            other => format.control(other)?,
        }
        at += size;
    }
    results.push(Value::Number((at + 1) as f64));
    Ok(results.into_iter().collect())
}

/// `c0` takes its size from the value before it, which is then no result.
fn previous_size(lua: &Lua, results: &mut Vec<Value>) -> mlua::Result<usize> {
    let size = results.last().and_then(|value| number(lua, value));
    let size = size.ok_or_else(|| fail(lua, "format 'c0' needs a previous size"))?;
    results.pop();
    // A negative size is beyond every string.
    Ok(if size < 0.0 { usize::MAX } else { size as usize })
}

fn size(lua: &Lua, values: MultiValue) -> mlua::Result<f64> {
    let args = Arguments::new(lua, "size", &values);
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(lua, &args, &text);
    let mut at = 0_usize;
    while let Some((option, size)) = format.next()? {
        at += format.padding(at, option, size);
        if option == b's' {
            return Err(args.bad(1, "option 's' has no fixed size"));
        }
        if option == b'c' && size == 0 {
            return Err(args.bad(1, "option 'c0' has no fixed size"));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option)?;
        }
        at += size;
    }
    Ok(at as f64)
}
