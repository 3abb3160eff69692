//! Strings as arrays of bits. The first bit is the highest of the first byte; beyond the end every
//! bit is zero.

mod field;
mod operation;

use super::support::{int, wrote};
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::num::parse_i64;
use crate::resp::{CommandError, errors};
use crate::store::{Db, IntBuf, Str, StrRef, Value, ValueRef};

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE.with(Flags::DENYOOM);
const ROW: Command =
    Command { group: Group::Bitmap, keys: Keys::ONE, since: "2.2.0", ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "setbit",
        arity: 4,
        flags: WRITE,
        summary: "Sets or clears the bit at an offset of a string; returns the one before.",
        handler: setbit,
        ..ROW
    },
    Command {
        name: "getbit",
        arity: 3,
        flags: READ.with(Flags::FAST),
        summary: "Returns the bit at an offset of a string.",
        handler: getbit,
        ..ROW
    },
    Command {
        name: "bitcount",
        arity: -2,
        flags: READ,
        since: "2.6.0",
        summary: "Counts the bits that are set in a string, or in a part of it.",
        handler: bitcount,
        ..ROW
    },
    Command {
        name: "bitpos",
        arity: -3,
        flags: READ,
        since: "2.8.7",
        summary: "Finds the first bit that is set, or that is clear.",
        handler: bitpos,
        ..ROW
    },
    Command {
        name: "bitop",
        arity: -4,
        flags: WRITE,
        keys: Keys::Range { first: 2, last: -1, step: 1 },
        since: "2.6.0",
        summary: "Stores the bitwise combination of strings.",
        handler: operation::bitop,
        ..ROW
    },
    Command {
        name: "bitfield",
        arity: -2,
        flags: WRITE,
        since: "3.2.0",
        summary: "Reads and changes integers of any width within a string.",
        handler: |cx| field::bitfield(cx, false),
        ..ROW
    },
    Command {
        name: "bitfield_ro",
        arity: -2,
        flags: READ.with(Flags::FAST),
        since: "6.0.0",
        summary: "Reads integers of any width within a string.",
        handler: |cx| field::bitfield(cx, true),
        ..ROW
    },
];

/// The string at a key; an error for a value of another kind.
fn string_at<'d>(db: &'d mut Db, key: &[u8]) -> Result<Option<StrRef<'d>>, CommandError> {
    match db.lookup(key) {
        None => Ok(None),
        Some(ValueRef::Str(text)) => Ok(Some(text)),
        Some(_) => Err(errors::WRONG_TYPE.into()),
    }
}

/// Reads an offset in bits, which must lie within the longest string allowed. `#n` counts fields of `width` bits.
fn bit_offset(cx: &Context<'_>, text: &[u8], width: Option<u32>) -> Result<u64, CommandError> {
    let read = match (text, width) {
        ([b'#', number @ ..], Some(width)) => {
            parse_i64(number).and_then(|number| number.checked_mul(width.into()))
        }
        _ => parse_i64(text),
    };
    read.and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| offset >> 3 < cx.string_max())
        .ok_or_else(|| "ERR bit offset is not an integer or out of range".into())
}

/// The string at a key to change in place, grown with zeroes until it has this bit, and whether
/// it had to grow.
fn bits_mut<'d>(
    db: &'d mut Db,
    key: &[u8],
    last_bit: u64,
) -> Result<(&'d mut Vec<u8>, bool), CommandError> {
    string_at(db, key)?;
    let value = db.get_or_insert_with(key, || Value::Str(Str::Bytes(Vec::new())));
    let Value::Str(text) = value else { return Err(errors::WRONG_TYPE.into()) };
    let bytes = text.bytes_mut();
    let needed = (last_bit >> 3) as usize + 1;
    let grows = bytes.len() < needed;
    if grows {
        bytes.resize(needed, 0);
    }
    Ok((bytes, grows))
}

fn setbit(cx: &mut Context<'_>) -> Handled {
    const REFUSAL: &str = "ERR bit is not an integer or out of range";
    let key = cx.args.at(1);
    let offset = bit_offset(cx, cx.args.at(2), None)?;
    let on = match parse_i64(cx.args.at(3)) {
        Some(on @ (0 | 1)) => on == 1,
        _ => return Err(REFUSAL.into()),
    };
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let (bytes, grew) = bits_mut(db, key, offset)?;
    let (at, mask) = ((offset >> 3) as usize, 0x80 >> (offset & 7));
    let before = bytes[at] & mask != 0;
    if before != on {
        bytes[at] ^= mask;
    }
    if grew || before != on {
        wrote(cx, key, 1);
        cx.notify(EventClasses::STRING, "setbit", key);
    }
    cx.client.reply().int(i64::from(before));
    Ok(())
}

fn getbit(cx: &mut Context<'_>) -> Handled {
    let offset = bit_offset(cx, cx.args.at(2), None)?;
    let found = string_at(cx.engine.keyspace.db_mut(cx.client.db), cx.args.at(1))?;
    let mut digits = IntBuf::default();
    let bytes = found.map_or(&[][..], |text| text.bytes(&mut digits));
    let byte = bytes.get((offset >> 3) as usize).copied().unwrap_or(0);
    cx.client.reply().int(i64::from(byte >> (7 - (offset & 7)) & 1));
    Ok(())
}

/// A part of a string as the commands name it: `start [end [BYTE|BIT]]` from `args[from]` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: i64,
    end: Option<i64>,
    in_bits: bool,
}

impl Part {
    fn read(cx: &Context<'_>, from: usize) -> Result<Option<Self>, CommandError> {
        let args = cx.args;
        if args.len() == from {
            return Ok(None);
        }
        if args.len() > from + 3 {
            return Err(errors::SYNTAX.into());
        }
        let start = int(args.at(from))?;
        let in_bits = match args.get(from + 2) {
            None => false,
            Some(unit) if unit.eq_ignore_ascii_case(b"bit") => true,
            Some(unit) if unit.eq_ignore_ascii_case(b"byte") => false,
            Some(_) => return Err(errors::SYNTAX.into()),
        };
        let end = args.get(from + 1).map(int).transpose()?;
        Ok(Some(Self { start, end, in_bits }))
    }

    /// The bits from the first to behind the last, of a string of this many bytes; `None` when
    /// there are none.
    fn bits(self, bytes: usize) -> Option<(usize, usize)> {
        let len = bytes as i64 * if self.in_bits { 8 } else { 1 };
        let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
        let start = from_end(self.start);
        let end = from_end(self.end.unwrap_or(len - 1)).min(len - 1);
        if start > end {
            return None;
        }
        let unit = if self.in_bits { 1 } else { 8 };
        Some((start as usize * unit, (end as usize + 1) * unit))
    }
}

/// How many bits are set in the bits from `start` to before `end`.
fn count_bits(bytes: &[u8], start: usize, end: usize) -> u64 {
    let mut part = &bytes[start / 8..end.div_ceil(8)];
    // The bits of the first and the last byte that do not belong to the range.
    let mut outside = u64::from((part[0] & !(0xff >> (start % 8))).count_ones());
    if !end.is_multiple_of(8) {
        outside += u64::from((part[part.len() - 1] & (0xff >> (end % 8))).count_ones());
    }
    let mut count = 0;
    while let Some((word, rest)) = part.split_first_chunk::<8>() {
        count += u64::from(u64::from_ne_bytes(*word).count_ones());
        part = rest;
    }
    count += part.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
    count - outside
}

fn bitcount(cx: &mut Context<'_>) -> Handled {
    let part = Part::read(cx, 2)?;
    let found = string_at(cx.engine.keyspace.db_mut(cx.client.db), cx.args.at(1))?;
    let mut digits = IntBuf::default();
    let bytes = found.map_or(&[][..], |text| text.bytes(&mut digits));
    let whole = Part { start: 0, end: None, in_bits: false };
    // Counted from the end, a range that runs backwards is empty, wherever it begins.
    let backwards = part.is_some_and(|part| {
        part.start < 0 && part.end.is_some_and(|end| end < 0 && part.start > end)
    });
    let bits = if backwards { None } else { part.unwrap_or(whole).bits(bytes.len()) };
    let count = bits.map_or(0, |(start, end)| count_bits(bytes, start, end));
    cx.client.reply().int(count as i64);
    Ok(())
}

/// Where the first bit of this kind lies from `start` to before `end`.
fn find_bit(bytes: &[u8], wanted: bool, start: usize, end: usize) -> Option<usize> {
    let other = if wanted { 0x00 } else { 0xff };
    let (first, last) = (start / 8, end.div_ceil(8));
    let find = |byte: u8| {
        let found = if wanted { byte } else { !byte };
        (found != 0).then(|| found.leading_zeros() as usize)
    };
    // The first byte with its bits before the range made such as are not looked for.
    let edge = !(0xffu8 >> (start % 8));
    let head = if wanted { bytes[first] & !edge } else { bytes[first] | edge };
    let at = find(head).map(|bit| first * 8 + bit).or_else(|| {
        let rest = &bytes[first + 1..last];
        let words = rest.chunks_exact(8).take_while(|word| **word == [other; 8]).count();
        let skipped = words * 8;
        let byte = skipped + rest[skipped..].iter().position(|byte| *byte != other)?;
        find(rest[byte]).map(|bit| (first + 1 + byte) * 8 + bit)
    });
    at.filter(|at| *at < end)
}

fn bitpos(cx: &mut Context<'_>) -> Handled {
    let wanted = match int(cx.args.at(2))? {
        0 => false,
        1 => true,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let part = Part::read(cx, 3)?;
    let found = string_at(cx.engine.keyspace.db_mut(cx.client.db), cx.args.at(1))?;
    let mut digits = IntBuf::default();
    let Some(text) = found else {
        cx.client.reply().int(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let bytes = text.bytes(&mut digits);
    let part = part.unwrap_or(Part { start: 0, end: None, in_bits: false });
    let at = part.bits(bytes.len()).and_then(|(start, end)| {
        // Without an end the zeroes behind the string count, too.
        let beyond = (!wanted && part.end.is_none()).then_some(end);
        find_bit(bytes, wanted, start, end).or(beyond)
    });
    cx.client.reply().int(at.map_or(-1, |at| at as i64));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every range of a few strings, beside counting and finding bit by bit.
    #[test]
    fn counts_and_positions_match_a_walk_over_single_bits() {
        let texts: [&[u8]; 4] = [b"\xff\x00\xff", b"\x00\x00\x10", &[0xff; 30], &[0x00; 21]];
        for text in texts {
            let bit = |at: usize| text[at / 8] >> (7 - at % 8) & 1 == 1;
            for start in 0..text.len() * 8 {
                for end in start + 1..=text.len() * 8 {
                    let count = (start..end).filter(|at| bit(*at)).count();
                    assert_eq!(
                        count_bits(text, start, end),
                        count as u64,
                        "{text:?} {start} {end}"
                    );
                    for wanted in [false, true] {
                        let first = (start..end).find(|at| bit(*at) == wanted);
                        let got = find_bit(text, wanted, start, end);
                        assert_eq!(got, first, "{text:?} {wanted} {start} {end}");
                    }
                }
            }
        }
    }

    #[test]
    fn parts() {
        let check = |start, end, in_bits, expect| {
            assert_eq!(Part { start, end, in_bits }.bits(3), expect, "{start} {end:?} {in_bits}");
        };
        check(0, None, false, Some((0, 24)));
        check(1, Some(1), false, Some((8, 16)));
        check(-1, None, false, Some((16, 24)));
        check(5, Some(-1), true, Some((5, 24)));
        check(-100, Some(100), true, Some((0, 24)));
        check(i64::MIN, Some(i64::MAX), true, Some((0, 24)));
        check(2, Some(1), false, None);
        check(3, None, false, None);
        assert_eq!(Part { start: 0, end: None, in_bits: false }.bits(0), None);
    }
}
