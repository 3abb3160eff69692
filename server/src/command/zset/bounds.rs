//! The ends of ranges: by rank, by score, or by member.

use crate::command::support::{int, rank_range};
use crate::resp::{CommandError, errors};
use crate::store::ZSet;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Rank,
    Score,
    Lex,
}

/// A range as a client gave it, its ends in ascending order for scores and members.
#[derive(Clone, Copy, Debug)]
pub enum Bounds<'a> {
    Rank(i64, i64),
    Score { low: (f64, bool), high: (f64, bool) },
    Lex { low: LexEnd<'a>, high: LexEnd<'a> },
}

/// An end of a lexicographical range.
#[derive(Clone, Copy, Debug)]
pub enum LexEnd<'a> {
    Lowest,
    Highest,
    /// The member, and whether it is excluded.
    At(&'a [u8], bool),
}

/// A score and whether it is excluded. As Redis reads it: no text at all is zero, and what is too
/// large or too small for a score is infinite or zero.
fn score_end(text: &[u8]) -> Result<(f64, bool), CommandError> {
    let (number, open) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    let score = match number {
        [] => Some(0.0),
        _ => std::str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok()),
    };
    let score = score.filter(|score| !score.is_nan()).ok_or(errors::NOT_A_SCORE_RANGE)?;
    Ok((score, open))
}

fn lex_end(text: &[u8]) -> Result<LexEnd<'_>, CommandError> {
    match text {
        b"-" => Ok(LexEnd::Lowest),
        b"+" => Ok(LexEnd::Highest),
        [b'[', member @ ..] => Ok(LexEnd::At(member, false)),
        [b'(', member @ ..] => Ok(LexEnd::At(member, true)),
        _ => Err("ERR min or max not valid string range item".into()),
    }
}

impl<'a> Bounds<'a> {
    /// Reads both ends; with `swapped` the greater one comes first.
    pub fn parse(
        by: By,
        first: &'a [u8],
        second: &'a [u8],
        swapped: bool,
    ) -> Result<Self, CommandError> {
        let (low, high) = if swapped && by != By::Rank { (second, first) } else { (first, second) };
        Ok(match by {
            By::Rank => Self::Rank(int(first)?, int(second)?),
            By::Score => Self::Score { low: score_end(low)?, high: score_end(high)? },
            By::Lex => Self::Lex { low: lex_end(low)?, high: lex_end(high)? },
        })
    }

    /// The ranks, ascending, of the elements within. Ranks that a client gave count from the other
    /// end with `reverse`.
    pub fn ranks(&self, zset: &ZSet, reverse: bool) -> Range<usize> {
        let len = zset.len();
        match *self {
            Self::Rank(start, stop) => {
                let range = rank_range(start, stop, len);
                if reverse && !range.is_empty() {
                    len - range.end..len - range.start
                } else {
                    range
                }
            }
            Self::Score { low: (low, low_open), high: (high, high_open) } => {
                let start = zset.prefix(|score, _| score < low || (low_open && score <= low));
                let end = zset.prefix(|score, _| score < high || (!high_open && score <= high));
                start..end.max(start)
            }
            Self::Lex { low, high } => {
                let start = zset.prefix(|_, member| match low {
                    LexEnd::Lowest => false,
                    LexEnd::Highest => true,
                    LexEnd::At(bound, open) => member < bound || (open && member == bound),
                });
                let end = zset.prefix(|_, member| match high {
                    LexEnd::Lowest => false,
                    LexEnd::Highest => true,
                    LexEnd::At(bound, open) => member < bound || (!open && member == bound),
                });
                start..end.max(start)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::score_end;

    /// An end without a number was refused, and one that no score can have.
    #[test]
    fn ends_are_read_as_redis_reads_them() {
        let check = |text: &str, expect: Option<(f64, bool)>| {
            assert_eq!(score_end(text.as_bytes()).ok(), expect, "{text}");
        };
        check("1.5", Some((1.5, false)));
        check("(1.5", Some((1.5, true)));
        check("", Some((0.0, false)));
        check("(", Some((0.0, true)));
        check("-inf", Some((f64::NEG_INFINITY, false)));
        check("(+inf", Some((f64::INFINITY, true)));
        check("1e400", Some((f64::INFINITY, false)));
        check("(-1e400", Some((f64::NEG_INFINITY, true)));
        check("1e-400", Some((0.0, false)));
        for bad in ["nan", "(nan", "((1", "+", "-", " 1", "1 ", "0x10", "[1", "x"] {
            check(bad, None);
        }
    }
}
