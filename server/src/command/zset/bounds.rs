//! The ends of ranges: by rank, by score, or by member.

use crate::command::support::{int, rank_range};
use crate::resp::num::parse_f64;
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

/// A score and whether it is excluded.
fn score_end(text: &[u8]) -> Result<(f64, bool), CommandError> {
    let (number, open) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    parse_f64(number).map(|score| (score, open)).ok_or_else(|| errors::NOT_A_SCORE_RANGE.into())
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
