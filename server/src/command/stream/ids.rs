//! Ids as clients write them.

use crate::resp::CommandError;
use crate::resp::num::{parse_i64, parse_u64};
use crate::store::Id;

const INVALID: &str = "ERR Invalid stream ID specified as stream command argument";

/// Which end of a range an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    From,
    To,
}

/// An id of XADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`
    Next,
    /// `ms-*`
    NextOf(u64),
    Given(Id),
}

/// `ms-seq`, or `ms` alone, which means the `missing` sequence number.
pub fn strict(text: &[u8], missing: u64) -> Result<Id, CommandError> {
    parse(text, missing).ok_or_else(|| INVALID.into())
}

pub fn parse(text: &[u8], missing: u64) -> Option<Id> {
    // Longer texts are refused unread, whatever zeros they may begin with.
    if text.len() > 127 {
        return None;
    }
    match memchr::memchr(b'-', text) {
        Some(at) => Some(Id::new(number(&text[..at])?, number(&text[at + 1..])?)),
        None => Some(Id::new(number(text)?, missing)),
    }
}

/// A part of an id. Beside the usual form it may have spaces and a sign in front, and zeros, as
/// the C library reads numbers.
#[inline]
fn number(text: &[u8]) -> Option<u64> {
    parse_u64(text).or_else(|| loose(text))
}

fn loose(text: &[u8]) -> Option<u64> {
    if parse_i64(text).is_some() {
        // A negative number in its usual form.
        return None;
    }
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// As [`strict`], or `-` and `+` for the least and the greatest id.
pub fn or_edge(text: &[u8], missing: u64) -> Result<Id, CommandError> {
    match text {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        _ => strict(text, missing),
    }
}

/// An end of a range; with `(` before it the id itself is left out.
pub fn interval(text: &[u8], bound: Bound) -> Result<Id, CommandError> {
    let missing = if bound == Bound::From { 0 } else { u64::MAX };
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let id = strict(rest, missing)?;
            match bound {
                Bound::From => {
                    id.next().ok_or_else(|| "ERR invalid start ID for the interval".into())
                }
                Bound::To => {
                    id.previous().ok_or_else(|| "ERR invalid end ID for the interval".into())
                }
            }
        }
        _ => or_edge(text, missing),
    }
}

/// The id of a new entry.
pub fn new_id(text: &[u8]) -> Result<NewId, CommandError> {
    if text == b"*" {
        return Ok(NewId::Next);
    }
    match text.strip_suffix(b"-*") {
        Some(ms) => number(ms).map(NewId::NextOf).ok_or_else(|| INVALID.into()),
        None => strict(text, 0).map(NewId::Given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_ids() {
        let check = |text: &str, expect: Option<(u64, u64)>| {
            let id = parse(text.as_bytes(), 7);
            assert_eq!(id, expect.map(|(ms, seq)| Id::new(ms, seq)), "{text}");
        };
        check("5", Some((5, 7)));
        check("5-0", Some((5, 0)));
        check("18446744073709551615-18446744073709551615", Some((u64::MAX, u64::MAX)));
        check(" 05-+7", Some((5, 7)));
        for bad in ["", "-", "+", "5-", "-5", "5-5-5", "18446744073709551616", "5-x", "5 ", "(5"] {
            check(bad, None);
        }
    }

    #[test]
    fn ends_of_ranges() {
        let check = |text: &str, bound, expect: Option<(u64, u64)>| {
            let id = interval(text.as_bytes(), bound).ok();
            assert_eq!(id, expect.map(|(ms, seq)| Id::new(ms, seq)), "{text}");
        };
        check("-", Bound::From, Some((0, 0)));
        check("+", Bound::To, Some((u64::MAX, u64::MAX)));
        check("5", Bound::From, Some((5, 0)));
        check("5", Bound::To, Some((5, u64::MAX)));
        check("(5", Bound::From, Some((5, 1)));
        check("(5", Bound::To, Some((5, u64::MAX - 1)));
        check("(5-0", Bound::To, Some((4, u64::MAX)));
        // The overflow of an excluded end is an error, not another range.
        check("(18446744073709551615-18446744073709551615", Bound::From, None);
        check("(0-0", Bound::To, None);
        check("(-", Bound::From, None);
        check("(", Bound::From, None);
    }
}
