//! What the handlers of many families share: reading arguments, ranges, scan options, deadlines.

use crate::engine::Context;
use crate::glob;
use crate::resp::num::{parse_f64, parse_i64};
use crate::resp::{Args, CommandError, errors};
use crate::store::{Db, Random, WrongType};
use std::collections::HashSet;
use std::ops::Range;

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> Self {
        errors::WRONG_TYPE.into()
    }
}

/// The client's database.
#[inline]
pub fn db<'c>(cx: &'c mut Context<'_>) -> &'c mut Db {
    cx.engine.keyspace.db_mut(cx.client.db)
}

#[inline]
pub fn int(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or_else(|| errors::NOT_INTEGER.into())
}

pub fn float(text: &[u8]) -> Result<f64, CommandError> {
    parse_f64(text).ok_or_else(|| errors::NOT_FLOAT.into())
}

/// An integer of at least `least`; `refusal` is the error for every other argument.
pub fn at_least(text: &[u8], least: i64, refusal: &'static str) -> Result<i64, CommandError> {
    parse_i64(text).filter(|n| *n >= least).ok_or_else(|| refusal.into())
}

/// A count that may be negative, but whose size must be a positive number too.
pub fn signed_count(text: &[u8]) -> Result<i64, CommandError> {
    let n = int(text)?;
    if n == i64::MIN {
        return Err("ERR value is out of range, value must between \
             -9223372036854775807 and 9223372036854775807"
            .into());
    }
    Ok(n)
}

/// The ranks from `start` to `stop`, both included, where negative ones count from the end.
pub fn rank_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let start = if start < 0 { (len + start).max(0) } else { start };
    let stop = if stop < 0 { len + stop } else { stop.min(len - 1) };
    if start > stop || start >= len { 0..0 } else { start as usize..stop as usize + 1 }
}

/// Reads a timeout in seconds and gives the deadline on the monotonic clock, `None` for 0.
pub fn deadline(cx: &Context<'_>, text: &[u8]) -> Result<Option<u64>, CommandError> {
    let seconds = parse_f64(text).or_else(|| hexadecimal(text)).ok_or(errors::TIMEOUT_FLOAT)?;
    let ms = (seconds * 1000.0).ceil();
    if ms > i64::MAX as f64 {
        return Err(errors::TIMEOUT_RANGE.into());
    }
    deadline_in_ms(cx, ms as i64)
}

/// As [`deadline`], of a timeout in milliseconds that was read already.
pub fn deadline_in_ms(cx: &Context<'_>, ms: i64) -> Result<Option<u64>, CommandError> {
    let ms = u64::try_from(ms).map_err(|_| errors::TIMEOUT_NEGATIVE)?;
    if ms > (i64::MAX - cx.engine.now.unix_ms()).cast_unsigned() {
        return Err(errors::TIMEOUT_RANGE.into());
    }
    Ok((ms > 0).then(|| cx.engine.now.mono_ms().saturating_add(ms)))
}

/// A whole number of base 16, which the C library takes for a float, too.
fn hexadecimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits = digits.strip_prefix(b"0x").or_else(|| digits.strip_prefix(b"0X"))?;
    if digits.is_empty() || digits.len() > 256 {
        return None;
    }
    let mut number = 0.0;
    for digit in digits {
        number = number * 16.0 + f64::from(char::from(*digit).to_digit(16)?);
    }
    Some(if negative { -number } else { number })
}

/// How many keys follow, and where they end: `args[at]` is the number.
pub fn counted_keys(
    args: Args<'_>,
    at: usize,
    refusal: &'static str,
) -> Result<Range<usize>, CommandError> {
    let count = at_least(args.at(at), 1, refusal)?;
    let end = (at as i64 + 1).checked_add(count).ok_or(errors::SYNTAX)?;
    if end > args.len() as i64 {
        return Err(errors::SYNTAX.into());
    }
    Ok(at + 1..end as usize)
}

/// The options of SCAN, HSCAN, SSCAN and ZSCAN.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions<'a> {
    pub cursor: u64,
    pub count: usize,
    pattern: Option<&'a [u8]>,
    /// HSCAN's NOVALUES, ZSCAN's NOSCORES.
    pub keys_only: bool,
    /// SCAN's TYPE, in the client's spelling.
    pub type_name: Option<&'a [u8]>,
}

/// Which scan reads its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanOf {
    Keys,
    Fields,
    Members,
    Scored,
}

/// What SCAN's TYPE may name.
const TYPE_NAMES: &[&str] = &["string", "list", "set", "zset", "hash", "stream", "module"];

impl<'a> ScanOptions<'a> {
    pub fn cursor(text: &[u8]) -> Result<u64, CommandError> {
        crate::resp::num::parse_u64(text).ok_or_else(|| "ERR invalid cursor".into())
    }

    /// Reads the options that begin at `args[from]`.
    pub fn parse(
        args: Args<'a>,
        cursor: u64,
        from: usize,
        of: ScanOf,
    ) -> Result<Self, CommandError> {
        let mut options =
            Self { cursor, count: 10, pattern: None, keys_only: false, type_name: None };
        let mut at = from;
        while at < args.len() {
            let value = args.get(at + 1);
            if let (true, Some(value)) = (args.is(at, "count"), value) {
                options.count = at_least(value, i64::MIN, errors::NOT_INTEGER)?.max(0) as usize;
                if options.count < 1 {
                    return Err(errors::SYNTAX.into());
                }
                at += 2;
            } else if let (true, Some(value)) = (args.is(at, "match"), value) {
                options.pattern = (value != b"*").then_some(value);
                at += 2;
            } else if let (true, Some(value)) = (of == ScanOf::Keys && args.is(at, "type"), value) {
                if !TYPE_NAMES.iter().any(|name| value.eq_ignore_ascii_case(name.as_bytes())) {
                    let name = String::from_utf8_lossy(value);
                    return Err(format!("ERR unknown type name '{name}'").into());
                }
                options.type_name = Some(value);
                at += 2;
            } else if of == ScanOf::Fields && args.is(at, "novalues")
                || of == ScanOf::Scored && args.is(at, "noscores")
            {
                options.keys_only = true;
                at += 1;
            } else if args.is(at, "noscores") {
                return Err("ERR NOSCORES option can only be used in ZSCAN".into());
            } else if args.is(at, "novalues") {
                return Err("ERR NOVALUES option can only be used in HSCAN".into());
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        Ok(options)
    }

    #[inline]
    pub fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// Picks `wanted` different items evenly, of `len` in all, in one pass.
pub fn choose<T>(
    items: impl Iterator<Item = T>,
    len: usize,
    wanted: usize,
    random: &mut Random,
) -> Vec<T> {
    let mut left = len;
    let mut missing = wanted.min(len);
    let mut chosen = Vec::with_capacity(missing);
    for item in items {
        if missing == 0 {
            break;
        }
        if random.below(left) < missing {
            chosen.push(item);
            missing -= 1;
        }
        left -= 1;
    }
    chosen
}

/// Draws until `wanted` items with different keys came. Sensible where there are many more.
pub fn draw<K: Eq + std::hash::Hash + Clone, T>(
    wanted: usize,
    mut pick: impl FnMut() -> Option<(K, T)>,
) -> Vec<(K, T)> {
    let mut seen = HashSet::with_capacity(wanted);
    let mut drawn = Vec::with_capacity(wanted);
    while drawn.len() < wanted {
        let Some((key, item)) = pick() else { break };
        if seen.insert(key.clone()) {
            drawn.push((key, item));
        }
    }
    drawn
}

/// After a write to `key`: counts the changes and tells whoever watches it.
#[inline]
pub fn wrote(cx: &mut Context<'_>, key: &[u8], changes: usize) {
    cx.touch(key);
    cx.dirty(changes);
}

/// Decimal texts that a handler propagates.
pub fn decimal(n: i64) -> Vec<u8> {
    n.to_string().into_bytes()
}

/// `COUNT count` of LMPOP, ZMPOP and their blocking forms, which is all that may stand from `at` on;
/// one element without it.
pub fn pop_count(args: Args<'_>, mut at: usize) -> Result<usize, CommandError> {
    let mut count = None;
    while at < args.len() {
        let value = args.get(at + 1).ok_or(errors::SYNTAX)?;
        if count.is_some() || !args.is(at, "count") {
            return Err(errors::SYNTAX.into());
        }
        count = Some(at_least(value, 1, "ERR count should be greater than 0")? as usize);
        at += 2;
    }
    Ok(count.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::rank_range;

    #[test]
    fn ranges_of_ranks() {
        assert_eq!(rank_range(0, -1, 3), 0..3);
        assert_eq!(rank_range(-2, -1, 3), 1..3);
        assert_eq!(rank_range(-100, 100, 3), 0..3);
        assert_eq!(rank_range(3, 5, 3), 0..0);
        assert_eq!(rank_range(2, 1, 3), 0..0);
        assert_eq!(rank_range(0, -5, 3), 0..0);
        assert_eq!(rank_range(0, 0, 0), 0..0);
        assert_eq!(rank_range(i64::MIN, i64::MAX, 2), 0..2);
    }
}
